"""The optimiser over flat arrays: a step of AdamW, and the sum of squares to clip by."""

import math

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.jit import kernel, plain

Array = NDArray[np.floating]

CHUNK = 16384  # elements in a unit of work, and in a partial sum


@kernel()
def _adamw_step(start, stop, param, grad, m, v, shrink, rate, root, eps, beta2, rest1, rest2):
    first, last = start * CHUNK, stop * CHUNK
    param, grad, m, v = param[first:last], grad[first:last], m[first:last], v[first:last]
    for i in range(param.size):
        g = grad[i]
        m[i] += (g - m[i]) * rest1
        v[i] = v[i] * beta2 + g * g * rest2
        param[i] = param[i] * shrink - rate * m[i] / (np.sqrt(v[i]) / root + eps)


def adamw_step(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """One step of AdamW, in place on param, m and v, in a single pass over memory.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
    https://arxiv.org/abs/1711.05101, algorithm 2, in PyTorch's arithmetic::

        param = param (1 - lr weight_decay)
        m = beta1 m + (1 - beta1) grad;  v = beta2 v + (1 - beta2) grad²
        param = param - lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps)

    Parameters
    ----------
    param, m, v : C-contiguous, writeable
        The parameter and the running means of its gradient and of the square.
    grad : of the same shape
    step : int
        1 for the first.

    Raises
    ------
    ShapeError
        If the shapes differ, or an array to change is not C-contiguous and writeable.
    """
    if not (param.shape == grad.shape == m.shape == v.shape):
        raise ShapeError(
            f"adamw_step: expected four arrays of one shape, got param {param.shape}, "
            f"grad {grad.shape}, m {m.shape}, v {v.shape}"
        )
    if any(plain(x) is not x for x in (param, m, v)):
        raise ShapeError("adamw_step: param, m and v must be C-contiguous and writeable")
    if not param.size:
        return
    constants = (
        1 - lr * weight_decay,
        lr / (1 - beta1**step),
        math.sqrt(1 - beta2**step),
        eps,
        beta2,
        1 - beta1,
        1 - beta2,
    )
    _adamw_step(
        -(-param.size // CHUNK),
        param.reshape(-1),
        plain(grad).reshape(-1),
        m.reshape(-1),
        v.reshape(-1),
        *(param.dtype.type(c) for c in constants),
        work=param.size * 8,
    )


@kernel()
def _sum_of_squares(start, stop, x, sums):
    for chunk in range(start, stop):
        total = 0.0
        part = x[chunk * CHUNK : chunk * CHUNK + CHUNK]
        for i in range(part.size):
            total += np.float64(part[i]) * np.float64(part[i])
        sums[chunk] = total


def sum_of_squares(x: Array) -> float:
    """sum(x²) in float64, in chunks of a fixed size: the same bits on any number of threads."""
    sums = np.empty(-(-x.size // CHUNK))
    if x.size:
        _sum_of_squares(sums.size, plain(x).reshape(-1), sums, work=x.size)
    return math.fsum(sums) if np.isfinite(sums).all() else float(sums.sum())


def all_finite(x: Array) -> bool:
    """Whether no element is infinite or nan."""
    # one cheap pass settles nearly every case; squares of a large float64 may overflow
    return math.isfinite(sum_of_squares(x)) or bool(np.isfinite(x).all())
