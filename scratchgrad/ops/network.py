"""The operations that networks are made of, each fused: one kernel forward, one backward.

``composite.py`` spells every one of them out of small operations. Shapes: B batch, T time, C
channels, H heads, D head size, V vocabulary.
"""

from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError, DtypeError, ShapeError
from scratchgrad.kernels import attention, norm, random
from scratchgrad.kernels import rope as rotary
from scratchgrad.kernels import softmax as soft
from scratchgrad.kernels.linear import linear as affine
from scratchgrad.kernels.linear import linear_gelu, matmul_gelu_backward
from scratchgrad.kernels.matmul import matmul as product
from scratchgrad.kernels.reduction import column_sums
from scratchgrad.operation import differentiable, into
from scratchgrad.ops.arguments import as_float, as_floats, axis_of, check_probability, rows_of


@differentiable
def linear(x, weight, bias=None, residual=None, /):
    """x W^T + b + residual: x (..., in), weight (out, in), bias (out,) -> (..., out).

    ``residual`` (..., out) is what the result would be added to anyway; here that costs no pass
    over memory of its own.

    Raises
    ------
    ShapeError
        If the sizes do not fit together.
    """
    x, weight, bias, residual = as_floats(x, weight, bias, residual)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: expected x (..., in) and weight (out, in), received {x.shape} and "
            f"{weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"linear: expected a bias {weight.shape[:1]}, received {bias.shape}")
    shape, out_shape = x.shape, (*x.shape[:-1], weight.shape[0])
    if residual is not None and residual.shape != out_shape:
        raise ShapeError(f"linear: expected a residual {out_shape}, received {residual.shape}")
    x = rows_of(x)  # (N, in)
    y = affine(x, weight, bias, residual if residual is None else rows_of(residual))  # (N, out)

    return y.reshape(out_shape), (
        lambda dy: product(rows_of(dy), weight).reshape(shape),
        into(lambda dy, out, add: product(rows_of(dy).T, x, out, add)),
        column_sums,
        lambda dy: dy,
    )


@differentiable
def mlp(x, up_weight, up_bias, down_weight, down_bias, residual=None, /, approximate="none"):
    """gelu(x W1^T + b1) W2^T + b2 + residual: the same as linear, gelu and linear.

    GELU is computed where the first product leaves its numbers in the cache, and its slope where
    the backward's product by W2 does.

    Parameters
    ----------
    x : (..., in)
    up_weight, up_bias : (inner, in), (inner,) or None
    down_weight, down_bias : (out, inner), (out,) or None
    residual : (..., out), optional
        What the result would be added to anyway.
    approximate : "none" or "tanh"
        As for ``gelu``.

    Returns
    -------
    (..., out)

    Source: Vaswani et al., Attention Is All You Need (2017), equation 2; with GELU, Radford et
    al., GPT (2018), section 4.1.
    """
    x, up_weight, up_bias, down_weight, down_bias, residual = as_floats(
        x, up_weight, up_bias, down_weight, down_bias, residual
    )
    if approximate not in ("none", "tanh"):
        raise ConfigError(f"mlp: expected approximate 'none' or 'tanh', received {approximate!r}")
    if up_weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != up_weight.shape[1]:
        raise ShapeError(
            f"mlp: expected x (..., in) and up_weight (inner, in), received {x.shape} and "
            f"{up_weight.shape}"
        )
    if down_weight.ndim != 2 or down_weight.shape[1] != len(up_weight):
        raise ShapeError(
            f"mlp: expected up_weight (inner, in) and down_weight (out, inner), received "
            f"{up_weight.shape} and {down_weight.shape}"
        )
    for name, bias, weight in (("up", up_bias, up_weight), ("down", down_bias, down_weight)):
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ShapeError(f"mlp: expected {name}_bias {weight.shape[:1]}, received {bias.shape}")
    shape, out_shape = x.shape, (*x.shape[:-1], len(down_weight))
    if residual is not None and residual.shape != out_shape:
        raise ShapeError(f"mlp: expected a residual {out_shape}, received {residual.shape}")
    x = rows_of(x)  # (N, in)
    h, a = linear_gelu(x, up_weight, up_bias, approximate)  # (N, inner); a = gelu(h)
    y = affine(a, down_weight, down_bias, residual if residual is None else rows_of(residual))

    def backward(dy):
        # forward: a = gelu(h), y = a W2^T; the gradient of h is computed once, for three
        dh = matmul_gelu_backward(rows_of(dy), down_weight, h, approximate)  # (N, inner)
        return (  # forward: h = x W1^T + b1, y = a W2^T + b2 + residual
            lambda dy: product(dh, up_weight).reshape(shape),
            into(lambda dy, out, add: product(dh.T, x, out, add)),
            lambda dy: column_sums(dh),
            into(lambda dy, out, add: product(rows_of(dy).T, a, out, add)),
            lambda dy: column_sums(dy),
            lambda dy: dy,
        )

    return y.reshape(out_shape), backward


