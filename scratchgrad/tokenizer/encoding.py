"""From text to ids: special tokens apart, in blocks, cut into pieces, merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.bpe.encode import PieceEncoder
from scratchgrad.kernels.bpe.table import PADDING, padded
from scratchgrad.tokenizer.corpus import BLOCK, blocks, groups, to_bytes
from scratchgrad.tokenizer.patterns import Pattern
from scratchgrad.tokenizer.special import Names, SpecialTokens
from scratchgrad.tokenizer.vocabulary import Vocabulary


class TextEncoder:
    """A vocabulary and a pattern, ready to encode. Several threads may use it at once."""

    def __init__(self, vocabulary: Vocabulary, pattern: Pattern, special: SpecialTokens) -> None:
        self._pattern, self._special = pattern, special
        self._prefix_space = vocabulary.prefix_space
        marks = set(special.ids.values())
        ordinary = {
            id_: token
            for id_, token in enumerate(vocabulary.tokens)
            if token is not None and id_ not in marks
        }
        self._pieces = PieceEncoder(
            padded(b"".join(ordinary.values())),
            np.cumsum([len(token) for token in ordinary.values()], dtype=np.int64),
            np.array(list(ordinary), np.int64),
            vocabulary.merges,
            vocabulary.byte_ids,
            whole_pieces=vocabulary.whole_pieces,
            characters=vocabulary.characters,
        )

    def parts(self, text: Any, allowed: Names) -> Iterator[NDArray[Any]]:
        """Yield the ids of a text, a part at a time; the allowed special tokens become their ids.

        Parameters
        ----------
        text : str, bytes or mmap
        allowed : set of str, or "all"
        """
        prefix = self._prefix_space
        for part in self._special.split(text, allowed):
            if isinstance(part, int):
                yield np.array([part])
            else:
                if prefix:
                    part = " " + part if isinstance(part, str) else b" " + bytes(part)
                yield from self._ordinary(part)
            prefix = False

    def batch(self, texts: Iterable[str | bytes]) -> Iterator[NDArray[np.int32]]:
        """Yield the ids of each text, special tokens taken as ordinary text."""
        for group in groups(texts):
            if isinstance(group, list):
                yield from self._many(group)
            else:
                yield np.concatenate(list(self.parts(group, ())))

    def _many(self, texts: list[bytes]) -> list[NDArray[np.int32]]:
        if self._prefix_space:
            texts = [b" " + text if text else text for text in texts]
        ends, pieces = self._pattern.ends_of_texts(texts)
        sizes = np.zeros(len(ends), np.int32)
        ids = self._pieces.encode(padded(b"".join(texts)), ends, sizes)
        until = np.concatenate([[0], np.cumsum(sizes)])  # ids before each piece
        bounds = until[np.concatenate([[0], np.cumsum(pieces)])].tolist()
        return [ids[begin:end] for begin, end in pairwise(bounds)]

    def _ordinary(self, text: Any) -> Iterator[NDArray[np.int32]]:
        encode, ends = self._pieces.encode, self._pattern.ends
        if len(text) < BLOCK // 4:  # the usual case, without the machinery of the other
            buffer = padded(to_bytes(text))
            yield encode(buffer, ends(buffer, len(buffer) - PADDING))
        else:
            for block in blocks(text, self._pattern):
                yield encode(block.text, ends(block.text, block.stop))
