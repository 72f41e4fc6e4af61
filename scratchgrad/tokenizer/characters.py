"""The simplest tokenizer: every distinct character of a text is one id.

Ids follow the order of the code points, so the same set of characters always makes the same
vocabulary. Encoding is one table lookup over the whole text: a string becomes an array of code
points, and the table turns code points into ids.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchgrad.data import smallest_dtype
from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError, DtypeError
from scratchgrad.tokenizer.checks import write_file
from scratchgrad.tokenizer.decoding import check_id, check_ids
from scratchgrad.tokenizer.reading import read_json

FORMAT = "scratchgrad-characters"
VERSION = 1

# A str may hold a lone surrogate, half of a UTF-16 pair; the strict codec refuses to carry it.
_CODEC, _LENIENT = "utf-32-le", "surrogatepass"


class CharTokenizer:
    r"""A vocabulary of single characters.

    Parameters
    ----------
    characters : iterable of str
        The vocabulary in the order of its ids; usually left out and learned by `train`.

    >>> tokenizer = CharTokenizer().train("hello\n")
    >>> tokenizer.vocab_size
    5
    >>> tokenizer.encode("hole")
    array([2, 4, 3, 1], dtype=uint8)
    >>> tokenizer.decode([2, 1, 3, 4])
    'helo'
    """

    def __init__(self, characters: Iterable[str] = ()) -> None:
        self._set(list(characters), "CharTokenizer")

    def _set(self, characters: Sequence[Any], origin: str) -> None:
        """Check a vocabulary and build the two tables from it."""
        seen: dict[str, int] = {}
        for place, character in enumerate(characters):
            if not isinstance(character, str) or len(character) != 1:
                raise DataError(
                    f"{origin}: entry {place} of the vocabulary must be one character; "
                    f"got {shorten(character)}"
                )
            if character in seen:
                raise DataError(
                    f"{origin}: {_name(character)} stands twice in the vocabulary, at "
                    f"{seen[character]} and {place}; every character must have one id"
                )
            seen[character] = place
        self._characters = "".join(characters)
        self._codes = _code_points(self._characters)  # id -> code point
        # code point -> id, and -1 where there is none
        size = int(self._codes.max()) + 1 if len(self._codes) else 0
        self._ids = np.full(size, -1, dtype=np.int32)
        self._ids[self._codes] = np.arange(len(self._codes), dtype=np.int32)

    @property
    def characters(self) -> str:
        """The vocabulary; the character at place i has id i."""
        return self._characters

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self._characters)

    def __repr__(self) -> str:
        return f"CharTokenizer({self.vocab_size} characters)"

    def train(self, text: str) -> CharTokenizer:
        """Take the characters of ``text``, in code point order, as the vocabulary.

        Returns
        -------
        CharTokenizer
            Itself.

        Raises
        ------
        DataError
            The text is empty.
        """
        if not text:
            raise DataError("CharTokenizer.train: the text is empty; expected some characters")
        self._set(sorted(set(text)), "CharTokenizer.train")
        return self

    def encode(self, text: str) -> NDArray[Any]:
        """Turn text into ids.

        Returns
        -------
        array, shape (len(text),)
            In the smallest unsigned dtype that holds the vocabulary.

        Raises
        ------
        DataError
            A character is not in the vocabulary; the message names it and its position.
        DtypeError
            The text is no str.
        """
        if not isinstance(text, str):
            raise DtypeError(f"CharTokenizer.encode: expected a str; got {type(text).__name__}")
        codes = _code_points(text)
        known = codes < len(self._ids)
        ids = np.full(len(codes), -1, dtype=np.int32)
        ids[known] = self._ids[codes[known]]
        unknown = ids < 0
        if unknown.any():
            place = int(unknown.argmax())
            raise DataError(
                f"character {_name(text[place])} at position {place} is not among the "
                f"{self.vocab_size} characters that this tokenizer knows; leave it out, or train "
                f"on a text that has it"
            )
        return ids.astype(smallest_dtype(self.vocab_size))

    def decode(self, ids: ArrayLike) -> str:
        """Turn ids into text.

        Raises
        ------
        DtypeError
            The ids are not whole numbers.
        IdRangeError
            An id is outside the vocabulary; the message names it and its position.
        """
        array = check_ids(ids, self.vocab_size, "CharTokenizer")
        return self._codes[array].tobytes().decode(_CODEC, _LENIENT)

    def token_bytes(self, id_: int) -> bytes:
        """Return the UTF-8 of one character; raises as `decode` does."""
        id_ = check_id(id_, self.vocab_size, "CharTokenizer.token_bytes")
        return self._characters[id_].encode("utf-8", _LENIENT)

    def stream(self) -> CharStream:
        """Return a decoder that is fed id by id."""
        return CharStream(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary as JSON that a person can read."""
        # UTF-8 cannot carry a lone surrogate; a JSON escape can.
        lone = any("\ud800" <= character <= "\udfff" for character in self._characters)
        body = {"format": FORMAT, "version": VERSION, "characters": list(self._characters)}
        write_file(path, json.dumps(body, ensure_ascii=lone, indent=1).encode() + b"\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CharTokenizer:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            The file is missing, is not such a file, or its vocabulary cannot be one: an entry
            that is no single character, or one that stands twice.
        """
        body = read_json(path)
        if body.get("format") != FORMAT:
            raise DataError(
                f"{path} is not a character tokenizer: expected format {FORMAT!r}; "
                f"got {shorten(body.get('format'))}"
            )
        if type(body.get("version")) is not int or body["version"] != VERSION:
            raise DataError(
                f"{path}: expected version {VERSION} of {FORMAT}; got "
                f"{shorten(body.get('version'))}; a newer scratchgrad may read it"
            )
        characters = body.get("characters")
        if not isinstance(characters, list) or not characters:
            raise DataError(
                f"{path}: expected a list of characters, not empty; got {shorten(characters)}"
            )
        tokenizer = cls()
        tokenizer._set(characters, str(path))
        return tokenizer


class CharStream:
    """Ids in, one by one; here each is a character at once."""

    def __init__(self, tokenizer: CharTokenizer) -> None:
        self._tokenizer = tokenizer

    def push(self, id_: int) -> str:
        """Return the character of an id."""
        characters = self._tokenizer.characters
        return characters[check_id(id_, len(characters), "CharTokenizer.stream().push")]

    def flush(self) -> str:
        """Return what is left: nothing."""
        return ""


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode(_CODEC, _LENIENT), dtype="<u4")


def _name(character: str) -> str:
    """Return the character as a person can find it: visible, and by its code point."""
    return (
        f"{ascii(character) if character.isspace() else repr(character)} (U+{ord(character):04X})"
    )
