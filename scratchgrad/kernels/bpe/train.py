"""Learning merges: the most frequent pair becomes a token, again and again, without recounting.

The definition counts every pair anew after each merge (`kernels.bpe.reference.train`). But a merge
of a and b into c changes only what stands beside its occurrences: where "l a b r" becomes "l c r",
the pairs (l, a), (a, b) and (b, r) are one fewer, (l, c) and (c, r) one more. So every pair keeps
its count and the list of positions where it stood when it arose, and a heap has the most frequent
pair on top. A merge walks the positions of one pair; its whole cost is their number.

Pairs with c arise in this one merge and never again, so a list of positions is laid down once,
and a count only falls afterwards. Both may be left as they are until somebody looks: a position
where the pair no longer stands is passed over, a heap entry whose count has fallen sinks to its
place when it comes to the top. (That no later merge makes the bytes of c once more is a theorem:
docs/bpe.md proves it.)

In memory the distinct pieces lie end to end with a separator before and after each, a number for
every byte. A token stands where its first byte was; where its last byte was (if that is another)
stands minus its length, so that the token before any position is found without a chain of links.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.bpe.count import PieceCounts
from scratchgrad.kernels.bpe.pairs import (
    GOING_ON,
    HEAP,
    NO_PAIR_LEFT,
    NO_ROOM,
    PAIRS,
    POSITIONS,
    RIGHT_HALF,
    SIDE,
    STATUS,
    TOKENS,
    WANTED,
    Heap,
    Pairs,
    Tokens,
    enter,
    find_best,
    find_pair,
    pair_key,
    place_of,
    pop,
    push,
)
from scratchgrad.kernels.bpe.table import ONE, ZERO
from scratchgrad.kernels.jit import EXACT, device, kernel

BYTES = 256
SEPARATOR = np.int32(2**31 - 1)
MOST = 2**31 - 1024  # bytes and pieces: a position is an int32
ROOM = 1 << 14  # pairs, and positions, for which there is room at first

BYTE, BYTE_BITS = np.uint64(255), np.uint64(8)


class Corpus(NamedTuple):
    """The distinct pieces, N positions."""

    text: NDArray[np.uint8]  # (N,) their bytes
    symbols: NDArray[np.int32]  # (N,) the tokens that they are by now
    piece: NDArray[np.int32]  # (N,) which piece a position is in
    weights: NDArray[np.int64]  # how often each piece occurs


class Beside(NamedTuple):
    """For each token, how often it stands on one side of the merged pair. Zero between merges."""

    weight: NDArray[np.int64]  # (V,) summed over the pieces
    number: NDArray[np.int64]  # (V,) of positions
    cursor: NDArray[np.int64]  # (V,) where in `Pairs.positions` the next one goes
    seen: NDArray[np.int32]  # (V,) the tokens with a number, in the order they were met


@device
def token_before(symbols, at):
    """Where the token begins that ends before a position; the position itself at a separator."""
    symbol = symbols[at - 1]
    if symbol == SEPARATOR:
        return at
    return at - 1 if symbol >= 0 else at + symbol


@device
def join(symbols, positions, begin, end, left, step, right, result, length):
    """Make one token of a pair wherever it stands: its positions, at the front of the list."""
    kept = begin
    for i in range(begin, end):
        at = positions[i]
        if symbols[at] == left and symbols[at + step] == right:
            symbols[at] = result
            symbols[at + step] = -1  # nobody may take it for the token it was
            symbols[at + length - 1] = -length
            positions[kept] = at
            kept += 1
    return kept


@device
def note(side, seen, token, weight):
    """Remember that a token stands beside the pair once more. Returns how many tokens do."""
    if side.number[token] == 0:
        side.seen[seen] = token
        seen += 1
    side.number[token] += 1
    side.weight[token] += weight
    return seen


@kernel(fastmath=EXACT)
def _learn(start, stop, corpus, tokens, pairs, heap, befores, afters, state, greatest, least):
    text, symbols, positions = corpus.text, corpus.symbols, pairs.positions
    for result in range(start, stop):
        if not find_best(heap, state, pairs, text, tokens, greatest, least):
            state[STATUS] = NO_PAIR_LEFT
            return
        best = heap.key[0]
        pair = place_of(pairs, best)
        begin, end = pairs.begin[pair], pairs.end[pair]
        fresh = 2 * min(end - begin, result + 1)  # at most so many pairs arise
        if (
            state[POSITIONS] + 2 * (end - begin) > positions.size
            or state[PAIRS] + fresh > pairs.frequency.size
            or state[HEAP] + fresh > heap.frequency.size
        ):
            state[STATUS], state[WANTED] = NO_ROOM, end - begin
            return

        left, right = np.int64(best >> SIDE), np.int64(best & RIGHT_HALF)
        step, length = tokens.length[left], tokens.length[left] + tokens.length[right]
        tokens.frequency[result] = heap.frequency[0]
        pop(heap, state, text, tokens, greatest)
        end = join(symbols, positions, begin, end, left, step, right, result, length)
        tokens.place[result], tokens.length[result] = positions[begin], length
        tokens.made_of[result, 0], tokens.made_of[result, 1] = left, right
        state[TOKENS] += 1

        # What stands on either side now. Where two of them touch, "a b a b", the left one is
        # what stands before the right one, and that is enough.
        seen_before, seen_after = 0, 0
        for i in range(begin, end):
            at = positions[i]
            weight = corpus.weights[corpus.piece[at]]
            before, after = token_before(symbols, at), symbols[at + length]
            if before < at:
                seen_before = note(befores, seen_before, symbols[before], weight)
            if after != SEPARATOR and after != result:
                seen_after = note(afters, seen_after, after, weight)

        for i in range(seen_before):
            token = befores.seen[i]
            weight, new = befores.weight[token], pair_key(token, result)
            # "l a b" has become "l c"; "a b a b" has become "c c"
            lost = pair_key(right, left) if token == result else pair_key(token, left)
            pairs.frequency[place_of(pairs, lost)] -= weight
            befores.cursor[token] = enter(pairs, state, new, weight, befores.number[token])
            push(heap, state, text, tokens, greatest, weight, new)
            befores.number[token] = befores.weight[token] = 0
        for i in range(seen_after):
            token = afters.seen[i]
            weight, new = afters.weight[token], pair_key(result, token)
            # "a b r" has become "c r"
            pairs.frequency[place_of(pairs, pair_key(right, token))] -= weight
            afters.cursor[token] = enter(pairs, state, new, weight, afters.number[token])
            push(heap, state, text, tokens, greatest, weight, new)
            afters.number[token] = afters.weight[token] = 0
        pairs.frequency[pair] = 0

        for i in range(begin, end):
            at = positions[i]
            before, after = token_before(symbols, at), symbols[at + length]
            if before < at:
                token = symbols[before]
                positions[befores.cursor[token]] = before
                befores.cursor[token] += 1
            if after != SEPARATOR and after != result:
                positions[afters.cursor[after]] = at
                afters.cursor[after] += 1


@kernel(fastmath=EXACT)
def _begin(start, stop, keys, weights, lists, corpus, tokens, pairs, heap, state, greatest):
    # the pairs of bytes: list k's positions are from lists[k] to lists[k + 1], in this order
    for k in range(start, stop):
        weight = 0
        for i in range(lists[k], lists[k + 1]):
            weight += weights[i]
        enter(pairs, state, keys[k], weight, lists[k + 1] - lists[k])
        push(heap, state, corpus.text, tokens, greatest, weight, keys[k])


@kernel(fastmath=EXACT)
def _rehash(start, stop, old, slots):
    for row in range(start, stop):
        if old[row, 0] != ZERO:
            at = find_pair(slots, old[row, 0] - ONE)
            slots[at, 0], slots[at, 1] = old[row, 0], old[row, 1]


class MergeTrainer:
    """Learns merges from distinct pieces and their counts, a number at a time.

    Parameters
    ----------
    text, ends, counts
        The pieces, as `PieceCounts.pieces` gives them: end to end, where each ends, how often each
        occurs.
    size : int
        How many tokens to stop at, the 256 bytes among them.
    least : int
        A pair that occurs less often than this is left alone (``min_frequency``).
    greatest : bool
        Of equally frequent pairs, take the lexicographically greatest (of the bytes of the left
        token, then the right one), not the smallest pair of ids (``tie_break``).

    >>> pieces = np.frombuffer(b"aaabdaaabac", np.uint8)
    >>> trainer = MergeTrainer(pieces, np.array([11]), np.array([1]), size=259)
    >>> trainer.learn(3)
    3
    >>> trainer.merges().tolist(), trainer.counts().tolist(), trainer.tokens()[256:]
    ([[97, 97], [97, 98], [256, 257]], [4, 2, 2], [b'aa', b'ab', b'aaab'])
    """

    def __init__(
        self,
        text: NDArray[np.uint8],
        ends: NDArray[np.int64],
        counts: NDArray[np.int64],
        size: int,
        *,
        least: int = 1,
        greatest: bool = False,
    ) -> None:
        self._least, self._greatest = max(least, 1), greatest
        self._corpus = _lay_out(text, ends, counts)
        # a token cannot be learned without a position that it takes
        self._size = size = max(min(size, len(self._corpus.text)), BYTES)
        place, length = np.zeros(size, np.int64), np.ones(size, np.int64)
        place[:BYTES] = np.arange(BYTES)
        made_of, count = np.zeros((size, 2), np.int32), np.zeros(size, np.int64)
        self._tokens = Tokens(place, length, made_of, count)
        self._befores, self._afters = _beside(size), _beside(size)
        self._state = np.zeros(6, np.int64)
        self._state[TOKENS] = BYTES
        self._enter_bytes()

    def _enter_bytes(self) -> None:
        """The pairs of neighbouring bytes, which are the ones to begin with."""
        _, symbols, piece, weights = self._corpus
        at = np.flatnonzero((symbols[:-1] != SEPARATOR) & (symbols[1:] != SEPARATOR))
        codes = (symbols[at] << 8 | symbols[at + 1]).astype(np.uint16)
        order = np.argsort(codes, kind="stable")
        at, codes = at[order], codes[order]
        lists = np.flatnonzero(np.diff(codes.astype(np.int32), prepend=-1, append=-1))
        keys = codes[lists[:-1]].astype(np.uint64)
        keys = keys >> BYTE_BITS << SIDE | keys & BYTE

        room = len(keys) + ROOM
        self._pairs = Pairs(
            np.zeros((_slots_for(room), 2), np.uint64),
            np.zeros(room, np.int64),
            np.zeros(room, np.int64),
            np.zeros(room, np.int64),
            np.empty(2 * len(at) + ROOM, np.int32),
        )
        self._pairs.positions[: len(at)] = at
        self._heap = Heap(np.zeros(room, np.int64), np.zeros(room, np.uint64))
        _begin.part(
            0,
            len(keys),
            keys,
            weights[piece[at]],
            lists,
            self._corpus,
            self._tokens,
            self._pairs,
            self._heap,
            self._state,
            self._greatest,
        )

    def learn(self, number: int) -> int:
        """Learn so many merges more, or fewer if there are no more. Returns how many were."""
        state = self._state
        known = int(state[TOKENS])
        target = min(known + number, self._size)
        while state[TOKENS] < target and state[STATUS] != NO_PAIR_LEFT:
            if state[STATUS] == NO_ROOM:
                self._make_room()
            _learn.part(
                int(state[TOKENS]),
                target,
                self._corpus,
                self._tokens,
                self._pairs,
                self._heap,
                self._befores,
                self._afters,
                state,
                self._greatest,
                self._least,
            )
        return int(state[TOKENS]) - known

    def _make_room(self) -> None:
        """For the next merge, and for as much again as there is."""
        state, pairs = self._state, self._pairs
        wanted = int(state[WANTED])
        fresh = 2 * min(wanted, int(state[TOKENS]) + 1)
        room = int(state[PAIRS]) + fresh
        frequency, slots = _longer(pairs.frequency, room), pairs.slots
        if len(slots) < _slots_for(len(frequency)):
            slots = np.zeros((_slots_for(len(frequency)), 2), np.uint64)
            _rehash.part(0, len(pairs.slots), pairs.slots, slots)
        self._pairs = Pairs(
            slots,
            frequency,
            _longer(pairs.begin, room),
            _longer(pairs.end, room),
            _longer(pairs.positions, int(state[POSITIONS]) + 2 * wanted),
        )
        self._heap = Heap(*(_longer(column, int(state[HEAP]) + fresh) for column in self._heap))
        state[STATUS] = GOING_ON

    def merges(self) -> NDArray[np.int32]:
        """Left and right id of each merge, shape (M, 2); the first makes id 256."""
        return self._tokens.made_of[BYTES : self._state[TOKENS]].copy()

    def counts(self) -> NDArray[np.int64]:
        """How often each merged pair occurred when its turn came, shape (M,)."""
        return self._tokens.frequency[BYTES : self._state[TOKENS]].copy()

    def tokens(self) -> list[bytes]:
        """The bytes of every id."""
        text, number = self._corpus.text.tobytes(), self._state[TOKENS]
        places = self._tokens.place[:number].tolist()
        lengths = self._tokens.length[:number].tolist()
        return [text[at : at + length] for at, length in zip(places, lengths, strict=True)]


def _beside(size: int) -> Beside:
    weight, number, cursor = np.zeros((3, size), np.int64)
    return Beside(weight, number, cursor, np.zeros(size, np.int32))


def learn_merges(
    text: NDArray[np.uint8], ends: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Count pieces that lie end to end, and learn merges from them, up to ``size`` tokens.

    Returns
    -------
    merges, counts
        As `MergeTrainer.merges` and `MergeTrainer.counts` give them.
    """
    pieces = PieceCounts()
    pieces.add(text, ends)
    trainer = MergeTrainer(*pieces.pieces(), size)
    trainer.learn(size)
    return trainer.merges(), trainer.counts()


