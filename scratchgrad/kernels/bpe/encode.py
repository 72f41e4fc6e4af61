"""Applying merges: pieces of text in, ids out.

The definition merges, of all neighbours in a piece that may, those of the lowest rank, until none
is left (`kernels.bpe.reference.encode`). Here a piece goes the shortest way that gives the same:

1. It is a token as a whole: nine of ten pieces of English are, with fifty thousand tokens.
2. It has been met before, and has up to 16 bytes and 8 ids: a small table, in which a newcomer
   takes the place of what was there.
3. It is short: the ranks of all neighbours stand in a row; the lowest is sought, merged, and the
   row closed up. Quadratic, and for a few dozen bytes faster than anything cleverer.
4. It is long: the ranks go into a heap, the neighbours into a linked list. Each merge costs the
   logarithm of the length, so a million times the same letter is no way to hang a server.
"""

import contextlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.bpe.cache import CACHE_LINES, recall, remember
from scratchgrad.kernels.bpe.count import begin_of
from scratchgrad.kernels.bpe.pairs import ONE, RIGHT_HALF, SIDE, find_pair, pair_key
from scratchgrad.kernels.bpe.table import (
    INLINE,
    LENGTH,
    VALUE,
    ZERO,
    eights,
    find,
    key,
    make_table,
    mix,
    padded,
)
from scratchgrad.kernels.jit import EXACT, device, get_threads, kernel, routine

SHORT = 64  # ids that a piece begins with; with more of them, a heap is used
SHARE = 1 << 14  # pieces for which another thread is worth it

NOTHING = np.uint64(2**64 - 1)  # the rank of neighbours that do not merge


class Rules(NamedTuple):
    """What turns pieces into ids."""

    tokens: NDArray[np.uint64]  # the table of pieces that are tokens
    arena: NDArray[np.uint64]
    pairs: NDArray[np.uint64]  # (S, 2): key of a pair + 1, and rank (upper half), result (lower)
    byte_ids: NDArray[np.int32]  # (256,)
    characters: bool  # begin with characters, not bytes; the tokens are those of one character


class Desk(NamedTuple):
    """Working space of one thread."""

    cache: NDArray[np.uint64]  # (CACHE_LINES, 8)
    values: NDArray[np.uint64]  # (W,) rank and result of each neighbour with the next one
    after: NDArray[np.int32]  # (W,) the next neighbour
    before: NDArray[np.int32]  # (W,)
    heap: NDArray[np.uint64]  # (2 W,) rank (upper half), place (lower half)


@device
def value_of(pairs, left, right):
    """Rank and result of a pair, or NOTHING."""
    at = find_pair(pairs, pair_key(left, right))
    return NOTHING if pairs[at, 0] == ZERO else pairs[at, 1]


@device
def begin_ids(rules, text, words, start, length, out, to):
    """The ids that a piece starts out as. Returns how many."""
    if not rules.characters:
        for i in range(length):
            out[to + i] = rules.byte_ids[text[start + i]]
        return length
    count, at = 0, start
    while at < start + length:
        lead = text[at]
        size = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        taken = 1
        out[to + count] = rules.byte_ids[lead]
        if size > 1 and at + size <= start + length:
            first, second = key(words, at, size)
            row = find(rules.tokens, rules.arena, words, at, size, first, second)
            if rules.tokens[row, LENGTH] != ZERO:
                out[to + count], taken = np.int32(rules.tokens[row, VALUE]), size
        at += taken
        count += 1
    return count


@routine
def merge_short(pairs, out, to, count, values):
    """Merge out[to : to + count] in place; returns how many ids are left."""
    for i in range(count - 1):
        values[i] = value_of(pairs, out[to + i], out[to + i + 1])
    while count > 1:
        best, lowest = 0, values[0] >> SIDE
        for i in range(1, count - 1):
            rank = values[i] >> SIDE
            if rank < lowest:
                best, lowest = i, rank
        if values[best] == NOTHING:
            break
        out[to + best] = np.int32(values[best] & RIGHT_HALF)
        count -= 1
        for i in range(best + 1, count):
            out[to + i] = out[to + i + 1]
        for i in range(best, count - 1):
            values[i] = values[i + 1]
        if best > 0:
            values[best - 1] = value_of(pairs, out[to + best - 1], out[to + best])
        if best + 1 < count:
            values[best] = value_of(pairs, out[to + best], out[to + best + 1])
    return count


# A heap of plain numbers, the least on top: rank first, then place. (That of the trainer, in
# `pairs`, has the greatest on top, and compares bytes where counts tie.)


@device
def push(heap, size, entry):
    """Let an entry rise from the end to its place."""
    at = size
    while at > 0 and entry < heap[(at - 1) >> 1]:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = entry
    return size + 1


