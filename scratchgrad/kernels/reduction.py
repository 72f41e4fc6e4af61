"""Sums over rows: the gradient of whatever was added to each of them."""

import math

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.jit import EXACT, kernel, plain

Array = NDArray[np.floating]

COLUMNS = 64  # in a unit of work


@kernel(fastmath=EXACT)
def _column_sums(start, stop, x, sums):
    # by columns and not by rows: each sum is made in order by one thread
    part = sums[start * COLUMNS : stop * COLUMNS]
    part[:] = 0
    for i in range(x.shape[0]):
        row = x[i, start * COLUMNS : stop * COLUMNS]
        for j in range(row.size):
            part[j] += row[j]


def column_sums(x: Array) -> Array:
    """Add up all rows: (..., C) -> (C,).

    Raises
    ------
    ShapeError
        If x has no axis.

    Examples
    --------
    >>> column_sums(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    if x.ndim == 0:
        raise ShapeError("column_sums: expected x (..., C), got a single number")
    rows = plain(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])
    sums = np.empty(x.shape[-1], x.dtype)
    if sums.size:
        _column_sums(-(-sums.size // COLUMNS), rows, sums, work=x.size)
    return sums
