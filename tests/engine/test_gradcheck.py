"""The checker that users have: what it accepts and reports, and that it does catch mistakes."""

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
        GradcheckError, match=r"wrong_exp: \d of 6 entries are wrong.*input 0, index"
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
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()
    assert np.abs(seen[0]).min() >= 0.5


def test_an_empty_input_has_nothing_to_check() -> None:
    assert sg.gradcheck(sg.exp, [np.zeros((0, 3))]).entries == 0


def test_a_function_that_draws_anew_each_time_is_refused() -> None:
    with pytest.raises(GradcheckError, match="two calls with the same inputs gave two values"):
        sg.gradcheck(lambda x: sg.dropout(x, 0.5), [np.arange(1.0, 101.0)])


def test_nothing_to_differentiate_is_refused() -> None:
    with pytest.raises(GradcheckError, match="no input is float64"):
        sg.gradcheck(lambda i: sg.tensor([1.0, 2.0])[i], [np.array([0, 1])])


@pytest.mark.parametrize("setting", [{"step": 0}, {"rtol": 0}, {"atol": -1}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected step and rtol above 0"):
        sg.gradcheck(sg.exp, [np.ones(2)], **setting)
