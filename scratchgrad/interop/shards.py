"""The weights in a Hugging Face folder: one safetensors file, or several with a list of names.

Large models are cut into files; ``model.safetensors.index.json`` has a ``weight_map`` that says in
which file each tensor is. A name in it could lead anywhere on the disk, so only names of files in
the same folder are followed, and the map and the files must agree about every tensor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.files import PICKLE_ADVICE, listed, read_json_file
from scratchgrad.interop.safetensors_file import SafetensorsFile
from scratchgrad.interop.tensor_file import Entry

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# How files of PyTorch are called. A .bin may also be one of llama2.c.
PICKLES = (".pth", ".pt", ".pkl", ".pickle", ".ckpt")
_PICKLES_IN_A_FOLDER = (*PICKLES, ".bin", ".bin.index.json")
_MOST_SHARDS = 1000


class Shards:
    """Several files that hold one model; read like one.

    Raises
    ------
    CheckpointError
        The list and the files do not agree, or a file breaks a rule of its format.
    """

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / INDEX)
        self.entries: dict[str, Entry] = {}
        self._home: dict[str, SafetensorsFile] = {}
        self._files: list[SafetensorsFile] = []
        try:
            self._open(folder)
        except BaseException:
            self.close()
            raise

    def _open(self, folder: Path) -> None:
        tensors_of: dict[str, set[str]] = {}
        for tensor, name in _weight_map(self.path).items():
            tensors_of.setdefault(name, set()).add(tensor)
        for name, mapped in tensors_of.items():
            file = SafetensorsFile(folder / name)
            self._files.append(file)
            if absent := sorted(mapped - file.entries.keys()):
                raise CheckpointError(
                    f"{file.path} has not all that {INDEX} says; missing: {listed(absent)}"
                )
            if more := sorted(file.entries.keys() - mapped):
                raise CheckpointError(
                    f"{file.path} has more than {INDEX} says; left over: {listed(more)}"
                )
            for tensor, entry in file.entries.items():
                self.entries[tensor], self._home[tensor] = entry, file

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()

    def read_into(self, name: str, out: NDArray[Any]) -> None:
        """Read one tensor from the file that has it."""
        self._home[name].read_into(name, out)


def _weight_map(path: str) -> dict[str, str]:
    found = read_json_file(path).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise CheckpointError(
            f"{path}: expected weight_map, an object of tensor and file; got {shorten(found)}"
        )
    for tensor, name in found.items():
        plain = isinstance(name, str) and name.endswith(".safetensors")
        # Neither ../ nor a drive, a root or a NUL.
        if not plain or any(letter in name for letter in "/\\:\0"):
            raise CheckpointError(
                f"{path}: tensor {shorten(tensor)} is said to be in {shorten(name)}; expected the "
                f"name of a .safetensors file in the same folder"
            )
    if len(set(found.values())) > _MOST_SHARDS:
        raise CheckpointError(f"{path}: expected at most {_MOST_SHARDS} files; got more")
    return found


def shards_of(folder: Path) -> list[str]:
    """The files with weights that a folder's list names; none where there is no sound list."""
    try:
        return sorted(set(_weight_map(str(folder / INDEX)).values()))
    except CheckpointError:
        return []


def open_weights(folder: Path) -> SafetensorsFile | Shards:
    """Open the weights in a folder.

    Raises
    ------
    CheckpointError
        There are none, or only a pickle, which is not read.
    """
    if (folder / WEIGHTS).exists():
        return SafetensorsFile(folder / WEIGHTS)
    if (folder / INDEX).exists():
        return Shards(folder)
    files = [path for path in folder.iterdir() if path.is_file()]
    pickles = [path for path in files if path.name.endswith(_PICKLES_IN_A_FOLDER)]
    if pickles:  # the largest has the weights; others are of training
        largest = max(sorted(pickles), key=lambda path: path.stat().st_size)
        raise CheckpointError(f"{largest} is not read: {PICKLE_ADVICE}")
    raise CheckpointError(f"{folder} has no weights; expected {WEIGHTS}, or {INDEX} with its files")
