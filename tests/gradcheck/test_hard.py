"""What is hard to measure: right gradients that must pass, and what must not be judged at all."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import ConfigError, DtypeError, GradcheckError
from scratchgrad.gradcheck.differences import Line, Slope
from tests.gradcheck.test_checks import X, failure_of

RNG = np.random.default_rng(0)
PROBABILITIES = np.exp(3 * RNG.normal(size=(10, 30)))
PROBABILITIES /= PROBABILITIES.sum(-1, keepdims=True)


def relu_squared(x: Any) -> Any:
    return sg.relu(x) * sg.relu(x)


@pytest.mark.parametrize(
    ("fn", "x"),
    [
        (sg.log, [2e-5, 1.0]),  # the step must be a part of x
        (sg.log, [1e-8, 1.0]),
        (sg.sqrt, [1e-6, 1.0]),
        (lambda p: -(sg.log(p) * p).sum(), PROBABILITIES),
        (lambda x: 1 / x, [1e-5, 1.0]),
        (lambda x: sg.sin(1e5 * x), X),
        (relu_squared, np.zeros(3)),  # once differentiable: differences fall as h only
        (relu_squared, np.eye(3)),
        (lambda x: sg.abs(x) * x, [0.0, 1.0, -1.0]),
        (sg.relu, [1e-4]),  # the Taylor line crosses the kink at first
        (sg.abs, X * 1e-3),
        (relu_squared, [1e-5, 1.0, -1.0]),
        (lambda x: sg.tanh(x * 1e4), X * 1e-4),
        (lambda x: sg.sin(x) + 1e8, X),  # rounding of the value is no error of the gradient
    ],
)
def test_a_right_gradient_that_is_hard_to_measure_is_right(fn: Any, x: Any) -> None:
    sg.gradcheck(fn, [np.array(x)])


def test_a_step_function_has_a_gradient_of_zero_between_its_steps() -> None:
    sg.gradcheck((lambda x: np.floor(100 * x), lambda dy, x: 0 * x), [X + 1e-3])


@pytest.mark.parametrize("constant", [1e10, 1e15])
def test_what_rounding_hides_is_not_judged(constant: float) -> None:
    with pytest.raises(GradcheckError, match=r"rounding hides how they change|kink or a jump"):
        sg.gradcheck(lambda x: sg.sin(x) + constant, [X])


def test_an_entry_that_is_lost_beside_a_huge_one_is_not_judged() -> None:
    failure = failure_of(sg.sum, [np.array([1e14, 1e-6])])
    assert (failure.kind, failure.index) == ("value", (1,))


def test_small_values_have_small_tolerances() -> None:
    assert failure_of((lambda x: 1e-10 * np.sin(x), lambda dy, x: 0 * x), [X]).kind == "gradient"
    wrong = (lambda x: 1e-9 * np.tanh(x), lambda dy, x: 1e-9 * dy)
    assert failure_of(wrong, [X]).kind == "gradient"
    sg.gradcheck(lambda x: 1e-10 * sg.sin(x), [X])


def test_a_backward_in_float32_is_named() -> None:
    @sg.differentiable
    def narrow(x):
        y = np.tanh(x)
        return y, lambda dy: (dy * (1 - y * y)).astype(np.float32)

    with pytest.raises(GradcheckError, match=r"gradient of input 0 \(x\) holds float32 numbers"):
        sg.gradcheck(narrow, [X])


def test_an_infinite_input_is_refused() -> None:
    failure = failure_of(lambda x, m: sg.softmax(x + m), [X, np.where(X > 0, 0, -np.inf)])
    assert (failure.kind, failure.where) == ("value", "input 1 (m)")


def test_an_operation_that_writes_is_told_to_copy() -> None:
    @sg.differentiable
    def writes(x):
        x += 1
        return x, lambda dy: dy

    @sg.differentiable
    def writes_back(x):
        return x * 2, lambda dy: np.multiply(dy, 2, out=dy)

    for op in (writes, writes_back):
        assert failure_of(op, [X]).kind == "mutation"


def test_other_errors_of_an_operation_are_left_as_they_are() -> None:
    with pytest.raises(sg.errors.ShapeError, match="matmul"):
        sg.gradcheck(lambda a: a @ a, [X])
    layer = sg.nn.Linear(3, 2)
    with pytest.raises(DtypeError, match=r"linear: .*pass a layer itself"):
        sg.gradcheck(lambda x: layer(x), [X])
    with pytest.raises(DtypeError, match="rows of unequal length"):
        sg.gradcheck(sg.exp, [[1.0, [2.0]]])
    with pytest.raises(DtypeError, match="astype: expected"):
        sg.gradcheck(lambda x: x.astype("complex64"), [X])
    with pytest.raises(ConfigError, match=r"the class Linear; make one: Linear\(...\)"):
        sg.gradcheck(sg.nn.Linear, [X])


def test_steps_end_where_the_input_no_longer_moves() -> None:
    x = np.array([1e300])
    line = Line(lambda: [np.zeros(1)], [np.ones(1)], [np.zeros(1)], [(x, (0,))])
    assert line.slope(1e-3, 1e-3, lambda value, noise: False) == Slope(0.0)
    assert x == 1e300
