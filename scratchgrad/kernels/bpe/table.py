"""A hash table of byte strings: which of many pieces is this one?

Counting pieces and looking tokens up are both this question, some ten million times in a minute
of text, so the table is built round the memory it touches. A slot is one row of four numbers:

    first 8 bytes | next 8 bytes | length | value

so that a string of up to 16 bytes, which nearly every piece of English is, lies in the slot
itself, and finding it reads a single cache line. A longer one keeps a hash of all its bytes, and
where they lie in an *arena* beside the slots, in the places of its bytes.

The text is read eight bytes at a time, through `eights`: an array whose element i is the eight
bytes from i on, as one number. So text has `PADDING` bytes more than it says, and what lies past
the end of a string is masked away.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.jit import EXACT, device, kernel

PADDING = 16  # zero bytes after the last byte of a text
INLINE = 16  # the longest string that lies in its slot

FIRST, SECOND, LENGTH, VALUE = range(4)  # the columns of a slot

# MASKS[n] keeps the first n bytes of eight, on a little-endian machine the lowest ones
MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)

# Odd numbers without a pattern: digits of pi, e and the golden ratio
MIX_FIRST, MIX_SECOND = np.uint64(0x243F6A8885A308D3), np.uint64(0xB7E151628AED2A6B)
MIX_LENGTH, HALF, SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(29)
ZERO, ONE = np.uint64(0), np.uint64(1)


def eights(text: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """View a text so that element i is its bytes i to i + 7, as one number.

    >>> text = np.zeros(2 + PADDING, np.uint8)
    >>> text[:2] = 1, 2
    >>> eights(text)[:2]
    array([513,   2], dtype=uint64)
    """
    return np.ndarray((text.size - 7,), np.uint64, text, strides=(1,))


def padded(data: bytes | bytearray | memoryview | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copy bytes into an array with zeros after them."""
    text = np.empty(len(data) + PADDING, np.uint8)
    text[: len(data)] = np.frombuffer(data, np.uint8)
    text[len(data) :] = 0
    return text


@device(counted=False)
def mix(first, second, length):
    """Spread what is in three numbers over the bits of one."""
    bits = (first ^ (length * MIX_LENGTH)) * MIX_FIRST
    bits = ((bits ^ (bits >> HALF)) + second) * MIX_SECOND
    return bits ^ (bits >> SHIFT)


@device(counted=False)
def key(words, start, length):
    """What a slot's first two columns hold for a string, but for a long one's place: a hash."""
    if length <= INLINE:
        first = words[start] & MASKS[min(length, 8)]
        return first, words[start + 8] & MASKS[max(length - 8, 0)]
    bits, size = ZERO, np.uint64(length)
    for i in range(start, start + length - 8, 8):
        bits = mix(bits, words[i], size)
    return mix(bits, words[start + length - 8], size), ZERO


@device(counted=False)
def find(slots, arena, words, start, length, first, second):
    """The slot that holds a string, or the empty one where it would go."""
    size = np.uint64(length)
    last = slots.shape[0] - 1  # a power of two, less one
    at = np.int64(mix(first, second, size) >> HALF) & last
    while slots[at, LENGTH] != ZERO:
        if slots[at, FIRST] == first and slots[at, LENGTH] == size:
            if length <= INLINE:
                if slots[at, SECOND] == second:
                    return at
            elif same(arena, np.int64(slots[at, SECOND]), words, start, length):
                return at
        at = (at + 1) & last
    return at


@device(counted=False)
def same(arena, place, words, start, length):
    """Whether the arena holds these bytes at a place."""
    for i in range(0, length - 8, 8):
        if arena[place + i] != words[start + i]:
            return False
    return arena[place + length - 8] == words[start + length - 8]


@device(counted=False)
def put(slots, at, first, second, length, value):
    """Fill a slot."""
    slots[at, FIRST], slots[at, SECOND] = first, second
    slots[at, LENGTH], slots[at, VALUE] = np.uint64(length), np.uint64(value)


@kernel(fastmath=EXACT, counted=False)
def _fill(start, stop, slots, words, begins, ends, values):
    for k in range(start, stop):
        begin, length = begins[k], ends[k] - begins[k]
        first, second = key(words, begin, length)
        at = find(slots, words, words, begin, length, first, second)
        if length > INLINE:
            second = np.uint64(begin)
        put(slots, at, first, second, length, values[k])


def make_table(
    text: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    values: NDArray[np.int64],
) -> NDArray[np.uint64]:
    """Return the slots of a table of parts of a text, which is also its arena.

    Parameters
    ----------
    text : array of uint8
        With `PADDING`.
    begins, ends : arrays of int64, shape (N,)
        Of the strings, none of them empty. Of equal strings the last one stays.
    values : array of int64, shape (N,)
        What each is to be found with, not negative.

    Returns
    -------
    array of uint64, shape (S, 4)
        S is a power of two, and at least half of the slots are empty.
    """
    slots = np.zeros((slots_for(len(begins)), 4), np.uint64)
    _fill.part(0, len(begins), slots, eights(text), begins, ends, values)
    return slots


def slots_for(count: int) -> int:
    """How many slots so many strings need: a power of two, at least half of which stay empty."""
    return 1 << max(2 * count - 1, 1).bit_length()
