"""What the layers of a GPT compute, but for attention."""

import math

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.random import GAMMA, HALF, MIX_1, MIX_2, SHIFT_1, SHIFT_2, SHIFT_3

Array = NDArray[np.floating]

# -- products ----------------------------------------------------------------------------------


def matmul(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """C = A B over the last two axes, the others broadcast: (..., M, K) (..., K, N)."""
    c = np.ascontiguousarray(np.matmul(a, b))
    if out is None:
        return c
    out[...] = out + c if add else c
    return out


def linear(
    x: Array, weight: Array, bias: Array | None = None, residual: Array | None = None
) -> Array:
    """y[n, o] = sum over i of x[n, i] weight[o, i], + bias[o] + residual[n, o]."""
    y = x @ weight.T
    y = y if bias is None else y + bias
    return y if residual is None else y + residual


def linear_gelu(
    x: Array, weight: Array, bias: Array | None, approximate: str
) -> tuple[Array, Array]:
    """h = x Wᵀ + bias, and gelu(h)."""
    h = linear(x, weight, bias)
    return h, gelu(h, approximate)


def matmul_gelu_backward(dy: Array, weight: Array, h: Array, approximate: str) -> Array:
    """y = gelu(h) Wᵀ: dy W is the gradient of gelu(h), and its slope at h does the rest."""
    return gelu_backward(dy @ weight, h, approximate)


def rope(x: Array, cos: Array, sin: Array, heads: int, interleaved: bool) -> Array:
    """(a, b) -> (a cos - b sin, b cos + a sin), for each pair of the first heads."""
    B, T, _ = x.shape
    D = 2 * cos.shape[1]
    pairs = (D // 2, 2) if interleaved else (2, D // 2)  # neighbours, or the halves
    axis = -1 if interleaved else -2
    turned, rest = x[..., : heads * D], x[..., heads * D :]
    a, b = np.moveaxis(turned.reshape(B, T, heads, *pairs), axis, 0)  # (B, T, heads, D / 2)
    c, s = cos[:, None], sin[:, None]
    y = np.stack([a * c - b * s, b * c + a * s], axis=axis)
    return np.concatenate([y.reshape(turned.shape), rest], axis=-1)


def rope_backward(dy: Array, cos: Array, sin: Array, heads: int, interleaved: bool) -> Array:
    """The turn by the angles the other way: cos(-a) = cos(a), sin(-a) = -sin(a)."""
    return rope(dy, cos, -sin, heads, interleaved)


def column_sums(x: Array) -> Array:
    """The sum over all axes but the last."""
    return x.sum(axis=tuple(range(x.ndim - 1)))


# -- softmax -----------------------------------------------------------------------------------


def softmax(x: Array, axis: int) -> Array:
    """y = exp(x) / sum(exp(x)); the largest x is taken off first so that nothing overflows."""
    with np.errstate(invalid="ignore"):  # a row of -inf has no softmax: -inf - -inf is nan
        e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
        return e / e.sum(axis=axis, keepdims=True)


def softmax_backward(dy: Array, y: Array, axis: int) -> Array:
    """dx = y (dy - sum(dy y)): the Jacobian diag(y) - y yᵀ times dy, never built."""
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


def log_softmax(x: Array, axis: int) -> Array:
    """y = x - log(sum(exp(x)))."""
    with np.errstate(invalid="ignore", divide="ignore"):  # an empty sum has the logarithm -inf
        x = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
        return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def log_softmax_backward(dy: Array, y: Array, axis: int) -> Array:
    """dx = dy - exp(y) sum(dy), for exp(y) is the softmax."""
    return dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)


# -- norms -------------------------------------------------------------------------------------


def _sum_over_rows(x: Array) -> Array:
    """Sum over every axis but the last: (..., C) -> (C,)."""
    return x.sum(axis=tuple(range(x.ndim - 1)))


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """y = (x - mean) rstd weight + bias, where rstd = 1 / sqrt(var + eps) over the last axis."""
    C = x.shape[-1]
    with np.errstate(invalid="ignore"):  # C = 0 has no mean
        mean = x.sum(axis=-1) / x.dtype.type(C)
        centred = x - mean[..., None]
        var = (centred * centred).sum(axis=-1) / x.dtype.type(C)
    rstd = 1 / np.sqrt(var + x.dtype.type(eps))
    y = centred * rstd[..., None]
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y, mean, rstd


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """dx = rstd (dn - mean(dn) - n mean(dn n)), where n is the normalised x and dn = dy weight."""
    n = (x - mean[..., None]) * rstd[..., None]
    dn = dy if weight is None else dy * weight
    C = x.dtype.type(x.shape[-1])
    with np.errstate(invalid="ignore"):
        mean_dn = dn.sum(axis=-1, keepdims=True) / C
        mean_dn_n = (dn * n).sum(axis=-1, keepdims=True) / C
    dx = rstd[..., None] * (dn - mean_dn - n * mean_dn_n)
    return dx, _sum_over_rows(dy * n), _sum_over_rows(dy)


def rms_norm(x: Array, weight: Array | None, eps: float) -> tuple[Array, Array]:
    """y = x rstd weight, where rstd = 1 / sqrt(mean(x²) + eps) over the last axis."""
    with np.errstate(invalid="ignore"):
        mean_square = (x * x).sum(axis=-1) / x.dtype.type(x.shape[-1])
    rstd = 1 / np.sqrt(mean_square + x.dtype.type(eps))
    y = x * rstd[..., None]
    return y if weight is None else y * weight, rstd


def rms_norm_backward(
    dy: Array, x: Array, weight: Array | None, rstd: Array
) -> tuple[Array, Array]:
    """dx = rstd (dn - n mean(dn n)), where n = x rstd and dn = dy weight."""
    n = x * rstd[..., None]
    dn = dy if weight is None else dy * weight
    with np.errstate(invalid="ignore"):
        mean_dn_n = (dn * n).sum(axis=-1, keepdims=True) / x.dtype.type(x.shape[-1])
    return rstd[..., None] * (dn - n * mean_dn_n), _sum_over_rows(dy * n)


# -- activations -------------------------------------------------------------------------------


def erf(x: Array) -> Array:
    """2/√π ∫₀ˣ exp(-t²) dt, which NumPy lacks and the math module has, one number at a time."""
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written with exp(-|x|) so that neither end overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    with np.errstate(invalid="ignore"):  # -inf times 0
        return x * sigmoid(x)


def silu_backward(dy: Array, x: Array) -> Array:
    """d/dx (x s) = s + x s (1 - s)."""
    s = sigmoid(x)
    with np.errstate(invalid="ignore"):
        return dy * (s * (1 + x * (1 - s)))


# tanh(GELU_SCALE (x + GELU_CUBIC x³)) is close to erf(x / √2): Hendrycks and Gimpel,
# "Gaussian Error Linear Units", https://arxiv.org/abs/1606.08415
GELU_SCALE = math.sqrt(2 / math.pi)
GELU_CUBIC = 0.044715


def gelu(x: Array, approximate: str) -> Array:
    """x Φ(x), with Φ the normal distribution function, exact or by tanh."""
    with np.errstate(invalid="ignore", over="ignore"):
        phi: Array
        if approximate == "tanh":
            phi = 0.5 * (1 + np.tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x)))
        else:
            phi = 0.5 * (1 + erf(x / np.sqrt(x.dtype.type(2))))
        return (x * phi).astype(x.dtype)


