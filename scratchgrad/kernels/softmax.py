"""Softmax and log-softmax along one axis, and their backwards.

The axis is moved last, so that a kernel sees rows of contiguous numbers; each row is one unit of
parallel work. A row of nothing but -inf gives nan, as in PyTorch.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.elementary import exp, largest
from scratchgrad.kernels.jit import kernel, plain

Array = NDArray[np.floating]


def _rows(x: Array, axis: int) -> Array:
    """x with the axis moved last and the others made one: (N, C)."""
    x = np.moveaxis(x, axis, -1)
    return plain(x).reshape(x.size // max(x.shape[-1], 1), x.shape[-1])


def _back(rows: Array, like: Array, axis: int) -> Array:
    """Undo _rows: (N, C) -> the shape of like."""
    moved = np.moveaxis(like, axis, -1).shape
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), -1, axis)).reshape(like.shape)


# -- softmax -----------------------------------------------------------------------------------


@kernel()
def _softmax(start, stop, x, y):
    C = x.shape[1]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for r in range(start, stop):
        top = largest(x[r])
        total = zero
        for j in range(C):
            e = exp(x[r, j] - top)
            y[r, j] = e
            total += e
        share = one / total
        for j in range(C):
            y[r, j] *= share


def softmax(x: Array, axis: int) -> Array:
    """y = exp(x) / sum(exp(x)) along the axis.

    Parameters
    ----------
    x : any shape
    axis : int

    Returns
    -------
    The shape of x. Every slice along the axis sums to 1.

    Examples
    --------
    >>> softmax(np.zeros((1, 4)), axis=-1)
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    rows = _rows(x, axis)
    y = empty(rows.shape, rows.dtype)
    if y.size:
        _softmax(len(rows), rows, y, work=x.size)
    return _back(y, x, axis)


@kernel()
def _softmax_backward(start, stop, dy, y, dx):
    C = y.shape[1]
    zero = y.dtype.type(0)
    for r in range(start, stop):
        # forward: y = exp(x) / sum(exp(x)); backward: dx = y (dy - sum(dy y))
        dot = zero
        for j in range(C):
            dot += dy[r, j] * y[r, j]
        for j in range(C):
            dx[r, j] = y[r, j] * (dy[r, j] - dot)


def softmax_backward(dy: Array, y: Array, axis: int) -> Array:
    """Gradient of `softmax` by x, from its result y and the gradient dy of that."""
    rows = _rows(y, axis)
    dx = empty(rows.shape, rows.dtype)
    if dx.size:
        _softmax_backward(len(rows), _rows(dy, axis), rows, dx, work=y.size)
    return _back(dx, y, axis)


# -- log-softmax -------------------------------------------------------------------------------


@kernel()
def _log_softmax(start, stop, x, y):
    C = x.shape[1]
    zero = x.dtype.type(0)
    for r in range(start, stop):
        top = largest(x[r])
        total = zero
        for j in range(C):
            y[r, j] = x[r, j] - top
            total += exp(y[r, j])
        log_total = np.log(total)
        for j in range(C):
            y[r, j] -= log_total


def log_softmax(x: Array, axis: int) -> Array:
    """y = x - log(sum(exp(x))) along the axis: the logarithm of `softmax`, without its rounding."""
    rows = _rows(x, axis)
    y = empty(rows.shape, rows.dtype)
    if y.size:
        _log_softmax(len(rows), rows, y, work=x.size)
    return _back(y, x, axis)


@kernel()
def _log_softmax_backward(start, stop, dy, y, dx):
    C = y.shape[1]
    zero = y.dtype.type(0)
    for r in range(start, stop):
        # forward: y = x - log(sum(exp(x))); backward: dx = dy - exp(y) sum(dy)
        total = zero
        for j in range(C):
            total += dy[r, j]
        for j in range(C):
            dx[r, j] = dy[r, j] - exp(y[r, j]) * total


def log_softmax_backward(dy: Array, y: Array, axis: int) -> Array:
    """Gradient of `log_softmax` by x, from its result y and the gradient dy of that."""
    rows = _rows(y, axis)
    dx = empty(rows.shape, rows.dtype)
    if dx.size:
        _log_softmax_backward(len(rows), _rows(dy, axis), rows, dx, work=y.size)
    return _back(dx, y, axis)