@device
def pop(heap, size):
    """Take the least entry, heap[0], away. Returns the new size."""
    size -= 1
    entry, at = heap[size], 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if entry <= heap[child]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = entry
    return size


@device
def value_and_entry(pairs, heap, size, out, to, values, left, right):
    """Note what two neighbours become, and enter it into the heap if they merge."""
    values[left] = value_of(pairs, out[to + left], out[to + right])
    if values[left] != NOTHING:
        size = push(heap, size, values[left] & ~RIGHT_HALF | np.uint64(left))
    return size


@routine
def merge_long(pairs, out, to, count, values, after, before, heap):
    """Merge out[to : to + count] in place; returns how many ids are left."""
    size = 0
    for i in range(count):
        after[i], before[i] = i + 1, i - 1
        values[i] = NOTHING
        if i + 1 < count:
            size = value_and_entry(pairs, heap, size, out, to, values, i, i + 1)
    while size > 0:
        entry = heap[0]
        size = pop(heap, size)
        left = np.int64(entry & RIGHT_HALF)
        # an entry of neighbours that have merged since, or have another neighbour, is passed over
        if values[left] == NOTHING or (values[left] ^ entry) >> SIDE != ZERO:
            continue
        right = np.int64(after[left])
        further = np.int64(after[right])
        out[to + left] = np.int32(values[left] & RIGHT_HALF)
        values[left] = values[right] = NOTHING
        after[left] = further
        if further < count:
            before[further] = left
            size = value_and_entry(pairs, heap, size, out, to, values, left, further)
        former = np.int64(before[left])
        if former >= 0:
            size = value_and_entry(pairs, heap, size, out, to, values, former, left)
    kept, left = 0, np.int64(0)
    while left < count:
        out[to + kept] = out[to + left]
        kept += 1
        left = np.int64(after[left])
    return kept


@kernel(fastmath=EXACT)
def _encode(start, stop, rules, text, words, ends, parts, desks, out, written, sizes):
    for part in range(start, stop):
        cache, values, heap = desks.cache[part], desks.values[part], desks.heap[part]
        begin = begin_of(ends, parts[part])
        origin = to = begin  # ids are never more than bytes
        for k in range(parts[part], parts[part + 1]):
            length = ends[k] - begin
            if length == 1:
                out[to] = rules.byte_ids[text[begin]]
                count = 1
            else:
                first, second = key(words, begin, length)
                row = find(rules.tokens, rules.arena, words, begin, length, first, second)
                count = 0
                if rules.tokens[row, LENGTH] != ZERO and not rules.characters:
                    out[to] = np.int32(rules.tokens[row, VALUE])
                    count = 1
                elif length <= INLINE:
                    place = mix(first, second, np.uint64(length)) & np.uint64(CACHE_LINES - 1)
                    line = cache[np.int64(place)]
                    count = recall(line, first, second, length, out, to)
                    if count == 0:
                        count = begin_ids(rules, text, words, begin, length, out, to)
                        count = merge_short(rules.pairs, out, to, count, values)
                        remember(line, first, second, length, out, to, count)
                else:
                    count = begin_ids(rules, text, words, begin, length, out, to)
                    if count <= SHORT:
                        count = merge_short(rules.pairs, out, to, count, values)
                    else:
                        count = merge_long(
                            rules.pairs,
                            out,
                            to,
                            count,
                            values,
                            desks.after[part],
                            desks.before[part],
                            heap,
                        )
            if sizes.size > 0:
                sizes[k] = count
            to += count
            begin = ends[k]
        written[part] = to - origin


@kernel(fastmath=EXACT)
def _enter_pairs(start, stop, merges, pairs):
    for k in range(start, stop):
        wanted = pair_key(merges[k, 0], merges[k, 1])
        at = find_pair(pairs, wanted)
        pairs[at, 0] = wanted + ONE
        pairs[at, 1] = np.uint64(merges[k, 3]) << SIDE | np.uint64(merges[k, 2])


