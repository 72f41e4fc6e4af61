"""Attention, with the whole matrix of its weights, (B, H, T, S), in plain sight."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.random import threshold
from scratchgrad.kernels.reference.layers import Array, _uniform_bits


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


def _recent(T: int, window: int) -> NDArray[np.bool_] | None:
    """(T, T): which keys are not behind the window of a query; window 0 is no window."""
    return ~np.tri(T, k=-window, dtype=np.bool_) if window else None


def qkv_attention(
    qkv: Array,
    H: int,
    Hk: int,
    scale: float,
    dropout: tuple[float, int] | None = None,
    window: int = 0,
) -> tuple[Array, Array]:
    """Cut the projection into heads, attend, and put the heads side by side."""
    recent = _recent(qkv.shape[1], window)
    out, lse = attention(*_heads(qkv, H, Hk), recent, True, scale, dropout)
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
    window: int = 0,
) -> Array:
    """Cut dout into heads as well, and put the gradients where q, k and v were."""
    B, T, C = qkv.shape
    apart = [x.reshape(B, T, H, C // (H + 2 * Hk)).swapaxes(1, 2) for x in (dout, out)]
    parts = attention_backward(
        apart[0], *_heads(qkv, H, Hk), apart[1], lse, _recent(T, window), True, scale, dropout
    )
    return np.concatenate(parts, axis=1).swapaxes(1, 2).reshape(B, T, C)


def attend_to_cache(
    qkv: Array, keys: Array, values: Array, length: int, H: int, scale: float, window: int = 0
) -> Array:
    """The last T of `length` positions attend to all of them: row t sees the keys up to its own."""
    B, T, _ = qkv.shape
    Hk, D = keys.shape[1], keys.shape[3]
    q = _heads(qkv, H, Hk)[0]
    own = np.arange(length - T, length)[:, None]
    upto = np.arange(length) <= own  # (T, length)
    upto &= np.arange(length) > own - (window or length)
    out, _ = attention(q, keys[:, :, :length], values[:, :, :length], upto, False, scale)
    return out.swapaxes(1, 2).reshape(B, T, H * D)
