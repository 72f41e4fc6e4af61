"""Where there is no one derivative: what is taken there, as ops/elementwise.py documents it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from tests.finite import check_gradients

inf, nan = np.inf, np.nan


def gradients(function: Callable[..., Any], *values: Any) -> list[list[float]]:
    """The gradients of the sum of a function, by float64 inputs."""
    inputs = [
        sg.tensor(np.asarray(v, dtype=np.float64), requires_grad=True)
        for v in values
        if v is not None
    ]
    function(*inputs).sum().backward()
    return [x.grad.tolist() for x in inputs]


def test_relu_and_abs_have_slope_zero_at_zero() -> None:
    assert gradients(sg.relu, [-1.0, 0.0, 2.0]) == [[0, 0, 1]]
    assert gradients(sg.abs, [-1.0, 0.0, 2.0]) == [[-1, 0, 1]]


@pytest.mark.parametrize("function", [sg.maximum, sg.minimum])
def test_equal_elements_share_the_gradient_of_maximum_and_minimum(function: Any) -> None:
    assert gradients(function, [1.0, 1.0], [1.0, 1.0]) == [[0.5, 0.5], [0.5, 0.5]]


def test_maximum_and_minimum_of_one_tensor_with_itself() -> None:
    x = sg.tensor([3.0], requires_grad=True)
    (sg.maximum(x, x) + sg.minimum(x, x)).backward()
    assert x.grad.tolist() == [2.0]


@pytest.mark.parametrize("function", [sg.max, sg.min])
def test_ties_of_max_and_min_share_evenly(function: Any) -> None:
    assert gradients(function, [2.0, 2.0, 2.0]) == [[1 / 3, 1 / 3, 1 / 3]]
    (g,) = gradients(lambda x: function(x, axis=1), [[1.0, 1.0], [0.0, 0.0]])
    assert g == [[0.5, 0.5], [0.5, 0.5]]


def test_an_element_on_a_bound_of_clip_keeps_its_gradient() -> None:
    dx, dlow, dhigh = gradients(sg.clip, [-2.0, -1.0, 0.0, 1.0, 2.0], [-1.0] * 5, [1.0] * 5)
    assert dx == [0, 1, 1, 1, 0]
    assert dlow == [1, 0, 0, 0, 0]
    assert dhigh == [0, 0, 0, 0, 1]


def test_where_the_bounds_of_clip_cross_the_upper_wins() -> None:
    x, low, high = ([v] for v in (0.0, 2.0, 1.0))
    assert sg.clip(sg.tensor(x), sg.tensor(low), sg.tensor(high)).item() == 1.0
    assert gradients(sg.clip, x, low, high) == [[0], [0], [1]]


def test_an_infinite_bound_of_clip_gets_the_gradient_of_what_it_replaced() -> None:
    """Where the other bound was left out: it stood in as the same infinity once."""
    inf = np.inf
    assert gradients(sg.clip, [0.0, 1.0], [inf, 0.0]) == [[0, 1], [1, 0]]
    low = lambda x, bound: sg.clip(x, None, bound)  # noqa: E731
    assert gradients(low, [0.0, 1.0], [-inf, 2.0]) == [[0, 1], [1, 0]]


def test_clip_with_one_bound_or_none() -> None:
    # A bound that replaces x gets its gradient, whether there is another or not.
    assert gradients(lambda x, low: sg.clip(x, low), [-1.0, 1.0], [0.0, 0.0]) == [[0, 1], [1, 0]]
    assert gradients(lambda x, high: sg.clip(x, None, high), [-1.0, 1.0], [0.0, 0.0]) == [
        [1, 0],
        [0, 1],
    ]
    assert gradients(lambda x: sg.clip(x, 0.0), [-1.0, 1.0]) == [[0, 1]]
    assert gradients(lambda x: sg.clip(x, max=0.0), [-1.0, 1.0]) == [[1, 0]]
    assert gradients(lambda x: x.clip(min=-5, max=0.5), [-1.0, 1.0]) == [[1, 0]]
    assert gradients(sg.clip, [-1.0, 1.0]) == [[1, 1]]


def test_clip_gives_the_gradient_to_bounds_that_broadcast() -> None:
    x = [[-3.0, 0.0], [-4.0, 5.0]]
    dx, dlow, dhigh = gradients(sg.clip, x, [-1.0, -1.0], [[2.0], [3.0]])
    assert (dx, dlow, dhigh) == ([[0, 1], [0, 0]], [2, 0], [[0], [1]])


def test_sqrt_is_infinitely_steep_at_zero() -> None:
    assert gradients(sg.sqrt, [0.0]) == [[inf]]


def test_pow_at_zero() -> None:
    assert gradients(sg.pow, [0.0], [0.0]) == [[0], [0]]  # 0^0 = 1 is the constant a^0
    assert gradients(sg.pow, [0.0], [2.0]) == [[0], [0]]
    assert gradients(sg.pow, [0.0], [1.0]) == [[1], [0]]
    assert gradients(sg.pow, [0.0], [0.5]) == [[inf], [0]]
    assert gradients(lambda a: a**0, [0.0, -1.0]) == [[0, 0]]
    assert gradients(lambda a: a**2, [0.0, -1.0]) == [[0, -2]]
    assert gradients(lambda b: 0.0**b, [0.0, 2.0]) == [[0, 0]]


def test_pow_of_a_negative_base_has_no_gradient_for_its_exponent() -> None:
    da, db = gradients(sg.pow, [-2.0], [3.0])
    assert da == [12]
    assert np.isnan(db[0])


def test_pow_in_float32_keeps_its_dtype_beside_whole_exponents() -> None:
    x = sg.tensor([2.0, 3.0], requires_grad=True)
    y = x ** np.array([2, 3])
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [4, 27]


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_prod_with_zeros(zeros: int, rng: np.random.Generator) -> None:
    values = np.array([[2.0, -3.0, 0.5], [1.5, 4.0, -1.0]])
    values[0, :zeros] = 0
    x = sg.Tensor(values, requires_grad=True)
    check_gradients(lambda: sg.prod(x, axis=1), [x], rng)
    check_gradients(lambda: sg.prod(x), [x], rng)


def test_prod_of_two_zeros_has_no_gradient_and_of_one_only_there() -> None:
    assert gradients(sg.prod, [0.0, 3.0, 4.0]) == [[12, 0, 0]]
    assert gradients(sg.prod, [0.0, 0.0, 4.0]) == [[0, 0, 0]]


def test_std_without_spread_has_gradient_zero() -> None:
    assert gradients(sg.std, [2.0, 2.0, 2.0]) == [[0, 0, 0]]
    (g,) = gradients(lambda x: sg.std(x, axis=1), [[1.0, 1.0], [0.0, 2.0]])
    assert g == [[0, 0], [-0.5, 0.5]]


def test_logsumexp_at_the_ends() -> None:
    assert sg.logsumexp(sg.tensor([1000.0, 1000.0])).item() == pytest.approx(1000 + np.log(2))
    assert sg.logsumexp(sg.tensor([-inf, -inf])).item() == -inf
    assert sg.logsumexp(sg.tensor([-inf, 0.0])).item() == 0
    assert sg.logsumexp(sg.tensor([inf, 0.0])).item() == inf
    assert gradients(sg.logsumexp, [-inf, 0.0]) == [[0, 1]]
    assert gradients(sg.logsumexp, [1000.0, 0.0]) == [[1, 0]]


def test_the_ends_of_sigmoid_and_friends_do_not_overflow() -> None:
    assert gradients(sg.sigmoid, [-1000.0, 1000.0]) == [[0, 0]]
    assert gradients(sg.silu, [-1000.0, 1000.0]) == [[0, 1]]
    for approximate in ("none", "tanh"):
        (g,) = gradients(lambda x, a=approximate: sg.gelu(x, approximate=a), [-1000.0, 1000.0])
        assert g == [0, 1]


def test_gradient_of_sqrt_of_zero_times_zero_is_nan_not_silence() -> None:
    (g,) = gradients(lambda x: sg.sqrt(x) * 0.0, [0.0])
    assert np.isnan(g[0])


def test_nan_passes_through_maximum_and_max() -> None:
    assert np.isnan(sg.maximum(sg.tensor([nan]), 1.0).item())
    assert np.isnan(sg.max(sg.tensor([nan, 1.0])).item())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_inputs_outside_the_domain_give_nan_or_inf() -> None:
    assert np.isnan(sg.log(sg.tensor([-1.0])).item())
    assert sg.log(sg.tensor([0.0])).item() == -inf
    assert sg.divide(sg.tensor([1.0]), 0.0).item() == inf
    assert sg.exp(sg.tensor([1000.0])).item() == inf


def test_an_infinite_gradient_of_one_copy_stays_with_its_element() -> None:
    x = sg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    sg.repeat(x, [2, 0, 3]).backward([inf, 1.0, 1.0, 2.0, 3.0])
    assert x.grad.tolist() == [inf, 0, 6]


def test_nan_is_not_hidden() -> None:
    x = sg.tensor([np.nan, 1.0], requires_grad=True)
    sg.relu(x).backward([2.0, 3.0])
    np.testing.assert_array_equal(x.grad, [2.0, 3.0])
    x.grad = None
    sg.max(x).backward()
    assert np.isnan(x.grad).all()
