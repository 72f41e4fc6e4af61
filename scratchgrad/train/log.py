"""``log.jsonl``: one JSON object a line, for people, ``grep`` and the loss picture.

Keys of a line, present where they apply:

    step               updates done
    train_loss         mean loss of the step's batch, before its update, in nats a token
    lr, grad_norm      of the step; the norm is the one before clipping
    tokens             tokens trained on so far
    tokens_per_second  of this step
    elapsed            seconds of work so far, over all sittings of the run
    val_loss           after the step, in nats a token
    val_scope          "batches" (some fixed windows) or "full" (the whole validation split)
    final              true on the one line that closes the run
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from scratchgrad.data.files import write_atomically
from scratchgrad.data.untrusted import parse_object
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.files import open_file

Record = dict[str, Any]
MAX_VALUES = 100  # of a line; ours have nine


class Log:
    """The log of one run. The file is open only while a line is written: it is always whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, record: Record) -> None:
        """Append one record."""
        with open(self._path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def sync(self) -> None:
        """Force the lines so far onto the disk: before a checkpoint that relies on them."""
        with open(self._path, "a", encoding="utf-8") as file:
            os.fsync(file.fileno())


def read_log(path: str | os.PathLike[str]) -> list[Record]:
    """Return the records of a log.

    A last line without its end is left out: the process was killed as it wrote it.

    Raises
    ------
    CheckpointError
        The file is missing or holds a line that is no record.
    """
    return [record for record, _ in _parse(Path(path))]


def rewind(path: Path, step: int) -> None:
    """Drop every line past ``step``, and the one that closed the run.

    What is left is the log of a run that has just done that step, so a run that goes on from
    there ends with the log of one that never stopped.
    """
    if not path.exists():
        path.touch()
        return
    kept = [
        line for record, line in _parse(path) if record["step"] <= step and "final" not in record
    ]
    write_atomically(path, b"".join(kept))


def _parse(path: Path) -> list[tuple[Record, bytes]]:
    file, _ = open_file(path, "log")
    with file:
        lines = file.readlines()
    parsed = []
    for number, line in enumerate(lines, start=1):
        if number == len(lines) and not line.endswith(b"\n"):
            break
        try:
            record = parse_object(line.decode("utf-8"), MAX_VALUES)
        except UnicodeDecodeError:
            raise CheckpointError(f"{path}, line {number}: no UTF-8") from None
        except ValueError as error:
            raise CheckpointError(f"{path}, line {number}: {error}") from None
        if not isinstance(record.get("step"), int):
            raise CheckpointError(f"{path}, line {number}: expected an object with a step")
        parsed.append((record, line))
    return parsed
