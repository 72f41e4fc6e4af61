"""Safetensors: a file of named arrays that holds nothing else, read by rule.

==============  ====================================================================
bytes           content
==============  ====================================================================
8               N, the length of the header: unsigned, little-endian
N               the header: a JSON object, name -> {"dtype", "shape", "data_offsets"},
                and perhaps "__metadata__", an object of texts; spaces may follow
the rest        the arrays one after the other, in C order, little-endian
==============  ====================================================================

``data_offsets`` are the first byte and the one after the last, counted from the end of the header.
What the format's own library refuses is refused here, and its rules are few: a header of at most
100 MB that lies within the file; no name twice; arrays that follow each other without a hole or an
overlap, from the header to the last byte of the file; each as long as its shape and dtype say. So
a file cannot ask for more memory than it has bytes.

Source: the format's description in the repository huggingface/safetensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.files import TEMPORARY_SUFFIX, sync_folder
from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import CheckpointError, DtypeError
from scratchgrad.interop.files import parse_json
from scratchgrad.interop.tensor_file import WIDTHS, Entry, TensorFile

MAX_HEADER_BYTES = 100_000_000
_LONGEST_NAME = 1024
_MOST_AXES = 32
_WRITTEN = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}


class SafetensorsFile(TensorFile):
    """A file whose header has been read and checked, and whose arrays are read one by one.

    Attributes
    ----------
    path : str
    entries : dict of Entry
        By name, in the order of the file.
    metadata : dict of str

    Raises
    ------
    CheckpointError
        The file is missing, or breaks a rule of the format; the message names the file, the array,
        what was expected and what was found.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> path = tempfile.mkdtemp() + "/two.safetensors"
    >>> write_safetensors(path, {"a": np.eye(2, dtype=np.float32), "b": np.zeros(3)})
    >>> with SafetensorsFile(path) as file:
    ...     print({name: (entry.dtype, entry.shape) for name, entry in file.entries.items()})
    ...     print(file.read("a"))
    {'a': ('F32', (2, 2)), 'b': ('F64', (3,))}
    [[1. 0.]
     [0. 1.]]
    """

    metadata: dict[str, str]

    def _find(self) -> dict[str, Entry]:
        where, size = self.path, self.size
        if size < 8:
            raise CheckpointError(
                f"{where} is no safetensors file: it has {size} bytes; expected 8 or more"
            )
        length = int.from_bytes(self._read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise CheckpointError(
                f"{where} is no safetensors file: its header would have {length:,} bytes; expected "
                f"at most {MAX_HEADER_BYTES:,}"
            )
        if length > size - 8:
            raise CheckpointError(
                f"{where} is cut short: its header should have {length:,} bytes; the file has "
                f"{size - 8:,} after the first 8"
            )
        raw = bytes(self._read(length))
        if raw[:1] != b"{":
            raise CheckpointError(
                f"{where} is no safetensors file: its header begins with {raw[:1]!r}; expected '{{'"
            )
        body = parse_json(raw, f"{where}: the header")
        self.metadata = _metadata(body.pop("__metadata__", {}), where)
        found = [(name, _entry(name, value, 8 + length, where)) for name, value in body.items()]
        # The header may name them in any order. Of one place, the empty array comes first.
        found.sort(key=lambda item: (item[1].start, item[1].stop))
        _check_cover(found, 8 + length, size, where)
        return dict(found)


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that begins with these 16 bytes may be one, whatever its name is."""
    return int.from_bytes(head[:8], "little") <= MAX_HEADER_BYTES and head[8:9] == b"{"


def _metadata(found: Any, where: str) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise CheckpointError(
            f"{where}: expected __metadata__ to be an object of texts; got {shorten(found)}"
        )
    return found


def _entry(name: str, found: Any, base: int, where: str) -> Entry:
    """Check what the header says about one array, all but its place among the others."""
    what = f"{where}: tensor {shorten(name)}"
    try:
        if len(name.encode("utf-8")) > _LONGEST_NAME:
            raise CheckpointError(f"{what}: a name of more than {_LONGEST_NAME} bytes")
    except UnicodeEncodeError:
        raise CheckpointError(f"{what}: the name is no UTF-8") from None
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(found, dict) or found.keys() != keys:
        raise CheckpointError(f"{what}: expected {', '.join(sorted(keys))}; got {shorten(found)}")
    dtype, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        raise CheckpointError(
            f"{what}: expected a dtype of {', '.join(WIDTHS)}; got {shorten(dtype)}"
        )
    if not _are_sizes(shape) or len(shape) > _MOST_AXES:
        raise CheckpointError(
            f"{what}: expected a shape of at most {_MOST_AXES} whole numbers; got {shorten(shape)}"
        )
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(
            f"{what}: expected data_offsets to be two whole numbers, the smaller one first; got "
            f"{shorten(offsets)}"
        )
    wanted = bound = WIDTHS[dtype]
    for size in shape:
        wanted, bound = wanted * size, bound * max(size, 1)  # an empty axis hides no large one
        if bound >= 2**63:
            raise CheckpointError(f"{what}: shape {shorten(shape)} is too large for any memory")
    if offsets[1] - offsets[0] != wanted:
        raise CheckpointError(
            f"{what}: {dtype} of shape {shorten(shape)} has {wanted:,} bytes; data_offsets say "
            f"{offsets[1] - offsets[0]:,}"
        )
    return Entry(dtype, tuple(shape), base + offsets[0], base + offsets[1])


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _check_cover(found: list[tuple[str, Entry]], begin: int, size: int, where: str) -> None:
    """Every byte after the header belongs to one array, and to one only."""
    end = begin
    for name, entry in found:
        if entry.start != end:
            fault = "overlaps the one before it" if entry.start < end else "follows a hole"
            raise CheckpointError(
                f"{where}: tensor {shorten(name)} {fault}: expected it to begin at byte "
                f"{end - begin:,} after the header; it begins at {entry.start - begin:,}"
            )
        end = entry.stop
    if end != size:
        fault = "is cut short" if end > size else "goes on after its last tensor"
        raise CheckpointError(
            f"{where} {fault}: expected {end:,} bytes by its header; it has {size:,}"
        )


# ---- writing


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]] | Iterable[tuple[str, NDArray[Any]]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays of float32 or float64 in one move: the file is whole, or the former one.

    Memory is taken for one array, where it is not in C order.

    Raises
    ------
    DtypeError
        An array holds something else.
    OSError
        The disk is full, or may not be written.
    """
    place = Path(path)
    items = list(tensors.items() if isinstance(tensors, Mapping) else tensors)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, array in items:
        if array.dtype not in _WRITTEN:
            raise DtypeError(f"write_safetensors: {name} is {array.dtype}; expected float32, 64")
        if name in header:
            raise CheckpointError(f"write_safetensors: the name {name!r} stands twice")
        offsets = [end, end := end + array.nbytes]
        header[name] = {
            "dtype": _WRITTEN[array.dtype],
            "shape": list(array.shape),
            "data_offsets": offsets,
        }
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)  # so that the arrays begin at a multiple of 8
    temporary = place.with_name(place.name + TEMPORARY_SUFFIX)
    try:
        with open(temporary, "wb") as file:
            file.write(len(raw).to_bytes(8, "little") + raw)
            for _, array in items:
                file.write(_bytes(array))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # as where the disk is full
            error.filename = str(place)
        raise
    sync_folder(place.parent)


def _bytes(array: NDArray[Any]) -> memoryview:
    little = array.dtype.newbyteorder("<")
    return np.ascontiguousarray(array, dtype=little).reshape(-1).view(np.uint8).data
