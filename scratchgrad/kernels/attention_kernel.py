"""Scaled dot-product attention, forward and backward, one block against another at a time.

A block of queries meets one block of keys after the other. Its softmax is not known before the
last of them, so it is kept open: `top` is the largest score so far, `total` the sum of the
weights 2^(s - top), and `o` the weighted sum of the values. Where a block brings a larger score,
total and o are made smaller by 2^(old top - new top). No more of the (T, S) matrix than one block
ever exists; the backward makes each block anew from the log-sum-exp that the forward kept.

Sources: Milakov and Gimelshein, "Online normalizer calculation for softmax",
https://arxiv.org/abs/1805.02867, algorithm 3; Dao, "FlashAttention-2",
https://arxiv.org/abs/2307.08691, section 3.1.

The powers are of 2 and not of e, for that is what a processor can make; log2(e) goes into the
scale. The pieces, one block against one block, are in `attention_blocks.py`.
"""

import numpy as np

from scratchgrad.kernels.attention_blocks import (
    BLOCK,
    STRIP,
    across,
    dots,
    drop,
    fits,
    hide_future,
    hide_masked,
    hide_past,
    hide_rest,
    largest,
    moved,
    over_keys,
    over_queries,
    score_gradients,
    scores,
    turned,
    weights,
    whole,
)
from scratchgrad.kernels.elementary import weight
from scratchgrad.kernels.jit import FAST, device, kernel
from scratchgrad.kernels.simd import WIDTH

LOG2_E, LN_2 = 1.4426950408889634, 0.6931471805599453

# The rows of `places`, one an array: its first element and its steps of a batch, a head, a time;
# of the mask, of a key besides.
Q, K, V, OUT, MASK, DK, DV = range(7)


@device
def place(places, array, b, h, t):
    """Where in its array (b, h, t) begins."""
    steps = places[array]
    return steps[0] + b * steps[1] + h * steps[2] + t * steps[3]


@device
def seen_from(i0, window):
    """The block with the oldest key that a query of the block at i0 sees; window 0 is no window."""
    return max(0, i0 - window + 1) // BLOCK * BLOCK if window > 0 else 0


