"""Rotary position embedding: the numbers of each head, in pairs, turned by angles.

Su et al., "RoFormer", https://arxiv.org/abs/2104.09864, section 3.2.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.jit import FAST, kernel, plain

Array = NDArray[np.floating]


@kernel(fastmath=FAST)
def _rope(start, stop, x, cos, sin, heads, interleaved, y):
    T, half = cos.shape
    D, width = 2 * half, x.shape[1]
    for row in range(start, stop):  # one position of one text
        t = row % T
        for head in range(heads):
            at = head * D
            if interleaved:  # pairs of neighbours
                for i in range(half):
                    a, b = x[row, at + 2 * i], x[row, at + 2 * i + 1]
                    y[row, at + 2 * i] = a * cos[t, i] - b * sin[t, i]
                    y[row, at + 2 * i + 1] = b * cos[t, i] + a * sin[t, i]
            else:  # the first half with the second
                for i in range(half):
                    a, b = x[row, at + i], x[row, at + half + i]
                    y[row, at + i] = a * cos[t, i] - b * sin[t, i]
                    y[row, at + half + i] = b * cos[t, i] + a * sin[t, i]
        for i in range(heads * D, width):
            y[row, i] = x[row, i]


def rope(x: Array, cos: Array, sin: Array, heads: int, interleaved: bool) -> Array:
    """Turn each pair (a, b) of a head by its angle: (a cos - b sin, b cos + a sin).

    Parameters
    ----------
    x : (B, T, W)
        At each position `heads` heads of D numbers, and perhaps more, which stays as it is.
    cos, sin : (T, D / 2)
        Of the angle of each pair at each position.
    heads : int
    interleaved : bool
        Whether pair i is (2 i, 2 i + 1) of its head; else it is (i, i + D / 2).

    Returns
    -------
    (B, T, W)

    Raises
    ------
    ShapeError
        If the sizes do not fit together.
    """
    _check("rope", x, cos, sin, heads)
    y = empty(x.shape, x.dtype)
    if y.size:
        rows = plain(x).reshape(-1, x.shape[2])
        angles = plain(cos), plain(sin)
        out = y.reshape(rows.shape)
        _rope(len(rows), rows, *angles, heads, bool(interleaved), out, work=4 * y.size)
    return y


def rope_backward(dy: Array, cos: Array, sin: Array, heads: int, interleaved: bool) -> Array:
    """The gradient of `rope` by x: the same turn the other way, for it changes no length.

    Parameters
    ----------
    dy : (B, T, W)
    cos, sin, heads, interleaved
        What `rope` was given.

    Returns
    -------
    (B, T, W)
    """
    return rope(dy, cos, -sin, heads, interleaved)


def _check(name: str, x: Array, cos: Array, sin: Array, heads: int) -> None:
    if (
        x.ndim != 3
        or cos.ndim != 2
        or cos.shape != sin.shape
        or len(cos) != x.shape[1]
        or not 0 <= heads * 2 * cos.shape[1] <= x.shape[2]
    ):
        raise ShapeError(
            f"{name}: expected x (B, T, W) and cos, sin (T, D / 2) with heads D <= W, got "
            f"{x.shape}, {cos.shape}, {sin.shape}, heads = {heads}"
        )
