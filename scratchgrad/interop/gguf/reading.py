"""The file: a header, named values, a table of tensors, their bytes.

=============  ===================================================================
bytes          content, all little-endian
=============  ===================================================================
4              "GGUF"
4              the version, 2 or 3, which differ in what big-endian files look like
8, 8           how many tensors, how many values
values         for each a name (string), a type (4 bytes) and the value
table          for each tensor its name (string), the number of its axes (4), their
               lengths (8 each, the fastest axis first), its type (4), and where its
               bytes begin (8), counted from the first byte of all tensors
padding        zeros, up to a multiple of the alignment
tensors        each begins at a multiple of the alignment, right after the one before
=============  ===================================================================

A string is its length (8) and that many bytes of UTF-8. An array is the type of its items (4),
their number (8), and the items. The alignment is the value ``general.alignment``, or 32.

A number in a file is only a claim. Every length is held against the bytes that are left before
anything is done with it; arrays are passed over, and read when somebody asks for them; a tensor is
read a megabyte at a time into the array that is asked for. So memory is that array, and what the
names of the table take. As the other readers here, this one reads and does not map: a file that is
cut short under a mapping ends the process.

Source: the format's description, docs/gguf.md of the repository ggml-org/ggml.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.files import open_file, read_exactly
from scratchgrad.interop.gguf.quantised import BLOCKS, PIECE_BLOCKS

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32

# The types of values: what struct and NumPy call those that are numbers.
_NUMBERS = {
    0: "u1",
    1: "i1",
    2: "u2",
    3: "i2",
    4: "u4",
    5: "i4",
    6: "f4",
    10: "u8",
    11: "i8",
    12: "f8",
}
_BOOL, _STRING, _ARRAY = 7, 8, 9

# The types of tensors: what is read is in BLOCKS, the others are refused by their names.
_OTHER_TYPES = {
    4: "Q4_2", 5: "Q4_3", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
    13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
    27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip

# The largest files in use have 1,200 tensors, 60 values and 600,000 strings in their arrays. These
# bound the time that a hostile file can take; its memory is bounded by its size.
MAX_TENSORS = 1 << 16
MAX_VALUES = 1 << 16
MAX_STRINGS = 4_000_000
_MAX_NAME = 1 << 10
_MAX_STRING = 16 << 20
_MAX_AXES = 4
_MAX_DEPTH = 4  # of arrays in arrays
# The least bytes that a value, a row of the table, or an item of an array has.
_LEAST_VALUE, _LEAST_ROW = 8 + 1 + 4 + 1, 8 + 1 + 4 + 8 + 4 + 8
_LEAST_ITEM = {_BOOL: 1, _STRING: 8, _ARRAY: 12} | {t: int(n[1]) for t, n in _NUMBERS.items()}


@dataclass(frozen=True)
class Array:
    """An array among the values: where it stands in the file. `GGUF.strings` and others read it."""

    name: str
    kind: int
    length: int
    start: int
    stop: int


def shown(value: object) -> str:
    """A value for a message; of an array, that it is one."""
    return "an array" if isinstance(value, Array) else shorten(value)


@dataclass(frozen=True)
class Tensor:
    """A row of the table. ``shape`` is in NumPy's order: the last axis is the fastest."""

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


