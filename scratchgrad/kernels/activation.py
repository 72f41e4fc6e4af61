"""Activations, element by element: GELU, SiLU, SwiGLU, sigmoid and erf."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.kernels import elementary
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.elementary import exp, normal, tanh
from scratchgrad.kernels.jit import device, kernel, overload, plain
from scratchgrad.kernels.reference import GELU_CUBIC, GELU_SCALE

Array = NDArray[np.floating]

CHUNK = 4096  # elements in a unit of work
DENSITY_AT_0 = 0.3989422804014327  # 1 / sqrt(2 pi)


def _map(compiled: Any, *arrays: Array, **constants: Any) -> Array:
    """Run an elementwise kernel over flat arrays; the result has the shape of the first."""
    y = empty(arrays[0].shape, arrays[0].dtype)
    if y.size:
        flat = (plain(x).reshape(-1) for x in arrays)
        units = -(-y.size // CHUNK)
        compiled(units, *flat, y.reshape(-1), *constants.values(), work=y.size * 8)
    return y


# -- GELU --------------------------------------------------------------------------------------


# The formulas, each once, for one number: the products of `matmul.py` call them too. They are
# compiled EXACT, so that a number comes out the same wherever it stands.


def _like(x, constant):
    """A constant of the type of x: among float32, one of float64 would make all float64."""
    return type(x)(constant)


@overload(_like, jit_options={"forceinline": True})
def _choose_like(x, constant):
    if str(x) == "float32":
        return lambda x, constant: np.float32(constant)
    return lambda x, constant: np.float64(constant)


@device
def gelu_exact(x):
    """x Φ(x)."""
    return x * normal(x)


@device
def gelu_by_tanh(x):
    """x (1 + tanh u) / 2, where u = √(2/π) (x + 0.044715 x³)."""
    t = tanh(_like(x, GELU_SCALE) * (x + _like(x, GELU_CUBIC) * x * x * x))
    return x * (_like(x, 0.5) + _like(x, 0.5) * t)


@device
def slope_exact(x):
    """forward: x Φ(x); backward: Φ + x Φ', where Φ' is the normal density."""
    density = _like(x, DENSITY_AT_0) * exp(_like(x, -0.5) * (x * x))
    return normal(x) + x * density


@device
def slope_by_tanh(x):
    """forward: x (1 + t) / 2, where t = tanh(u); backward: (1 + t) / 2 + x (1 - t²) u' / 2."""
    # beyond ±10 the slope is 0 or 1, and x² would overflow where 1 - t² is 0
    x = _like(x, -10) if x < _like(x, -10) else x
    x = _like(x, 10) if x > _like(x, 10) else x
    t = tanh(_like(x, GELU_SCALE) * (x + _like(x, GELU_CUBIC) * x * x * x))
    half_du = _like(x, GELU_SCALE / 2) + _like(x, 3 * GELU_CUBIC * GELU_SCALE / 2) * (x * x)
    return _like(x, 0.5) + _like(x, 0.5) * t + x * (_like(x, 1) - t * t) * half_du


@kernel()
def _gelu(start, stop, x, y, by_tanh):
    x, y = x[start * CHUNK : stop * CHUNK], y[start * CHUNK : stop * CHUNK]
    if by_tanh:
        for i in range(x.size):
            y[i] = gelu_by_tanh(x[i])
    else:
        for i in range(x.size):
            y[i] = gelu_exact(x[i])


def gelu(x: Array, approximate: str) -> Array:
    """y = x Φ(x), where Φ is the distribution function of the standard normal.

    Hendrycks and Gimpel, "Gaussian Error Linear Units", https://arxiv.org/abs/1606.08415.

    Parameters
    ----------
    x : any shape
    approximate : "none" or "tanh"
        "none": Φ(x) = (1 + erf(x / √2)) / 2.
        "tanh": Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, as in GPT-2.

    Raises
    ------
    ConfigError
        If approximate is neither.
    """
    return _map(_gelu, x, by_tanh=tanh_form("gelu", approximate))


@kernel()
def _gelu_backward(start, stop, dy, x, dx, by_tanh):
    x, dx = x[start * CHUNK : stop * CHUNK], dx[start * CHUNK : stop * CHUNK]
    dy = dy[start * CHUNK : stop * CHUNK]
    if by_tanh:
        for i in range(x.size):
            dx[i] = dy[i] * slope_by_tanh(x[i])
    else:
        for i in range(x.size):
            dx[i] = dy[i] * slope_exact(x[i])


def gelu_backward(dy: Array, x: Array, approximate: str) -> Array:
    """Gradient of `gelu` by x, from the gradient dy of its result."""
    return _map(_gelu_backward, dy, x, by_tanh=tanh_form("gelu_backward", approximate))


