"""Attention as other modules call it: on heads that lie apart, or in place in a projection.

The kernels (`attention_kernel.py`) read any array in which the D numbers of one query, key or
value lie side by side; `places` says where. So one pair of them serves q, k and v of
(B, H, T, D), and the output of one projection, (B, T, (H + 2 Hk) D), whose heads need not be
copied apart, nor their gradients together.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.attention_blocks import BLOCK
from scratchgrad.kernels.attention_kernel import attend, attend_backward
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.jit import plain
from scratchgrad.kernels.random import threshold

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
Dropout = tuple[float, int]
Place = tuple[int, ...]

# Of the backward: with fewer units there is too little to share out, and it is cut finer. Not the
# number of threads, or the results would depend on it.
FEW = 8


def _place(x: Array) -> Place:
    """Of a C-contiguous (B, H, T, D): its first element, its steps of a batch, a head, a time."""
    _, H, T, D = x.shape
    return 0, H * T * D, T * D, D, 1


def _mask(mask: Mask | None, shape: tuple[int, ...]) -> tuple[Mask, Place]:
    """The mask as a flat array, and its place: the step is 0 along an axis of size 1."""
    if mask is None:
        return np.empty(1, np.bool_), (0, 0, 0, 0, 0)
    try:
        np.broadcast_to(mask, shape)
    except ValueError as error:
        raise ShapeError(
            f"attention: a mask of shape {mask.shape} does not broadcast to {shape}"
        ) from error
    mask = plain(mask.reshape((1,) * (4 - mask.ndim) + mask.shape))
    sides = zip(mask.strides, mask.shape, strict=True)  # a boolean is one byte
    return mask.reshape(-1), (0, *(step if side > 1 else 0 for step, side in sides))


def _drop(dropout: Dropout | None, dtype: np.dtype) -> tuple[np.uint64, np.uint32, np.floating]:
    """The seed; below which bits a weight is 0; and what the other weights are multiplied by."""
    p, seed = dropout or (0.0, 0)
    return np.uint64(seed), threshold(p), dtype.type(1 / (1 - p) if p < 1 else 0)


def _forward(qkv, sizes, places, mask, is_causal, scale, dropout, out, window=0):
    """Write out, and return lse. sizes: B, H, Hk, T, S, D, Dv. places: of q, k, v and out."""
    B, H, _, T, S, D, _ = sizes
    flat_mask, mask_place = _mask(mask, (B, H, T, S))
    lse = empty((B, H, T), out.dtype)
    if not S:
        out[...], lse[...] = 0, -np.inf
    elif lse.size:
        attend(
            B * H * -(-T // BLOCK),
            *(x.reshape(-1) for x in qkv),
            flat_mask,
            np.array(sizes[1:], np.int64),
            np.array((*places, mask_place), np.int64),
            mask is not None,
            bool(is_causal),
            window,
            out.dtype.type(scale),
            *_drop(dropout, out.dtype),
            out.reshape(-1),
            lse.reshape(-1),
            work=B * H * T * S * D,
        )
    return lse


def _backward(dout, qkv, out, lse, sizes, places, mask, is_causal, scale, dropout, dqkv, window=0):
    """Write dq, dk and dv, which lie in memory as q, k and v do."""
    B, H, Hk, T, S, D, Dv = sizes
    flat_mask, mask_place = _mask(mask, (B, H, T, S))
    dq, *owned = dqkv
    owners, own = Hk, places[1:3]
    if Hk < H and B * Hk < FEW:  # each query head by itself, and then the sum over the group
        owners, owned = H, [empty((B, H, S, n), dq.dtype) for n in (D, Dv)]
        own = [_place(x) for x in owned]
    if not S:
        dq[...] = 0
        return
    attend_backward(
        B * owners,
        *(x.reshape(-1) for x in (dout, *qkv)),
        flat_mask,
        np.array((*sizes[1:], owners), np.int64),
        np.array((*places, mask_place, *own), np.int64),
        mask is not None,
        bool(is_causal),
        window,
        dq.dtype.type(scale),
        *_drop(dropout, dq.dtype),
        out.reshape(-1),
        lse.reshape(-1),
        *(x.reshape(-1) for x in (dq, *owned)),
        work=B * H * T * S * D,
    )
    if owners > Hk:
        for dx, parts, (at, *steps) in zip(dqkv[1:], owned, places[1:3], strict=True):
            total = parts.reshape(B, Hk, H // Hk, S, parts.shape[-1]).sum(axis=2)
            strides = [step * dx.itemsize for step in steps]
            np.lib.stride_tricks.as_strided(dx.reshape(-1)[at:], total.shape, strides)[...] = total


def _check(q: Array, k: Array, v: Array) -> tuple[int, ...]:
    """The sizes, if they fit together."""
    (B, H, T, D), (Bk, Hk, S, Dk), (Bv, Hv, Sv, Dv) = q.shape, k.shape, v.shape
    if (Bk, Dk) != (B, D) or (Bv, Hv, Sv) != (B, Hk, S) or (H % Hk if Hk else H):
        raise ShapeError(
            "attention: expected q (B, H, T, D), k (B, Hk, S, D) and v (B, Hk, S, Dv) with H a "
            f"multiple of Hk, got {q.shape}, {k.shape} and {v.shape}"
        )
    return B, H, Hk, T, S, D, Dv


def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Mask | None,
    is_causal: bool,
    scale: float,
    dropout: Dropout | None = None,
) -> tuple[Array, Array]:
    """Attend: out = dropout(softmax(Q Kᵀ scale)) V.

    Vaswani et al., "Attention Is All You Need", https://arxiv.org/abs/1706.03762, equation 1.

    Parameters
    ----------
    q : (B, H, T, D)
    k : (B, Hk, S, D)
        H is a multiple of Hk; each key head serves H / Hk query heads in a row.
    v : (B, Hk, S, Dv)
    mask : bool, broadcastable to (B, H, T, S), or None
        True where a query may attend.
    is_causal : bool
        Query t attends to the keys 0 … t, and to those the mask allows.
    scale : float
        Usually 1 / sqrt(D).
    dropout : (p, seed) or None
        Each weight is 0 with probability p, else divided by 1 - p. Which it is, the bits tell
        that the seed gives for its place in (B, H, T, S); they are nowhere stored.

    Returns
    -------
    out : (B, H, T, Dv)
        0 for a query that may attend nowhere.
    lse : (B, H, T)
        The log-sum-exp of its scores, for the backward; -inf for such a query.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """
    sizes = _check(q, k, v)
    out = empty((*q.shape[:3], v.shape[3]), q.dtype)
    places = tuple(_place(x) for x in (q, k, v, out))
    qkv = [plain(x) for x in (q, k, v)]
    return out, _forward(qkv, sizes, places, mask, is_causal, scale, dropout, out)


def attention_backward(
    dout: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    mask: Mask | None,
    is_causal: bool,
    scale: float,
    dropout: Dropout | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of `attention` by q, k and v, from its arguments and both its results.

    Parameters
    ----------
    dout : (B, H, T, Dv)
    q, k, v, mask, is_causal, scale, dropout
        What `attention` was given.
    out, lse
        What it returned.

    Returns
    -------
    dq : (B, H, T, D)
    dk : (B, Hk, S, D)
    dv : (B, Hk, S, Dv)
        Summed over the heads that share a key head. A query that may attend nowhere adds 0.
    """
    sizes = _check(q, k, v)
    places = tuple(_place(x) for x in (q, k, v, out))
    qkv = [plain(x) for x in (q, k, v)]
    dq, dk, dv = (empty(x.shape, x.dtype) for x in (q, k, v))
    how = mask, is_causal, scale, dropout
    _backward(plain(dout), qkv, plain(out), plain(lse), sizes, places, *how, (dq, dk, dv))
    return dq, dk, dv


