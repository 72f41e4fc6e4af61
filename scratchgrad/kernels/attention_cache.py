"""Attention of a few new queries to a cache of keys and values: what generating a text needs.

One query is a row, not a matrix: nothing is used twice, so blocks and tiles have nothing to gain.
Each key of the cache is read once for a dot product, each value once for the weighted sum, where
they lie.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.elementary import weight
from scratchgrad.kernels.jit import FAST, kernel, plain

Array = NDArray[np.floating]

LOG2_E = 1.4426950408889634


@kernel(fastmath=FAST)
def _attend(start, stop, qkv, keys, values, sizes, scale, out):
    H, T, C, before, window = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    Hk, _, D = keys.shape[1:]
    w = np.empty(before + T, qkv.dtype)
    for task in range(start, stop):
        b, h = task // H, task % H
        g = h // (H // Hk)
        for t in range(T):
            n = before + t + 1  # keys up to its own
            oldest = max(0, n - window) if window > 0 else 0
            at, to = (b * T + t) * C + h * D, ((b * T + t) * H + h) * D
            q, o = qkv[at : at + D], out[to : to + D]
            top = qkv.dtype.type(-np.inf)
            for j in range(oldest, n):
                k = keys[b, g, j]
                score = qkv.dtype.type(0)
                for d in range(D):
                    score += q[d] * k[d]
                w[j] = score * scale
                top = w[j] if w[j] > top else top
            total = qkv.dtype.type(0)
            for j in range(oldest, n):
                w[j] = weight(w[j] - top)
                total += w[j]
            for d in range(D):
                o[d] = 0
            for j in range(oldest, n):
                v = values[b, g, j]
                for d in range(D):
                    o[d] += w[j] * v[d]
            for d in range(D):
                o[d] /= total


def attend_to_cache(
    qkv: Array, keys: Array, values: Array, length: int, H: int, scale: float, window: int = 0
) -> Array:
    """Causal attention of the last T of `length` positions to all of them.

    Parameters
    ----------
    qkv : (B, T, (H + 2 Hk) D)
        The projection of the T positions, of which only the queries are read.
    keys, values : (B, Hk, room, D)
        Those of all positions so far, the T of `qkv` among them; what lies beyond is not read.
    length : int
        How many there are.
    window : int
        Each position sees so many keys, up to its own; 0: all of them.

    Returns
    -------
    (B, T, H D)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """
    (B, Hk, room, D), T = keys.shape, qkv.shape[1]
    if (
        qkv.shape != (B, T, (H + 2 * Hk) * D)
        or values.shape != keys.shape
        or not T <= length <= room
        or (H % Hk if Hk else H)
    ):
        raise ShapeError(
            "attend_to_cache: expected qkv (B, T, (H + 2 Hk) D), keys and values (B, Hk, room, D) "
            f"and T <= length <= room, got {qkv.shape}, {keys.shape}, {values.shape}, H = {H} "
            f"and length = {length}"
        )
    out = empty((B, T, H * D), qkv.dtype)
    if out.size:
        _attend(
            B * H,
            plain(qkv).reshape(-1),
            plain(keys),
            plain(values),
            np.array((H, T, qkv.shape[2], length - T, window), np.int64),
            qkv.dtype.type(scale * LOG2_E),
            out.reshape(-1),
            work=2 * out.size * (min(length, window) if window else length),
        )
    return out
