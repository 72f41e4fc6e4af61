"""Files from anywhere: a file that is one, JSON that cannot surprise, values fit for a message.

Nothing in such a file is believed before it is checked, and no memory is taken because a number in
it says so. What a file is for decides which error says what is wrong with it, so the callers name
the class.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, BinaryIO

from scratchgrad.errors import ScratchgradError

PathLike = str | os.PathLike[str]


def open_file(
    path: PathLike, error: type[ScratchgradError], kind: str = "file"
) -> tuple[BinaryIO, int]:
    """Open an ordinary file; returns it and its size in bytes.

    Parameters
    ----------
    path : path
    error : class
        What to raise.
    kind : str
        What the file is meant to be, in a few words.

    Raises
    ------
    error
        There is none, it is a folder, a pipe or a device, or it may not be read.
    """
    try:
        # To open a pipe would wait for somebody to write into it.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise error(f"{path} is a folder; expected a {kind}")
        if not stat.S_ISREG(mode):
            raise error(f"{path} is no ordinary file; expected a {kind}")
        file = open(path, "rb")  # noqa: SIM115 (whoever called closes it)
        return file, os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise error(f"no such {kind}: {path}") from None
    except OSError as reason:
        raise error(f"cannot read {kind} {named(path)}: {reason.strerror}") from None
    except ValueError as reason:
        if isinstance(reason, ScratchgradError):
            raise
        raise error(f"cannot read {kind} {named(path)}: {reason}") from None  # a NUL in the name


def parse_object(text: str, most_values: int) -> dict[str, Any]:
    """Parse a JSON object. A name that stands twice is refused: readers disagree on who wins.

    Python needs some 60 bytes for the smallest value, "[],", that the text spells in 3; with a
    bound on their number, what a hostile text of any length can take is bounded too.

    Raises
    ------
    ValueError
        It is none; the message says why.

    >>> parse_object('{"a": 1, "a": 2}', most_values=100)
    Traceback (most recent call last):
    ...
    ValueError: no valid JSON (the name 'a' stands twice)
    """
    if text.count(",") + text.count("[") + text.count("{") > most_values:
        raise ValueError(f"more than {most_values:,} values; too many to be read")
    try:
        body = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer
        )
    except RecursionError:
        raise ValueError("no valid JSON (nested too deeply)") from None
    except ValueError as error:
        raise ValueError(f"no valid JSON ({error})") from None
    if not isinstance(body, dict):
        raise ValueError(f"expected a JSON object; got {shorten(body)}")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {shorten(name)} stands twice")
            seen.add(name)
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _integer(digits: str) -> int:
    # The time to read a number grows with the square of its digits.
    if len(digits) > 40:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def shorten(value: object) -> str:
    """Return the repr of a value from anywhere, cut to a length that fits one line."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a number of more than 60 digits"  # whose repr may be refused by Python
    if isinstance(value, (str, bytes, list)):
        value = value[:80]
    if isinstance(value, dict):
        value = dict(list(value.items())[:20])
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # what could just be parsed may be too deep to be shown
        return f"a {type(value).__name__} nested too deeply"
    return cut(text)


def named(path: PathLike) -> str:
    """The path as it stands, or the beginning of one that no file can have.

    >>> named("models/a"), named("no\\0name")
    ('models/a', "'no\\\\x00name'")
    """
    text = str(path)
    possible = "\0" not in text and all(len(part) <= 255 for part in text.split(os.sep))
    return text if possible and len(text) <= 4096 else shorten(text)


def cut(text: str) -> str:
    """The text on one line, and no more than fits there."""
    text = " ".join(text.splitlines())
    return text if len(text) <= 60 else text[:57] + "..."
