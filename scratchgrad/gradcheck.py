"""Is a gradient right? Compare it with how the function really changes.

For a function y = f(x) and a random cotangent c, backward gives d(y . c)/dx. Central differences
give the same number without any calculus: (f(x + h) . c - f(x - h) . c) / 2h. In float64 with
h = 1e-6 the two agree to about nine digits; in float32 the differences are mostly rounding, so the
check refuses it. The cotangent is random because a cotangent of ones hides mistakes: the sum of a
softmax is always 1, and its gradient 0, right or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad.autograd import Variable, no_grad
from scratchgrad.errors import ConfigError, DtypeError, GradcheckError
from scratchgrad.tensor import Tensor


@dataclass(frozen=True)
class GradcheckReport:
    """What was compared: how many entries, and the largest error, relative to the entry's scale."""

    entries: int
    worst: float

    def __str__(self) -> str:
        return f"{self.entries} entries agree, largest relative error {self.worst:.1e}"


def gradcheck(
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    step: float = 1e-6,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
) -> GradcheckReport:
    """Compare the gradient of every entry of every float input with central differences.

    Parameters
    ----------
    fn : function of Tensors, returning a Tensor or a tuple of them
        Called many times, so it must be a function: the same inputs, the same outputs.
    inputs : arrays or Tensors
        Float arrays must be float64. Tensors are differentiated if they require a gradient, or
        if none of the inputs does. They are moved in place and put back, so parameters that
        ``fn`` reaches by itself can be given here too.
    step : h, in the unit of the inputs
    rtol, atol : an entry is right if |analytic - numeric| <= atol + rtol * scale, scale the larger
        of the two magnitudes.
    seed : of the random cotangent

    Returns
    -------
    GradcheckReport

    Raises
    ------
    GradcheckError
        Naming the input, the index, and both values of the worst entry.
    DtypeError
        For float32 inputs.

    >>> import numpy as np, scratchgrad as sg
    >>> report = sg.gradcheck(lambda x: sg.exp(x), [np.array([0.0, 1.0])])
    >>> report.entries
    2
    """
    if not (step > 0 and rtol > 0 and atol >= 0):
        raise ConfigError(
            f"gradcheck: expected step and rtol above 0 and atol of 0 or more, received {step}, "
            f"{rtol} and {atol}"
        )
    leaves = _leaves(inputs)
    checked = [x for x in leaves if isinstance(x, Tensor) and x.requires_grad]
    kept_gradients = [x.grad for x in checked]
    for x in checked:
        x.grad = None
    outputs = _as_tuple(fn(*leaves))
    rng = np.random.default_rng(seed)
    cotangents = [rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1, 1], y.shape) for y in outputs]
    for y, c in zip(outputs, cotangents, strict=True):
        if y.requires_grad:
            y.backward(c, retain_graph=True)
    analytic = [np.zeros(x.shape) if x.grad is None else x.grad for x in checked]
    for x, gradient in zip(checked, kept_gradients, strict=True):
        x.grad = gradient
    del outputs

    def value() -> float:
        with no_grad():
            results = _as_tuple(fn(*leaves))
        return float(sum(np.sum(y._array * c) for y, c in zip(results, cotangents, strict=True)))

    name = getattr(fn, "__name__", type(fn).__name__)
    if not checked:
        raise GradcheckError(f"gradcheck of {name}: no input is float64, so there is no gradient")
    once, again = value(), value()
    if once != again and not (np.isnan(once) and np.isnan(again)):
        raise GradcheckError(
            f"gradcheck of {name}: two calls with the same inputs gave two values; if it draws "
            "random numbers, make it draw the same ones each time"
        )
    worst, worst_entry, entries = 0.0, "", 0
    wrong = 0
    for i, (x, g) in enumerate(zip(checked, analytic, strict=True)):
        for index in np.ndindex(x.shape):
            numeric = _central_difference(value, x.writable(), index, step)
            entries += 1
            exact = float(g[index])
            error = abs(exact - numeric)
            scale = max(abs(exact), abs(numeric))
            wrong += not error <= atol + rtol * scale  # so that nan is wrong
            relative = error / (scale + atol / rtol) if np.isfinite(error) else np.inf
            if relative > worst:
                worst = float(relative)
                worst_entry = (
                    f"input {i}, index {index}: analytic {exact:.10g}, numeric {numeric:.10g}, "
                    f"relative error {relative:.1e}"
                )
    if wrong:
        raise GradcheckError(
            f"gradcheck of {name}: {wrong} of {entries} entries are wrong; the worst is "
            f"{worst_entry}"
        )
    return GradcheckReport(entries, worst)


def _leaves(inputs: Sequence[Any]) -> list[Any]:
    """The inputs with float arrays made into Tensors that want a gradient."""
    any_wanted = any(isinstance(x, Variable) and x.requires_grad for x in inputs)
    leaves = []
    for i, x in enumerate(inputs):
        array = x._array if isinstance(x, Variable) else np.asarray(x)
        if array.dtype.kind == "f" and array.dtype != np.float64:
            raise DtypeError(
                f"gradcheck: expected float64, received {array.dtype} for input {i}; in float32 "
                "a finite difference is mostly rounding"
            )
        if isinstance(x, Variable) and (x.requires_grad or any_wanted):
            leaves.append(x)
        else:
            leaves.append(Tensor(array.copy(), True) if array.dtype.kind == "f" else x)
    return leaves


def _as_tuple(outputs: Any) -> tuple[Any, ...]:
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def _central_difference(
    value: Callable[[], float], array: np.ndarray, index: tuple[int, ...], step: float
) -> float:
    kept = array[index]
    array[index] = kept + step
    up = value()
    array[index] = kept - step
    down = value()
    array[index] = kept
    return (up - down) / (2 * step)
