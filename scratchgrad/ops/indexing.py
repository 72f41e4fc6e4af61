"""Operations that pick elements. Each backward puts dy back where it was picked from.

An element that was picked twice gets both gradients: putting back is adding, not assigning.
"""

import numpy as np

from scratchgrad.autograd import Variable
from scratchgrad.errors import DtypeError, ShapeError
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.indexing import add_rows
from scratchgrad.operation import differentiable, into
from scratchgrad.ops.arguments import axis_of, checked_ids, zeroed


def _frozen(index):
    """The index with its arrays copied, so that the caller may reuse theirs."""
    parts = index if isinstance(index, tuple) else (index,)
    frozen = []
    for part in parts:
        if isinstance(part, Variable):
            part = part._array
        if isinstance(part, (list, tuple, range, np.ndarray)):
            part = np.array(part)
            if part.size == 0 and part.dtype.kind == "f":  # [] has no dtype of its own
                part = part.astype(np.int64)
            if part.dtype.kind not in "biu":
                raise DtypeError(
                    f"getitem: expected integers or booleans as an index, received {part.dtype}"
                )
        frozen.append(part)
    return tuple(frozen)


@differentiable
def getitem(x, /, index):
    """x[index], with all of NumPy's basic and advanced indexing.

    Basic indices (whole numbers, slices, ..., None) and boolean masks pick an element once at the
    most, so dy is assigned back; integer arrays may repeat an element, so dy is added.
    """
    index = _frozen(index)
    shape, size = x.shape, x.size

    def dx(dy, out, add):
        back = zeroed(out, add, shape, dy.dtype)
        if any(isinstance(part, np.ndarray) and part.dtype.kind in "iu" for part in index):
            picked = np.arange(size).reshape(shape)[index]
            add_rows(back.reshape(-1, 1), picked.reshape(-1), dy.reshape(-1, 1))
        elif add:
            back[index] += dy
        else:
            back[index] = dy
        return back

    return x[index], into(dx)


@differentiable
def take(x, indices, /, axis=None):
    """The slices of x at the indices along an axis (which may be left out for one dimension).

    The result has the indices' shape in the place of that axis. Negative indices count from the
    end.
    """
    if axis is None and x.ndim != 1:
        raise ShapeError(f"take: expected an axis for {x.ndim} dimensions")
    axis = axis_of("take", 0 if axis is None else axis, x.ndim)
    ids = checked_ids("take", indices, x.shape[axis], wrap=True)
    shape = x.shape

    def dx(dy):
        # The picked axes to the front and the rest flat: then it is rows added to a table.
        rows = np.moveaxis(dy, range(axis, axis + ids.ndim), range(ids.ndim))
        rest = shape[:axis] + shape[axis + 1 :]
        table = np.zeros((shape[axis], int(np.prod(rest))), dy.dtype)
        add_rows(table, ids.reshape(-1), rows.reshape(ids.size, table.shape[1]))
        return np.moveaxis(table.reshape(shape[axis], *rest), 0, axis)

    return np.take(x, ids, axis), (dx, None)


@differentiable
def take_along_axis(x, indices, /, axis=-1):
    """One element of each line along an axis: y[i][j] = x[i][indices[i][j]] for the last.

    The indices have as many dimensions as x and broadcast against it on the other axes.
    """
    axis = axis_of("take_along_axis", axis, x.ndim)
    ids = checked_ids("take_along_axis", indices, x.shape[axis], wrap=True)
    if ids.ndim != x.ndim:
        raise ShapeError(
            f"take_along_axis: expected indices of {x.ndim} dimensions, received shape {ids.shape}"
        )
    y = np.take_along_axis(x, ids, axis)
    shape, size = x.shape, x.size

    def dx(dy):
        back = np.zeros(shape, dy.dtype)
        picked = np.take_along_axis(np.arange(size).reshape(shape), ids, axis)
        add_rows(back.reshape(-1, 1), picked.reshape(-1), dy.reshape(-1, 1))
        return back

    return y, (dx, None)


@differentiable
def embedding(ids, weight, /):
    """The row of the table for each id: ids (...), weight (V, C) -> (..., C).

    Raises
    ------
    IdRangeError
        For an id outside [0, V), naming it and its position.
    """
    if weight.ndim != 2:
        raise ShapeError(f"embedding: expected a weight of shape (V, C), received {weight.shape}")
    ids = checked_ids("embedding", ids, weight.shape[0])
    v, c = weight.shape

    def dweight(dy, out, add):
        table = zeroed(out, add, (v, c), dy.dtype)
        add_rows(table, ids.reshape(-1), dy.reshape(ids.size, c))
        return table

    rows = empty((*ids.shape, c), weight.dtype)
    np.take(weight, ids, axis=0, out=rows, mode="clip")  # checked: "raise" would take a buffer
    return rows, (None, into(dweight))
