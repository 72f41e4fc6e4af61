"""A wrong gradient is told its likely cause, and never a cause that it has not."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import GradcheckError

X = np.array([[0.5, -0.3, 1.1, 0.4], [0.2, 0.9, -1.2, 0.6], [1.3, -0.8, 0.7, -0.1]])
B = np.array([0.3, -1.4, 0.8, 0.6])


def softmax(x: Any) -> Any:
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def normalised(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


def gather_overwriting(dy: Any, x: Any, ids: Any) -> Any:
    dx = np.zeros_like(x)
    dx[ids] = dy
    return dx, None


def last_row_forgotten(dy: Any, x: Any) -> Any:
    dx = dy * np.cos(x)
    dx[-1] *= [1.5, 2, 3, 0.7]
    return dx


IDS = np.array([0, 2, 0, 1])
SQUARE = X[:, :3]

# forward, vjp, inputs, what the message says.
CAUSES: dict[str, tuple[Any, Any, list[Any], str]] = {
    "a factor": (np.sin, lambda dy, x: 1.001 * dy * np.cos(x), [X], "1.001 times"),
    "the sign": (np.cos, lambda dy, x: dy * np.sin(x), [X], "-1 times .*the sign is turned"),
    "half": (np.square, lambda dy, x: dy * x, [X], "0.5 times .*a 2 or 1/2"),
    "mean for a sum": (
        lambda a, b: a + b,
        lambda dy, a, b: (dy.copy(), dy.mean(0)),
        [X, B],
        "1/3, a size here: a mean where a sum belongs",
    ),
    "sum for a mean": (
        lambda x: x.mean(-1),
        lambda dy, x: np.repeat(dy[:, None], 4, 1),
        [X],
        "4, a size here: a mean in the forward",
    ),
    "scale missing": (
        lambda q, k: q @ k.T / 2,
        lambda dy, q, k: (dy @ k / 2, dy.T @ q),
        [X, X + 1],
        "a 2 or 1/2",
    ),
    "scale twice": (
        lambda q, k: q @ k.T / 3**0.5,
        lambda dy, q, k: (dy @ k / 3**0.5, dy.T @ q / 3),
        [X[:, :3], X[:, 1:]],
        r"1/sqrt\(3\), a size here: that scale is applied once too often",
    ),
    "zero": (np.sin, lambda dy, x: 0 * x, [X], "zero: no gradient arrives"),
    "none": (lambda a, b: a * b, lambda dy, a, b: (dy * b, None), [X, X + 1], "zero: no gradient"),
    "nothing there": (
        lambda x: x * 0,
        lambda dy, x: dy * 1,
        [X],
        "does not change with this input",
    ),
    "nan": (np.sin, lambda dy, x: dy * np.where(x > 1, np.nan, np.cos(x)), [X], "nan or inf for 2"),
    "dy forgotten": (np.sin, lambda dy, x: np.cos(x), [X], "does not use dy"),
    "dy squared": (np.sin, lambda dy, x: dy * dy * np.cos(x), [X], "not linear in dy"),
    "swapped": (
        lambda a, b: a * b,
        lambda dy, a, b: (dy * a, dy * b),
        [X, X + 1],
        r"the gradient of input [01] \([ab]\): the two are swapped",
    ),
    "factor of the output": (np.exp, lambda dy, x: dy * 1, [X], "multiplied by the output"),
    "factor too much": (
        lambda x: x * 1,
        lambda dy, x: dy * x,
        [X],
        "divided by the output",
    ),
    "transposed": (
        lambda a, b: a @ b,
        lambda dy, a, b: (dy @ b.T, dy.T @ a),
        [SQUARE, SQUARE + 1],
        r"axes in the order \(1, 0\)",
    ),
    "transposed and reshaped": (
        lambda a, b: a @ b,
        lambda dy, a, b: (dy @ b.T, (dy.T @ a).reshape(b.shape)),
        [X, np.ones((4, 2)) + X[:2].T],
        "then reshaped into place",
    ),
    "one row for the sum": (
        lambda a, b: a * b,
        lambda dy, a, b: (dy * b, dy[0] * a[0]),
        [X, B],
        "missing sum over axis 0 of output 0: only index 0",
    ),
    "last row for the sum": (
        lambda a, b: a + b,
        lambda dy, a, b: (dy.copy(), dy[-1].copy()),
        [X, B],
        "missing sum over axis 0 of output 0: only index 2",
    ),
    "softmax without its sum": (
        softmax,
        lambda dy, x: dy * softmax(x),
        [X],
        "the error is the output times something constant along axis 1",
    ),
    "softmax without its factor": (
        softmax,
        lambda dy, x: dy - (dy * softmax(x)).sum(-1, keepdims=True),
        [X],
        "multiplied by the output",
    ),
    "centring without its mean": (
        lambda x: x - x.mean(-1, keepdims=True),
        lambda dy, x: dy * 1,
        [X],
        "the error is something constant along axis 1",
    ),
    "norm without its second mean": (
        normalised,
        lambda dy, x: (dy - dy.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
        [X],
        "the error is the output times something constant along axis 1",
    ),
    "norm with constant statistics": (
        normalised,
        lambda dy, x: dy / x.std(-1, keepdims=True),
        [X],
        "the error is the input times a constant, plus another along axis 1",
    ),
    "mask missing": (
        lambda x: np.maximum(x, 0),
        lambda dy, x: dy * 1,
        [X],
        "a mask is missing: the function does not depend on the wrong entries",
    ),
    "masked too much": (
        np.sin,
        lambda dy, x: dy * np.cos(x) * np.tri(3, 4, 2),
        [X],
        "masked too much: the gradient is zero at entries on which the function depends",
    ),
    "dy forgotten in a loss": (
        lambda x: (x * x).sum(),
        lambda dy, x: 2 * x,
        [X],
        "the backward does not use dy",
    ),
    "given twice": (
        lambda a, b: a * b,
        lambda dy, a, b: (dy * b, dy * b),
        [X, X + 1],
        r"this is the gradient of input 0 \(a\): given for both",
    ),
    "overwritten": (
        lambda x, ids: x[ids],
        gather_overwriting,
        [X, IDS],
        "written in place of added",
    ),
    "one border": (np.sin, last_row_forgotten, [X], "only index 2 of axis 0 is wrong"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_named(name: str) -> None:
    forward, vjp, inputs, says = CAUSES[name]
    with pytest.raises(GradcheckError, match=f"Likely cause: .*{says}") as caught:
        sg.gradcheck((forward, vjp), inputs)
    assert caught.value.failure.cause


def test_float32_inside_is_told_from_a_kink() -> None:
    def rounded(x: Any) -> Any:
        return np.sin(x).astype(np.float32).astype(np.float64)

    with pytest.raises(GradcheckError, match=r"exact float32 numbers: something inside computes"):
        sg.gradcheck((rounded, lambda dy, x: dy * np.cos(x)), [X])
    with pytest.raises(GradcheckError, match=r"Likely cause: .* computes in float32"):
        sg.gradcheck(
            (np.sin, lambda dy, x: (dy * np.cos(x)).astype("f4").astype("f8")), [X], rtol=1e-9
        )


def test_no_cause_is_named_that_is_not_there() -> None:
    """Errors without a pattern get no guess."""
    rng = np.random.default_rng(0)
    for size in [0.3, 1e-5] * 10:
        noise = 1 + size * rng.normal(size=X.shape)
        with pytest.raises(GradcheckError) as caught:
            sg.gradcheck((np.sin, lambda dy, x, noise=noise: dy * np.cos(x) * noise), [X])
        assert caught.value.failure.cause == ""
        x = np.where(X > 1, 0, X)  # nothing can be divided by this
        with pytest.raises(GradcheckError) as caught:
            sg.gradcheck((np.cos, lambda dy, x, noise=noise: dy * (noise - np.sin(x))), [x])
        assert caught.value.failure.cause == ""


def test_the_failure_holds_the_parts_of_the_message() -> None:
    def wrong(dy: Any, a: Any, b: Any) -> Any:
        return dy * b, dy * a * np.where(a == X[1, 2], 3, 1)

    with pytest.raises(GradcheckError) as caught:
        sg.gradcheck((lambda a, b: a * b, wrong), [X, X + 1])
    failure = caught.value.failure
    assert failure.where == "input 1 (b)"
    assert failure.index == (1, 2)
    assert failure.analytic == pytest.approx(3 * failure.numeric)
    assert failure.relative == pytest.approx(2 / 3)
    assert "1 of 24 entries are wrong" in str(caught.value)
    assert "input 0 (a) is right" in str(caught.value)


def test_a_large_wrong_gradient_is_told_without_trying_every_slice() -> None:
    x, b = np.ones((3, 80)) + np.arange(80), np.linspace(1, 2, 80)
    with pytest.raises(GradcheckError) as caught:
        sg.gradcheck((lambda a, b: a * b, lambda dy, a, b: (dy * b, dy[0] * a[0])), [x, b])
    assert caught.value.failure.where == "input 1 (b)"


def test_a_gradient_that_is_transposed_in_shape_is_told() -> None:
    with pytest.raises(GradcheckError, match=r"received \(4, 3\)\. Likely cause: transposed"):
        sg.gradcheck((np.sin, lambda dy, x: (dy * np.cos(x)).T), [X])
    with pytest.raises(GradcheckError, match=r"received \(5,\)$"):
        sg.gradcheck((np.sin, lambda dy, x: np.ones(5)), [X])


LARGE = np.random.default_rng(0).normal(size=(40, 40))


@pytest.mark.parametrize(
    ("vjp", "says"),
    [
        (lambda dy, a, b: (dy @ b.T, dy.T @ a), "transposed"),
        (lambda dy, a, b: (dy @ b.T, -a.T @ dy), "-1 times"),
    ],
)
def test_the_cause_of_a_large_one_is_found_by_comparing_it_whole(vjp: Any, says: str) -> None:
    with pytest.raises(GradcheckError, match=f"8 of 16 directions are wrong.*{says}") as caught:
        sg.gradcheck((lambda a, b: a @ b, vjp), [LARGE, LARGE + 1])
    assert caught.value.failure.where == "input 1 (b)"


def test_of_a_very_large_one_a_factor_and_zero_are_told() -> None:
    x = np.random.default_rng(0).normal(size=(100, 100))
    for vjp, says in ((lambda dy, x: 2 * dy * np.cos(x), "2 times"), (lambda dy, x: 0 * x, "zero")):
        with pytest.raises(GradcheckError, match=f"8 of 8 directions are wrong.*{says}"):
            sg.gradcheck((np.sin, vjp), [x])