@kernel(fastmath=FAST)
def attend(
    start, stop, q, k, v, mask, sizes, places, masked, causal, window, scale, seed, cut, kept, out,
    lse,
):  # fmt: skip
    H, Hk, T, S, D, Dv = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    number = q.dtype.type
    tile_columns = WIDTH // q.itemsize
    wide = (Dv + tile_columns - 1) // tile_columns * tile_columns
    qt, s = np.empty(D * BLOCK, number), np.empty(BLOCK**2, number)
    o = np.empty(BLOCK * wide, number)
    k_padded, v_padded = np.empty(BLOCK * D, number), np.empty(BLOCK * wide, number)
    top, total = np.empty(BLOCK, number), np.empty(BLOCK, number)
    high, shrink = np.empty(BLOCK, number), np.empty(BLOCK, number)
    qi, ki, vi, oi = places[Q, 3], places[K, 3], places[V, 3], places[OUT, 3]
    blocks = (T + BLOCK - 1) // BLOCK
    for task in range(start, stop):
        b, h = task // (H * blocks), task // blocks % H
        i0 = (blocks - 1 - task % blocks) * BLOCK  # causal: the one with the most keys first
        g, n = h // (H // Hk), min(BLOCK, T - i0)
        q0 = place(places, Q, b, h, i0)
        o0 = place(places, OUT, b, h, i0)
        turned(q, q0, qi, n, D, scale * number(LOG2_E), qt)
        top[:] = -np.inf
        total[:] = 0
        keys = min(S, i0 + n) if causal else S
        oldest = seen_from(i0, window)
        for j0 in range(oldest, keys, BLOCK):
            m = min(BLOCK, keys - j0)
            diagonal = causal and i0 == j0
            kb, k0, kj = whole(k, place(places, K, b, g, j0), ki, m, D, k_padded, D)
            vb, v0, vj = whole(v, place(places, V, b, g, j0), vi, m, Dv, v_padded, wide)

            # 1. scores: s = K Qᵀ scale
            scores(kb, k0, kj, D, qt, s, m, n, diagonal)
            if diagonal:
                hide_future(s, m)
            if window > 0:
                hide_past(s, m, n, j0 - i0 + window)
            rows = hide_rest(s, m)
            if masked:
                at = place(places, MASK, b, h, i0) + j0 * places[MASK, 4]
                hide_masked(s, m, n, mask, at, places[MASK, 3], places[MASK, 4])

            # 2. the softmax goes on: p = 2^(s - top), and what was summed before shrinks
            for i in range(across(n, BLOCK)):
                high[i] = top[i]
            for i in range(0, n, STRIP):
                largest(s, i, min(rows, i + STRIP) if diagonal else rows, n, high)
            grown = False
            for i in range(across(n, BLOCK)):
                before, top[i] = top[i], high[i]
                high[i] = high[i] if high[i] > -np.inf else 0  # nothing seen yet: all weights 0
                shrink[i] = weight(before - high[i])
                total[i] *= shrink[i]
                grown |= shrink[i] != 1
            if grown and j0 > oldest:
                for i in range(n):
                    row = o[i * wide : (i + 1) * wide]
                    for d in range(wide):
                        row[d] *= shrink[i]
            for i in range(0, n, STRIP):
                weights(s, i, min(rows, i + STRIP) if diagonal else rows, n, high, total)
            if cut > 0:
                first = np.uint64(((b * H + h) * T + i0) * S + j0)
                drop(s, m, n, seed, first, np.uint64(S), cut, kept)

            # 3. o += P V
            over_keys(s, vb, v0, vj, o, wide, m, n, diagonal, j0 > oldest)

        # 4. out = o / total
        for i in range(n):
            lse[(b * H + h) * T + i0 + i] = top[i] * number(LN_2) + np.log(total[i])
            share = 1 / total[i] if total[i] != 0 else number(0)
            row, sums = out[o0 + i * oi : o0 + i * oi + Dv], o[i * wide : (i + 1) * wide]
            for d in range(Dv):
                row[d] = sums[d] * share


