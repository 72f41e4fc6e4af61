"""Where a text ends: strings that are looked for as it comes, and never printed."""

from __future__ import annotations

from collections.abc import Iterable

from scratchgrad.errors import ConfigError


class StopStrings:
    """A filter of streamed text that ends it before any of some strings.

    A stop string may begin in one piece of the text and end in another, so what could be its
    beginning is held back until it is known to be none. Which string ends the text, and where,
    does not depend on the pieces: it is the one that is complete first, and of several that end
    at the same place the longest.

    Parameters
    ----------
    stops : iterable of str
        None at all: everything passes at once.

    Attributes
    ----------
    found : str or None
        The string that has ended the text.

    Raises
    ------
    ConfigError
        One of them is empty, or no str.

    >>> until = StopStrings(["END"])
    >>> [until.push(piece) for piece in ("one E", "N two E", "ND three")]
    ['one ', 'EN two ', '']
    >>> until.found, until.flush()
    ('END', '')
    """

    def __init__(self, stops: Iterable[str] = ()) -> None:
        if isinstance(stops, str):
            raise ConfigError(f"stop strings: expected a list of them; got {stops!r}; [{stops!r}]?")
        self._stops = tuple(stops)
        for stop in self._stops:
            if not isinstance(stop, str) or not stop:
                raise ConfigError(
                    f"stop strings: expected text of one or more characters; got {stop!r}"
                )
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """Take a piece of text; return what may be shown now: all, part or none of it."""
        if self.found is not None:
            return ""
        whole = self._held + text
        places = [(whole.find(stop), stop) for stop in self._stops]
        # By where it ends, then by where it begins.
        ends = [(at + len(stop), at, stop) for at, stop in places if at >= 0]
        if ends:
            _, at, self.found = min(ends)
            self._held = ""
            return whole[:at]
        held = max((_overlap(whole, stop) for stop in self._stops), default=0)
        shown, self._held = whole[: len(whole) - held], whole[len(whole) - held :]
        return shown

    def flush(self) -> str:
        """Return what was held back, at the end of the text: it was no stop string after all."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of a text that a stop string, not yet whole, begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
