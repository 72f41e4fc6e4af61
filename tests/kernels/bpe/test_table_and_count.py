"""Counting pieces: the table against a dictionary, at every length that it treats apart."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.kernels.bpe.count import PieceCounts
from scratchgrad.kernels.bpe.table import (
    INLINE,
    MIX_FIRST,
    MIX_LENGTH,
    MIX_SECOND,
    PADDING,
    eights,
    key,
    make_table,
    padded,
)
from scratchgrad.kernels.threads import get_threads, set_threads
from tests.kernels.bpe.pieces import joined, split

# few letters and lengths round 8 and 16, so that pieces are alike for long stretches
PIECE = st.integers(1, 40).flatmap(
    lambda n: st.lists(st.sampled_from([0, 97, 255]), min_size=n, max_size=n).map(bytes)
)


def count(blocks: list[list[bytes]]) -> dict[bytes, int]:
    counts = PieceCounts()
    for pieces in blocks:
        counts.add(*joined(pieces))
    text, ends, numbers = counts.pieces()
    assert (text[ends[-1] if len(ends) else 0 :] == 0).all()
    assert len(text) == (ends[-1] if len(ends) else 0) + PADDING
    found = split(text, ends)
    assert len(set(found)) == len(found), "a piece stands twice"
    return dict(zip(found, numbers.tolist(), strict=True))


@given(st.lists(st.lists(PIECE, max_size=30), max_size=4))
def test_counts_are_those_of_a_dictionary(blocks):
    assert count(blocks) == dict(Counter(piece for pieces in blocks for piece in pieces))


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 15, INLINE, INLINE + 1, 23, 24, 25, 33, 1000])
def test_pieces_that_differ_in_one_byte_are_two(length):
    base = bytes(i % 251 for i in range(length))
    others = [base[:i] + bytes([base[i] ^ 1]) + base[i + 1 :] for i in range(length)]
    assert count([[base, *others, base]]) == {base: 2, **dict.fromkeys(others, 1)}


def test_a_zero_byte_is_not_padding():
    assert count([[b"a", b"a\0", b"a\0\0", b"a" + bytes(20), b"a" + bytes(21)]]) == {
        b"a": 1,
        b"a\0": 1,
        b"a\0\0": 1,
        b"a" + bytes(20): 1,
        b"a" + bytes(21): 1,
    }


def test_zero_bytes_at_the_end_count_wherever_a_piece_lies():
    # each group of 16 differs in nothing but the length, and some of them meet in the table
    pieces = [bytes([first]) + bytes(zeros) for first in range(1, 256) for zeros in range(16)]
    assert count([pieces]) == dict.fromkeys(pieces, 1)


def test_pieces_of_the_same_hash_are_told_apart():
    base = b"a piece of 24 bytes it is"[:24]
    others = [of_the_same_hash(base, place, bytes([k]) * 8) for place in (0, 1) for k in range(99)]
    text, ends = joined([base, *others])
    words = eights(text)
    with np.errstate(over="ignore"):  # where nothing is compiled
        hashes = {int(key(words, int(end) - 24, 24)[0]) for end in ends}
    assert len(hashes) == 1
    assert count([[base, *others, base]]) == {base: 2, **dict.fromkeys(others, 1)}


def of_the_same_hash(base: bytes, place: int, new: bytes) -> bytes:
    """Another of 24 bytes: eight of the first 16 are new, and the next eight make up for it."""

    def word(piece: bytes, i: int) -> int:
        return int.from_bytes(piece[8 * i : 8 * i + 8], "little")

    def before_adding(bits: int) -> int:
        bits = (bits ^ (24 * int(MIX_LENGTH))) % 2**64 * int(MIX_FIRST) % 2**64
        return bits ^ (bits >> 32)

    def mixed(bits: int, added: int) -> int:
        bits = (before_adding(bits) + added) % 2**64 * int(MIX_SECOND) % 2**64
        return bits ^ (bits >> 29)

    other = base[: 8 * place] + new + base[8 * place + 8 :]
    old_bits = new_bits = 0
    for i in range(place + 1):
        old_bits, new_bits = mixed(old_bits, word(base, i)), mixed(new_bits, word(other, i))
    wanted = before_adding(old_bits) - before_adding(new_bits) + word(base, place + 1)
    after = (wanted % 2**64).to_bytes(8, "little")
    return other[: 8 * place + 8] + after + base[8 * place + 16 :]


def test_the_table_grows_for_many_pieces_and_for_long_ones():
    rng = np.random.default_rng(0)
    many = [rng.bytes(int(n)) for n in rng.integers(1, 30, 20_000)]
    long = [rng.bytes(100_000), rng.bytes(30_000), rng.bytes(100_000)]
    blocks = [many[:9_000] + long[:1], long[1:] + many[9_000:] + long[:1]]
    assert count(blocks) == dict(Counter(blocks[0] + blocks[1]))


def test_any_number_of_threads_counts_the_same():
    rng = np.random.default_rng(1)
    pieces = [rng.bytes(int(n)) for n in rng.integers(1, 4, 30_000)]
    before, found = get_threads(), []
    try:
        for threads in (1, 2, 5):
            set_threads(threads)
            found.append(count([pieces]))
    finally:
        set_threads(before)
    assert found[0] == found[1] == found[2] == dict(Counter(pieces))


def test_eights_are_the_bytes_from_each_place_on():
    text = padded(bytes(range(1, 11)))
    assert eights(text)[2].tobytes() == bytes(range(3, 11))
    assert eights(text)[5].tobytes() == bytes([6, 7, 8, 9, 10, 0, 0, 0])


def test_of_equal_strings_the_last_value_stays_and_half_of_the_slots_are_empty():
    text, ends = joined([b"ab", b"c", b"ab"])
    begins = ends - np.array([2, 1, 2])
    slots = make_table(text, begins, ends, np.array([5, 6, 7]))
    held = slots[slots[:, 2] > 0]
    assert sorted(held[:, 3].tolist()) == [6, 7]
    assert 2 * len(held) <= len(slots)
