"""The optimiser over flat arrays: a step of AdamW, and the sum of squares to clip by."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.jit import kernel, plain

Array = NDArray[np.floating]

CHUNK = 16384  # elements in a unit of work, and in a partial sum


@kernel()
def _adamw_step(start, stop, param, grad, m, v, pieces, constants, scale, eps, beta2, rest1, rest2):
    for piece in range(start, stop):
        first, last, run = pieces[piece, 0], pieces[piece, 1], pieces[piece, 2]
        shrink, rate, grow = constants[run, 0], constants[run, 1], constants[run, 2]
        p, dp, mean, square = param[first:last], grad[first:last], m[first:last], v[first:last]
        for i in range(p.size):
            g = dp[i] * scale
            mean[i] += (g - mean[i]) * rest1
            square[i] = square[i] * beta2 + g * g * rest2
            p[i] = p[i] * shrink - rate * mean[i] / (np.sqrt(square[i]) * grow + eps)


class Run(NamedTuple):
    """Neighbours in flat arrays, [start, stop), that decay alike and have taken equal steps."""

    start: int
    stop: int
    weight_decay: float
    step: int


@functools.lru_cache(maxsize=16)
def _pieces(bounds: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """The units of work, (first, last, run): the runs cut into chunks, the last ones shorter."""
    cut = [
        (first, min(first + CHUNK, stop), run)
        for run, (start, stop) in enumerate(bounds)
        for first in range(start, stop, CHUNK)
    ]
    return np.array(cut, dtype=np.int64).reshape(-1, 3)


def adamw_runs(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    runs: Sequence[Run],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    scale: float = 1.0,
) -> None:
    """One step of AdamW, in place on the runs of param, m and v, in a single pass over memory.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
    https://arxiv.org/abs/1711.05101, algorithm 2, in PyTorch's arithmetic::

        grad = scale grad                                      (not stored)
        param = param (1 - lr weight_decay)
        m = beta1 m + (1 - beta1) grad;  v = beta2 v + (1 - beta2) grad²
        param = param - lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps)

    What depends on the step alone is computed once, so there is one division an element.

    Parameters
    ----------
    param, m, v : (N,), C-contiguous, writeable
        The parameters and the running means of their gradients and of the squares.
    grad : (N,)
    runs
        Which elements, with what decay, at what step, 1 for the first; they do not overlap. The
        others stay as they are.
    scale
        Multiplies the gradient first: the factor of clipping.

    Raises
    ------
    ShapeError
        If the shapes differ, an array to change is not C-contiguous and writeable, or a run
        reaches beyond them.
    """
    _check("adamw_runs", param, grad, m, v)
    if param.ndim != 1 or any(not 0 <= run.start <= run.stop <= param.size for run in runs):
        raise ShapeError(f"adamw_runs: expected runs within (N,), got {param.shape} and {runs}")
    pieces = _pieces(tuple((run.start, run.stop) for run in runs))
    if not pieces.size:
        return
    dtype = param.dtype.type
    constants = [
        (1 - lr * decay, lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step))
        for _, _, decay, step in runs
    ]
    _adamw_step(
        len(pieces),
        param,
        plain(grad),
        m,
        v,
        pieces,
        np.array(constants, param.dtype),
        *(dtype(c) for c in (scale, eps, beta2, 1 - beta1, 1 - beta2)),
        work=sum(run.stop - run.start for run in runs) * 8,
    )


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
    """`adamw_runs` for one parameter of any shape, all of it one run.

    Raises
    ------
    ShapeError
        If the shapes differ, or an array to change is not C-contiguous and writeable.
    """
    _check("adamw_step", param, grad, m, v)
    p, g, m, v = (x.reshape(-1) for x in (param, plain(grad), m, v))
    adamw_runs(p, g, m, v, [Run(0, p.size, weight_decay, step)], lr, beta1, beta2, eps)


def _check(name: str, param: Array, grad: Array, m: Array, v: Array) -> None:
    if not (param.shape == grad.shape == m.shape == v.shape):
        raise ShapeError(
            f"{name}: expected four arrays of one shape, got param {param.shape}, "
            f"grad {grad.shape}, m {m.shape}, v {v.shape}"
        )
    if any(plain(x) is not x for x in (param, m, v)):
        raise ShapeError(f"{name}: param, m and v must be C-contiguous and writeable")


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