@kernel(fastmath=FAST)
def attend_backward(
    start, stop, dout, q, k, v, mask, sizes, places, masked, causal, window, scale, seed, cut, kept,
    out, lse, dq, dk, dv,
):  # fmt: skip
    H, Hk, T, S, D, Dv, owners = (
        sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]
    )  # fmt: skip
    number = q.dtype.type
    tile_columns = WIDTH // q.itemsize
    wide = (D + tile_columns - 1) // tile_columns * tile_columns
    wide_v = (Dv + tile_columns - 1) // tile_columns * tile_columns
    qt = np.empty(D * BLOCK, number)
    dot, ot = np.empty(Dv * BLOCK, number), np.empty(Dv * BLOCK, number)
    s, ds = np.empty(BLOCK**2, number), np.empty(BLOCK**2, number)
    q_padded, k_padded = np.empty(BLOCK * wide, number), np.empty(BLOCK * wide, number)
    o_padded, v_padded = np.empty(BLOCK * wide_v, number), np.empty(BLOCK * wide_v, number)
    dq_block, dk_block = np.empty(BLOCK * wide, number), np.empty(BLOCK * wide, number)
    dv_block = np.empty(BLOCK * wide_v, number)
    delta, shift = np.empty(BLOCK, number), np.zeros(BLOCK, number)
    qi, ki, vi, oi = places[Q, 3], places[K, 3], places[V, 3], places[OUT, 3]
    dki, dvi = places[DK, 3], places[DV, 3]
    blocks = (T + BLOCK - 1) // BLOCK
    for task in range(start, stop):  # one head of dk and dv, and the query heads that add to it
        b, owner = task // owners, task % owners
        dk0 = place(places, DK, b, owner, 0)
        dv0 = place(places, DV, b, owner, 0)
        for j in range(S):
            dk[dk0 + j * dki : dk0 + j * dki + D] = 0
            dv[dv0 + j * dvi : dv0 + j * dvi + Dv] = 0
        for step in range(H // owners * blocks):
            h, i0 = owner * (H // owners) + step // blocks, step % blocks * BLOCK
            g, n = h // (H // Hk), min(BLOCK, T - i0)
            q0 = place(places, Q, b, h, i0)
            o0 = place(places, OUT, b, h, i0)
            dq0 = q0
            turned(q, q0, qi, n, D, scale * number(LOG2_E), qt)
            turned(dout, o0, oi, n, Dv, number(1), dot)
            turned(out, o0, oi, n, Dv, number(1), ot)
            dots(dot, ot, Dv, delta)
            for i in range(n):
                # -inf for a query that sees nothing: its scores are -inf, and its weights 0
                x = lse[(b * H + h) * T + i0 + i]
                shift[i] = x * number(LOG2_E) if x != -np.inf else 0
            qb, q0, qj = whole(q, q0, qi, n, D, q_padded, wide)
            ob, o0, oj = whole(dout, o0, oi, n, Dv, o_padded, wide_v)
            keys = min(S, i0 + n) if causal else S
            oldest = seen_from(i0, window)
            for j0 in range(oldest, keys, BLOCK):
                m = min(BLOCK, keys - j0)
                diagonal = causal and i0 == j0
                kb, k0, kj = whole(k, place(places, K, b, g, j0), ki, m, D, k_padded, wide)
                vb, v0, vj = whole(v, place(places, V, b, g, j0), vi, m, Dv, v_padded, wide_v)
                dkb, dkj0, dkj = whole(dk, dk0 + j0 * dki, dki, m, D, dk_block, wide)
                dvb, dvj0, dvj = whole(dv, dv0 + j0 * dvi, dvi, m, Dv, dv_block, wide_v)

                # 1. the weights again: p = exp(s - lse)
                scores(kb, k0, kj, D, qt, s, m, n, diagonal)
                if window > 0:
                    hide_past(s, m, n, j0 - i0 + window)
                if masked:
                    at = place(places, MASK, b, h, i0) + j0 * places[MASK, 4]
                    hide_masked(s, m, n, mask, at, places[MASK, 3], places[MASK, 4])

                # 2. forward: o += P V. Backward: dP = dO Vᵀ, and dS = P (dP - sum(dP P)), where
                #    the sum over keys equals delta = sum(dO O), which needs neither P nor dP
                scores(vb, v0, vj, Dv, dot, ds, m, n, diagonal)
                first = np.uint64(((b * H + h) * T + i0) * S + j0)
                if cut > 0:  # forward: P was dropped before it met V. So is dP, and P for dV
                    drop(ds, m, n, seed, first, np.uint64(S), cut, kept)
                for i in range(0, n, STRIP):
                    rows = min(m, i + STRIP) if diagonal else m
                    score_gradients(s, ds, i, rows, n, shift, delta, scale)
                if cut > 0:
                    drop(s, m, n, seed, first, np.uint64(S), cut, kept)

                # 3. forward: o += P V. Backward: dV += Pᵀ dO
                over_queries(s, ob, o0, oj, dvb, dvj0, dvj, wide_v, m, n, diagonal)

                # 4. forward: s = K Qᵀ scale. Backward: dK += dSᵀ Q, dQ += dS K, scale is in dS
                over_queries(ds, qb, q0, qj, dkb, dkj0, dkj, wide, m, n, diagonal)
                over_keys(ds, kb, k0, kj, dq_block, wide, m, n, diagonal, j0 > oldest)
                if not fits(m, D, wide):
                    moved(dk_block, 0, wide, dk, dk0 + j0 * dki, dki, m, D)
                if not fits(m, Dv, wide_v):
                    moved(dv_block, 0, wide_v, dv, dv0 + j0 * dvi, dvi, m, Dv)
            moved(dq_block, 0, wide, dq, dq0, qi, n, D)
