"""Byte-pair encoding as it is defined: count every pair, merge the most frequent, begin anew.

Philip Gage, A New Algorithm for Data Compression (1994); on pieces of text, Sennrich, Haddow and
Birch, Neural Machine Translation of Rare Words with Subword Units (2016).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]


def join(ids: list[int], pair: Pair, result: int) -> list[int]:
    """Replace a pair wherever it stands, from left to right.

    >>> join([1, 1, 1, 2], (1, 1), 3)
    [3, 1, 2]
    """
    joined: list[int] = []
    for id_ in ids:
        if joined and (joined[-1], id_) == pair:
            joined[-1] = result
        else:
            joined.append(id_)
    return joined


def train(
    pieces: Mapping[bytes, int], size: int, *, least: int = 1, greatest: bool = False
) -> tuple[list[bytes], list[Pair], list[int]]:
    """Learn merges from pieces and how often each occurs.

    Returns
    -------
    tokens, merges, counts
        The bytes of each id; the pairs merged, which make the ids from 256 on; how often each
        occurred when its turn came.

    >>> tokens, merges, counts = train({b"aaabdaaabac": 1}, size=259)
    >>> tokens[256:], counts
    ([b'aa', b'ab', b'aaab'], [4, 2, 2])
    """
    tokens = [bytes([byte]) for byte in range(256)]
    merges, counts = [], []
    texts = [(list(piece), number) for piece, number in pieces.items()]
    while len(tokens) < size:
        frequency: Counter[Pair] = Counter()
        for ids, number in texts:
            for pair in pairwise(ids):
                frequency[pair] += number
        if not frequency or max(frequency.values()) < least:
            break
        most = max(frequency.values())
        ties = [pair for pair, number in frequency.items() if number == most]
        if greatest:
            left, right = max(ties, key=lambda pair: (tokens[pair[0]], tokens[pair[1]]))
        else:
            left, right = min(ties)
        result = len(tokens)
        tokens.append(tokens[left] + tokens[right])
        merges.append((left, right))
        counts.append(most)
        texts = [(join(ids, (left, right), result), number) for ids, number in texts]
    return tokens, merges, counts


def encode(
    piece: bytes, ranks: Mapping[Pair, tuple[int, int]], byte_ids: Sequence[int]
) -> list[int]:
    """Apply merges to a piece: of the neighbours that merge, those of the lowest rank first.

    Parameters
    ----------
    piece : bytes
    ranks : mapping
        For a pair of ids, its rank and what it becomes.
    byte_ids : sequence of 256 ids

    >>> encode(b"abab", {(97, 98): (0, 256), (256, 256): (1, 257)}, range(256))
    [257]
    """
    ids = [byte_ids[byte] for byte in piece]
    while True:
        found = [(*ranks[pair], pair) for pair in pairwise(ids) if pair in ranks]
        if not found:
            return ids
        _, result, pair = min(found)
        ids = join(ids, pair, result)


# -- the same on arrays, as the kernels have it -------------------------------------------------


def learn_merges(
    text: NDArray[np.uint8], ends: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """As `scratchgrad.kernels.bpe.train.learn_merges`."""
    _, merges, counts = train(Counter(_pieces(text, ends)), size)
    return np.array(merges, np.int32).reshape(-1, 2), np.array(counts, np.int64)


def encode_pieces(
    text: NDArray[np.uint8], ends: NDArray[np.int64], merges: NDArray[np.int32]
) -> NDArray[np.int32]:
    """As `scratchgrad.kernels.bpe.encode.encode_pieces`."""
    ranks = {(left, right): (k, 256 + k) for k, (left, right) in enumerate(merges.tolist())}
    ids = [id_ for piece in _pieces(text, ends) for id_ in encode(piece, ranks, range(256))]
    return np.array(ids, np.int32)


def _pieces(text: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[bytes]:
    return [text[begin:end].tobytes() for begin, end in pairwise([0, *ends.tolist()])]
