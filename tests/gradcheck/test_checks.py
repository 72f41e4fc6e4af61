"""The checker that users have: what it accepts and reports, and that it does catch mistakes."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import ConfigError, DtypeError, GradcheckError


def planted(slope: object) -> object:
    """An exp whose backward is whatever is planted."""

    @sg.differentiable
    def wrong_exp(x):
        y = np.exp(x)
        return y, lambda dy: slope(x, y, dy)

    return wrong_exp


X = np.array([[0.5, -0.3, 1.1], [0.2, 0.9, -1.2]])

BUGS = {
    "a factor": lambda x, y, dy: dy * y * 1.001,
    "the sign": lambda x, y, dy: -dy * y,
    "dy forgotten": lambda x, y, dy: y + 0 * dy,
    "transposed and reshaped into place": lambda x, y, dy: (dy * y).T.reshape(x.shape),
    "one entry": lambda x, y, dy: dy * y * np.array([[1, 1, 1], [1, 1, 1.01]]),
    "zero": lambda x, y, dy: 0 * y,
    "nan": lambda x, y, dy: np.where(x > 1, np.nan, dy * y),
    "ones for dy": lambda x, y, dy: np.ones_like(dy) * y,
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    with pytest.raises(
        GradcheckError, match=r"wrong_exp: \d of 6 entries are wrong.*input 0 \(x\), index"
    ):
        sg.gradcheck(planted(BUGS[bug]), [X])


def test_what_is_right_passes_and_is_reported() -> None:
    report = sg.gradcheck(planted(lambda x, y, dy: dy * y), [X])
    assert report.entries == 6
    assert report.worst < 1e-7
    assert str(report).startswith("6 entries agree, largest relative error ")


def test_a_wrong_softmax_gradient_does_not_hide_behind_ones() -> None:
    @sg.differentiable
    def bad_softmax(x):
        y = np.exp(x) / np.exp(x).sum()
        return y, lambda dy: y * (dy - dy.mean())  # right for a cotangent of ones

    with pytest.raises(GradcheckError):
        sg.gradcheck(bad_softmax, [X])


def test_the_worst_entry_is_named_with_both_values() -> None:
    bug = planted(lambda x, y, dy: dy * y * np.where(x == X[1, 2], 1.5, 1))
    with pytest.raises(
        GradcheckError, match=r"1 of 6 .*index \(1, 2\): analytic -?[\d.]+, numeric -?[\d.]+, rel"
    ):
        sg.gradcheck(bug, [X])


def test_a_missing_gradient_is_wrong() -> None:
    def constant(x: sg.Tensor) -> sg.Tensor:
        return x.detach() * 2 + x * 0

    with pytest.raises(GradcheckError):
        sg.gradcheck(constant, [X])
    with pytest.raises(GradcheckError):
        sg.gradcheck(lambda x: x.detach() * 2, [X])


def test_float32_is_refused() -> None:
    with pytest.raises(DtypeError, match=r"expected float64.*input 1.*rounding"):
        sg.gradcheck(sg.add, [X, X.astype(np.float32)])
    with pytest.raises(DtypeError):
        sg.gradcheck(sg.exp, [sg.tensor([1.0], requires_grad=True)])


def test_every_input_and_every_output_is_checked() -> None:
    report = sg.gradcheck(lambda a, b: sg.split(a * b, 3, axis=1), [X, X + 1])
    assert report.entries == 12

    @sg.differentiable
    def half_right(a, b):
        return a * b, (lambda dy: dy * b, lambda dy: dy * b)

    with pytest.raises(GradcheckError, match=r"6 of 12.*input 1"):
        sg.gradcheck(half_right, [X, X + 1])


def test_integers_are_passed_as_they_are() -> None:
    report = sg.gradcheck(lambda x, i: x[i], [X, np.array([0, 0, 1])])
    assert report.entries == 6


def test_only_the_tensors_that_want_a_gradient_where_some_do() -> None:
    a, b = sg.tensor(X, requires_grad=True), sg.tensor(X)
    assert sg.gradcheck(sg.multiply, [a, b]).entries == 6
    assert sg.gradcheck(sg.multiply, [sg.tensor(X), b]).entries == 12


def test_parameters_that_the_function_reaches_by_itself_are_put_back() -> None:
    w = sg.tensor(X, requires_grad=True)
    w.grad = np.ones((2, 3))
    report = sg.gradcheck(lambda x, _: sg.exp(x * w), [sg.tensor(X, requires_grad=True), w])
    assert report.entries == 12
    np.testing.assert_array_equal(w.numpy(), X)
    np.testing.assert_array_equal(w.grad, np.ones((2, 3)))


def test_inputs_are_left_alone() -> None:
    x = X.copy()
    sg.gradcheck(sg.exp, [x])
    np.testing.assert_array_equal(x, X)


def test_the_seed_draws_the_cotangent() -> None:
    seen = []

    @sg.differentiable
    def spy(x):
        return x * 1, lambda dy: (seen.append(dy.copy()), dy)[1]

    for seed in (0, 0, 1):
        sg.gradcheck(spy, [X], seed=seed)
    a, a_again, b, b_again, c, c_again = seen  # backward runs twice
    for other in (a_again, b, b_again):
        np.testing.assert_array_equal(a, other)
    np.testing.assert_array_equal(c, c_again)
    assert (a != c).any()
    assert np.abs(a).min() >= 0.5


def test_an_empty_input_has_nothing_to_check() -> None:
    assert sg.gradcheck(sg.exp, [np.zeros((0, 3))]).entries == 0


def test_a_function_that_draws_anew_each_time_is_refused() -> None:
    with pytest.raises(GradcheckError, match="two calls with the same inputs gave two values"):
        sg.gradcheck(lambda x: sg.dropout(x, 0.5), [np.arange(1.0, 101.0)])


def test_nothing_to_differentiate_is_refused() -> None:
    with pytest.raises(GradcheckError, match="no input is float64"):
        sg.gradcheck(lambda i: sg.tensor([1.0, 2.0])[i], [np.array([0, 1])])
    with pytest.raises(GradcheckError, match="no input is float64"):
        sg.gradcheck((np.negative, lambda dy, i: -dy), [np.array([0, 1])])


@pytest.mark.parametrize(
    "setting",
    [{"step": 0}, {"rtol": 0}, {"atol": -1}, {"max_entries": -1}, {"directions": 0}],
)
def test_settings_out_of_range_are_refused(setting: Any) -> None:
    with pytest.raises(ConfigError, match="expected step and rtol above 0"):
        sg.gradcheck(sg.exp, [np.ones(2)], **setting)


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected a list .* ndarray.*write \[x"):
        sg.gradcheck(sg.exp, X)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a function, a Module or a pair"):
        sg.gradcheck(3, [X])
    with pytest.raises(ConfigError, match="received a tuple of 3"):
        sg.gradcheck((np.sin, np.cos, np.tan), [X])
    with pytest.raises(GradcheckError, match=r"received ndarray.*\(forward, vjp\)"):
        sg.gradcheck(lambda x: x.numpy(), [X])
    with pytest.raises(GradcheckError, match="no output holds floats"):
        sg.gradcheck(lambda x: sg.tensor([1]), [X])


# ------------------------------------------------------------------- functions that are none


def failure_of(fn: Any, inputs: Any, **settings: Any) -> Any:
    with pytest.raises(GradcheckError) as caught:
        sg.gradcheck(fn, inputs, **settings)
    return caught.value.failure


def test_a_value_that_is_not_finite_is_named() -> None:
    with pytest.raises(GradcheckError, match=r"output 0 is -inf at index \(1,\).*domain"):
        sg.gradcheck(sg.log, [np.array([1.0, 0.0])])
    assert failure_of(sg.log, [np.array([1.0, 0.0])]).kind == "value"


def test_the_border_of_the_domain_is_told() -> None:
    with pytest.raises(GradcheckError, match="border of its domain"):
        sg.gradcheck(sg.sqrt, [np.array([1.0, 0.0])])


def test_an_op_that_narrows_is_named() -> None:
    @sg.differentiable(changes_dtype=True)
    def narrow(x):
        return np.float32(1) * x.astype(np.float32), lambda dy: dy

    with pytest.raises(GradcheckError, match=r"output 0 is float32 though every input is float64"):
        sg.gradcheck(narrow, [X])


def test_a_backward_that_differs_the_second_time_is_refused() -> None:
    calls = []

    @sg.differentiable
    def drifting(x):
        def backward(dy):
            calls.append(1)
            return dy * (1 + 1e-15 * len(calls))

        return x * 1, backward

    failure = failure_of(drifting, [X])
    assert (failure.kind, failure.where) == ("nondeterministic", "input 0 (x)")


# ------------------------------------------------------------------------------------- kinks


@pytest.mark.parametrize(
    ("fn", "kink"),
    [
        (sg.relu, 0.0),
        (sg.abs, 0.0),
        (lambda x: sg.clip(x, -1, 1), 1.0),
        (lambda x: sg.maximum(x, 0.5), 0.5),
        (lambda x: sg.abs(x) + sg.exp(x), 0.0),  # a kink on top of a slope
        (lambda x: sg.where(x.numpy() > 0, x + 1, x), 0.0),  # a jump
        (lambda x: sg.where(x.numpy() > 0, x + 1, sg.where(x.numpy() < 0, x - 1, x)), 0.0),  # odd
    ],
)
def test_a_kink_is_told_from_an_error(fn: Any, kink: float) -> None:
    failure = failure_of(fn, [np.array([0.7, kink, -1.3])])
    assert (failure.kind, failure.index) == ("kink", (1,))
    assert sg.gradcheck(fn, [np.array([0.7, kink + 1e-4, -1.3])]).entries == 3  # near is far


def test_a_steep_smooth_function_has_no_kink() -> None:
    sg.gradcheck(lambda x: sg.tanh(x * 300), [np.array([1e-3, -2e-3, 1e-9])])
    sg.gradcheck(lambda x: sg.sin(x * 1000) / 1000, [X])
    sg.gradcheck(lambda x: sg.log(x), [np.array([1e-4, 1.0])])  # 2h would leave the domain


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3, 1e6, 1e9])
def test_inputs_of_any_size(size: float) -> None:
    """x + h is rounded where x is large: the step is what x really moved by."""
    assert sg.gradcheck(lambda x: x * 1, [X * size]).worst < 1e-7
    assert sg.gradcheck(lambda x: x * x, [X * size]).worst < 1e-6
    sg.gradcheck(sg.sin, [X * min(size, 1e6)])


def test_a_wrong_gradient_away_from_kinks_is_no_kink() -> None:
    @sg.differentiable
    def leaky(x):
        return np.where(x > 0, x, 0), lambda dy: np.where(x > 0, dy, 0.1 * dy)

    failure = failure_of(leaky, [np.array([1.0, -1.0, 2.0])])
    assert (failure.kind, failure.index) == ("gradient", (1,))


# ---------------------------------------------------------------- small errors, large inputs


def test_the_taylor_test_sees_what_a_loose_tolerance_does_not() -> None:
    bug = planted(BUGS["one entry"])
    failure = failure_of(bug, [X], rtol=0.02)
    assert failure.kind == "taylor"
    right = sg.gradcheck(sg.exp, [X])
    assert right.slope == pytest.approx(2, abs=0.01)
    assert right.linear == ()


def test_a_linear_function_has_no_remainder_and_passes_the_dot_product_test() -> None:
    report = sg.gradcheck(lambda a, b: a @ b, [X, X.T + 1])
    assert report.slope == pytest.approx(2, abs=0.01)  # not linear in both together
    assert report.linear == ("input 0 (a)", "input 1 (b)")
    report = sg.gradcheck(sg.cumulative_sum, [X[0]])
    assert (report.slope, report.linear) == (None, ("input 0 (x)",))
    assert "no Taylor remainder; linear, dot-product test to 1e-12: input 0" in str(report)


def test_the_dot_product_test_sees_a_billionth() -> None:
    @sg.differentiable
    def double(x):
        return 2 * x, lambda dy: dy * (2 + 2e-9)

    failure = failure_of(double, [X])
    assert failure.kind == "dot-product"
    assert 1e-10 < failure.relative < 1e-8


def test_a_large_input_is_checked_along_directions() -> None:
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(3, 1)), rng.normal(size=(3, 700))
    report = sg.gradcheck(lambda a, b: sg.tanh(a * b), [small, large], max_entries=100)
    assert report.elementwise == ("input 0 (a)",)
    assert report.directions == ("input 1 (b)",)
    assert report.entries == 3 + 8
    assert "along directions only: input 1 (b)" in str(report)


def test_a_wrong_entry_of_a_large_input_is_found_by_its_index() -> None:
    x = np.random.default_rng(0).normal(size=(40, 50))
    mistake = np.ones(x.shape)
    mistake[17, 31] = 1.01

    @sg.differentiable
    def wrong(x):
        y = np.tanh(x)
        return y, lambda dy: dy * (1 - y * y) * mistake

    failure = failure_of(wrong, [x], max_entries=100)
    assert failure.index == (17, 31)
    assert failure.analytic == pytest.approx(1.01 * failure.numeric, rel=1e-6)


def test_a_kink_along_a_direction_is_told() -> None:
    x = np.zeros((5, 50))
    failure = failure_of(sg.abs, [x], max_entries=10)
    assert (failure.kind, failure.index) == ("kink", None)


def test_numbers_and_lists_are_inputs_too() -> None:
    def f(a: Any, b: Any, flag: Any) -> Any:
        assert flag is True
        return a * b

    assert sg.gradcheck(f, [0.5, [1.0, 2.0], True]).entries == 3
    assert sg.gradcheck((np.multiply, lambda dy, a, b: (np.sum(dy * b), dy * a)), [0.5, X]).entries


def test_a_function_that_cannot_be_moved_far_is_not_tried_as_linear() -> None:
    def narrow(x: Any) -> Any:
        if abs(x.numpy() - 0.5).max() > 0.1:
            raise ValueError("out of its domain")
        return x * 2

    report = sg.gradcheck(narrow, [np.full(3, 0.5)])
    assert (report.entries, report.linear) == (3, ())


def test_a_function_without_a_signature_has_inputs_by_number() -> None:
    class Op:
        __signature__ = "none"

        def __call__(self, x: Any) -> Any:
            return x.detach() * 1

    assert failure_of(Op(), [X]).where == "input 0"
