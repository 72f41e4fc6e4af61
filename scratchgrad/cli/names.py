"""What to say to a name that is not known, and of a number of things."""

from __future__ import annotations

from collections.abc import Iterable

from scratchgrad.errors import ConfigError


def no_such(kind: str, name: str, known: Iterable[str], otherwise: str) -> ConfigError:
    """The error that names what was perhaps meant, or, where nothing is alike, says otherwise."""
    import difflib

    known = list(known)
    short = [k for k in known if name and k.casefold().startswith(name.casefold())]
    near = difflib.get_close_matches(name, known, 3) or short[:3]
    hint = f"did you mean {' or '.join(near)}?" if near else otherwise
    return ConfigError(f"no {kind} is called {name!r}; {hint}")


def counted(number: int, noun: str) -> str:
    """A number with its noun, of which one has no s."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
