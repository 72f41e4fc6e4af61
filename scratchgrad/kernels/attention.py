"""Scaled dot-product attention, forward and backward, one block of queries at a time.

Both kernels work on transposed blocks: the scores of QUERIES queries against all keys are held as
(S, QUERIES), so that the innermost loop of every product and of the softmax runs over queries,
which lie side by side. The causal mask is a loop bound: key j meets the queries from j on. Only
where four rows at a time would cross the diagonal is a small triangle done row by row.

The weights of a whole (T, S) matrix never exist at once: the backward makes each block anew from
the log-sum-exp that the forward kept, as in Dao et al., "FlashAttention",
https://arxiv.org/abs/2205.14135, section 3.1 (here without the blocks of keys).
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.elementary import exp
from scratchgrad.kernels.jit import EXACT, kernel, plain, routine
from scratchgrad.kernels.tile import ORIGIN, tile1, tile_rows

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

QUERIES = 64

# In the products below, x[::1, ::1] is x in a type for any layout: one compiled tile serves both
# S and Sᵀ, where two types would compile it twice.


@routine
def _scores(k, qt, s, keys, n, i0, is_causal):
    """s (S, n) = K Qᵀ, for each key from its first query on, and up to three before it."""
    D = qt.shape[0]
    for j in range(0, keys, 4):
        first = max(0, j - i0) if is_causal else 0
        j1 = min(j + 4, keys)
        s[j:j1, first:n] = 0
        tile_rows(k[::1, ::1], qt, s, j, j1, ORIGIN, D, first, n - first)


@routine
def _sum_over_keys(s, b, c, keys, n, i0, is_causal):
    """c (n, D) = Sᵀ B: query i takes the keys 0 … i0 + i if causal, else all."""
    D = b.shape[1]
    for i in range(0, n, 4):
        i1 = min(i + 4, n)
        c[i:i1] = 0
        shared = min(keys, i0 + i + 1) if is_causal else keys  # keys that all four may see
        tile_rows(s.T[::1, ::1], b, c, i, i1, ORIGIN, shared, ORIGIN, D)
        for query in range(i + 1, i1):
            last = min(keys, i0 + query + 1)
            if last > shared:
                tile1(s.T[::1, ::1], b, c, query, shared, last, ORIGIN, D)


@routine
def _sum_over_queries(s, b, c, keys, n, i0, is_causal):
    """c (S, D) += S B: key j takes the queries j … if causal, else all."""
    D = b.shape[1]
    for j in range(0, keys, 4):
        j1 = min(j + 4, keys)
        corner = min(n, max(0, j + 3 - i0)) if is_causal else 0
        tile_rows(s[::1, ::1], b, c, j, j1, corner, n, ORIGIN, D)
        for key in range(j, j1):
            first = max(0, key - i0)
            if first < corner:
                tile1(s[::1, ::1], b, c, key, first, corner, ORIGIN, D)


@kernel(fastmath=EXACT)
def _attention(start, stop, q, k, v, mask, has_mask, keep, has_keep, is_causal, scale, out, lse):
    H, T, D = q.shape[1:]
    Hk, S = k.shape[1], k.shape[2]
    Dv = v.shape[3]
    blocks = (T + QUERIES - 1) // QUERIES
    s = np.empty((S, QUERIES), q.dtype)
    qt = np.empty((D, QUERIES), q.dtype)
    top, total = np.empty(QUERIES, q.dtype), np.empty(QUERIES, q.dtype)
    for task in range(start, stop):
        b, h, i0 = task // (H * blocks), task // blocks % H, task % blocks * QUERIES
        g, n = h // (H // Hk), min(QUERIES, T - i0)
        keys = min(S, i0 + n) if is_causal else S

        # 1. scores: s = K Qᵀ scale
        for i in range(n):
            for d in range(D):
                qt[d, i] = q[b, h, i0 + i, d] * scale
        _scores(k[b, g], qt, s, keys, n, i0, is_causal)
        if has_mask:
            mb, mh = b % mask.shape[0], h % mask.shape[1]
            for i in range(n):
                for j in range(keys):
                    if not mask[mb, mh, i0 + i, j]:
                        s[j, i] = -np.inf

        # 2. softmax down each column: p = exp(s - top) / total
        top[:] = -np.inf
        total[:] = 0
        for j in range(keys):
            first = max(0, j - i0) if is_causal else 0
            row, high = s[j, first:n], top[first:n]
            for i in range(row.size):
                high[i] = row[i] if row[i] > high[i] else high[i]
        for i in range(n):
            top[i] = top[i] if top[i] > -np.inf else 0  # nothing to attend to: all weights 0
        for j in range(keys):
            first = max(0, j - i0) if is_causal else 0
            row, high, sums = s[j, first:n], top[first:n], total[first:n]
            for i in range(row.size):
                row[i] = exp(row[i] - high[i])
                sums[i] += row[i]
        for i in range(n):
            lse[b, h, i0 + i] = top[i] + np.log(total[i])
            total[i] = 1 / total[i] if total[i] != 0 else 0
        if has_keep:
            for i in range(n):
                for j in range(keys):
                    s[j, i] *= keep[b, h, i0 + i, j]

        # 3. out = P V
        block = out[b, h, i0 : i0 + n]
        _sum_over_keys(s, v[b, g], block, keys, n, i0, is_causal)
        for i in range(n):
            for d in range(Dv):
                block[i, d] *= total[i]


@kernel(fastmath=EXACT)
def _attention_backward(
    start,
    stop,
    dout,
    q,
    k,
    v,
    out,
    lse,
    mask,
    has_mask,
    keep,
    has_keep,
    is_causal,
    scale,
    dq,
    dk,
    dv,
):
    H, T, D = q.shape[1:]
    Hk, S, Dv = v.shape[1:]
    blocks = (T + QUERIES - 1) // QUERIES
    p, ds = np.empty((S, QUERIES), q.dtype), np.empty((S, QUERIES), q.dtype)
    qt, dot = np.empty((D, QUERIES), q.dtype), np.empty((Dv, QUERIES), q.dtype)
    delta, norm = np.empty(QUERIES, q.dtype), np.empty(QUERIES, q.dtype)
    for task in range(start, stop):  # one key head of one batch: its dk and dv are its own
        b, g = task // Hk, task % Hk
        dk[b, g] = 0
        dv[b, g] = 0
        for step in range(H // Hk * blocks):
            h, i0 = g * (H // Hk) + step // blocks, step % blocks * QUERIES
            n = min(QUERIES, T - i0)
            keys = min(S, i0 + n) if is_causal else S

            # 1. the weights again: p = exp(s - lse)
            for i in range(n):
                norm[i] = lse[b, h, i0 + i]
                delta[i] = 0
                for d in range(D):
                    qt[d, i] = q[b, h, i0 + i, d] * scale
                for d in range(Dv):
                    dot[d, i] = dout[b, h, i0 + i, d]
                    delta[i] += dout[b, h, i0 + i, d] * out[b, h, i0 + i, d]
            _scores(k[b, g], qt, p, keys, n, i0, is_causal)
            for j in range(keys):
                first = max(0, j - i0) if is_causal else 0
                row, shift = p[j, first:n], norm[first:n]
                for i in range(row.size):
                    row[i] = exp(row[i] - shift[i])
            if has_mask:
                mb, mh = b % mask.shape[0], h % mask.shape[1]
                for i in range(n):
                    for j in range(keys):
                        if not mask[mb, mh, i0 + i, j]:
                            p[j, i] = 0

            # 2. forward: out = P V. Backward: dP = dO Vᵀ, and dS = P (dP - sum(dP P)), where
            #    the sum over keys equals delta = sum(dO O), which needs neither P nor dP
            _scores(v[b, g], dot, ds, keys, n, i0, is_causal)
            if has_keep:  # forward: P was multiplied by keep. So is dP, and P for dV
                for i in range(n):
                    for j in range(keys):
                        ds[j, i] = p[j, i] * (ds[j, i] * keep[b, h, i0 + i, j] - delta[i])
                        p[j, i] *= keep[b, h, i0 + i, j]
            else:
                for j in range(keys):
                    first = max(0, j - i0) if is_causal else 0
                    row, weights, shift = ds[j, first:n], p[j, first:n], delta[first:n]
                    for i in range(row.size):
                        row[i] = weights[i] * (row[i] - shift[i])

            # 3. forward: out = P V. Backward: dV = Pᵀ dO
            _sum_over_queries(p, dout[b, h, i0 : i0 + n], dv[b, g], keys, n, i0, is_causal)

            # 4. forward: S = Q Kᵀ scale. Backward: dK = dSᵀ Q scale, dQ = dS K scale
            _sum_over_queries(ds, q[b, h, i0 : i0 + n], dk[b, g], keys, n, i0, is_causal)
            block = dq[b, h, i0 : i0 + n]
            _sum_over_keys(ds, k[b, g], block, keys, n, i0, is_causal)
            for i in range(n):
                for d in range(D):
                    block[i, d] *= scale
        for j in range(S):
            for d in range(D):
                dk[b, g, j, d] *= scale


def _prepare(
    q: Array, k: Array, v: Array, mask: Mask | None, keep: Array | None
) -> tuple[Mask, bool, Array, bool]:
    """Check the shapes; the mask and keep as the kernels take them, with stand-ins for None."""
    (B, H, T, D), (Bk, Hk, S, Dk), (Bv, Hv, Sv, _) = q.shape, k.shape, v.shape
    if (Bk, Dk) != (B, D) or (Bv, Hv, Sv) != (B, Hk, S) or (H % Hk if Hk else H):
        raise ShapeError(
            "attention: expected q (B, H, T, D), k (B, Hk, S, D) and v (B, Hk, S, Dv) with H a "
            f"multiple of Hk, got {q.shape}, {k.shape} and {v.shape}"
        )
    no_keep = np.empty((1, 1, 1, 1), q.dtype)
    if keep is not None and keep.shape != (B, H, T, S):
        raise ShapeError(f"attention: expected keep of shape {(B, H, T, S)}, got {keep.shape}")
    no_mask = np.empty((1, 1, 1, 1), np.bool_)
    if mask is not None:
        try:
            np.broadcast_to(mask, (B, H, T, S))
        except ValueError as error:
            raise ShapeError(
                f"attention: a mask of shape {mask.shape} does not broadcast to {(B, H, T, S)}"
            ) from error
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        mask = plain(np.broadcast_to(mask, (*mask.shape[:2], T, S)))
    return (
        no_mask if mask is None else mask,
        mask is not None,
        no_keep if keep is None else plain(keep.astype(q.dtype, copy=False)),
        keep is not None,
    )


def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Mask | None,
    is_causal: bool,
    scale: float,
    keep: Array | None,
) -> tuple[Array, Array]:
    """Attend: out = (softmax(Q Kᵀ scale) keep) V.

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
    keep : (B, H, T, S) or None
        Multiplies the weights after the softmax: 0 or 1 / (1 - p) for dropout.

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
    masks = _prepare(q, k, v, mask, keep)
    B, H, T, _ = q.shape
    out = np.empty((B, H, T, v.shape[-1]), q.dtype)
    lse = np.empty((B, H, T), q.dtype)
    if lse.size:
        _attention(
            B * H * -(-T // QUERIES),
            plain(q),
            plain(k),
            plain(v),
            *masks,
            bool(is_causal),
            q.dtype.type(scale),
            out,
            lse,
            work=q.size * k.shape[2],
        )
    return out, lse


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
    keep: Array | None,
) -> tuple[Array, Array, Array]:
    """Gradients of `attention` by q, k and v, from its arguments and both its results.

    Parameters
    ----------
    dout : (B, H, T, Dv)
    q, k, v, mask, is_causal, scale, keep
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
    masks = _prepare(q, k, v, mask, keep)
    dq, dk, dv = (np.empty(x.shape, x.dtype) for x in (q, k, v))
    if not q.shape[0] * k.shape[1]:
        return dq, dk, dv
    _attention_backward(
        q.shape[0] * k.shape[1],
        plain(dout),
        plain(q),
        plain(k),
        plain(v),
        plain(out),
        plain(lse),
        *masks,
        bool(is_causal),
        q.dtype.type(scale),
        dq,
        dk,
        dv,
        work=q.size * k.shape[2],
    )
    return dq, dk, dv