class PieceEncoder:
    """Turns pieces into ids.

    Parameters
    ----------
    text, ends, ids
        The tokens, end to end with `PADDING`; where each ends; the id of each. None is empty.
    merges : array of int32, shape (M, 4)
        Left, right, result, rank. No pair twice.
    byte_ids : array of int32, shape (256,)
    whole_pieces : bool
        A piece that is a token becomes that token, even if its merges would not.
    characters : bool
        Begin with the characters that are tokens, and with bytes where they are not.
    """

    def __init__(
        self,
        text: NDArray[np.uint8],
        ends: NDArray[np.int64],
        ids: NDArray[np.int64],
        merges: NDArray[np.int32],
        byte_ids: NDArray[np.int32],
        *,
        whole_pieces: bool = False,
        characters: bool = False,
    ) -> None:
        begins = ends - np.diff(ends, prepend=0)
        pairs = np.zeros((1 << (2 * len(merges) + 1).bit_length(), 2), np.uint64)
        _enter_pairs.part(0, len(merges), np.ascontiguousarray(merges), pairs)
        # At first without a table of tokens: `_reached` encodes each token by merging alone, and
        # those that come out whole are the ones that may be looked up.
        nothing = np.zeros(0, np.int64)
        self._idle: list[Desk] = []
        self._rules = Rules(
            make_table(text, nothing, nothing, nothing), eights(text), pairs, byte_ids, False
        )
        if characters:
            chosen = _is_one_character(text, begins, ends)
        elif whole_pieces:
            chosen = np.ones(len(ends), np.bool_)
        else:
            chosen = self._reached(text, ends, ids)
        table = make_table(text, begins[chosen], ends[chosen], ids[chosen])
        self._rules = self._rules._replace(tokens=table, characters=characters)

    def _reached(
        self, text: NDArray[np.uint8], ends: NDArray[np.int64], ids: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which tokens the merges make of their own bytes."""
        sizes = np.zeros(len(ends), np.int32)
        found = self.encode(text, ends, sizes)
        last = np.cumsum(sizes) - 1
        return (sizes == 1) & (found[last] == ids) if len(ends) else np.zeros(0, np.bool_)

    def encode(
        self,
        text: NDArray[np.uint8],
        ends: NDArray[np.int64],
        sizes: NDArray[np.int32] | None = None,
    ) -> NDArray[np.int32]:
        """Encode pieces that lie end to end.

        Parameters
        ----------
        text : array of uint8
            With `PADDING`.
        ends : array of int64, shape (P,)
            Where each piece ends. None is empty.
        sizes : array of int32, shape (P,), optional
            Filled with the number of ids of each piece.

        Returns
        -------
        array of int32
        """
        if len(ends) == 0:
            return np.zeros(0, np.int32)
        size, threads = int(ends[-1]), min(get_threads(), 1 + len(ends) // SHARE)
        longest = size if size <= SHORT else int(np.diff(ends, prepend=0).max())
        desk = self._take_desk(threads, longest)
        parts = np.array([k * len(ends) // threads for k in range(threads + 1)])
        out, written = np.empty(size, np.int32), np.empty(threads, np.int64)
        if sizes is None:
            sizes = np.empty(0, np.int32)
        arguments = (self._rules, text, eights(text), ends, parts, desk, out, written, sizes)
        _encode(threads, *arguments, work=64 * len(ends))
        if longest <= SHORT:  # a desk for a long piece is not kept
            self._idle.append(desk)
        if threads == 1:
            return out[: written[0]]
        begins = [begin_of(ends, part) for part in parts[:-1]]
        return np.concatenate([out[i : i + n] for i, n in zip(begins, written, strict=True)])

    def _take_desk(self, threads: int, longest: int) -> Desk:
        """One that no other caller works at: several threads may encode at once."""
        if longest <= SHORT:
            with contextlib.suppress(IndexError):  # there is none, or somebody was faster
                desk = self._idle.pop()
                if len(desk.cache) >= threads:
                    return desk
        room = max(longest, SHORT)
        wide = room if longest > SHORT else 1  # only long pieces need a list and a heap
        return Desk(
            np.zeros((threads, CACHE_LINES, 8), np.uint64),
            np.empty((threads, room), np.uint64),
            np.empty((threads, wide), np.int32),
            np.empty((threads, wide), np.int32),
            np.empty((threads, 2 * wide), np.uint64),
        )


def encode_pieces(
    text: NDArray[np.uint8], ends: NDArray[np.int64], merges: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Encode pieces that lie end to end by merges, shape (M, 2), that make the ids from 256 on."""
    number = len(merges)
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges.tolist():
        tokens.append(tokens[left] + tokens[right])
    results = np.arange(256, 256 + number)
    rows = np.column_stack([merges, results, np.arange(number)]).astype(np.int32)
    return PieceEncoder(
        padded(b"".join(tokens)),
        np.cumsum([len(token) for token in tokens], dtype=np.int64),
        np.arange(len(tokens)),
        rows,
        np.arange(256, dtype=np.int32),
    ).encode(text, ends)


def _is_one_character(
    text: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which strings are one character of two bytes or more."""
    lead, length = text[begins], ends - begins
    size = np.where(lead < 0xC0, 0, np.where(lead < 0xE0, 2, np.where(lead < 0xF0, 3, 4)))
    return np.asarray(length == size)