def _slots_for(pairs: int) -> int:
    """A power of two that leaves at least half of the slots empty."""
    return 1 << (2 * pairs - 1).bit_length()


def _longer(column: NDArray, needed: int) -> NDArray:
    """The column itself where it is long enough, else one of twice the length or what is needed."""
    if needed <= len(column):
        return column
    longer = np.zeros(max(2 * len(column), needed), column.dtype)
    longer[: len(column)] = column
    return longer


def _lay_out(text: NDArray[np.uint8], ends: NDArray[np.int64], counts: NDArray[np.int64]) -> Corpus:
    """Put a separator between pieces, and all bytes before them, so that each has a place."""
    number, size = len(ends), int(ends[-1]) if len(ends) else 0
    piece_of = np.repeat(np.arange(number, dtype=np.int32), np.diff(ends, prepend=0))
    at = np.arange(size) + piece_of + (BYTES + 1)
    places = BYTES + 1 + size + number
    out, piece = np.zeros(places, np.uint8), np.zeros(places, np.int32)
    out[:BYTES], out[at] = np.arange(BYTES), text[:size]
    symbols = np.full(places, SEPARATOR, np.int32)
    symbols[at], piece[at] = text[:size], piece_of
    return Corpus(out, symbols, piece, np.ascontiguousarray(counts, dtype=np.int64))
