"""The public strategies keep what they promise."""

from typing import Any

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from scratchgrad import testing
from scratchgrad.cases import RandomChoices


@given(testing.shapes(min_dims=1, max_dims=2, min_side=2, max_side=3))
def test_shapes_keep_their_bounds(shape: tuple[int, ...]) -> None:
    assert 1 <= len(shape) <= 2
    assert all(2 <= n <= 3 for n in shape)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda s: s == (),
        lambda s: 0 in s,
        lambda s: len(s) == 3 and 1 in s,
        lambda s: len(s) == 2 and min(s) > 2,
    ],
)
def test_every_sort_of_shape_comes(wanted: Any) -> None:
    assert wanted(find(testing.shapes(), wanted))


@given(testing.broadcastable_shapes(3))
def test_groups_of_shapes_broadcast(group: list[tuple[int, ...]]) -> None:
    assert len(group) == 3
    np.broadcast_shapes(*group)


def test_groups_stretch_axes_and_leave_them_away() -> None:
    find(testing.broadcastable_shapes(2), lambda g: len(g[0]) > len(g[1]) > 0)
    find(testing.broadcastable_shapes(2), lambda g: len(g[0]) == len(g[1]) == 2 and g[0] != g[1])


@given(testing.broadcastable_arrays(2, low=0.5, high=3.0))
def test_numbers_have_no_ties_and_keep_away_from_zero(group: tuple[np.ndarray, ...]) -> None:
    values = np.abs(np.concatenate([x.ravel() for x in group]))
    assert all(x.dtype == np.float64 for x in group)
    assert (values >= 0.5).all()
    assert (values <= 3.0).all()
    gaps = np.diff(np.sort(values))
    assert (gaps >= 0.5 * (3.0 - 0.5) / max(values.size, 1)).all()


@given(testing.arrays((4,), signs=False))
def test_one_sign_if_wanted(x: np.ndarray) -> None:
    assert x.shape == (4,)
    assert (x > 0).all()


def test_an_array_takes_a_strategy_for_its_shape() -> None:
    x = find(testing.arrays(testing.shapes(min_dims=2, max_dims=2)), lambda x: True)
    assert x.ndim == 2


@given(testing.arrays(testing.shapes(min_dims=2, min_side=2)), testing.layouts())
def test_layouts_keep_the_values(x: np.ndarray, layout: str) -> None:
    y = testing.laid_out(x, layout)
    np.testing.assert_array_equal(x, y)
    assert not np.shares_memory(x, y)
    assert y.flags.c_contiguous == (layout == "contiguous")


def test_every_layout_has_other_strides() -> None:
    x = np.ones((3, 4))
    assert len({testing.laid_out(x, layout).strides for layout in testing.LAYOUTS}) == 4


@given(st.data(), st.integers(0, 3))
def test_axes_are_good_ones(data: Any, ndim: int) -> None:
    axis = data.draw(testing.axes(ndim))
    np.sum(np.ones((2,) * ndim), axis=axis)  # raises for an axis that is none, or comes twice
    one = data.draw(testing.axes(ndim, none=False, several=False))
    assert one is None if ndim == 0 else -ndim <= one < ndim


@given(testing.attention_inputs())
def test_attention_inputs_fit_together(qkv: tuple[np.ndarray, ...]) -> None:
    q, k, v = qkv
    assert q.shape[0] == k.shape[0] == v.shape[0]
    assert q.shape[1] % k.shape[1] == 0
    assert k.shape[1:3] == v.shape[1:3]
    assert q.shape[3] == k.shape[3]


def test_attention_inputs_hold_all_sorts_of_heads() -> None:
    find(testing.attention_inputs(), lambda x: x[0].shape[1] == 2 * x[1].shape[1] == 4)  # grouped
    find(testing.attention_inputs(), lambda x: x[0].shape[1] > 1 == x[1].shape[1])  # multi-query
    find(testing.attention_inputs(), lambda x: x[0].shape[2] != x[1].shape[2])
    with pytest.raises(NoSuchExample):
        find(testing.attention_inputs(grouped=False), lambda x: x[0].shape[1] != x[1].shape[1])


@given(testing.token_ids(5, (2, 3)))
def test_token_ids_are_in_range(ids: np.ndarray) -> None:
    assert ids.shape == (2, 3)
    assert ids.dtype == np.int64
    assert ids.min() >= 0
    assert ids.max() < 5


def test_the_same_seed_makes_the_same_choices() -> None:
    def choices(seed: int) -> list[Any]:
        choose = RandomChoices(seed)
        return [
            choose.one_of("abcdef"),
            choose.integer(0, 999),
            choose.flag(),
            choose.permutation(range(9)),
            choose.rng().random(),
        ]

    assert choices(3) == choices(3) != choices(4)
