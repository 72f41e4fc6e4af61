"""Text files to one string, and the text that every CPython carries.

Bytes are kept as they are: a Windows line end stays two characters, because a model should learn
the text it was given. The one exception is a byte order mark at the very start of a file, which
is a note to the reader about the encoding and not a part of the text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from scratchgrad.errors import DataError

EMBEDDED_NAME = "the Python language reference (pydoc_data.topics)"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_text(path: str | os.PathLike[str]) -> str:
    """Read one UTF-8 file.

    Parameters
    ----------
    path : str or path
        The file. Line ends are kept as they are; a leading byte order mark is dropped.

    Returns
    -------
    str
        The text, never empty.

    Raises
    ------
    DataError
        The file is missing, a folder, unreadable, empty, or not UTF-8 (the message then names
        the file and the offset of the first wrong byte).
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"no such text file: {path}; check the spelling and the folder") from None
    except PermissionError as error:
        # Windows answers a folder with "permission denied" too, so the kind is asked first.
        if Path(path).is_dir():
            raise _is_a_folder(path) from None
        raise DataError(f"may not read {path}: {error.strerror}; check its permissions") from None
    except IsADirectoryError:
        raise _is_a_folder(path) from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    start = len(_BYTE_ORDER_MARK) if raw.startswith(_BYTE_ORDER_MARK) else 0
    try:
        text = raw[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte 0x{raw[start + error.start]:02x} at offset "
            f"{start + error.start} ({error.reason}); convert the file to UTF-8"
        ) from None
    if not text:
        raise DataError(f"{path} is empty; expected a file with some text")
    return text


def read_texts(paths: Sequence[str | os.PathLike[str]]) -> str:
    r"""Read several UTF-8 files and join them, in the order given.

    A newline is put between two files where the first does not end in one, so that the last
    word of a file and the first of the next stay two words.

    Raises
    ------
    DataError
        No file is given, or one of them cannot be read (see `read_text`).
    """
    if not paths:
        raise DataError("no text files given; expected one or more")
    pieces: list[str] = []
    for path in paths:
        if pieces and not pieces[-1].endswith("\n"):
            pieces.append("\n")
        pieces.append(read_text(path))
    return "".join(pieces)


def embedded_text() -> str:
    """Return about 470 KB of real prose that needs no download: the Python language reference.

    It is the text behind ``help("assert")`` and its like, topics in alphabetical order. It
    changes between Python versions, so no number about it is worth remembering.

    Raises
    ------
    DataError
        This Python was installed without it (some minimal packages leave it out).
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "this Python carries no pydoc_data.topics, the text used when none is given; "
            "name a text file instead: scratchgrad train FILE"
        ) from None
    text = "\n\n\n".join(topics[name].strip("\n") for name in sorted(topics))
    if not text:
        raise DataError("pydoc_data.topics is empty; name a text file: scratchgrad train FILE")
    return text + "\n"


def _is_a_folder(path: str | os.PathLike[str]) -> DataError:
    return DataError(f"{path} is a folder; expected text files, such as {Path(path) / '*.txt'}")
