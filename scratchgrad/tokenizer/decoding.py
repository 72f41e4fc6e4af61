"""From ids to bytes and text.

A str may hold a lone surrogate, half of a UTF-16 pair, and encoding carries it as the three bytes
that UTF-8 would give it: ED A0..BF 80..BF. Decoding gives it back, wherever it stands. Every other
byte that is not UTF-8 is wrong, and the caller says what becomes of it. One handler of errors does
both, so a stream and a whole text cannot disagree.
"""

from __future__ import annotations

import codecs
import operator
import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import ConfigError, DataError, DtypeError, IdRangeError
from scratchgrad.tokenizer.vocabulary import Vocabulary

ERRORS = ("replace", "strict", "ignore", "backslashreplace", "surrogateescape", "surrogatepass")

_CODEC = "utf-8"
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


def _register(errors: str) -> str:
    """Make known a handler of bytes that are not UTF-8: surrogates, or else what ``errors`` says.

    Returns
    -------
    str
        The name by which `bytes.decode` knows it.
    """
    otherwise, name = codecs.lookup_error(errors), f"scratchgrad.surrogates-else-{errors}"

    def handle(error: UnicodeError) -> tuple[str | bytes, int]:
        if isinstance(error, UnicodeDecodeError):
            three = error.object[error.start : error.start + 3]
            if _SURROGATE.fullmatch(three):
                return three.decode(_CODEC, "surrogatepass"), error.start + 3
        return otherwise(error)

    codecs.register_error(name, handle)
    return name


_HANDLERS = {errors: _register(errors) for errors in ERRORS}


class Decoder:
    """The bytes of ids. Errors are those that `BPETokenizer.decode` names."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokens = [token or b"" for token in vocabulary.tokens]
        self._gaps = np.array([token is None for token in vocabulary.tokens])
        self.prefix_space = vocabulary.prefix_space

    def token(self, id_: int, what: str = "token_bytes") -> bytes:
        """The bytes of one id."""
        number = check_id(id_, len(self._tokens), f"BPETokenizer.{what}")
        if self._gaps[number]:
            raise IdRangeError(
                f"BPETokenizer.{what}: id {number} has no token; it is a gap in this vocabulary"
            )
        return self._tokens[number]

    def joined(self, ids: ArrayLike) -> bytes:
        """The bytes of a row of ids."""
        tokens = self._tokens
        data = b"".join([tokens[id_] for id_ in self._check(ids).tolist()])
        return data.removeprefix(b" ") if self.prefix_space else data

    def text(self, ids: ArrayLike, errors: str) -> str:
        """The same as text."""
        if errors not in ERRORS:
            raise ConfigError(f"errors: expected one of {', '.join(ERRORS)}; got {errors!r}")
        data = self.joined(ids)
        try:
            return data.decode(_CODEC, _HANDLERS[errors])
        except UnicodeDecodeError as error:
            raise DataError(
                f"the ids are not those of a UTF-8 text: byte 0x{data[error.start]:02x} at "
                f"{error.start} ({error.reason}); decode_bytes gives the bytes as they are"
            ) from None

    def _check(self, ids: ArrayLike) -> NDArray[Any]:
        array = check_ids(ids, len(self._tokens), "BPETokenizer")
        missing = self._gaps[array]
        if missing.any():
            place = int(missing.argmax())
            raise IdRangeError(
                f"BPETokenizer.decode: id {array[place]} at position {place} has no token; it is a "
                f"gap in this vocabulary"
            )
        return array


def check_ids(ids: ArrayLike, size: int, whose: str) -> NDArray[Any]:
    """Return ids as an array, if they are a row of whole numbers from 0 to size - 1.

    Raises
    ------
    DtypeError, IdRangeError
        They are not; the message begins with whose they are.
    """
    try:
        array = np.atleast_1d(np.asarray(ids))
        whole = array.dtype.kind in "iu"
        if array.dtype.kind in "fO":  # whole numbers too large for NumPy become one of these
            exact = np.atleast_1d(np.asarray(ids, dtype=object))
            if all(type(id_) is int for id_ in exact.flat):
                array, whole = exact, True
    except ValueError:  # rows of several lengths
        raise DtypeError(
            f"{whose}.decode: expected a row of whole numbers; got {shorten(ids)}"
        ) from None
    if array.size == 0:
        return np.zeros(0, np.int64)
    if not whole or array.ndim != 1:
        if array.dtype.kind == "O":
            raise DtypeError(f"{whose}.decode: expected a row of whole numbers; got {shorten(ids)}")
        raise DtypeError(
            f"{whose}.decode: expected a row of whole numbers; got dtype {array.dtype}, shape "
            f"{array.shape}"
        )
    outside = (array < 0) | (array >= size)
    if outside.any():
        place = int(outside.argmax())
        raise IdRangeError(
            f"{whose}.decode: id {shorten(int(array[place]))} at position {place} is outside the "
            f"vocabulary; expected 0 to {size - 1}"
        )
    return array if array.dtype != object else array.astype(np.int64)


def check_id(id_: Any, size: int, what: str) -> int:
    """Return an id, if it is a whole number from 0 to size - 1; see `check_ids`."""
    try:
        if isinstance(id_, bool):
            raise TypeError
        number = operator.index(id_)
    except TypeError:
        raise DtypeError(f"{what}: expected one id, a whole number; got {shorten(id_)}") from None
    if not 0 <= number < size:
        raise IdRangeError(
            f"{what}: id {shorten(number)} is outside the vocabulary; expected 0 to {size - 1}"
        )
    return number


class TokenStream:
    """Ids in, text out, each character as soon as it is complete."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._utf8 = codecs.getincrementaldecoder(_CODEC)(_HANDLERS["replace"])
        self._strip = decoder.prefix_space

    def push(self, id_: int) -> str:
        """Take an id; return the text that has become certain, which may be none."""
        data = self._decoder.token(id_, "stream().push")
        if self._strip:
            data, self._strip = data.removeprefix(b" "), False
        return self._utf8.decode(data)

    def flush(self) -> str:
        """Return what is left at the end: U+FFFD for a character that did not become complete."""
        return self._utf8.decode(b"", final=True)
