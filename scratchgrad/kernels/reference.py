"""Every kernel as plain NumPy, written as its formula: the specification.

Read this file first. Each function has the name, the arguments and the results of the kernel it
specifies, and computes them the way the textbook writes them: whole arrays at a time, with every
intermediate matrix in plain sight. The kernels do the same sums in another order, so tests hold
them to these results within rounding.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.random import (
    GAMMA,
    HALF,
    MIX_1,
    MIX_2,
    SHIFT_1,
    SHIFT_2,
    SHIFT_3,
    threshold,
)

Array = NDArray[np.floating]


def matmul(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """C = A B over the last two axes, the others broadcast: (..., M, K) (..., K, N)."""
    c = np.ascontiguousarray(np.matmul(a, b))
    if out is None:
        return c
    out[...] = out + c if add else c
    return out


# -- softmax -----------------------------------------------------------------------------------


def linear(
    x: Array, weight: Array, bias: Array | None = None, residual: Array | None = None
) -> Array:
    """y[n, o] = sum over i of x[n, i] weight[o, i], + bias[o] + residual[n, o]."""
    y = x @ weight.T
    y = y if bias is None else y + bias
    return y if residual is None else y + residual


def column_sums(x: Array) -> Array:
    """The sum over all axes but the last."""
    return x.sum(axis=tuple(range(x.ndim - 1)))


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


# -- random bits -------------------------------------------------------------------------------


def _uniform_bits(seed: int, n: int) -> NDArray[np.uint32]:
    """32 random bits for each of the places 0 … n - 1: SplitMix64, its upper halves."""
    mask = 2**64 - 1
    with np.errstate(over="ignore"):
        z = np.uint64(seed & mask) + np.arange(1, n + 1, dtype=np.uint64) * GAMMA
        z = (z ^ (z >> SHIFT_1)) * MIX_1
        z = (z ^ (z >> SHIFT_2)) * MIX_2
    return ((z ^ (z >> SHIFT_3)) >> HALF).astype(np.uint32)


# -- attention ---------------------------------------------------------------------------------


def _group(x: Array, heads: int) -> Array:
    """(B, Hk, S, D) -> (B, H, S, D): each key-value head serves H / Hk query heads in a row."""
    return np.repeat(x, heads // x.shape[1], axis=1) if x.shape[1] else x


def _ungroup(dx: Array, kv_heads: int) -> Array:
    """(B, H, S, D) -> (B, Hk, S, D): the backward of sharing is a sum over those who shared."""
    B, H, S, D = dx.shape
    return dx.reshape(B, kv_heads, H // max(kv_heads, 1), S, D).sum(axis=2)


def _scores(
    q: Array, k: Array, mask: NDArray[np.bool_] | None, is_causal: bool, scale: float
) -> tuple[Array, NDArray[np.bool_]]:
    """The scaled scores Q Kᵀ and which of them count, both (B, H, T, S)."""
    scores = q @ _group(k, q.shape[1]).swapaxes(-1, -2) * q.dtype.type(scale)
    allowed = np.ones(scores.shape, dtype=bool)
    if mask is not None:
        allowed &= mask
    if is_causal:  # query t attends to the keys 0 … t
        allowed &= np.tri(*scores.shape[-2:], dtype=np.bool_)
    return scores, allowed


def _kept_weights(
    dropout: tuple[float, int] | None, shape: tuple[int, ...], dtype: Any
) -> Array | None:
    """What dropout multiplies the weights by: 0 where the bits of a place say so, else 1/(1-p)."""
    if dropout is None:
        return None
    p, seed = dropout
    bits = _uniform_bits(seed, math.prod(shape)).reshape(shape)
    return (bits >= threshold(p)).astype(dtype) * np.dtype(dtype).type(1 / (1 - p) if p < 1 else 0)


def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: NDArray[np.bool_] | None,
    is_causal: bool,
    scale: float,
    dropout: tuple[float, int] | None = None,
) -> tuple[Array, Array]:
    """out = softmax(Q Kᵀ scale) V, and the log-sum-exp of each row of scores."""
    scores, allowed = _scores(q, k, mask, is_causal, scale)
    scores = np.where(allowed, scores, -np.inf).astype(q.dtype)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    top = np.where(top == -np.inf, 0, top)  # a row that may attend nowhere: all weights are 0
    e = np.exp(scores - top)
    total = e.sum(axis=-1, keepdims=True)
    p = np.divide(e, total, out=np.zeros_like(e), where=total != 0)  # (B, H, T, S)
    keep = _kept_weights(dropout, p.shape, p.dtype)
    p = p if keep is None else p * keep
    with np.errstate(divide="ignore"):
        lse = (top + np.log(total))[..., 0]
    return p @ _group(v, q.shape[1]), lse


def attention_backward(
    dout: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    mask: NDArray[np.bool_] | None,
    is_causal: bool,
    scale: float,
    dropout: tuple[float, int] | None = None,
) -> tuple[Array, Array, Array]:
    """dV = Pᵀ dO, dP = dO Vᵀ, dS = P (dP - sum(dP P)), dQ = dS K scale, dK = dSᵀ Q scale."""
    scores, allowed = _scores(q, k, mask, is_causal, scale)
    lse = np.where(lse == -np.inf, 0, lse)[..., None]
    p = np.where(allowed, np.exp(np.where(allowed, scores - lse, 0)), 0).astype(q.dtype)
    keep = _kept_weights(dropout, p.shape, p.dtype)
    factor = np.ones_like(p) if keep is None else keep
    dv = (p * factor).swapaxes(-1, -2) @ dout  # (B, H, S, Dv)
    dp = dout @ _group(v, q.shape[1]).swapaxes(-1, -2) * factor
    # sum(dP P) over keys equals sum(dO O) over the head: one number a row, so P is not needed
    dscores = p * (dp - (dout * out).sum(axis=-1, keepdims=True)) * q.dtype.type(scale)
    dq = dscores @ _group(k, q.shape[1])
    dk = dscores.swapaxes(-1, -2) @ q
    return dq, _ungroup(dk, k.shape[1]), _ungroup(dv, k.shape[1])


def _heads(qkv: Array, H: int, Hk: int) -> tuple[Array, Array, Array]:
    """(B, T, (H + 2 Hk) D) -> q (B, H, T, D), k and v (B, Hk, T, D)."""
    B, T, C = qkv.shape
    heads = qkv.reshape(B, T, H + 2 * Hk, C // (H + 2 * Hk)).swapaxes(1, 2)  # (B, all, T, D)
    return heads[:, :H], heads[:, H : H + Hk], heads[:, H + Hk :]


def qkv_attention(
    qkv: Array, H: int, Hk: int, scale: float, dropout: tuple[float, int] | None = None
) -> tuple[Array, Array]:
    """Cut the projection into heads, attend, and put the heads side by side."""
    out, lse = attention(*_heads(qkv, H, Hk), None, True, scale, dropout)
    B, _, T, D = out.shape
    return out.swapaxes(1, 2).reshape(B, T, H * D), lse


def qkv_attention_backward(
    dout: Array,
    qkv: Array,
    out: Array,
    lse: Array,
    H: int,
    Hk: int,
    scale: float,
    dropout: tuple[float, int] | None = None,
) -> Array:
    """Cut dout into heads as well, and put the gradients where q, k and v were."""
    B, T, C = qkv.shape
    apart = [x.reshape(B, T, H, C // (H + 2 * Hk)).swapaxes(1, 2) for x in (dout, out)]
    parts = attention_backward(
        apart[0], *_heads(qkv, H, Hk), apart[1], lse, None, True, scale, dropout
    )
    return np.concatenate(parts, axis=1).swapaxes(1, 2).reshape(B, T, C)


def attend_to_cache(
    qkv: Array, keys: Array, values: Array, length: int, H: int, scale: float
) -> Array:
    """The last T of `length` positions attend to all of them: row t sees the keys up to its own."""
    B, T, _ = qkv.shape
    Hk, D = keys.shape[1], keys.shape[3]
    q = _heads(qkv, H, Hk)[0]
    upto = np.arange(length) <= np.arange(length - T, length)[:, None]  # (T, length)
    out, _ = attention(q, keys[:, :, :length], values[:, :, :length], upto, False, scale)
    return out.swapaxes(1, 2).reshape(B, T, H * D)


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


# -- cross-entropy -----------------------------------------------------------------------------


def cross_entropy(
    logits: Array, targets: NDArray[np.int64], ignore_index: int, label_smoothing: float
) -> Array:
    """loss = -sum(target log_softmax(logits)); a smoothed target spreads ε evenly over all V."""
    N, V = logits.shape
    log_p = log_softmax(logits, axis=-1)
    counted = targets != ignore_index
    at = log_p[np.arange(N), np.where(counted, targets, 0)] if V else np.zeros(N, logits.dtype)
    losses = -at * logits.dtype.type(1 - label_smoothing)
    if label_smoothing:
        losses = losses - log_p.sum(axis=-1) * logits.dtype.type(label_smoothing / max(V, 1))
    return np.where(counted, losses, 0).astype(logits.dtype)


def cross_entropy_backward(
    dlosses: Array,
    logits: Array,
    targets: NDArray[np.int64],
    ignore_index: int,
    label_smoothing: float,
) -> Array:
    """dlogits = dloss (softmax(logits) - target)."""
    N, V = logits.shape
    counted = targets != ignore_index
    smoothed = np.full((N, V), label_smoothing / max(V, 1), logits.dtype)
    if V:
        smoothed[np.arange(N), np.where(counted, targets, 0)] += 1 - label_smoothing
    with np.errstate(invalid="ignore"):
        dlogits = dlosses[:, None] * (softmax(logits, axis=-1) - smoothed)
    return np.where(counted[:, None], dlogits, 0).astype(logits.dtype)


def cross_entropy_with_gradient(
    dlosses: Array,
    logits: Array,
    targets: NDArray[np.int64],
    ignore_index: int,
    label_smoothing: float,
) -> tuple[Array, Array]:
    """The loss of each row and, with dlosses known beforehand, the gradient of their sum."""
    settings = (targets, ignore_index, label_smoothing)
    return cross_entropy(logits, *settings), cross_entropy_backward(dlosses, logits, *settings)


def cross_entropy_in_place(
    dlosses: Array,
    losses: Array,
    logits: Array,
    targets: NDArray[np.int64],
    ignore_index: int,
    label_smoothing: float,
) -> None:
    """The losses into an array that is there, and the gradient over the logits."""
    losses[:], logits[:] = cross_entropy_with_gradient(
        dlosses, logits, targets, ignore_index, label_smoothing
    )


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


def dropout(x: Array, p: float, seed: int) -> Array:
    """x times 0 where a random number from 0 to 2^32 lies below p 2^32, else times 1 / (1 - p)."""
    kept = _uniform_bits(seed, x.size).reshape(x.shape) >= min(round(p * 2**32), 2**32 - 1)
    return np.where(kept, x.dtype.type(1 / (1 - p) if p < 1 else 0), x.dtype.type(0)) * x


# -- indexing and the optimiser ----------------------------------------------------------------


def add_rows(table: Array, ids: NDArray[np.int64], rows: Array) -> None:
    """table[ids[i]] += rows[i] for every i, in place, repeated ids counted each time."""
    np.add.at(table, ids, rows)


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
    """One step of AdamW, in place on param, m and v."""
    dtype = param.dtype.type
    param *= dtype(1 - lr * weight_decay)
    m += (grad - m) * dtype(1 - beta1)
    v *= dtype(beta2)
    v += grad * grad * dtype(1 - beta2)
    denom = np.sqrt(v) / dtype(math.sqrt(1 - beta2**step)) + dtype(eps)
    param -= dtype(lr / (1 - beta1**step)) * m / denom


def sum_of_squares(x: Array) -> float:
    """sum(x²), in float64."""
    return float((x.astype(np.float64) ** 2).sum())


def all_finite(x: Array) -> bool:
    """Whether no element is infinite or nan."""
    return bool(np.isfinite(x).all())