def tanh_form(name: str, approximate: str) -> bool:
    """Whether the form by tanh is asked for, or the exact one; anything else is refused."""
    if approximate not in ("none", "tanh"):
        raise ConfigError(f'{name}: expected approximate="none" or "tanh", got {approximate!r}')
    return approximate == "tanh"


# -- SiLU --------------------------------------------------------------------------------------


@kernel()
def _silu(start, stop, x, y):
    x, y = x[start * CHUNK : stop * CHUNK], y[start * CHUNK : stop * CHUNK]
    for i in range(x.size):
        y[i] = x[i] * elementary.sigmoid(x[i])


def silu(x: Array) -> Array:
    """y = x sigmoid(x), also called swish; nan at -inf, as in PyTorch."""
    return _map(_silu, x)


@kernel()
def _silu_backward(start, stop, dy, x, dx):
    one = x.dtype.type(1)
    x, dx = x[start * CHUNK : stop * CHUNK], dx[start * CHUNK : stop * CHUNK]
    dy = dy[start * CHUNK : stop * CHUNK]
    for i in range(x.size):
        # forward: y = x s; backward: dx = dy (s + x s (1 - s))
        s = elementary.sigmoid(x[i])
        dx[i] = dy[i] * (s * (one + x[i] * (one - s)))


def silu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `silu` by x, from the gradient dy of its result."""
    return _map(_silu_backward, dy, x)


# -- SwiGLU ------------------------------------------------------------------------------------


@kernel()
def _swiglu(start, stop, x, y):
    F = y.shape[1]
    for r in range(start, stop):
        for j in range(F):
            gate, up = x[r, j], x[r, F + j]
            y[r, j] = gate * elementary.sigmoid(gate) * up


def swiglu(x: Array) -> Array:
    """y = silu(gate) up, where gate and up are the two halves of x, read where they lie.

    Shazeer, "GLU Variants Improve Transformer", https://arxiv.org/abs/2002.05202, equation 6.

    Parameters
    ----------
    x : (..., 2 F)
        The result of one product with both weights.

    Returns
    -------
    (..., F)

    Raises
    ------
    ShapeError
        If the last axis has no two halves.
    """
    rows, F = _halves("swiglu", x)
    y = empty((*x.shape[:-1], F), x.dtype)
    if y.size:
        _swiglu(len(rows), rows, y.reshape(-1, F), work=y.size * 8)
    return y


@kernel()
def _swiglu_backward(start, stop, dy, x, dx):
    F = dy.shape[1]
    one = x.dtype.type(1)
    for r in range(start, stop):
        for j in range(F):
            # forward: y = gate s up, with s = sigmoid(gate)
            gate, up = x[r, j], x[r, F + j]
            s = elementary.sigmoid(gate)
            dx[r, j] = dy[r, j] * up * (s * (one + gate * (one - s)))
            dx[r, F + j] = dy[r, j] * (gate * s)


def swiglu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `swiglu` by x, (..., 2 F), from the gradient dy of its result."""
    rows, F = _halves("swiglu_backward", x)
    if dy.shape != (*x.shape[:-1], F):
        raise ShapeError(f"swiglu_backward: expected dy of half of {x.shape}, got {dy.shape}")
    dx = empty(x.shape, x.dtype)
    if dx.size:
        shape = (len(rows), F)
        _swiglu_backward(
            len(rows), plain(dy).reshape(shape), rows, dx.reshape(rows.shape), work=dx.size * 8
        )
    return dx


def _halves(name: str, x: Array) -> tuple[Array, int]:
    """(..., 2 F) -> (N, 2 F), F."""
    if x.ndim == 0 or x.shape[-1] % 2:
        raise ShapeError(f"{name}: expected x (..., 2 F), got {x.shape}")
    return plain(x).reshape(math.prod(x.shape[:-1]), x.shape[-1]), x.shape[-1] // 2


# -- plain functions ---------------------------------------------------------------------------


@kernel()
def _sigmoid(start, stop, x, y):
    x, y = x[start * CHUNK : stop * CHUNK], y[start * CHUNK : stop * CHUNK]
    for i in range(x.size):
        y[i] = elementary.sigmoid(x[i])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)): no overflow at either end, and full relative precision near 0."""
    return _map(_sigmoid, x)


@kernel()
def _erf(start, stop, x, y):
    x, y = x[start * CHUNK : stop * CHUNK], y[start * CHUNK : stop * CHUNK]
    for i in range(x.size):
        y[i] = elementary.erf(x[i])


def erf(x: Array) -> Array:
    """The error function 2/√π ∫₀ˣ exp(-t²) dt, which NumPy lacks."""
    return _map(_erf, x)
