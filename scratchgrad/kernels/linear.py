"""The linear layer and what stands beside it in a network: products, with what follows them.

Each is one product of `matmul.py`, which does the rest to a strip of its result while that is in
the first cache.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.activation import tanh_form
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.matmul import (
    GELU,
    GELU_BACKWARD,
    GELU_BACKWARD_TANH,
    GELU_TANH,
    NOTHING,
    RESIDUAL,
    multiply,
    one_float,
)

Array = NDArray[np.floating]


def linear(
    x: Array, weight: Array, bias: Array | None = None, residual: Array | None = None
) -> Array:
    """Y = X Wᵀ + bias + residual, in one pass over Y.

    Parameters
    ----------
    x : (N, in)
    weight : (out, in)
    bias : (out,), optional
    residual : (N, out), optional

    Returns
    -------
    (N, out)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DtypeError
        If the arrays are not all float32 or all float64.
    """
    y = _result("linear", x, weight, bias, residual)
    if y.size:
        multiply(x, weight.T, y, False, bias, residual, NOTHING if residual is None else RESIDUAL)
    return y


def linear_gelu(
    x: Array, weight: Array, bias: Array | None, approximate: str
) -> tuple[Array, Array]:
    """H = X Wᵀ + bias and gelu(H), in one pass over both.

    The same numbers, to the last bit, as `linear` and `activation.gelu` one after the other.

    Parameters
    ----------
    x : (N, in)
    weight : (out, in)
    bias : (out,), optional
    approximate : "none" or "tanh"
        As for `activation.gelu`.

    Returns
    -------
    h, activated : (N, out)
        The backward needs h.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DtypeError
        If the arrays are not all float32 or all float64.
    ConfigError
        If approximate is neither.
    """
    by_tanh = tanh_form("linear_gelu", approximate)
    h = _result("linear_gelu", x, weight, bias)
    activated = empty(h.shape, h.dtype)
    if h.size:
        multiply(x, weight.T, h, False, bias, activated, GELU_TANH if by_tanh else GELU)
    return h, activated


def matmul_gelu_backward(dy: Array, weight: Array, h: Array, approximate: str) -> Array:
    """dH = (dY W) gelu'(H), number by number, in one pass: back through W and what it was fed.

    The forward was Y = gelu(H) Wᵀ. The same numbers, to the last bit, as `matmul` and
    `activation.gelu_backward` one after the other.

    Parameters
    ----------
    dy : (N, out)
    weight : (out, in)
    h : (N, in)
    approximate : "none" or "tanh"

    Returns
    -------
    (N, in)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DtypeError
        If the arrays are not all float32 or all float64.
    ConfigError
        If approximate is neither.
    """
    by_tanh = tanh_form("matmul_gelu_backward", approximate)
    if (
        dy.ndim != 2
        or weight.ndim != 2
        or dy.shape[1] != weight.shape[0]
        or h.shape != (dy.shape[0], weight.shape[1])
    ):
        raise ShapeError(
            "matmul_gelu_backward: expected dy (N, out), weight (out, in) and h (N, in), got "
            f"{dy.shape}, {weight.shape}, {h.shape}"
        )
    one_float("matmul_gelu_backward", dy, weight, h)
    dh = empty(h.shape, dy.dtype)
    if dh.size:
        then = GELU_BACKWARD_TANH if by_tanh else GELU_BACKWARD
        multiply(dy, weight, dh, False, None, h, then)
    return dh


def _result(
    name: str, x: Array, weight: Array, bias: Array | None, residual: Array | None = None
) -> Array:
    """Memory for X Wᵀ, of shapes and dtypes that fit."""
    shape = (*x.shape[:1], *weight.shape[:1])
    if (
        x.ndim != 2
        or weight.ndim != 2
        or x.shape[1] != weight.shape[1]
        or (bias is not None and bias.shape != shape[1:])
        or (residual is not None and residual.shape != shape)
    ):
        shapes = [s if s is None else s.shape for s in (x, weight, bias, residual)]
        raise ShapeError(
            f"{name}: expected x (N, in), weight (out, in), bias (out,) and residual (N, out), "
            f"got {', '.join(map(str, shapes))}"
        )
    one_float(name, x, weight, bias, residual)
    return empty(shape, x.dtype)
