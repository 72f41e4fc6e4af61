"""Files of ids, written a block at a time and read without being read: memory-mapped .npy files."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.files import TEMPORARY_SUFFIX
from scratchgrad.data.untrusted import PathLike, shorten
from scratchgrad.errors import ConfigError, DataError
from scratchgrad.tokenizer.checks import check_path, check_progress, check_several
from scratchgrad.tokenizer.corpus import files_in, total_bytes
from scratchgrad.tokenizer.encoding import TextEncoder
from scratchgrad.tokenizer.special import Names, SpecialTokens
from scratchgrad.tokenizer.training import Progress


def encode_files(
    paths: PathLike | Sequence[PathLike],
    out: PathLike,
    encoder: TextEncoder,
    special: SpecialTokens,
    dtype: np.dtype[Any],
    *,
    separator: str | None,
    allowed_special: Names,
    disallowed_special: Names,
    progress: Progress | None,
) -> NDArray[Any]:
    """Encode files and folders of files into one file of ids, and return it mapped.

    The arguments and the errors are those of `BPETokenizer.encode_file`.
    """
    known = isinstance(separator, str) and separator in special.ids
    if separator is not None and not known:
        raise ConfigError(
            f"separator: expected a special token of this tokenizer, which has "
            f"{', '.join(special.ids) or 'none'}; got {shorten(separator)}"
        )
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    paths = check_several(paths, "paths", "paths")
    report = check_progress(progress)
    # all of them now, for the file that is written may lie among them
    files = [file for path in paths for file in files_in(check_path(path, "paths"))]
    total, done = total_bytes(files), 0
    with IdWriter(out, dtype, files) as writer:
        for file in files:
            with mapped(file) as text:
                special.check(text, allowed_special, disallowed_special, str(file))
                for ids in encoder.parts(text, allowed_special):
                    writer.write(ids)
                done += len(text)
            if separator is not None:
                writer.write(np.array([special.ids[separator]]))
            report("encoding", done, total)
    return np.load(out, mmap_mode="r")


class IdWriter:
    """Writes ids of one dtype to a .npy file, which appears when all of them are there.

    Parameters
    ----------
    path : path
    dtype : dtype
        Of the ids in the file.
    sources : iterable of paths
        What the ids are made from: none of them may be the file, or be written over.

    Raises
    ------
    DataError
        It cannot be written there; or, later, no more can be: the disk is full.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dtype: np.dtype[Any],
        sources: Iterable[Path] = (),
    ) -> None:
        self._path, self._dtype, self._count = check_path(path, "out"), dtype, 0
        with self._told():
            if self._path.exists() and not self._path.is_file():
                raise DataError(f"cannot write {path}: it is there, and is no file")
            self._temporary = self._path.with_name(self._path.name + TEMPORARY_SUFFIX)
            for written in (self._path, self._temporary):
                if written.exists() and any(os.path.samefile(written, each) for each in sources):
                    raise DataError(
                        f"cannot write {path}: {written} is one of the files to be read; "
                        f"write to another folder"
                    )

    def __enter__(self) -> IdWriter:
        with self._told():
            self._file = open(self._temporary, "wb")
            self._write_header()
        return self

    def write(self, ids: NDArray[Any]) -> None:
        """Append ids."""
        with self._told():
            self._file.write(ids.astype(self._dtype).data)
        self._count += len(ids)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DataError:
            raise
        except (OSError, ValueError) as error:  # ValueError: no name, or a NUL in it
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"cannot write {self._path}: {reason}") from None

    def _write_header(self) -> None:
        # NumPy leaves room in a header for the length to grow, so it can be written over
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self._told():
                    self._file.seek(0)
                    self._write_header()
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self._file.close()
                    os.replace(self._temporary, self._path)
        finally:
            with contextlib.suppress(OSError):  # of which there has been one already
                self._file.close()
            with contextlib.suppress(OSError):  # it has another name by now, if all went well
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
            # what is underway in an error's traceback may hold a part; the map goes with it
            with contextlib.suppress(BufferError):
                text.close()
