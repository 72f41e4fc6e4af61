"""Pieces as Python has them, and as the kernels take them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.bpe.table import padded


def joined(pieces: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """End to end, and where each ends."""
    return padded(b"".join(pieces)), np.cumsum([len(piece) for piece in pieces], dtype=np.int64)


def split(text: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[bytes]:
    """The pieces again."""
    whole, at = text.tobytes(), [0, *ends.tolist()]
    return [whole[begin:end] for begin, end in pairwise(at)]
