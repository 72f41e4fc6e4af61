"""Every fused operation again, spelled out of small ones: the way to read what it computes.

The engine differentiates these by the chain rule alone, so they are also the proof that the
hand-written backward passes of the kernels are right: value and gradients must agree.
"""

from typing import Any

import numpy as np

from scratchgrad.ops.elementwise import (
    add,
    divide,
    erf,
    exp,
    log,
    multiply,
    negative,
    pow,
    square,
    subtract,
    tanh,
    where,
)
from scratchgrad.ops.indexing import take_along_axis
from scratchgrad.ops.linalg import matmul
from scratchgrad.ops.reduction import max, mean, sum
from scratchgrad.ops.shape import concat, repeat, reshape, split, squeeze, stack, swapaxes


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return divide(1.0, add(1.0, exp(negative(x))))


def silu(x: Any) -> Any:
    """x sigmoid(x)."""
    return multiply(x, sigmoid(x))


def swiglu(x: Any) -> Any:
    """silu(gate) up, of the two halves of the last axis."""
    gate, up = split(x, 2, axis=-1)
    return multiply(silu(gate), up)


def gelu(x: Any, approximate: str = "none") -> Any:
    """x Phi(x), or GPT-2's approximation by tanh."""
    if approximate == "none":
        phi = multiply(0.5, add(1.0, erf(multiply(x, 0.5**0.5))))
    else:
        inner = multiply((2 / np.pi) ** 0.5, add(x, multiply(0.044715, pow(x, 3))))
        phi = multiply(0.5, add(1.0, tanh(inner)))
    return multiply(x, phi)


def logsumexp(x: Any, axis: int = -1) -> Any:
    """ln sum exp(x), the largest element taken out first so that exp cannot overflow."""
    top = max(x, axis=axis, keepdims=True)
    return add(squeeze(top, axis), log(sum(exp(subtract(x, top)), axis=axis)))


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum exp(x); subtracting the largest element changes nothing but the overflow."""
    e = exp(subtract(x, max(x, axis=axis, keepdims=True)))
    return divide(e, sum(e, axis=axis, keepdims=True))


def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - ln sum exp(x)."""
    shifted = subtract(x, max(x, axis=axis, keepdims=True))
    return subtract(shifted, log(sum(exp(shifted), axis=axis, keepdims=True)))


def linear(x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    """x W^T + b + residual."""
    y = matmul(x, swapaxes(weight, 0, 1))  # (..., in) @ (in, out) -> (..., out)
    y = y if bias is None else add(y, bias)
    return y if residual is None else add(y, residual)


def mlp(
    x: Any,
    up_weight: Any,
    up_bias: Any,
    down_weight: Any,
    down_bias: Any,
    residual: Any = None,
    approximate: str = "none",
) -> Any:
    """linear(gelu(linear(x))) + residual."""
    a = gelu(linear(x, up_weight, up_bias), approximate)  # (..., inner)
    return linear(a, down_weight, down_bias, residual)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias."""
    centred = subtract(x, mean(x, axis=-1, keepdims=True))
    y = multiply(centred, pow(add(mean(square(centred), axis=-1, keepdims=True), eps), -0.5))
    y = y if weight is None else multiply(y, weight)
    return y if bias is None else add(y, bias)


def rms_norm(x: Any, weight: Any = None, eps: float = 1e-6) -> Any:
    """x / sqrt(mean(x^2) + eps) * weight."""
    y = multiply(x, pow(add(mean(square(x), axis=-1, keepdims=True), eps), -0.5))
    return y if weight is None else multiply(y, weight)


def rope(x: Any, cos: Any, sin: Any, n_head: int, interleaved: bool = False) -> Any:
    """(a, b) -> (a cos - b sin, b cos + a sin) for each pair of each head."""
    b, t, _ = x.shape
    d = 2 * cos.shape[1]
    heads, rest = split(x, [n_head * d], axis=-1)
    axis = 4 if interleaved else 3  # of the two: neighbours, or the halves of a head
    pairs = reshape(heads, (b, t, n_head, d // 2, 2) if interleaved else (b, t, n_head, 2, d // 2))
    first, second = (squeeze(part, axis) for part in split(pairs, 2, axis=axis))  # (B, T, H, D/2)
    cos, sin = cos[:, None], sin[:, None]
    turned = subtract(multiply(first, cos), multiply(second, sin))
    other = add(multiply(second, cos), multiply(first, sin))
    y = reshape(stack([turned, other], axis=axis), (b, t, n_head * d))
    return concat([y, rest], axis=-1)


def cross_entropy(
    logits: Any,
    targets: Any,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """-ln softmax(logits)[target], mixed with the mean over all classes for smoothing."""
    targets = np.asarray(targets)
    counted = targets != ignore_index
    logp = log_softmax(logits)  # (..., V)
    picked = take_along_axis(logp, np.where(counted, targets, 0)[..., None], axis=-1)
    hard = negative(squeeze(picked, -1))  # (...)
    even = negative(mean(logp, axis=-1))  # (...)
    losses = add(multiply(hard, 1 - label_smoothing), multiply(even, label_smoothing))
    losses = where(counted, losses, 0.0)
    if reduction == "none":
        return losses
    total = sum(losses)
    return total if reduction == "sum" else divide(total, int(counted.sum()))


def linear_cross_entropy(
    x: Any,
    weight: Any,
    targets: Any,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """The loss of the logits x W^T."""
    return cross_entropy(linear(x, weight), targets, ignore_index, label_smoothing, reduction)


def attention(
    q: Any, k: Any, v: Any, mask: Any = None, is_causal: bool = False, scale: float | None = None
) -> Any:
    """softmax(scale Q K^T) V, with the whole (T, S) matrix of weights in sight."""
    (_, h, t, d), (_, hk, s, _) = q.shape, k.shape
    k, v = repeat(k, h // hk, axis=1), repeat(v, h // hk, axis=1)  # (B, H, S, D)
    scores = multiply(matmul(q, swapaxes(k, -1, -2)), d**-0.5 if scale is None else scale)
    may_look = np.tril(np.ones((t, s), dtype=bool)) if is_causal else np.ones((t, s), dtype=bool)
    if mask is not None:
        may_look = may_look & mask
    weights = softmax(where(may_look, scores, -np.inf))  # (B, H, T, S)
    return matmul(weights, v)  # (B, H, T, D)


def causal_self_attention(
    qkv: Any,
    n_head: int,
    n_kv_head: int | None = None,
    scale: float | None = None,
    window: int | None = None,
) -> Any:
    """Cut into heads, attend, put the heads side by side: with all the copies."""
    b, t, c = qkv.shape
    h, hk = n_head, n_head if n_kv_head is None else n_kv_head
    d = c // (h + 2 * hk)
    parts = split(qkv, [h * d, (h + hk) * d], axis=-1)  # (B, T, H D), (B, T, Hk D) twice
    q, k, v = (swapaxes(reshape(x, (b, t, -1, d)), 1, 2) for x in parts)  # (B, H, T, D)
    recent = None if window is None else ~np.tri(t, k=-window, dtype=bool)  # (T, T)
    y = attention(q, k, v, recent, is_causal=True, scale=scale)
    return reshape(swapaxes(y, 1, 2), (b, t, h * d))
