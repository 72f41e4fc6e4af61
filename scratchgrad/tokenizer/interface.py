"""What a training run asks of a tokenizer, whichever it is."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class TextStream(Protocol):
    """Ids in, one by one; text out, as soon as it is known."""

    def push(self, id_: int, /) -> str:
        """Take an id, and return the whole characters that are known now; perhaps none."""
        ...

    def flush(self) -> str:
        """Return what is left at the end: a character that was cut short."""
        ...


class Tokenizer(Protocol):
    """Text to ids and back: `CharTokenizer` and `BPETokenizer`."""

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        ...

    def encode(self, text: str) -> NDArray[Any]:
        """Turn text into ids, in the smallest dtype that holds the vocabulary."""
        ...

    def decode(self, ids: ArrayLike) -> str:
        """Turn ids into text."""
        ...

    def token_bytes(self, id_: int, /) -> bytes:
        """Return what one id stands for, in UTF-8."""
        ...

    def stream(self) -> TextStream:
        """Return a decoder that is fed id by id and never splits a character."""
        ...

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary as JSON that a person can read."""
        ...


def byte_length(tokenizer: Tokenizer, ids: NDArray[Any]) -> int:
    """Return how many bytes of UTF-8 the ids stand for, cut characters included.

    >>> from scratchgrad.tokenizer import CharTokenizer
    >>> tokenizer = CharTokenizer("aé")
    >>> byte_length(tokenizer, tokenizer.encode("aéé"))
    5
    """
    present, counts = np.unique(ids, return_counts=True)
    lengths = [len(tokenizer.token_bytes(id_)) for id_ in present.tolist()]
    return sum(length * count for length, count in zip(lengths, counts.tolist(), strict=True))
