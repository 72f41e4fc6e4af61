"""Adding rows into a table: the backward of looking them up."""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.jit import kernel, plain

Array = NDArray[np.floating]

COLUMNS = 64  # in a unit of work


@kernel()
def _add_rows(start, stop, table, ids, rows):
    # by columns and not by rows: ids repeat, and each sum is then made in order by one thread
    first, last = start * COLUMNS, stop * COLUMNS
    for i in range(len(ids)):
        # forward: rows[i] = table[ids[i]]
        target, row = table[ids[i], first:last], rows[i, first:last]
        for j in range(row.size):
            target[j] += row[j]


def add_rows(table: Array, ids: NDArray[np.int64], rows: Array) -> None:
    """table[ids[i]] += rows[i], in place, for every i in order; repeated ids add up.

    Parameters
    ----------
    table : (V, C)
        Changed in place.
    ids : (N,) int64
        In [0, V): checked by the caller, for the kernel reads and writes wherever they point.
    rows : (N, C)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """
    if table.ndim != 2 or rows.shape != (*ids.shape, table.shape[1]) or ids.ndim != 1:
        raise ShapeError(
            "add_rows: expected table (V, C), ids (N,) and rows (N, C), "
            f"got {table.shape}, {ids.shape} and {rows.shape}"
        )
    if not rows.size:
        return
    target = plain(table)
    units = -(-table.shape[1] // COLUMNS)
    _add_rows(units, target, plain(ids.astype(np.int64, copy=False)), plain(rows), work=rows.size)
    if target is not table:
        table[...] = target
