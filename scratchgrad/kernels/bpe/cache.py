"""Pieces that were met before, with their ids: a table that cannot grow.

A piece has one line that it may stand in, and a newcomer takes the place of what is there. A line
is as long as the processor's own: the piece (up to 16 bytes), its length, how many ids it has, and
the ids, two to a number.
"""

import numpy as np

from scratchgrad.kernels.bpe.pairs import RIGHT_HALF, SIDE, ZERO
from scratchgrad.kernels.jit import device

CACHE_LINES, CACHE_IDS, IDS = 1 << 13, 8, 4


@device
def recall(line, first, second, length, out, to):
    """Copy the ids of a piece from its line in the cache. Returns how many; 0 if it has none."""
    if line[0] != first or line[1] != second or line[2] != np.uint64(length):
        return 0
    count = np.int64(line[3])
    for i in range(count):
        out[to + i] = np.int32(line[IDS + (i >> 1)] >> (SIDE if i & 1 else ZERO) & RIGHT_HALF)
    return count


@device
def remember(line, first, second, length, out, to, count):
    """Put a piece and its ids into a line, whatever was there."""
    if count > CACHE_IDS:
        return
    line[0], line[1], line[2], line[3] = first, second, np.uint64(length), np.uint64(count)
    for i in range(0, count, 2):
        pair = np.uint64(out[to + i])
        if i + 1 < count:
            pair |= np.uint64(out[to + i + 1]) << SIDE
        line[IDS + (i >> 1)] = pair
