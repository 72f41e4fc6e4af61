"""The alphabet in which GPT-2's files, and Hugging Face's after them, spell bytes.

A byte is spelled as one visible letter, so that a token is a word without spaces in it. The bytes
that are visible in Latin-1 are spelled as themselves. The others (controls, the space, 0x7f to
0xa0, the soft hyphen) take, in order, the letters from U+0100 on: the space becomes U+0120.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError
from scratchgrad.tokenizer.reading import by_id
from scratchgrad.tokenizer.vocabulary import Vocabulary


def _letters() -> str:
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in visible else next(hidden)) for byte in range(256))


LETTERS = _letters()  # the letter of byte b is LETTERS[b]
_TO_LATIN = {ord(letter): byte for byte, letter in enumerate(LETTERS)}
_TO_LETTERS = dict(enumerate(LETTERS))


def spell(token: bytes) -> str:
    """Write bytes as letters."""
    return token.decode("latin-1").translate(_TO_LETTERS)


def unspell(word: str) -> bytes | None:
    """Read letters as bytes; None where one of them is not of this alphabet."""
    if any(ord(letter) not in _TO_LATIN for letter in word):
        return None
    return word.translate(_TO_LATIN).encode("latin-1")


def vocabulary(
    words: Mapping[str, Any],
    pairs: Iterable[tuple[str, str]],
    special_tokens: Mapping[str, Any],
    whole_pieces: bool = False,
) -> Vocabulary:
    """Make a vocabulary of words spelled in this alphabet.

    Parameters
    ----------
    words : mapping of str to int
        The ordinary tokens and their ids.
    pairs : iterable of pairs of str
        The merges, the one that goes first at the head.
    special_tokens : mapping of str to int
        Spelled as text, not in this alphabet.
    whole_pieces : bool
        As in `Vocabulary`.
    """
    spelled: list[tuple[bytes, Any]] = []
    for word, id_ in words.items():
        token = unspell(word)
        if token is None:
            raise DataError(
                f"the token {shorten(word)} has letters that stand for no byte; expected a "
                f"byte-level vocabulary"
            )
        spelled.append((token, id_))
    tokens = by_id(spelled, special_tokens, len(spelled))
    return Vocabulary(
        tokens=tuple(tokens),
        merges=_rows(words, pairs),
        special_tokens=special_tokens,
        whole_pieces=whole_pieces,
    )


def _rows(words: Mapping[str, int], pairs: Iterable[tuple[str, str]]) -> NDArray[np.int32]:
    rows: list[Any] = []
    find = words.get
    for rank, (left, right) in enumerate(pairs):
        row = (find(left), find(right), find(left + right), rank)
        if None in row:
            missing = (left, right, left + right)[row.index(None)]
            raise DataError(
                f"merge {rank} joins {shorten(left)} and {shorten(right)}, but "
                f"{shorten(missing)} is no token of this vocabulary"
            )
        rows.append(row)
    return np.array(rows, dtype=np.int32).reshape(-1, 4)
