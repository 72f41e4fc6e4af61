"""How often does each distinct piece occur? One pass over a text of any length.

Merges are learned from distinct pieces and their counts: 39 MB of novels are nine million pieces,
but only 86 thousand different ones. Each of a few threads counts a part of the text into a
table of its own, and the tables are added up at the end; which thread counted what cannot be seen
in a sum of integers.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.bpe.table import (
    FIRST,
    INLINE,
    LENGTH,
    ONE,
    PADDING,
    SECOND,
    VALUE,
    ZERO,
    eights,
    find,
    key,
    put,
    slots_for,
)
from scratchgrad.kernels.jit import EXACT, device, get_threads, kernel

ENTRIES, ARENA, DONE = range(3)  # what a table's row of `used` counts


@device(counted=False)
def add(slots, arena, used, words, start, length, first, second, count):
    """Add to the count of one piece. False, and nothing done, where there is no room for it."""
    at = find(slots, arena, words, start, length, first, second)
    if slots[at, LENGTH] != ZERO:
        slots[at, VALUE] += count
        return True
    if 2 * used[ENTRIES] >= slots.shape[0]:
        return False
    if length > INLINE:
        place = used[ARENA]
        if place + length + PADDING > arena.size:
            return False
        for i in range(0, length - 8, 8):
            arena[place + i] = words[start + i]
        arena[place + length - 8] = words[start + length - 8]
        used[ARENA] += length
        second = np.uint64(place)
    put(slots, at, first, second, length, count)
    used[ENTRIES] += 1
    return True


@device(counted=False)
def begin_of(ends, k):
    """Where piece k begins: where the one before it ends."""
    return ends[k - 1] if k > 0 else 0


@kernel(fastmath=EXACT, counted=False)
def _count(start, stop, slots, arenas, used, words, ends, parts):
    for part in range(start, stop):
        table, arena, mine = slots[part], arenas[part], used[part]
        k = mine[DONE]
        begin = begin_of(ends, k)
        while k < parts[part + 1]:
            length = ends[k] - begin
            first, second = key(words, begin, length)
            if not add(table, arena, mine, words, begin, length, first, second, ONE):
                break
            begin = ends[k]
            k += 1
        mine[DONE] = k


@kernel(fastmath=EXACT, counted=False)
def _absorb(start, stop, slots, arena, used, other, other_arena):
    for row in range(start, stop):
        length = np.int64(other[row, LENGTH])
        if length > 0:
            first, second, count = other[row, FIRST], other[row, SECOND], other[row, VALUE]
            place = np.int64(second) if length > INLINE else 0
            wanted = ZERO if length > INLINE else second
            add(slots, arena, used, other_arena, place, length, first, wanted, count)


@kernel(fastmath=EXACT, counted=False)
def _lay_out(start, stop, slots, arena, words, ends, counts):
    place, k = np.int64(0), 0
    for row in range(start, stop):
        length = np.int64(slots[row, LENGTH])
        if length == 0:
            continue
        if length <= INLINE:  # what is written past the end is written over by the next
            words[place], words[place + 8] = slots[row, FIRST], slots[row, SECOND]
        else:
            source = np.int64(slots[row, SECOND])
            for i in range(0, length - 8, 8):
                words[place + i] = arena[source + i]
            words[place + length - 8] = arena[source + length - 8]
        place += length
        ends[k], counts[k] = place, np.int64(slots[row, VALUE])
        k += 1


class PieceCounts:
    """The distinct pieces of a text that comes in blocks, and how often each occurs.

    >>> from scratchgrad.kernels.bpe.table import padded
    >>> counts = PieceCounts()
    >>> counts.add(padded(b"to be to be"), np.array([2, 5, 8, 11]))
    >>> text, ends, numbers = counts.pieces()
    >>> pieces = np.split(text[: ends[-1]], ends[:-1])
    >>> sorted((piece.tobytes(), int(n)) for piece, n in zip(pieces, numbers))
    [(b' be', 2), (b' to', 1), (b'to', 1)]
    """

    def __init__(self) -> None:
        self._parts = get_threads()
        self._slots, self._arenas, self._used = self._tables(self._parts, 1 << 12, 1 << 12)

    @staticmethod
    def _tables(parts: int, entries: int, arena: int) -> tuple[NDArray, NDArray, NDArray]:
        slots = np.zeros((parts, slots_for(entries), 4), np.uint64)
        return slots, np.zeros((parts, arena + PADDING), np.uint8), np.zeros((parts, 3), np.int64)

    def add(self, text: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        """Count the pieces of a block.

        Parameters
        ----------
        text : array of uint8
            With `PADDING`.
        ends : array of int64, shape (P,)
            Where each piece ends; the first begins at 0. None is empty.
        """
        parts = np.linspace(0, len(ends), self._parts + 1).astype(np.int64)
        self._used[:, DONE] = parts[:-1]
        words = eights(text)
        while True:
            arenas = _rows_of_eights(self._arenas)
            work = 32 * (parts[-1] - self._used[0, DONE])  # about
            _count(self._parts, self._slots, arenas, self._used, words, ends, parts, work=int(work))
            waiting = self._used[:, DONE]
            if (waiting == parts[1:]).all():
                return
            # There is room for any one piece more, whatever it was that was short of it.
            longest = max(
                int(ends[k] - begin_of(ends, k))
                for k, stop in zip(waiting, parts[1:], strict=True)
                if k < stop
            )
            self._grow(longest)

    def _grow(self, longest: int) -> None:
        """Move into tables of twice the size, with room for one more piece of this length."""
        used = self._used
        entries = max(2 * int(used[:, ENTRIES].max()), 1 << 12)
        arena = 2 * int(used[:, ARENA].max()) + longest + PADDING
        old, old_arenas = self._slots, _rows_of_eights(self._arenas)
        self._slots, self._arenas, self._used = self._tables(self._parts, entries, arena)
        arenas = _rows_of_eights(self._arenas)
        for part in range(self._parts):
            _absorb.part(
                0,
                len(old[part]),
                self._slots[part],
                arenas[part],
                self._used[part],
                old[part],
                old_arenas[part],
            )
        self._used[:, DONE] = used[:, DONE]

    def pieces(self) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """Return the distinct pieces end to end, with `PADDING`, where each ends, and its count.

        Their order is no particular one.
        """
        used = self._used
        slots, arenas, total = self._tables(
            1, max(int(used[:, ENTRIES].sum()), 1), int(used[:, ARENA].sum()) + PADDING
        )
        arena = _rows_of_eights(arenas)[0]
        for other, other_arena in zip(self._slots, _rows_of_eights(self._arenas), strict=True):
            _absorb.part(0, len(other), slots[0], arena, total[0], other, other_arena)
        number = int(total[0, ENTRIES])
        size = int(slots[0, :, LENGTH].sum())
        text = np.zeros(size + PADDING, np.uint8)
        ends, counts = np.zeros(number, np.int64), np.zeros(number, np.int64)
        _lay_out.part(0, len(slots[0]), slots[0], arena, eights(text), ends, counts)
        text[size:] = 0
        return text, ends, counts


def _rows_of_eights(arenas: NDArray[np.uint8]) -> NDArray[np.uint64]:
    rows, size = arenas.shape
    return np.ndarray((rows, size - 7), np.uint64, arenas, strides=(size, 1))
