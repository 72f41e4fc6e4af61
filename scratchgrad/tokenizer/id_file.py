"""Files of ids, written a part at a time and read without being read: memory-mapped .npy files."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.files import TEMPORARY_SUFFIX
from scratchgrad.errors import DataError


class IdWriter:
    """Writes ids of one dtype to a .npy file, which appears when all of them are there.

    Parameters
    ----------
    path : path
    dtype : dtype
        Of the ids in the file.
    """

    def __init__(self, path: str | os.PathLike[str], dtype: np.dtype[Any]) -> None:
        self._path, self._dtype, self._count = Path(path), dtype, 0
        self._temporary = self._path.with_name(self._path.name + TEMPORARY_SUFFIX)

    def __enter__(self) -> IdWriter:
        self._file = open(self._temporary, "wb")
        self._write_header()
        return self

    def write(self, ids: NDArray[Any]) -> None:
        """Append ids."""
        ids.astype(self._dtype).tofile(self._file)
        self._count += len(ids)

    def _write_header(self) -> None:
        # NumPy leaves room in a header for the length to grow, so it can be written over
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.seek(0)
                self._write_header()
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()
        if kind is None:
            os.replace(self._temporary, self._path)
        else:
            with contextlib.suppress(OSError):
                self._temporary.unlink()


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[Any]:
    """The bytes of a file of any size, as if they were in memory.

    Raises
    ------
    DataError
        It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            try:
                text: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:  # an empty file cannot be mapped; nor can a pipe
                text = file.read()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        yield text
    finally:
        if not isinstance(text, bytes):
            text.close()
