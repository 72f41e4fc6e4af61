"""What a caller hands over, checked in one way by all: paths, several of something, progress.

Types are checked where Python itself would accept the wrong thing in silence, or fail far inside.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from scratchgrad.data.files import write_atomically
from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError, DtypeError


def check_path(path: Any, name: str) -> Path:
    """Return a path. A number would be taken for a file that is open, None for the folder."""
    if not isinstance(path, str | os.PathLike):
        raise DtypeError(f"{name}: expected a path, a str or pathlib.Path; got {shorten(path)}")
    return Path(path)


def write_file(path: Any, content: bytes) -> None:
    """Replace the file of a tokenizer in one move.

    Raises
    ------
    DataError
        It cannot be written there, and what was there still is.
    DtypeError
        It is no path.
    OSError
        The disk is full or fails, which no other path would mend.
    """
    place = check_path(path, "path")
    try:
        if place.is_dir():
            raise DataError(f"cannot write {str(path)!r}: it is a folder; give a file in it")
        write_atomically(place, content)
    except DataError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no name, or a NUL in it
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO):
            raise OSError(error.errno, error.strerror, str(path)) from None
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"cannot write {str(path)!r}: {reason}") from None


def check_several(values: Any, name: str, of: str) -> list[Any]:
    """Return a list of several things. One text is none, nor is a mapping: its keys are a few."""
    one = isinstance(values, str | bytes | bytearray | memoryview | Mapping)
    if one or not isinstance(values, Iterable):
        raise DtypeError(f"{name}: expected several {of}, such as a list; got {shorten(values)}")
    return list(values)


def check_text(text: Any, what: str) -> str | bytes:
    """Return a text, as bytes where it is a view of some."""
    if isinstance(text, bytearray | memoryview):
        return bytes(text)
    if not isinstance(text, str | bytes):
        raise DtypeError(f"{what}: expected text as a str or bytes; got {type(text).__name__}")
    return text


def check_progress(progress: Any) -> Callable[[str, int, int | None], None]:
    """Return the function to report to, which does nothing where there is none."""
    if progress is None:
        return lambda stage, done, total: None
    if not callable(progress):
        raise DtypeError(
            f"progress: expected a function of stage, done and total, or None; got "
            f"{shorten(progress)}"
        )
    return progress
