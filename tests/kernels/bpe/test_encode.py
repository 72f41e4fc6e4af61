"""Ids are those of the definition, by whichever of the four ways a piece goes."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchgrad.kernels.bpe import reference as bpe
from scratchgrad.kernels.bpe.encode import SHARE, SHORT, PieceEncoder
from scratchgrad.kernels.bpe.table import INLINE
from scratchgrad.kernels.threads import get_threads, set_threads
from tests.kernels.bpe.pieces import joined

ALPHABETS = st.sampled_from([b"a", b"ab", b"abc"])


def encoder(
    tokens: Sequence[bytes], merges: Sequence[tuple[int, int]], **options: bool
) -> PieceEncoder:
    text, ends = joined(tokens)
    rows = [(left, right, 256 + k, k) for k, (left, right) in enumerate(merges)]
    return PieceEncoder(
        text,
        ends,
        np.arange(len(tokens)),
        np.array(rows, np.int32).reshape(-1, 4),
        np.arange(256, dtype=np.int32),
        **options,
    )


def trained(letters: bytes, seed: int, size: int) -> tuple[list[bytes], list[tuple[int, int]]]:
    rng = np.random.default_rng(seed)
    pieces = {words(letters, rng, 40): 1 for _ in range(5)}
    tokens, merges, _ = bpe.train(pieces, size)
    return tokens, merges


def words(letters: bytes, rng: np.random.Generator, length: int) -> bytes:
    return bytes(rng.choice(list(letters), length).tolist())


LENGTHS = [1, 2, 3, 8, 9, INLINE, INLINE + 1, SHORT - 1, SHORT, SHORT + 1, SHORT + 2, 3 * SHORT]


@settings(max_examples=60)
@given(ALPHABETS, st.integers(0, 10**6), st.integers(256, 310))
def test_ids_are_those_of_the_definition(letters, seed, size):
    tokens, merges = trained(letters, seed, size)
    ranks = {pair: (k, 256 + k) for k, pair in enumerate(merges)}
    rng = np.random.default_rng(seed)
    pieces = [words(letters + b"z", rng, n) for n in LENGTHS * 2]
    pieces += pieces[:3]  # out of the cache
    wanted = [bpe.encode(piece, ranks, range(256)) for piece in pieces]
    text, ends = joined(pieces)
    sizes = np.zeros(len(pieces), np.int32)
    got = encoder(tokens, merges).encode(text, ends, sizes)
    assert got.tolist() == [id_ for ids in wanted for id_ in ids]
    assert sizes.tolist() == [len(ids) for ids in wanted]


def test_a_token_that_no_merge_reaches_is_taken_only_where_that_is_the_rule():
    tokens = [bytes([i]) for i in range(256)] + [b"ab", b"abc"]
    text, ends = joined([b"abc", b"ab"])
    assert encoder(tokens, [(97, 98)]).encode(text, ends).tolist() == [256, 99, 256]
    whole = encoder(tokens, [(97, 98)], whole_pieces=True)
    assert whole.encode(text, ends).tolist() == [257, 256]


@pytest.mark.parametrize("length", [2, 7, 8, 9, INLINE, INLINE + 1, 23, 24, 25, 40])
def test_whole_tokens_of_any_length_are_found_and_what_is_like_them_is_not(length):
    base = bytes(range(100, 100 + length))
    others = [base[:i] + bytes([base[i] ^ 128]) + base[i + 1 :] for i in range(length)]
    tokens = [bytes([i]) for i in range(256)] + [b"first", base, b"last"]
    rules = encoder(tokens, [], whole_pieces=True)
    for piece in (base + b"x", *others):
        assert rules.encode(*joined([base, piece])).tolist() == [257, *piece]


def test_pieces_that_differ_in_zero_bytes_only_are_told_apart_in_the_cache():
    tokens = [bytes([i]) for i in range(256)] + [bytes(2), bytes(4)]
    merges = [(0, 0), (256, 256)]
    ranks = {pair: (k, 256 + k) for k, pair in enumerate(merges)}
    # each group of 15 differs in nothing but the length, and some of them share a line
    pieces = [bytes([first]) + bytes(n) for first in range(1, 256) for n in range(1, INLINE)]
    wanted = [id_ for piece in pieces for id_ in bpe.encode(piece, ranks, range(256))]
    assert encoder(tokens, merges).encode(*joined(pieces)).tolist() == wanted


def test_equal_ranks_go_from_left_to_right():
    tokens = [bytes([i]) for i in range(256)] + [b"aa", b"aaa"]
    text, ends = joined(tokens)
    merges = np.array([(97, 97, 256, 0), (97, 256, 257, 1), (256, 97, 257, 1)], np.int32)
    rules = PieceEncoder(text, ends, np.arange(258), merges, np.arange(256, dtype=np.int32))
    for count in (3, 7, SHORT + 7):
        pairs, odd = divmod(count, 2)  # aa aa … aa a; then (aa, a) at the very end
        ids = rules.encode(*joined([b"a" * count])).tolist()
        assert ids == [256] * (pairs - odd) + [257] * odd


def test_characters_first_and_bytes_where_there_is_none():
    tokens = [bytes([i]) for i in range(256)] + ["é".encode(), "aé".encode(), "漢".encode()]
    text, ends = joined(tokens)
    rules = PieceEncoder(
        text,
        ends,
        np.arange(len(tokens)),
        np.array([(97, 256, 257, 0)], np.int32),
        np.arange(256, dtype=np.int32),
        characters=True,
    )
    piece, end = joined(["aéé漢ü".encode() + b"\xe6\xbc" + "é".encode()])
    assert rules.encode(piece, end).tolist() == [257, 256, 258, 0xC3, 0xBC, 0xE6, 0xBC, 256]


def test_any_number_of_threads_gives_the_same_ids():
    tokens, merges = trained(b"abc", 3, 300)
    rng = np.random.default_rng(4)
    pieces = [words(b"abc", rng, int(n)) for n in rng.integers(1, 12, 3 * SHARE)]
    pieces[SHARE] = words(b"abc", rng, 5000)
    rules, (text, ends) = encoder(tokens, merges), joined(pieces)
    before, found = get_threads(), []
    try:
        for threads in (1, 2, 3):
            set_threads(threads)
            found.append(rules.encode(text, ends).tolist())
    finally:
        set_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("letter", [b"a", b"ab", b"abc"])
def test_a_long_piece_is_not_quadratic(letter):
    tokens, merges = trained(letter, 5, 300)
    rules = encoder(tokens, merges)
    rng = np.random.default_rng(6)
    text, ends = joined([words(letter, rng, 200_000)])  # quadratic would take minutes
    ids = rules.encode(text, ends)
    assert b"".join(tokens[i] for i in ids.tolist()) == text[: ends[0]].tobytes()


def test_no_pieces():
    assert encoder([bytes([i]) for i in range(256)], []).encode(*joined([])).tolist() == []
