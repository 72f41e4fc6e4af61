"""Layer norm and RMS norm over the last axis, and their backwards."""

import math

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.jit import kernel, plain

Array = NDArray[np.floating]

# The gradients of weight and bias are sums over all rows: each unit of parallel work sums this
# many rows, and the partial sums are added in order. A fixed number keeps the bits the same.
ROWS = 32


def _rows(name: str, x: Array, *vectors: Array | None) -> Array:
    """(..., C) -> (N, C), after a check of the vectors of length C."""
    if x.ndim == 0 or any(v is not None and v.shape != x.shape[-1:] for v in vectors):
        shapes = [v.shape for v in vectors if v is not None]
        raise ShapeError(
            f"{name}: expected x (..., C) and vectors of length C, got {x.shape} and {shapes}"
        )
    N = math.prod(x.shape[:-1])
    return plain(x).reshape(N, x.shape[-1])


def _or(vector: Array | None, value: float, x: Array) -> Array:
    """The vector, or a constant one in its place."""
    return np.full(x.shape[-1], value, x.dtype) if vector is None else plain(vector)


# -- layer norm --------------------------------------------------------------------------------


@kernel()
def _layer_norm(start, stop, x, weight, bias, eps, y, mean, rstd):
    C = x.shape[1]
    one, count = x.dtype.type(1), x.dtype.type(C)
    for r in range(start, stop):
        total = x.dtype.type(0)
        for j in range(C):
            total += x[r, j]
        m = total / count
        # a second pass, for sum(x²) - C m² would cancel where the mean is large
        total = x.dtype.type(0)
        for j in range(C):
            total += (x[r, j] - m) * (x[r, j] - m)
        s = one / np.sqrt(total / count + eps)
        for j in range(C):
            y[r, j] = (x[r, j] - m) * s * weight[j] + bias[j]
        mean[r] = m
        rstd[r] = s


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """y = (x - mean) rstd weight + bias over the last axis, with rstd = 1 / sqrt(var + eps).

    Ba, Kiros and Hinton, "Layer Normalization", https://arxiv.org/abs/1607.06450, equation 4.

    Parameters
    ----------
    x : (..., C)
    weight, bias : (C,) or None
        None is a weight of 1, a bias of 0.
    eps : float

    Returns
    -------
    y : (..., C)
    mean, rstd : (...)
        For the backward. The variance is the mean square of x - mean (not the unbiased one).

    Raises
    ------
    ShapeError
        If weight or bias is not of length C.
    """
    rows = _rows("layer_norm", x, weight, bias)
    y = empty(x.shape, x.dtype)
    mean, rstd = empty(x.shape[:-1], x.dtype), empty(x.shape[:-1], x.dtype)
    if mean.size:
        _layer_norm(
            len(rows),
            rows,
            _or(weight, 1, x),
            _or(bias, 0, x),
            x.dtype.type(eps),
            y.reshape(rows.shape),
            mean.reshape(-1),
            rstd.reshape(-1),
            work=x.size * 4,
        )
    return y, mean, rstd