# -- in place in a projection ------------------------------------------------------------------


def _parts(shape: tuple[int, ...], H: int, Hk: int) -> tuple[tuple[int, ...], tuple[Place, ...]]:
    """The sizes and places of the heads of (B, T, (H + 2 Hk) D): those of q, then of k, of v."""
    B, T, C = shape
    if H < 1 or Hk < 1 or H % Hk or C % (H + 2 * Hk):
        raise ShapeError(
            "attention: expected (B, T, (H + 2 Hk) D) with H a multiple of Hk, "
            f"got {shape} with H = {H} and Hk = {Hk}"
        )
    D = C // (H + 2 * Hk)
    q, k, v = ((at * D, T * C, D, C, 1) for at in (0, H, H + Hk))
    return (B, H, Hk, T, T, D, D), (q, k, v, (0, T * H * D, D, H * D, 1))


def qkv_attention(
    qkv: Array, H: int, Hk: int, scale: float, dropout: Dropout | None = None, window: int = 0
) -> tuple[Array, Array]:
    """`attention`, causal, of the queries, keys and values that one projection gave.

    Parameters
    ----------
    qkv : (B, T, (H + 2 Hk) D)
        At each time the H heads of queries, then Hk heads of keys, then Hk of values.
    window : int
        Query t sees the keys t - window + 1 … t; 0: all up to its own.

    Returns
    -------
    out : (B, T, H D)
        The heads side by side, as the next projection takes them.
    lse : (B, H, T)

    Raises
    ------
    ShapeError
        If the heads do not fit the shape.
    """
    sizes, places = _parts(qkv.shape, H, Hk)
    qkv, (B, T, D) = plain(qkv), (sizes[0], sizes[3], sizes[5])
    out = empty((B, T, H * D), qkv.dtype)
    how = None, True, scale, dropout
    return out, _forward((qkv, qkv, qkv), sizes, places, *how, out, window)


def qkv_attention_backward(
    dout: Array,
    qkv: Array,
    out: Array,
    lse: Array,
    H: int,
    Hk: int,
    scale: float,
    dropout: Dropout | None = None,
    window: int = 0,
) -> Array:
    """The gradient of `qkv_attention` by qkv, from its arguments and both its results."""
    sizes, places = _parts(qkv.shape, H, Hk)
    dqkv, qkv = empty(qkv.shape, qkv.dtype), plain(qkv)
    _backward(
        plain(dout),
        (qkv, qkv, qkv),
        plain(out),
        plain(lse),
        sizes,
        places,
        None,
        True,
        scale,
        dropout,
        (dqkv, dqkv, dqkv),  # each writes its own part
        window,
    )
    return dqkv
