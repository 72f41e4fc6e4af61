"""The files that a command is asked to write: looked at before the work, written after it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scratchgrad.errors import ConfigError


def check_output(option: str, path: str | None) -> None:
    """Refuse a file that cannot be written, before minutes of work are spent on what goes into it.

    Nothing is left behind, and a file that exists stays as it is. None is an option not given.

    Raises
    ------
    ConfigError
        In one line: what the option expects, what it was given, what to do.
    """
    if path is None:
        return
    place = Path(path).resolve()
    if not path or place.is_dir():
        given = f"the folder {path}" if path else "an empty name"
        raise ConfigError(f"{option}: expected the name of a file, got {given}; add a file's name")
    if not place.parent.is_dir():
        raise ConfigError(
            f"{option}: expected a file in a folder that exists, got {path}: its folder does not "
            f"exist; make it first"
        )
    try:
        if place.exists() and not os.access(place, os.W_OK):
            raise PermissionError
        if _is_kept(place):
            with tempfile.TemporaryFile(dir=place.parent):
                pass
    except OSError as error:
        why = f" ({error.strerror})" if error.strerror else ""
        raise ConfigError(
            f"{option}: expected a file that can be written, got {path}, which cannot{why}; "
            f"name one in another folder"
        ) from None


def write_output(path: str, content: bytes) -> None:
    """Write a file whole, or leave the old one; what goes wrong names the file."""
    from scratchgrad.data.files import write_atomically

    place = Path(path).resolve()
    try:
        if _is_kept(place):
            write_atomically(place, content)
        else:
            place.write_bytes(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


@contextlib.contextmanager
def replacing(path: str) -> Iterator[Path]:
    """Give a place beside a file for another writer to fill; then put it in the file's place.

    What goes wrong leaves the old file, and nothing beside it. A pipe or a device, which such a
    writer would replace, receives the bytes instead.
    """
    place = Path(path).resolve()
    kept = _is_kept(place)
    folder = place.parent if kept else Path(tempfile.gettempdir())
    # The end of the name stays: a writer may go by it.
    temporary = folder / f".{os.getpid()}-{place.name}"
    try:
        yield temporary
        if kept:
            os.replace(temporary, place)
        else:
            with open(temporary, "rb") as source, open(place, "wb") as target:
                shutil.copyfileobj(source, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _is_kept(place: Path) -> bool:
    """Whether it is a file, or will be: not a pipe or a device, which cannot be replaced."""
    return place.is_file() or not place.exists()
