"""What every reader of weights needs: a file and all of its bytes, settings in JSON, names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from scratchgrad.data import untrusted
from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import CheckpointError

# The config.json of a large model has 3 kB, the list of its shards 100 kB.
MAX_JSON_BYTES = 16 << 20
MAX_JSON_VALUES = 1_000_000  # which take some 60 MB

PICKLE_ADVICE = (
    "it is a pickle, which can run any program as it is read; "
    "convert it where it was made: transformers' model.save_pretrained writes model.safetensors"
)


def open_file(path: str | os.PathLike[str], kind: str) -> tuple[BinaryIO, int]:
    """Open an ordinary file, meant to be of a ``kind``; returns it and its size.

    Raises
    ------
    CheckpointError
        There is none, or it cannot be read.
    """
    return untrusted.open_file(path, CheckpointError, kind)


def read_exactly(file: BinaryIO, out: memoryview, path: object) -> None:
    """Fill ``out`` from the file, which had these bytes when it was checked.

    Raises
    ------
    CheckpointError
        The file became shorter.
    """
    done = 0
    while done < len(out):
        count = file.readinto(out[done:])  # type: ignore[attr-defined]
        if not count:
            raise CheckpointError(
                f"{path} became shorter while it was read: expected {len(out) - done} more bytes; "
                f"got none"
            )
        done += count


def read_json_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object from a file of a size that a configuration may have.

    Raises
    ------
    CheckpointError
        There is no such file, or it holds something else.
    """
    file, size = open_file(path, "file of settings")
    with file:
        if size > MAX_JSON_BYTES:
            raise CheckpointError(
                f"{path} has {size:,} bytes; a file of settings has at most {MAX_JSON_BYTES:,}"
            )
        return parse_json(file.read(size), str(path))


def parse_json(raw: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object of settings, as `scratchgrad.data.untrusted` does.

    Raises
    ------
    CheckpointError
        It is none.

    >>> parse_json(b'{"a": NaN}', "some.json")
    Traceback (most recent call last):
    ...
    scratchgrad.errors.CheckpointError: some.json: no valid JSON (NaN is no number of JSON)
    """
    try:
        return untrusted.parse_object(raw.decode("utf-8"), MAX_JSON_VALUES)
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{where} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from None


def listed(names: Iterable[object], most: int = 8) -> str:
    """The first few of several names, and how many more there are.

    >>> listed("abcdef", most=3)
    'a, b, c and 3 more'
    """
    names = list(names)
    shown = ", ".join(shorten(n)[1:-1] if isinstance(n, str) else str(n) for n in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def first_bytes(path: Path, count: int = 16) -> bytes:
    """What a file begins with."""
    file, _ = open_file(path, "file of a model")
    with file:
        return file.read(count)
