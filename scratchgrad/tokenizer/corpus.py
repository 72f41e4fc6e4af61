"""What a tokenizer is trained on or encodes: text, bytes, files, folders, or iterators of these.

A source is any number of *documents*, and no piece reaches from one into the next. A document may
be larger than memory: it comes in blocks, cut where the pattern allows. An expression of the
user's allows it nowhere, and its documents are read whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import DataError
from scratchgrad.kernels.bpe.table import PADDING
from scratchgrad.tokenizer.patterns import Pattern

Document: TypeAlias = str | bytes | bytearray | memoryview | Path
Source: TypeAlias = Document | Iterable[Document]

BLOCK = 1 << 20  # bytes: what lies in the second cache together with what is made of it
SMALL = BLOCK >> 3  # a document of fewer bytes shares a block with others

_NAME_LENGTH = 255  # the longest name of a file


class Block(NamedTuple):
    """A part of a document, whose pieces are those that the whole document has there.

    Attributes
    ----------
    text : array of uint8
        With `PADDING` after its ``stop`` bytes.
    stop : int
    last : bool
        Whether the document ends with it.
    """

    text: NDArray[np.uint8]
    stop: int
    last: bool


def to_bytes(text: str | bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
    """UTF-8 of a str, half a surrogate pair included; bytes are taken as they are."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def documents(source: Source) -> Iterator[Document]:
    """The documents of a source, in order; a folder's files by name, hidden ones left out.

    Links to files are followed, links to folders are not: they may lead round in a circle.

    Raises
    ------
    DataError
        There is no such file, a folder without files, a pipe or a device, which may never end,
        something that is none of these, or a short str that is the name of a file: then Path was
        probably forgotten.
    """
    if isinstance(source, str):
        if len(source) <= _NAME_LENGTH and "\n" not in source and _is_file(source):
            raise DataError(
                f"{source!r} is text here, and would be taken as it stands; for the file of that "
                f"name give pathlib.Path({source!r})"
            )
        yield source
    elif isinstance(source, bytes | bytearray | memoryview):
        yield source
    elif isinstance(source, Path):
        yield from files_in(source)
    elif isinstance(source, Iterable) and not isinstance(source, Mapping):  # of keys alone
        for item in source:
            if not isinstance(item, str | bytes | bytearray | memoryview | Path):
                raise DataError(
                    f"expected an iterable of str, bytes or Path; got {type(item).__name__} in it"
                )
            yield from files_in(item) if isinstance(item, Path) else (item,)
    else:
        raise DataError(
            f"expected text as a str or bytes, a file or folder as a pathlib.Path, or an iterable "
            f"of these; got {type(source).__name__}"
        )


def total_bytes(source: Source) -> int | None:
    """How many bytes a source has, if that can be told without reading it."""
    if isinstance(source, str | bytes | bytearray | memoryview | Path):
        source = [source]
    if not isinstance(source, list | tuple):
        return None
    return sum(_size(document) for document in documents(source))


def groups(source: Iterable[Document]) -> Iterator[list[bytes] | Document]:
    """Documents, the small ones in lists of about a block, in order."""
    small: list[bytes] = []
    held = 0
    for document in source:
        if _size(document) >= SMALL:
            if small:
                yield small
            small, held = [], 0
            yield document
            continue
        content = b"".join(_chunks(document, SMALL))
        small.append(content)
        held += len(content) + PADDING
        if held >= BLOCK:
            yield small
            small, held = [], 0
    if small:
        yield small


def blocks(document: Document, pattern: Pattern, size: int = BLOCK) -> Iterator[Block]:
    """Cut a document into blocks of about ``size`` bytes. A document without a byte has none."""
    text, stop = np.zeros(size + PADDING, np.uint8), 0
    chunks = _chunks(document, size)
    chunk = next(chunks, None)
    while chunk is not None:
        if stop + len(chunk) + PADDING > len(text):
            # Twice as much each time: a text that can be cut nowhere is copied a few times at most
            longer = np.zeros(2 * (stop + len(chunk)) + PADDING, np.uint8)
            longer[:stop] = text[:stop]
            text = longer
        text[stop : stop + len(chunk)] = np.frombuffer(chunk, np.uint8)
        stop += len(chunk)
        chunk = next(chunks, None)
        room = stop + (len(chunk) if chunk is not None else 0) + PADDING <= len(text)
        if chunk is None or not room:
            cut = pattern.cut(text, stop) if chunk is not None else stop
            if cut:
                rest = text[cut:stop].copy()
                text[cut : cut + PADDING] = 0
                yield Block(text, cut, chunk is None)
                stop = len(rest)
                text[:stop] = rest


def _size(document: Document) -> int:
    """How long a document is: bytes, but of a str the characters."""
    if not isinstance(document, Path):
        return len(document)
    try:
        return document.stat().st_size
    except OSError as error:
        raise DataError(f"cannot read {document}: {error.strerror or error}") from None


def _chunks(document: Document, size: int) -> Iterator[bytes | bytearray | memoryview]:
    """The bytes of a document, ``size`` or so at a time."""
    if isinstance(document, Path):
        yield from _read(document, size)
    elif isinstance(document, str):
        for begin in range(0, len(document), size):
            yield to_bytes(document[begin : begin + size])
    else:
        whole = memoryview(document)
        whole = whole.cast("B") if whole.c_contiguous else memoryview(bytes(whole))
        for begin in range(0, len(whole), size):
            yield whole[begin : begin + size]


def _read(path: Path, size: int) -> Iterator[memoryview]:
    buffer = bytearray(size)
    try:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                yield memoryview(buffer)[:count]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def files_in(path: Path) -> Iterator[Path]:
    """The file itself, or the files of a folder."""
    try:
        if not path.exists():
            raise DataError(f"no such file or folder: {path}; check the spelling and the folder")
        if not path.is_dir():
            yield _regular(path)
            return
        found = sorted(
            Path(folder) / name
            for folder, _, names in os.walk(path, onerror=_fail)
            for name in names
            if not any(
                part.startswith(".") for part in (Path(folder) / name).relative_to(path).parts
            )
        )
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from None
    if not found:
        raise DataError(f"{path} is a folder without files; expected some with text in them")
    yield from map(_regular, found)


def _fail(error: OSError) -> None:
    raise error  # os.walk would pass over a folder that it may not read


def _regular(path: Path) -> Path:
    if not path.is_file():
        raise DataError(
            f"{path} is neither a file nor a folder; of a pipe or a device give the bytes"
        )
    return path


def _is_file(name: str) -> bool:
    try:
        return os.path.isfile(name)
    except ValueError:  # a NUL in the name
        return False