@differentiable
def softmax(x, /, axis=-1):
    """exp(x) / sum exp(x) along an axis: positive numbers that add up to 1."""
    x = as_float(x)
    axis = axis_of("softmax", axis, x.ndim)
    y = soft.softmax(x, axis)
    return y, lambda dy: soft.softmax_backward(dy, y, axis)


@differentiable
def log_softmax(x, /, axis=-1):
    """The logarithm of softmax, exact where softmax itself would round to 0."""
    x = as_float(x)
    axis = axis_of("log_softmax", axis, x.ndim)
    y = soft.log_softmax(x, axis)
    return y, lambda dy: soft.log_softmax_backward(dy, y, axis)


@differentiable
def layer_norm(x, weight=None, bias=None, /, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias, over the last axis.

    x (..., C), weight (C,) or None, bias (C,) or None.

    Source: Ba, Kiros and Hinton, Layer Normalization (2016), equation 4.
    """
    x, weight, bias = as_floats(x, weight, bias)
    _check_norm("layer_norm", x, weight=weight, bias=bias)
    y, mean, rstd = norm.layer_norm(x, weight, bias, eps)

    def backward(dy):
        return norm.layer_norm_backward(dy, x, weight, mean, rstd)

    return y, backward


@differentiable
def rms_norm(x, weight=None, /, eps=1e-6):
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis.

    x (..., C), weight (C,) or None.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), equation 4.
    """
    x, weight = as_floats(x, weight)
    _check_norm("rms_norm", x, weight=weight)
    y, rstd = norm.rms_norm(x, weight, eps)
    return y, lambda dy: norm.rms_norm_backward(dy, x, weight, rstd)


def _check_norm(name, x, **parameters):
    if x.ndim < 1 or x.shape[-1] == 0:
        raise ShapeError(f"{name}: expected at least one element to normalise, received {x.shape}")
    for parameter, value in parameters.items():
        if value is not None and value.shape != x.shape[-1:]:
            raise ShapeError(
                f"{name}: expected a {parameter} of shape {x.shape[-1:]} for x {x.shape}, "
                f"received {value.shape}"
            )


@differentiable
def rope(x, /, cos, sin, n_head, interleaved=False):
    """Each pair of numbers of a head turned by an angle: rotary position embedding.

    A query turned by the angle of its position and a key by that of its own have a product that
    depends on how far they are apart, and not on where they are.

    Parameters
    ----------
    x : (B, T, W)
        At each position ``n_head`` heads of D numbers; what is behind them stays as it is.
    cos, sin : (T, D / 2)
        Of the angle by which each pair is turned at each position; they get no gradient.
    interleaved : bool
        Whether pair i of a head is its numbers 2 i and 2 i + 1; else they are i and i + D / 2.

    Returns
    -------
    (B, T, W)

    Source: Su et al., RoFormer (2021), equation 34.
    """
    x = as_float(x)
    cos, sin = (np.asarray(table).astype(x.dtype, copy=False) for table in (cos, sin))
    d = 2 * cos.shape[-1] if cos.ndim else 0
    if x.ndim != 3 or cos.shape != (x.shape[1], d // 2) or sin.shape != cos.shape:
        raise ShapeError(
            f"rope: expected x (B, T, W) and cos, sin (T, D / 2), received {x.shape}, {cos.shape} "
            f"and {sin.shape}"
        )
    if not 0 <= n_head * d <= x.shape[2]:
        raise ShapeError(
            f"rope: expected x (B, T, W) with W at least n_head D = {n_head} x {d}, received "
            f"{x.shape}"
        )
    y = rotary.rope(x, cos, sin, n_head, interleaved)
    return y, lambda dy: rotary.rope_backward(dy, cos, sin, n_head, interleaved)


@differentiable
def _dropout(x, /, p, seed):
    x = as_float(x)
    return random.dropout(x, p, seed), lambda dy: random.dropout(dy, p, seed)


def dropout(
    x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Any:
    """Each element is 0 with probability p, else divided by 1 - p; the mean stays the same.

    Not training, or with p = 0, x itself. ``rng`` draws one seed, from which and its place each
    element's chance follows; without one the draw cannot be repeated. Nothing is kept for the
    backward: it makes the same chances again.

    Source: Srivastava et al., Dropout (2014), section 4, in its inverted form.
    """
    check_probability("dropout", p)
    if not training or p == 0:
        return x
    return _dropout(x, p=p, seed=drawn_seed(rng))


def drawn_seed(rng: np.random.Generator | None) -> int:
    """A seed for the bits of `scratchgrad.kernels.random`."""
    return int((rng or np.random.default_rng()).integers(2**64, dtype=np.uint64))


@differentiable
def _attention(q, k, v, mask, /, is_causal, scale, dropout):
    q, k, v = as_floats(q, k, v)
    out, lse = attention.attention(q, k, v, mask, is_causal, scale, dropout)

    def backward(dout):
        gradients = attention.attention_backward(
            dout, q, k, v, out, lse, mask, is_causal, scale, dropout
        )
        return (*gradients, None)

    return out, backward


def _drawn(dropout_p, rng):
    """The probability and a seed: which weights are dropped is a function of it and their place."""
    return None if dropout_p == 0 else (dropout_p, drawn_seed(rng))


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Any:
    """softmax(scale Q K^T) V: each query's mean of the values, weighted by how keys match it.

    Parameters
    ----------
    q : (B, H, T, D)
    k, v : (B, Hk, S, D)
        H a multiple of Hk: each head of keys serves H / Hk neighbouring heads of queries
        (grouped-query attention; multi-query with Hk = 1).
    mask : boolean, broadcasting to (B, H, T, S), optional
        True where a query may look. A query that may look nowhere gets 0.
    is_causal : bool
        Query t sees the keys 0 to t only.
    scale : float, default 1 / sqrt(D)
    dropout_p : float
        The probability that a weight is dropped; ``rng`` draws.

    Returns
    -------
    (B, H, T, D)

    Source: Vaswani et al., Attention Is All You Need (2017), equation 1; Ainslie et al., GQA
    (2023).
    """
    name = "scaled_dot_product_attention"
    check_probability(f"{name}: dropout_p", dropout_p)
    shapes = [np.shape(x) for x in (q, k, v)]
    if any(len(shape) != 4 for shape in shapes):
        raise ShapeError(f"{name}: expected q, k, v of (B, H, T, D), received {shapes}")
    (b, h, t, d), (bk, hk, s, dk), (bv, hv, sv, _) = shapes
    if (bk, dk) != (b, d) or (bv, hv, sv) != (b, hk, s) or hk == 0 or h % hk:
        raise ShapeError(
            f"{name}: expected q (B, H, T, D) and k, v (B, Hk, S, D) with H a multiple of Hk, "
            f"received {shapes[0]}, {shapes[1]}, {shapes[2]}"
        )
    if mask is not None:
        mask = np.asarray(mask)
        if mask.dtype != bool:
            raise DtypeError(
                f"{name}: expected a boolean mask, True where a query may look, received "
                f"{mask.dtype}; for an additive mask pass mask == 0"
            )
        try:
            np.broadcast_to(mask, (b, h, t, s))
        except ValueError:
            raise ShapeError(
                f"{name}: expected a mask that broadcasts to {(b, h, t, s)}, received {mask.shape}"
            ) from None
    scale = 1 / np.sqrt(max(d, 1)) if scale is None else scale
    dropout = _drawn(dropout_p, rng)
    return _attention(q, k, v, mask, is_causal=is_causal, scale=float(scale), dropout=dropout)


@differentiable
def _causal_self_attention(qkv, /, heads, scale, dropout, window):
    qkv, (h, hk) = as_float(qkv), heads
    out, lse = attention.qkv_attention(qkv, h, hk, scale, dropout, window)
    return out, lambda dout: attention.qkv_attention_backward(
        dout, qkv, out, lse, h, hk, scale, dropout, window
    )


def causal_self_attention(
    qkv: Any,
    n_head: int,
    n_kv_head: int | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
    rng: np.random.Generator | None = None,
    window: int | None = None,
) -> Any:
    """Causal attention of the queries, keys and values that one projection gave, in place.

    The same as cutting ``qkv`` into heads for ``scaled_dot_product_attention`` and putting the
    heads of the result side by side again, without the copies.

    Parameters
    ----------
    qkv : (B, T, (H + 2 Hk) D)
        For each position H = ``n_head`` queries, then Hk = ``n_kv_head`` keys, then Hk values.
    n_kv_head : int, default ``n_head``
        ``n_head`` is a multiple of it: each head of keys serves H / Hk neighbouring queries.
    scale, dropout_p, rng
        As for ``scaled_dot_product_attention``.
    window : int, optional
        Query t sees the keys t - window + 1 to t only (sliding-window attention).

    Returns
    -------
    (B, T, H D)

    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2; the window, Child et al.,
    Sparse Transformers (2019), section 4.1, and Jiang et al., Mistral 7B (2023), section 2.
    """
    name = "causal_self_attention"
    check_probability(f"{name}: dropout_p", dropout_p)
    h, hk, shape = n_head, n_head if n_kv_head is None else n_kv_head, np.shape(qkv)
    if h < 1 or hk < 1 or h % hk or len(shape) != 3 or shape[2] % (h + 2 * hk):
        raise ShapeError(
            f"{name}: expected qkv (B, T, (H + 2 Hk) D) with H a multiple of Hk, received {shape} "
            f"with H = {h}, Hk = {hk}"
        )
    if window is not None and window < 1:
        raise ConfigError(f"{name}: expected a window of at least 1 position, received {window}")
    d = shape[2] // (h + 2 * hk)
    scale = float(1 / np.sqrt(max(d, 1)) if scale is None else scale)
    dropout = _drawn(dropout_p, rng)
    return _causal_self_attention(
        qkv, heads=(h, hk), scale=scale, dropout=dropout, window=window or 0
    )
