"""What to say to a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable

from scratchgrad.errors import ConfigError


def no_such(kind: str, name: str, known: Iterable[str], otherwise: str) -> ConfigError:
    """The error that names what was perhaps meant, or, where nothing is alike, says otherwise."""
    import difflib

    near = difflib.get_close_matches(name, list(known), 3)
    hint = f"did you mean {' or '.join(near)}?" if near else otherwise
    return ConfigError(f"no {kind} is called {name!r}; {hint}")
