"""Matrix products, and the transposing copy that makes every operand row-major for them."""

import math

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.jit import EXACT, kernel, plain
from scratchgrad.kernels.tile import tile_rows

Array = NDArray[np.floating]

# A block of B of DEPTH x COLUMNS floats (256 KB) stays in the second cache while ROWS rows of A
# pass over it; four rows of a block of C (8 KB) stay in the first.
ROWS, COLUMNS, DEPTH = 32, 512, 128
EDGE = 32  # of the square blocks in which a transpose reads rows and writes columns


@kernel(fastmath=EXACT)
def _transpose(start, stop, x, y):
    R, C = x.shape[1:]
    strips = (R + EDGE - 1) // EDGE
    for strip in range(start, stop):
        p, r0 = strip // strips, strip % strips * EDGE
        r1 = min(r0 + EDGE, R)
        for c0 in range(0, C, EDGE):
            for c in range(c0, min(c0 + EDGE, C)):
                for r in range(r0, r1):
                    y[p, c, r] = x[p, r, c]


def transpose(x: Array) -> Array:
    """Copy with the last two axes swapped, C-contiguous: (..., R, C) -> (..., C, R)."""
    x = plain(x)
    *batch, R, C = x.shape
    y = np.empty((*batch, C, R), x.dtype)
    if x.size:
        rows = x.reshape(-1, R, C)
        _transpose(len(rows) * -(-R // EDGE), rows, y.reshape(-1, C, R), work=x.size)
    return y


@kernel(fastmath=EXACT)
def _matmul(start, stop, a, b, c, at, bt):
    M, N = c.shape[1:]
    K = a.shape[2]
    row_blocks, column_blocks = (M + ROWS - 1) // ROWS, (N + COLUMNS - 1) // COLUMNS
    for block in range(start, stop):
        p = block // (row_blocks * column_blocks)
        i0 = block // column_blocks % row_blocks * ROWS
        j0 = block % column_blocks * COLUMNS
        i1, n = min(i0 + ROWS, M), min(COLUMNS, N - j0)
        c[p, i0:i1, j0 : j0 + n] = 0
        for k0 in range(0, K, DEPTH):
            k1 = min(k0 + DEPTH, K)
            tile_rows(a[at[p]], b[bt[p]], c[p], i0, i1, k0, k1, j0, n)


def _row_major(x: Array) -> Array:
    """x with its last axis contiguous. A transposed view is turned by blocks, not by strides."""
    if not x.flags.c_contiguous and x.swapaxes(-1, -2).flags.c_contiguous:
        return transpose(x.swapaxes(-1, -2))
    return plain(x)


def _batch_index(batch: tuple[int, ...], own: tuple[int, ...]) -> NDArray[np.int64]:
    """For each matrix of the result, in order, which of the operand's matrices it takes."""
    index = np.arange(math.prod(own), dtype=np.int64).reshape(own)
    return plain(np.broadcast_to(index, batch).reshape(-1))


def matmul(a: Array, b: Array) -> Array:
    """Multiply matrices: C = A B over the last two axes.

    Any strides will do; transposed views (x @ W.T, dy.T @ x) are repacked by a fast copy.

    Parameters
    ----------
    a : (..., M, K)
    b : (..., K, N)
        The leading axes are equal or broadcast by NumPy's rules.

    Returns
    -------
    (..., M, N)

    Raises
    ------
    ShapeError
        If an operand has fewer than two axes, or the shapes do not fit.

    Examples
    --------
    >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [3., 4.]])
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: expected (..., M, K) and (..., K, N), got {a.shape} and {b.shape}"
        )
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
        # one product with all rows of the batch: (..., M, K) -> (1, ... M, K)
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return matmul(rows, b).reshape(*a.shape[:-1], b.shape[-1])
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError as error:
        raise ShapeError(
            f"matmul: the leading axes of {a.shape} and {b.shape} do not broadcast"
        ) from error
    (M, K), N = a.shape[-2:], b.shape[-1]
    c = np.empty((math.prod(batch), M, N), a.dtype)
    if c.size:
        _matmul(
            len(c) * -(-M // ROWS) * -(-N // COLUMNS),
            _row_major(a).reshape(math.prod(a.shape[:-2]), M, K),
            _row_major(b).reshape(math.prod(b.shape[:-2]), K, N),
            c,
            _batch_index(batch, a.shape[:-2]),
            _batch_index(batch, b.shape[:-2]),
            work=c.size * K,
        )
    return c.reshape(*batch, M, N)