@kernel()
def _layer_norm_backward(start, stop, dy, x, weight, mean, rstd, dx, dweight, dbias):
    N, C = x.shape
    count = x.dtype.type(C)
    for block in range(start, stop):
        dweight[block] = 0
        dbias[block] = 0
        for r in range(block * ROWS, min(block * ROWS + ROWS, N)):
            m, s = mean[r], rstd[r]
            # forward: y = n weight + bias, with n = (x - mean) rstd
            mean_dn, mean_dn_n = x.dtype.type(0), x.dtype.type(0)
            for j in range(C):
                n = (x[r, j] - m) * s
                dn = dy[r, j] * weight[j]
                dweight[block, j] += dy[r, j] * n
                dbias[block, j] += dy[r, j]
                mean_dn += dn
                mean_dn_n += dn * n
            mean_dn /= count
            mean_dn_n /= count
            # forward: mean and rstd depend on x too, which takes these two means off
            for j in range(C):
                n = (x[r, j] - m) * s
                dx[r, j] = s * (dy[r, j] * weight[j] - mean_dn - n * mean_dn_n)


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Gradients of `layer_norm` by x, weight and bias: (..., C), (C,), (C,).

    The last two are computed whether or not there was a weight or a bias.
    """
    rows = _rows("layer_norm_backward", x, weight)
    blocks = -(-rows.shape[0] // ROWS)
    dx = empty(x.shape, x.dtype)
    dweight = empty((blocks, x.shape[-1]), x.dtype)
    dbias = empty((blocks, x.shape[-1]), x.dtype)
    if dx.size:
        _layer_norm_backward(
            len(dweight),
            plain(dy).reshape(rows.shape),
            rows,
            _or(weight, 1, x),
            plain(mean).reshape(-1),
            plain(rstd).reshape(-1),
            dx.reshape(rows.shape),
            dweight,
            dbias,
            work=x.size * 8,
        )
    return dx, dweight.sum(axis=0), dbias.sum(axis=0)


# -- RMS norm ----------------------------------------------------------------------------------


@kernel()
def _rms_norm(start, stop, x, weight, eps, y, rstd):
    C = x.shape[1]
    one, count = x.dtype.type(1), x.dtype.type(C)
    for r in range(start, stop):
        total = x.dtype.type(0)
        for j in range(C):
            total += x[r, j] * x[r, j]
        s = one / np.sqrt(total / count + eps)
        for j in range(C):
            y[r, j] = x[r, j] * s * weight[j]
        rstd[r] = s


def rms_norm(x: Array, weight: Array | None, eps: float) -> tuple[Array, Array]:
    """y = x rstd weight over the last axis, with rstd = 1 / sqrt(mean(x²) + eps).

    Zhang and Sennrich, "Root Mean Square Layer Normalization", https://arxiv.org/abs/1910.07467,
    equation 4.

    Parameters
    ----------
    x : (..., C)
    weight : (C,) or None
    eps : float

    Returns
    -------
    y : (..., C)
    rstd : (...)

    Raises
    ------
    ShapeError
        If weight is not of length C.
    """
    rows = _rows("rms_norm", x, weight)
    y, rstd = empty(x.shape, x.dtype), empty(x.shape[:-1], x.dtype)
    if rstd.size:
        _rms_norm(
            len(rows),
            rows,
            _or(weight, 1, x),
            x.dtype.type(eps),
            y.reshape(rows.shape),
            rstd.reshape(-1),
            work=x.size * 4,
        )
    return y, rstd


@kernel()
def _rms_norm_backward(start, stop, dy, x, weight, rstd, dx, dweight):
    N, C = x.shape
    count = x.dtype.type(C)
    for block in range(start, stop):
        dweight[block] = 0
        for r in range(block * ROWS, min(block * ROWS + ROWS, N)):
            s = rstd[r]
            # forward: y = n weight, with n = x rstd
            mean_dn_n = x.dtype.type(0)
            for j in range(C):
                n = x[r, j] * s
                dweight[block, j] += dy[r, j] * n
                mean_dn_n += dy[r, j] * weight[j] * n
            mean_dn_n /= count
            for j in range(C):
                dx[r, j] = s * (dy[r, j] * weight[j] - x[r, j] * s * mean_dn_n)


def rms_norm_backward(
    dy: Array, x: Array, weight: Array | None, rstd: Array
) -> tuple[Array, Array]:
    """Gradients of `rms_norm` by x and weight: (..., C), (C,)."""
    rows = _rows("rms_norm_backward", x, weight)
    dx = empty(x.shape, x.dtype)
    dweight = empty((-(-rows.shape[0] // ROWS), x.shape[-1]), x.dtype)
    if dx.size:
        _rms_norm_backward(
            len(dweight),
            plain(dy).reshape(rows.shape),
            rows,
            _or(weight, 1, x),
            plain(rstd).reshape(-1),
            dx.reshape(rows.shape),
            dweight,
            work=x.size * 8,
        )
    return dx, dweight.sum(axis=0)