def gelu_backward(dy: Array, x: Array, approximate: str) -> Array:
    """d/dx (x Φ) = Φ + x Φ', where Φ' is the normal density, or the derivative of the tanh form."""
    with np.errstate(invalid="ignore", over="ignore"):
        phi: Array
        if approximate == "tanh":
            near = np.clip(x, -10, 10)  # beyond, the slope is 0 or 1 and x³ may overflow
            t = np.tanh(GELU_SCALE * (near + GELU_CUBIC * near * near * near))
            phi = 0.5 * (1 + t)
            density = 0.5 * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBIC * near * near)
        else:
            near = x
            phi = 0.5 * (1 + erf(x / np.sqrt(x.dtype.type(2))))
            density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return (dy * (phi + near * density)).astype(x.dtype)


def swiglu(x: Array) -> Array:
    """silu(gate) up, where gate and up are the two halves of x."""
    gate, up = np.split(x, 2, axis=-1)
    return silu(gate) * up


def swiglu_backward(dy: Array, x: Array) -> Array:
    """Both factors depend on x: the gate through silu, the other half as it is."""
    gate, up = np.split(x, 2, axis=-1)
    return np.concatenate([silu_backward(dy * up, gate), dy * silu(gate)], axis=-1)


# -- dropout -----------------------------------------------------------------------------------


def _uniform_bits(seed: int, n: int) -> NDArray[np.uint32]:
    """32 random bits for each of the places 0 … n - 1: SplitMix64, its upper halves."""
    mask = 2**64 - 1
    with np.errstate(over="ignore"):
        z = np.uint64(seed & mask) + np.arange(1, n + 1, dtype=np.uint64) * GAMMA
        z = (z ^ (z >> SHIFT_1)) * MIX_1
        z = (z ^ (z >> SHIFT_2)) * MIX_2
    return ((z ^ (z >> SHIFT_3)) >> HALF).astype(np.uint32)


def dropout(x: Array, p: float, seed: int) -> Array:
    """x times 0 where a random number from 0 to 2^32 lies below p 2^32, else times 1 / (1 - p)."""
    kept = _uniform_bits(seed, x.size).reshape(x.shape) >= min(round(p * 2**32), 2**32 - 1)
    return np.where(kept, x.dtype.type(1 / (1 - p) if p < 1 else 0), x.dtype.type(0)) * x