class GGUF:
    """An open file, all of whose claims about itself have been checked.

    Attributes
    ----------
    values : dict of str to int, float, bool, str or Array
    tensors : dict of str to Tensor

    Raises
    ------
    CheckpointError
        The file is no GGUF, is cut short, contradicts itself, or has what is not read here.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._file, self._size = open_file(path, "file of weights")
        self._at = 0
        self._strings_left = MAX_STRINGS
        self.values: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> GGUF:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        self._file.close()

    def refuse(self, reason: str) -> CheckpointError:
        """An error with the name of the file before it."""
        return CheckpointError(f"{self.path}: {reason}")

    # -- the header ----------------------------------------------------------------------------

    def _read_header(self) -> None:
        magic = self._take(min(4, self._size), "the first four bytes")
        if magic != _MAGIC:
            raise self.refuse(f"no GGUF: expected it to begin with {_MAGIC!r}; got {magic!r}")
        version = self._number("u4", "the version")
        if version not in _VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            big = swapped in _VERSIONS
            raise self.refuse(
                f"GGUF version {swapped if big else version}{', big-endian' if big else ''}; "
                f"expected version 2 or 3, little-endian; convert the model again"
            )
        tensors = self._count("tensors", MAX_TENSORS, _LEAST_ROW)
        values = self._count("values", MAX_VALUES, _LEAST_VALUE)
        for _ in range(values):
            name = self._name("a value", self.values)
            self.values[name] = self._value(name, self._number("u4", f"the type of {name}"))
        alignment = self._alignment()
        rows = [self._row() for _ in range(tensors)]
        start = -(-self._at // alignment) * alignment
        self._place(rows, start, alignment)

    def _count(self, of: str, most: int, least_bytes: int) -> int:
        count = self._number("u8", f"the number of {of}")
        if count > most or count * least_bytes > self._size:
            raise self.refuse(
                f"says that it has {count:,} {of}; expected at most {most:,}, and at least "
                f"{least_bytes} bytes for each in a file of {self._size:,} bytes"
            )
        return count

    def _name(self, what: str, known: Any) -> str:
        name = self._string(f"the name of {what}", _MAX_NAME)
        if not name or not name.isprintable():
            raise self.refuse(f"the name of {what} is {shorten(name)}; expected visible characters")
        if name in known:
            raise self.refuse(f"{shorten(name)} stands twice")
        return name

    def _value(self, name: str, kind: int) -> Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind], name)
        if kind == _BOOL:
            byte = self._number("u1", name)
            if byte > 1:
                raise self.refuse(f"{name} is a truth value of {byte}; expected 0 or 1")
            return bool(byte)
        if kind == _STRING:
            return self._string(name, _MAX_STRING)
        if kind == _ARRAY:
            return self._array(name, 1)
        raise self.refuse(f"{name} has the unknown type {kind}; expected 0 to 12")

    def _array(self, name: str, depth: int) -> Array:
        """Pass over an array, so that its end is known, and nothing of it is kept."""
        kind = self._number("u4", f"the type of the items of {name}")
        length = self._number("u8", f"the length of {name}")
        if kind not in _LEAST_ITEM:
            raise self.refuse(f"the items of {name} have the unknown type {kind}; expected 0 to 12")
        if length * _LEAST_ITEM[kind] > self._size - self._at:
            raise self.refuse(
                f"{name} says that it has {length:,} items; expected no more than fit into the "
                f"{self._size - self._at:,} bytes that are left"
            )
        start = self._at
        if kind in (_STRING, _ARRAY):
            self._strings_left -= length
            if self._strings_left < 0:
                raise self.refuse(f"has more than {MAX_STRINGS:,} strings in arrays; too many")
            if depth > _MAX_DEPTH:
                raise self.refuse(f"{name} is nested more than {_MAX_DEPTH} deep")
            for _ in range(length):
                if kind == _STRING:
                    self._skip(self._number("u8", name), name)
                else:
                    self._array(name, depth + 1)
        else:
            self._skip(length * _LEAST_ITEM[kind], name)
        return Array(name, kind, length, start, self._at)

    def _alignment(self) -> int:
        alignment = self.values.get("general.alignment", _ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise self.refuse(f"general.alignment is {shown(alignment)}; expected a power of two")
        return alignment

    # -- the table -----------------------------------------------------------------------------

    def _row(self) -> Tensor:
        """One row, with its place still counted from the first byte of all tensors."""
        name = self._name("a tensor", self.tensors)
        axes = self._number("u4", f"the axes of {name}")
        if not 1 <= axes <= _MAX_AXES:
            raise self.refuse(f"tensor {name} has {axes:,} axes; expected 1 to {_MAX_AXES}")
        shape = tuple(self._number("u8", f"the shape of {name}") for _ in range(axes))[::-1]
        code = self._number("u4", f"the type of {name}")
        start = self._number("u8", f"the place of {name}")
        if code not in BLOCKS:
            kind = _OTHER_TYPES.get(code, f"an unknown one, {code}")
            known = ", ".join(block.name for block in BLOCKS.values())
            raise self.refuse(f"tensor {name} is of type {kind}; expected one of {known}")
        block = BLOCKS[code]
        if 0 in shape or shape[-1] % block.numbers:
            raise self.refuse(
                f"tensor {name} has the shape {shape}; expected rows of a multiple of "
                f"{block.numbers} numbers, for type {block.name}"
            )
        nbytes = math.prod(shape) // block.numbers * block.nbytes  # Python's numbers do not wrap
        if nbytes > self._size:
            raise self.refuse(
                f"tensor {name} has the shape {shape}; that is {nbytes:,} bytes of {block.name}, "
                f"in a file of {self._size:,}"
            )
        tensor = self.tensors[name] = Tensor(name, block.name, shape, start, nbytes)
        return tensor

    def _place(self, rows: list[Tensor], first: int, alignment: int) -> None:
        """Check that the tensors follow each other, from the first byte on, and fit in."""
        expected = 0
        for row in sorted(rows, key=lambda row: row.start):
            if row.start != expected:
                how = (
                    "misaligned"
                    if row.start % alignment
                    else ("on another tensor" if row.start < expected else "after a hole")
                )
                raise self.refuse(
                    f"tensor {row.name} begins at {row.start:,}, {how}; expected {expected:,}"
                )
            stop = first + row.start + row.nbytes
            if stop > self._size:
                raise self.refuse(
                    f"tensor {row.name} ends at byte {stop:,} of a file of {self._size:,}; "
                    f"the file was cut short, get it again"
                )
            self.tensors[row.name] = Tensor(
                row.name, row.kind, row.shape, first + row.start, row.nbytes
            )
            expected = -(-(row.start + row.nbytes) // alignment) * alignment

    # -- bytes ---------------------------------------------------------------------------------

    def _take(self, count: int, what: str) -> bytes:
        if count > self._size - self._at:
            raise self.refuse(
                f"{what}: expected {count:,} bytes at {self._at:,} of a file of {self._size:,}; "
                f"it was cut short, or is damaged"
            )
        data = self._file.read(count)
        if len(data) != count:
            raise self.refuse("became shorter while it was read")
        self._at += count
        return data

    def _skip(self, count: int, what: str) -> None:
        if count > self._size - self._at:
            self._take(count, what)
        self._file.seek(count, os.SEEK_CUR)
        self._at += count

    def _number(self, kind: str, what: str) -> Any:
        code = _CODES[kind]
        return code.unpack(self._take(code.size, what))[0]

    def _string(self, what: str, most: int) -> str:
        length = self._number("u8", f"the length of {what}")
        if length > most:
            raise self.refuse(f"{what} has {length:,} bytes; expected at most {most:,}")
        return self._text(self._take(length, what), what)

    def _text(self, data: bytes, what: str) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.refuse(
                f"{what} is not UTF-8: byte 0x{data[error.start]:02x} at {error.start}"
            ) from None

    # -- what is asked for ---------------------------------------------------------------------

    def strings(self, name: str) -> Iterator[str]:
        """Yield the strings of an array of strings, in order."""
        array = self._wanted(name, {_STRING}, "strings")
        data = self._all(array)
        at = 0
        for place in range(array.length):
            (length,) = _CODES["u8"].unpack_from(data, at)
            at += 8 + length
            yield self._text(data[at - length : at], f"item {place} of {name}")

    def numbers(self, name: str) -> NDArray[Any]:
        """Return an array of numbers."""
        array = self._wanted(name, set(_NUMBERS), "numbers")
        return np.frombuffer(self._all(array), dtype="<" + _NUMBERS[array.kind])

    def _wanted(self, name: str, kinds: set[int], what: str) -> Array:
        array = self.values.get(name)
        if not isinstance(array, Array) or array.kind not in kinds:
            got = "nothing" if array is None else "another type"
            raise self.refuse(f"{name}: expected an array of {what}; got {got}")
        return array

    def _all(self, array: Array) -> bytes:
        self._file.seek(array.start)
        self._at = array.start
        return self._take(array.stop - array.start, array.name)

    def read(self, name: str, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return a tensor as float32.

        Parameters
        ----------
        name : str
        out : array of float32, optional
            C-contiguous, of the tensor's shape; written and returned.
        """
        tensor = self.tensors[name]
        if out is None:
            out = np.empty(tensor.shape, np.float32)
        block = next(b for b in BLOCKS.values() if b.name == tensor.kind)
        rows = out.reshape(-1, block.numbers)  # a view: out is contiguous
        piece = np.empty((min(PIECE_BLOCKS, len(rows)), block.nbytes), np.uint8)
        self._file.seek(tensor.start)
        for start in range(0, len(rows), PIECE_BLOCKS):
            into = rows[start : start + PIECE_BLOCKS]
            data = piece[: len(into)]
            read_exactly(self._file, data.data.cast("B"), self.path)
            block.dequantise(data, into)
        return out


_CODES = {
    "u1": struct.Struct("<B"), "i1": struct.Struct("<b"), "u2": struct.Struct("<H"),
    "i2": struct.Struct("<h"), "u4": struct.Struct("<I"), "i4": struct.Struct("<i"),
    "f4": struct.Struct("<f"), "u8": struct.Struct("<Q"), "i8": struct.Struct("<q"),
    "f8": struct.Struct("<d"),
}  # fmt: skip
