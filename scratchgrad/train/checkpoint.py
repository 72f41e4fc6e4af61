"""Checkpoints: what a run needs to go on as if it had never stopped.

A checkpoint is a folder, ``checkpoints/step-00000250``:

    model.safetensors      the weights
    optimizer.safetensors  AdamW's moments
    state.json             the step, the settings, and size and SHA-256 of both files

``state.json`` is written last and is the seal: a folder without it was never finished. The digests
in it find a file that was cut short or changed afterwards, for the format has no checksum of
its own. Every file is written to a temporary name, synced and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from scratchgrad.data.files import sync_folder, to_json, write_atomically
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.files import open_file, read_exactly, read_json_file

FORMAT = "scratchgrad-checkpoint"
VERSION = 1
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"

_FOLDER_NAME = re.compile(r"step-(\d{8,})")

Tensors = dict[str, NDArray[Any]]


@dataclass
class Checkpoint:
    """One checkpoint in memory.

    Attributes
    ----------
    step : int
        Updates done.
    model, optimizer : dict of arrays
        The state dictionaries; the optimiser's plain numbers are in ``state["optimizer"]``.
    state : dict
        Everything else, as JSON can carry it.
    """

    step: int
    model: Tensors
    optimizer: dict[str, Any]
    state: dict[str, Any] = field(default_factory=dict)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint below ``folder`` and return its own folder.

    Raises
    ------
    OSError
        The disk is full or may not be written; older checkpoints are untouched.
    """
    place = folder / f"step-{checkpoint.step:08d}"
    place.mkdir(parents=True, exist_ok=True)
    # A folder that is written a second time must not carry its old seal meanwhile.
    (place / STATE).unlink(missing_ok=True)
    arrays = {k: v for k, v in checkpoint.optimizer.items() if isinstance(v, np.ndarray)}
    numbers = {k: v for k, v in checkpoint.optimizer.items() if k not in arrays}
    files = {}
    for name, tensors in ((MODEL, checkpoint.model), (OPTIMIZER, arrays)):
        # The format stores C order only, and keeps a scalar's empty shape.
        content = save({k: np.asarray(v, order="C") for k, v in tensors.items()})
        write_atomically(place / name, content)
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    body = {"format": FORMAT, "version": VERSION, "step": checkpoint.step}
    body |= checkpoint.state | {"optimizer": numbers, "files": files}
    write_atomically(place / STATE, to_json(body))
    sync_folder(folder)
    return place


def read_checkpoint(place: Path, *, with_optimizer: bool = True) -> Checkpoint:
    """Read one checkpoint and check every byte of it.

    Raises
    ------
    CheckpointError
        It is not there, was never finished, or a file is not what was written.
    """
    state = _read_state(place)
    names = (MODEL, OPTIMIZER) if with_optimizer else (MODEL,)
    tensors = {name: _read_tensors(place / name, state["files"][name]) for name in names}
    return Checkpoint(
        step=state["step"],
        model=tensors[MODEL],
        optimizer={**tensors.get(OPTIMIZER, {}), **state["optimizer"]},
        state=state,
    )


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of every checkpoint, finished or not, the newest first."""
    if not folder.is_dir():
        return []
    found = []
    for place in folder.iterdir():
        match = _FOLDER_NAME.fullmatch(place.name)
        if match:
            found.append((int(match[1]), place))
    return sorted(found, reverse=True)


def newest_checkpoint(folder: Path, *, with_optimizer: bool = True) -> tuple[Checkpoint, list[str]]:
    """Return the newest checkpoint that is whole, and what is wrong with each newer one.

    Raises
    ------
    CheckpointError
        There is none.
    """
    problems: list[str] = []
    for _, place in list_checkpoints(folder):
        with _collect(problems):
            return read_checkpoint(place, with_optimizer=with_optimizer), problems
    if problems:
        raise CheckpointError(f"no checkpoint in {folder} is whole: " + "; ".join(problems))
    raise CheckpointError(
        f"no checkpoint in {folder}: the run stopped before its first one; begin it again with "
        f"--overwrite"
    )


@contextlib.contextmanager
def _collect(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        problems.append(str(error))


def keep_only(folder: Path, steps: Iterable[int]) -> None:
    """Remove every checkpoint but those of the steps named. A failure to remove is no error."""
    wanted = set(steps)
    for step, place in list_checkpoints(folder):
        if step not in wanted:
            remove_checkpoint(place)


def remove_checkpoint(place: Path) -> None:
    """Remove one checkpoint, its seal first; files that are not ours stay."""
    with contextlib.suppress(OSError):
        for name in (STATE, MODEL, OPTIMIZER):
            (place / name).unlink(missing_ok=True)
        for leftover in place.glob("*.tmp"):
            leftover.unlink()
        place.rmdir()


def _read_state(place: Path) -> dict[str, Any]:
    if not place.is_dir():
        raise CheckpointError(f"no such checkpoint: {place}")
    if not (place / STATE).exists():
        raise CheckpointError(f"{place} was never finished: it has no {STATE}")
    state = read_json_file(place / STATE)
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{place / STATE} is not of the format {FORMAT}")
    if state.get("version") != VERSION:
        raise CheckpointError(
            f"{place / STATE}: expected version {VERSION}; got {state.get('version')!r}; "
            f"a newer scratchgrad may read it"
        )
    files = state.get("files")
    sealed = isinstance(files, dict) and all(
        isinstance(files.get(name), dict) and isinstance(files[name].get("sha256"), str)
        for name in (MODEL, OPTIMIZER)
    )
    step = state.get("step")
    whole_step = isinstance(step, int) and not isinstance(step, bool) and step >= 0
    if not (sealed and whole_step and isinstance(state.get("optimizer"), dict)):
        raise CheckpointError(f"{place / STATE} is damaged: step, files or optimizer are missing")
    return state


def _read_tensors(path: Path, seal: Mapping[str, Any]) -> Tensors:
    file, size = open_file(path, "file of weights")
    with file:
        if size != seal.get("bytes"):
            raise CheckpointError(
                f"{path} is damaged: expected {seal.get('bytes')} bytes; got {size}"
            )
        content = bytearray(size)
        read_exactly(file, memoryview(content), path)
    if hashlib.sha256(content).hexdigest() != seal["sha256"]:
        raise CheckpointError(f"{path} is damaged: its content is not what was written")
    try:
        return load(bytes(content))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
