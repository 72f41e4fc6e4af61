"""Finite differences, apart from the package's own checker, which is itself under test.

Five points instead of two: the error falls with the fourth power of the step, so the step can be
large enough to leave rounding behind, and about ten digits remain.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import scratchgrad as sg

STEP = 1e-3


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def random_like(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """A cotangent: of either sign, never near zero, and never all the same.

    A cotangent of ones would hide much: the gradient of sum(softmax(x)) is zero, right or wrong.
    """
    drawn = rng.uniform(0.5, 1.5, array.shape) * rng.choice([-1.0, 1.0], array.shape)
    return drawn.astype(array.dtype)


def numeric_gradient(
    value: Callable[[], float], array: np.ndarray, step: float = STEP
) -> np.ndarray:
    """The derivative of value() by each entry of the array, which is moved and put back."""
    gradient = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        kept = array[index]
        samples = []
        for move in (-2, -1, 1, 2):
            array[index] = kept + move * step
            samples.append(value())
        array[index] = kept
        a, b, c, d = samples
        gradient[index] = (a - 8 * b + 8 * c - d) / (12 * step)
    return gradient


def check_gradients(
    function: Callable[[], Any],
    leaves: Sequence[sg.Tensor],
    rng: np.random.Generator,
    rtol: float = 1e-7,
    atol: float = 1e-9,
    step: float = STEP,
) -> None:
    """Backward through function(), with a random cotangent, against finite differences."""
    for leaf in leaves:
        leaf.grad = None
    outputs = as_tuple(function())
    cotangents = [random_like(rng, y.numpy()) for y in outputs]
    for y, c in zip(outputs, cotangents, strict=True):
        y.backward(c, retain_graph=True)
    analytic = [leaf.grad for leaf in leaves]

    def value() -> float:
        with sg.no_grad():
            results = as_tuple(function())
        return sum(float((y.numpy() * c).sum()) for y, c in zip(results, cotangents, strict=True))

    del outputs, y
    for i, (leaf, gradient) in enumerate(zip(leaves, analytic, strict=True)):
        assert isinstance(gradient, np.ndarray), f"leaf {i} got no gradient"
        assert gradient.shape == leaf.shape
        assert gradient.dtype == leaf.dtype == np.float64
        numeric = numeric_gradient(value, leaf.data, step)
        scale = atol + 1e-9 * np.abs(numeric).max(initial=0.0)
        np.testing.assert_allclose(
            gradient, numeric, rtol=rtol, atol=scale, err_msg=f"the gradient of leaf {i}"
        )
