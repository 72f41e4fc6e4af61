"""The split, the seeded order, and the windows of an evaluation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.data import batch, check_length, smallest_dtype, split, windows
from scratchgrad.errors import ConfigError, DataError

IDS = np.arange(500, dtype=np.uint16)


@pytest.mark.parametrize(
    ("count", "dtype"),
    [(1, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4")],
)
def test_smallest_dtype_at_its_edges(count, dtype):
    assert smallest_dtype(count) == np.dtype(dtype)


def test_the_split_is_nanogpts_and_the_end_is_held_out():
    for count in (10, 99, 1000, 1_115_394):
        training, validation = split(np.arange(count))
        assert len(training) == int(count * 0.9)
        assert np.array_equal(np.concatenate([training, validation]), np.arange(count))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_split_that_leaves_a_side_empty_is_refused(fraction):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split(IDS, fraction)


def test_a_short_text_says_how_many_tokens_there_are_and_are_needed():
    with pytest.raises(DataError, match=r"too short: 20 tokens, 18 .* context of 18 .* least 19"):
        check_length(IDS[:18], IDS[18:20], 18)
    check_length(IDS[:19], IDS[:2], 18)
    with pytest.raises(DataError, match=r"leave 1 for validation"):
        check_length(IDS[:19], IDS[:1], 18)


def test_a_batch_is_a_pure_function_of_its_numbers():
    first = batch(IDS, 7, 30, 4, 8, micro_step=1)
    for other_step in range(5):
        batch(IDS, 7, other_step, 3, 8)
    again = batch(IDS, 7, 30, 4, 8, micro_step=1)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], first[0] + 1)
    assert first[0].dtype == np.int64


def test_each_of_seed_step_and_micro_step_changes_the_batch():
    def starts(*key):
        seed, step, micro = key
        return tuple(batch(IDS, seed, step, 8, 4, micro)[0][:, 0])

    keys = [(s, t, m) for s in range(4) for t in range(4) for m in range(4)]
    assert len({starts(*key) for key in keys}) == len(keys)


def test_the_order_is_pinned():
    """A change of these numbers changes every run that anyone resumes or repeats."""
    assert batch(np.arange(10_000), 1337, 5, 4, 8, 2)[0][:, 0].tolist() == [
        4912,
        7473,
        3364,
        5940,
    ]


def test_every_place_is_drawn_and_none_beyond_the_end():
    ids = np.arange(12)
    starts = np.concatenate([batch(ids, 0, step, 32, 8)[0][:, 0] for step in range(50)])
    counts = np.bincount(starts, minlength=4)
    assert len(counts) == 4
    assert counts.min() > 0.8 * counts.mean()


def test_a_batch_of_too_few_ids():
    assert batch(IDS[:9], 0, 0, 2, 8)[1].tolist() == [list(range(1, 9))] * 2
    with pytest.raises(DataError, match="8 ids hold no window"):
        batch(IDS[:8], 0, 0, 2, 8)


@given(count=st.integers(2, 200), block=st.integers(1, 70))
def test_windows_without_a_limit_predict_every_token_once(count, block):
    plan = windows(count, block)
    targets = np.concatenate([np.arange(s + 1, min(s + block, count - 1) + 1) for s in plan.starts])
    assert np.array_equal(targets, np.arange(1, count))
    assert plan.complete


@given(count=st.integers(2, 400), block=st.integers(1, 20), limit=st.integers(1, 30))
def test_windows_with_a_limit_are_distinct_full_ones_of_the_same_grid(count, block, limit):
    everything, some = windows(count, block), windows(count, block, limit)
    assert set(some.starts) <= set(everything.starts)
    assert len(some.starts) == min(limit, len(everything.starts)) == len(set(some.starts))
    assert some.complete == (len(some.starts) == len(everything.starts))
    if not some.complete:
        assert all(some.starts + block < count)


def test_one_id_holds_nothing_to_predict():
    with pytest.raises(DataError, match="nothing to predict"):
        windows(1, 4)
