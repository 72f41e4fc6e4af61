"""A file of named arrays, read one at a time: what safetensors and llama2.c's format share.

The arrays are read, not mapped: where a file is cut short under a mapping, the process dies. A
number of two bytes is widened a megabyte at a time, straight into the array that is asked for, so
that memory is that array and a megabyte.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.dtypes import bfloat16_to_float32, float16_to_float32
from scratchgrad.interop.files import open_file, read_exactly

# Bytes of a number. What is no float is checked for its place in the file, and not read.
WIDTHS = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
FLOATS = ("F32", "F64", "F16", "BF16")
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One array: its type, its shape, its first byte in the file and the one after its last."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Tensors(Protocol):
    """Named arrays that can be read: a file, or several that belong together."""

    @property
    def path(self) -> str:
        """What messages call it."""
        ...

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What is there."""
        ...

    def read_into(self, name: str, out: NDArray[Any]) -> None:
        """Read one array into a float32 or float64 array, in C order, of as many numbers."""
        ...


class TensorFile(ABC):
    """A file that is open, and where in it the arrays lie.

    Attributes
    ----------
    path : str
    size : int
        Bytes.
    entries : dict of Entry
    """

    entries: dict[str, Entry]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        self._file, self.size = open_file(path, "file of weights")
        try:
            self.entries = self._find()
        except BaseException:
            self._file.close()
            raise

    @abstractmethod
    def _find(self) -> dict[str, Entry]:
        """Read what the file says about itself, at its begin, and check it."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Arrays that were read stay."""
        self._file.close()

    def read(self, name: str, dtype: Any = np.float32) -> NDArray[Any]:
        """One array, in float32, or as float64.

        Raises
        ------
        CheckpointError
            There is no such array, it holds no floats, or the file has changed meanwhile.
        """
        out = np.empty(self._entry(name).shape, dtype=dtype)
        self.read_into(name, out)
        return out

    def read_into(self, name: str, out: NDArray[Any]) -> None:
        """Read one array into ``out``: float32 or float64, in C order, of as many numbers.

        A float64 of the file is rounded where ``out`` is float32.
        """
        entry = self._entry(name)
        if entry.dtype not in FLOATS:
            raise CheckpointError(
                f"{self.path}: {shorten(name)} holds {entry.dtype}; expected one of "
                f"{', '.join(FLOATS)}"
            )
        width = WIDTHS[entry.dtype]
        if not out.flags.c_contiguous or out.size * width != entry.stop - entry.start:
            raise CheckpointError(
                f"{self.path}: {shorten(name)} has shape {entry.shape}; expected {out.shape}"
            )
        flat = out.reshape(-1)
        self._file.seek(entry.start)
        if entry.dtype == {4: "F32", 8: "F64"}[flat.itemsize]:
            read_exactly(self._file, flat.view(np.uint8).data, self.path)
            if not np.little_endian:  # pragma: no cover
                flat.byteswap(inplace=True)
            return
        count = _PIECE_BYTES // width
        for start in range(0, flat.size, count):
            piece = flat[start : start + count]
            # A float64 beyond float32 is infinity there; what is no number may be a signalling one.
            with np.errstate(over="ignore", invalid="ignore"):
                piece[...] = _widened(self._read(len(piece) * width), entry.dtype)

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise CheckpointError(f"{self.path} has no tensor {shorten(name)}")
        return self.entries[name]

    def _read(self, count: int) -> bytearray:
        raw = bytearray(count)
        read_exactly(self._file, memoryview(raw), self.path)
        return raw


def _widened(raw: bytearray, dtype: str) -> NDArray[Any]:
    if dtype == "BF16":
        return bfloat16_to_float32(np.frombuffer(raw, dtype="<u2"))
    if dtype == "F16":
        return float16_to_float32(np.frombuffer(raw, dtype="<u2"))
    return np.frombuffer(raw, dtype="<f8" if dtype == "F64" else "<f4")
