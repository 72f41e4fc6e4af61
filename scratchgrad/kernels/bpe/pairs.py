"""Pairs of tokens while merges are learned: found by their ids, and the most frequent one on top.

A pair is a key: its left id in the upper half of 64 bits, its right id in the lower. Keys stand in
a hash table, with counts and lists of positions beside it; and in a heap, with the counts that they
had when they were entered. `train` says why that is enough.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.bpe.table import ONE, ZERO
from scratchgrad.kernels.jit import device, routine

SIDE = np.uint64(32)
RIGHT_HALF = np.uint64(2**32 - 1)
SCATTER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio


class Tokens(NamedTuple):
    """The tokens so far, with room for V."""

    place: NDArray[np.int64]  # (V,) where in the text the bytes of each can be read
    length: NDArray[np.int64]  # (V,)
    made_of: NDArray[np.int32]  # (V, 2) left and right
    frequency: NDArray[np.int64]  # (V,) how often that pair occurred when its turn came


class Pairs(NamedTuple):
    """The pairs, with room for P: counts, and lists of positions."""

    slots: NDArray[np.uint64]  # (S, 2): key + 1, number of the pair; 0 where empty
    frequency: NDArray[np.int64]  # (P,)
    begin: NDArray[np.int64]  # (P,) the pair stood at positions[begin:end]
    end: NDArray[np.int64]  # (P,)
    positions: NDArray[np.int32]


class Heap(NamedTuple):
    """A binary heap of pairs: which is to be merged first is on top."""

    frequency: NDArray[np.int64]
    key: NDArray[np.uint64]


# The places of `state`, an array of int64: a kernel can change an array of its caller's, no number
TOKENS, PAIRS, POSITIONS, HEAP, STATUS, WANTED = range(6)
GOING_ON, NO_PAIR_LEFT, NO_ROOM = range(3)


@device
def pair_key(left, right):
    """Both ids in one number, which sorts as the pair does."""
    return np.uint64(left) << SIDE | np.uint64(right)


@device
def find_pair(slots, wanted):
    """The slot of a pair, or the empty one where it would go."""
    last = slots.shape[0] - 1  # a power of two, less one
    at = np.int64((wanted * SCATTER) >> SIDE) & last
    while slots[at, 0] != ZERO and slots[at, 0] != wanted + ONE:
        at = (at + 1) & last
    return at


@device
def place_of(pairs, wanted):
    """Where a pair that there is stands in the columns of `Pairs`."""
    return np.int64(pairs.slots[find_pair(pairs.slots, wanted), 1])


@device
def enter(pairs, state, new, weight, number):
    """A pair that there was not, and its list of positions, still to be filled: where it begins."""
    pair, begin = state[PAIRS], state[POSITIONS]
    at = find_pair(pairs.slots, new)
    pairs.slots[at, 0], pairs.slots[at, 1] = new + ONE, np.uint64(pair)
    pairs.frequency[pair] = weight
    pairs.begin[pair], pairs.end[pair] = begin, begin + number
    state[PAIRS] += 1
    state[POSITIONS] += number
    return begin


# -- the heap ----------------------------------------------------------------------------------


@device
def compare_bytes(text, tokens, a, b):
    """Negative, zero, positive: the bytes of token a come before, are, come after those of b."""
    for i in range(min(tokens.length[a], tokens.length[b])):
        byte_a, byte_b = text[tokens.place[a] + i], text[tokens.place[b] + i]
        if byte_a != byte_b:
            return np.int64(byte_a) - np.int64(byte_b)
    return tokens.length[a] - tokens.length[b]


@routine
def goes_first(text, tokens, greatest, count, key, other_count, other_key):
    """Whether one pair is to be merged before another."""
    if count != other_count:
        return count > other_count
    if not greatest:
        return key < other_key
    left, other_left = np.int64(key >> SIDE), np.int64(other_key >> SIDE)
    order = compare_bytes(text, tokens, left, other_left)
    if order == 0:
        right, other_right = np.int64(key & RIGHT_HALF), np.int64(other_key & RIGHT_HALF)
        order = compare_bytes(text, tokens, right, other_right)
    return order > 0


@routine
def push(heap, state, text, tokens, greatest, count, key):
    """Let an entry rise from the end to its place."""
    at = state[HEAP]
    state[HEAP] += 1
    while at > 0:
        above = (at - 1) >> 1
        if not goes_first(
            text, tokens, greatest, count, key, heap.frequency[above], heap.key[above]
        ):
            break
        heap.frequency[at], heap.key[at] = heap.frequency[above], heap.key[above]
        at = above
    heap.frequency[at], heap.key[at] = count, key


@routine
def replace_top(heap, state, text, tokens, greatest, count, key):
    """Let an entry sink from the top to its place."""
    at, size = 0, state[HEAP]
    counts, keys = heap.frequency, heap.key
    while 2 * at + 1 < size:
        child, other = 2 * at + 1, 2 * at + 2
        if other < size and goes_first(
            text, tokens, greatest, counts[other], keys[other], counts[child], keys[child]
        ):
            child = other
        if not goes_first(text, tokens, greatest, counts[child], keys[child], count, key):
            break
        counts[at], keys[at] = counts[child], keys[child]
        at = child
    counts[at], keys[at] = count, key


@device
def pop(heap, state, text, tokens, greatest):
    """Take the top away."""
    state[HEAP] -= 1
    last = state[HEAP]
    replace_top(heap, state, text, tokens, greatest, heap.frequency[last], heap.key[last])


@device
def find_best(heap, state, pairs, text, tokens, greatest, least):
    """Bring the pair that is to be merged to the top; whether there is one."""
    while state[HEAP] > 0:
        now = pairs.frequency[place_of(pairs, heap.key[0])]
        if now < least:
            pop(heap, state, text, tokens, greatest)
        elif now < heap.frequency[0]:
            replace_top(heap, state, text, tokens, greatest, now, heap.key[0])
        else:
            return True
    return False
