"""Merges learned without recounting are those of the definition, which counts anew each time."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchgrad.kernels.bpe import reference as bpe
from scratchgrad.kernels.bpe.train import MergeTrainer
from tests.kernels.bpe.pieces import joined

Learned = tuple[list[bytes], list[tuple[int, int]], list[int]]

# Two or three letters make runs, overlaps and ties, where the mistakes are.
LETTERS = st.sampled_from([b"a", b"ab", b"abc", b"\x00\xff"])
CORPUS = LETTERS.flatmap(
    lambda letters: st.dictionaries(
        st.lists(st.sampled_from(list(letters)), min_size=1, max_size=30).map(bytes),
        st.sampled_from([1, 1, 2, 3, 50, 2**40]),
        max_size=8,
    )
)


def learn(pieces: dict[bytes, int], size: int, step: int = 10**6, **options: object) -> Learned:
    text, ends = joined(list(pieces))
    counts = np.array(list(pieces.values()), np.int64)
    trainer = MergeTrainer(text, ends, counts, size, **options)  # type: ignore[arg-type]
    while trainer.learn(step) == step:
        pass
    merges = [(left, right) for left, right in trainer.merges().tolist()]
    return trainer.tokens(), merges, trainer.counts().tolist()


@settings(max_examples=300)
@given(CORPUS, st.integers(256, 300), st.integers(1, 3), st.booleans(), st.sampled_from([1, 7, 99]))
def test_merges_are_those_of_the_definition(pieces, size, least, greatest, step):
    wanted = bpe.train(pieces, size, least=least, greatest=greatest)
    assert learn(pieces, size, step, least=least, greatest=greatest) == wanted


@settings(max_examples=100)
@given(CORPUS, st.booleans())
def test_tables_that_must_grow_all_the_time_lose_nothing(pieces, greatest):
    wanted = bpe.train(pieces, 320, greatest=greatest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scratchgrad.kernels.bpe.train.ROOM", 0)
        assert learn(pieces, 320, greatest=greatest) == wanted


@pytest.mark.parametrize("letters", [2, 20, 200])
def test_lists_of_positions_grow_and_lose_nothing(rng, letters):
    text = rng.integers(0, letters, 400, dtype=np.uint8).tobytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scratchgrad.kernels.bpe.train.ROOM", 0)
        assert learn({text: 3}, 800) == bpe.train({text: 3}, 800)


@given(CORPUS)
def test_no_token_is_made_twice(pieces):
    tokens, merges, _ = learn(pieces, 400)
    assert len(set(tokens)) == len(tokens) == 256 + len(merges)


@pytest.mark.parametrize(
    ("pieces", "merges"),
    [
        ({b"aaaa": 1}, [(97, 97), (256, 256)]),
        ({b"aaaaa": 1}, [(97, 97), (256, 97), (256, 257)]),
        ({b"abab": 1, b"ba": 1}, [(97, 98), (98, 97), (256, 256)]),
        ({b"a": 5}, []),
        ({}, []),
    ],
)
def test_small_corpora_by_hand(pieces, merges):
    assert learn(pieces, 1000)[1] == merges


def test_ties_by_the_smallest_ids_or_by_the_greatest_bytes():
    pieces = {b"ab": 1, b"cd": 1, b"zy": 1}
    assert learn(pieces, 257)[1] == [(ord("a"), ord("b"))]
    assert learn(pieces, 257, greatest=True)[1] == [(ord("z"), ord("y"))]
    # bytes, not ids: token 256 is "b", "b" in bytes, and comes before "c"
    pieces = {b"bb": 3, b"bbx": 1, b"cx": 1}
    assert learn(pieces, 258, greatest=True)[1] == [(98, 98), (ord("c"), ord("x"))]
    assert bpe.train(pieces, 258, greatest=True)[1] == [(98, 98), (ord("c"), ord("x"))]


def test_a_token_that_begins_another_comes_before_it():
    # xy, then b + xy, then bx, which so has a higher id than bxy, and is smaller all the same
    pieces = {b"xy": 20, b"bxy": 9, b"bx": 6, b"bxyc": 3, b"bxc": 3}
    wanted = bpe.train(pieces, 260, greatest=True)
    assert wanted[0][256:] == [b"xy", b"bxy", b"bx", b"bxyc"]
    assert learn(pieces, 260, greatest=True) == wanted


def test_long_tokens_tie_by_their_last_bytes():
    one, two = b"as long as this, 1", b"as long as this, 2"
    pieces = {one: 5, two: 5, one + b"x": 2, two + b"x": 2, one + b"\x7f": 2, one + b"\x80": 2}
    for greatest in (False, True):
        wanted = bpe.train(pieces, 320, greatest=greatest)
        assert learn(pieces, 320, greatest=greatest) == wanted


def test_a_large_corpus_makes_the_tables_grow():
    rng = np.random.default_rng(0)
    letters = rng.integers(0, 256, 300_000, dtype=np.uint8)  # nearly every pair of bytes
    pieces = {bytes(letters[a:b]): 1 for a, b in pairwise(range(0, 300_001, 1000))}
    tokens, merges, counts = learn(pieces, 30_000)
    assert len(tokens) == 30_000
    assert counts == sorted(counts, reverse=True)
    # every merge is of tokens that there were, and none is made twice
    assert all(max(pair) < 256 + k for k, pair in enumerate(merges))
    assert len(set(merges)) == len(merges)
    ids = bpe.encode(
        next(iter(pieces)), {p: (k, 256 + k) for k, p in enumerate(merges)}, range(256)
    )
    assert b"".join(tokens[i] for i in ids) == next(iter(pieces))


def test_a_claim_of_many_tokens_costs_nothing():
    assert len(learn({b"abc": 1}, 10**12)[0]) == 258
