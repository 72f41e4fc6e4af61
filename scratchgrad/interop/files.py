"""What every reader here needs: a file that is one, and JSON that cannot surprise.

A file of weights may come from anywhere. Nothing in it is believed before it is checked, and no
memory is taken because a number in it says so.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from scratchgrad.errors import CheckpointError
from scratchgrad.tokenizer.checks import shorten

# The config.json of a large model has 3 kB, the list of its shards 100 kB.
MAX_JSON_BYTES = 16 << 20
# Python needs some 60 bytes for the smallest value, "[],", that the file spells in 3. With this
# many, what a hostile file of any size can take is some 60 MB.
MAX_JSON_VALUES = 1_000_000

PICKLE_ADVICE = (
    "it is a pickle, which can run any program as it is read; "
    "convert it where it was made: transformers' model.save_pretrained writes model.safetensors"
)


def open_file(path: str | os.PathLike[str]) -> tuple[BinaryIO, int]:
    """Open an ordinary file; returns it and its size.

    Raises
    ------
    CheckpointError
        There is none, it is a folder, a pipe or a device, or it may not be read.
    """
    try:
        # To open a pipe would wait for somebody to write into it.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise CheckpointError(f"{path} is a folder; expected a file")
        if not stat.S_ISREG(mode):
            raise CheckpointError(f"{path} is no ordinary file; expected one")
        file = open(path, "rb")  # noqa: SIM115 (whoever called closes it)
        return file, os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except CheckpointError:
        raise
    except ValueError as error:  # a NUL in the name
        raise CheckpointError(f"cannot read {str(path)!r}: {error}") from None


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
    file, size = open_file(path)
    with file:
        if size > MAX_JSON_BYTES:
            raise CheckpointError(
                f"{path} has {size:,} bytes; a file of settings has at most {MAX_JSON_BYTES:,}"
            )
        return parse_json(file.read(size), str(path))


def parse_json(raw: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object. A name that stands twice is refused: readers disagree on who wins.

    >>> parse_json(b'{"a": 1, "a": 2}', "some.json")
    Traceback (most recent call last):
    ...
    scratchgrad.errors.CheckpointError: some.json is no valid JSON: the name 'a' stands twice
    """
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_JSON_VALUES:
        raise CheckpointError(f"{where}: more than {MAX_JSON_VALUES:,} values; too many to be read")
    try:
        body = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{where} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}"
        ) from None
    except RecursionError:
        raise CheckpointError(f"{where} is no valid JSON: nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{where} is no valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise CheckpointError(f"{where}: expected a JSON object; got {shorten(body)}")
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
    file, _ = open_file(path)
    with file:
        return file.read(count)
