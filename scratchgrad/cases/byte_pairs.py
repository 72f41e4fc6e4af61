"""How to draw pieces of text for the kernels of byte-pair encoding.

They are apart from the other cases because their results are ids, which no rounding excuses, and
because the definition that they are held to stands beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scratchgrad.cases.kernels import Case
from scratchgrad.kernels.bpe import encode, reference, train
from scratchgrad.kernels.bpe.table import padded


def pieces(
    rng: np.random.Generator, sizes: list[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Words of one to four letters' alphabets, now and then one too long for the short ways."""
    number = sizes[0] * sizes[1]
    lengths = rng.integers(1, 20, number)
    lengths[rng.random(number) < 0.01] = 100
    letters = rng.integers(97, 98 + rng.integers(4), int(lengths.sum())).astype(np.uint8)
    return padded(letters), np.cumsum(lengths, dtype=np.int64)


def training_args(rng: np.random.Generator, dtype: str, sizes: list[int]) -> tuple:
    """The dtype is not heeded: there are no floats in it."""
    return *pieces(rng, sizes), 256 + sizes[2]


def encoding_args(rng: np.random.Generator, dtype: str, sizes: list[int]) -> tuple:
    """Merges that were learned from other pieces."""
    merges, _ = reference.learn_merges(*pieces(rng, [5, 5]), 256 + sizes[2])
    return *pieces(rng, sizes), merges


BYTE_PAIRS = [
    Case(train, "learn_merges", training_args, twin=reference),
    Case(encode, "encode_pieces", encoding_args, twin=reference),
]
