"""Operations that move elements without changing them. Each backward moves dy back.

Where NumPy gives a view, so do these; the engine watches a view together with what it views.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchgrad.autograd import Variable
from scratchgrad.errors import DtypeError, ShapeError
from scratchgrad.kernels.indexing import add_rows
from scratchgrad.operation import differentiable
from scratchgrad.ops.arguments import axes_of, axis_of, whole


@differentiable
def reshape(x, /, shape):
    """The same elements, in row-major order, in another shape. One size may be -1."""
    old = x.shape
    return np.reshape(x, shape), lambda dy: np.reshape(dy, old)


@differentiable
def permute_dims(x, /, axes):
    """The axes in another order: axis i of the result is axis axes[i] of x."""
    axes = axes_of("permute_dims", axes, x.ndim)
    if len(axes) != x.ndim:
        raise ShapeError(f"permute_dims: expected {x.ndim} axes, received {axes}")
    back = np.argsort(axes)
    return np.transpose(x, axes), lambda dy: np.transpose(dy, back)


@differentiable
def swapaxes(x, /, axis1, axis2):
    """Two axes exchanged."""
    return np.swapaxes(x, axis1, axis2), lambda dy: np.swapaxes(dy, axis1, axis2)


@differentiable
def expand_dims(x, /, axis=0):
    """New axes of size 1; ``axis`` is where they stand in the result."""
    old = x.shape
    return np.expand_dims(x, axis), lambda dy: np.reshape(dy, old)


@differentiable
def squeeze(x, /, axis=None):
    """Without its axes of size 1: the ones named, or all."""
    old = x.shape
    return np.squeeze(x, axis), lambda dy: np.reshape(dy, old)


@differentiable
def broadcast_to(x, /, shape):
    """Stretched to a larger shape by NumPy's rules. The engine's unbroadcasting is its backward."""
    return np.broadcast_to(x, shape), lambda dy: dy


@differentiable
def _concat(*arrays, axis=0):
    if axis is None:
        raise ShapeError("concat: expected an axis; flatten first with reshape(x, -1)")
    if not arrays:
        raise ShapeError("concat: expected at least one array")
    axis = axis_of("concat", axis, np.ndim(arrays[0]))
    y = np.concatenate(arrays, axis)
    ends = np.cumsum([a.shape[axis] for a in arrays])[:-1]
    return y, lambda dy: tuple(np.split(dy, ends, axis))


def concat(arrays: Sequence[Any], axis: int = 0) -> Any:
    """The arrays one after another along an axis that exists."""
    return _concat(*arrays, axis=axis)


@differentiable
def _stack(*arrays, axis=0):
    if not arrays:
        raise ShapeError("stack: expected at least one array")
    y = np.stack(arrays, axis)
    n = len(arrays)
    return y, lambda dy: tuple(np.take(dy, i, axis) for i in range(n))


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape, along a new axis."""
    return _stack(*arrays, axis=axis)


@differentiable
def split(x, /, indices_or_sections, axis=0):
    """Cut into pieces along an axis: a number of equal pieces, or the indices to cut at.

    Gives a tuple. This is concat in reverse, and concat is its backward.
    """
    axis = axis_of("split", axis, x.ndim)
    whole("split", "indices_or_sections", indices_or_sections)
    if np.ndim(indices_or_sections) == 0 and indices_or_sections < 1:
        raise ShapeError(f"split: expected at least 1 piece, received {indices_or_sections}")
    pieces = tuple(np.split(x, indices_or_sections, axis))
    return pieces, lambda dys: np.concatenate(dys, axis)


@differentiable
def flip(x, /, axis=None):
    """The order along the axes reversed."""
    return np.flip(x, axis), lambda dy: np.flip(dy, axis)


@differentiable
def roll(x, /, shift, axis=None):
    """Shifted along the axes; what leaves at one end comes in at the other."""
    whole("roll", "shift", shift)
    back = tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift
    return np.roll(x, shift, axis), lambda dy: np.roll(dy, back, axis)


@differentiable
def pad(x, /, pad_width, constant_value=0):
    """A border of one constant; ``pad_width`` is as in NumPy, (before, after) for each axis."""
    widths = np.broadcast_to(np.asarray(pad_width, dtype=np.int64), (x.ndim, 2))
    y = np.pad(x, widths, constant_values=constant_value)
    inner = tuple(slice(b, b + n) for (b, _), n in zip(widths, x.shape, strict=True))
    return y, lambda dy: dy[inner]


@differentiable
def repeat(x, /, repeats, axis=None):
    """Each element ``repeats`` times in a row (a number, or one for each index along the axis).

    Without an axis, over the flattened array. An element's gradient is the sum over its copies.
    """
    whole("repeat", "repeats", repeats)
    shape = x.shape
    line = axis_of("repeat", axis, x.ndim) if axis is not None else 0
    length = x.size if axis is None else shape[line]
    y = np.repeat(x, repeats, axis)
    counts = np.broadcast_to(np.array(repeats), (length,))  # a copy: the caller may reuse theirs

    def dx(dy):
        copies = np.moveaxis(dy, line, 0)  # repeat in reverse: each copy is added to its element
        n, *rest = copies.shape
        total = np.zeros((length, math.prod(rest)), dy.dtype)
        ids = np.repeat(np.arange(length), counts)
        add_rows(total, ids, copies.reshape(n, total.shape[1]))
        return np.moveaxis(total.reshape(length, *rest), 0, line).reshape(shape)

    return y, dx


def _check_matrix(name, x, k):
    whole(name, "k", k)
    if x.ndim < 2:  # NumPy would stretch a vector to a square matrix
        raise ShapeError(f"{name}: expected at least two axes, received shape {x.shape}")


@differentiable
def tril(x, /, k=0):
    """The lower triangle of the last two axes, on and below diagonal k; zeros above."""
    _check_matrix("tril", x, k)
    return np.tril(x, k), lambda dy: np.tril(dy, k)


@differentiable
def triu(x, /, k=0):
    """The upper triangle of the last two axes, on and above diagonal k; zeros below."""
    _check_matrix("triu", x, k)
    return np.triu(x, k), lambda dy: np.triu(dy, k)


@differentiable(changes_dtype=True)
def _astype(x, /, dtype):
    if np.dtype(dtype) not in (np.float32, np.float64) and np.dtype(dtype).kind not in "biu":
        raise DtypeError(
            f"astype: expected float32, float64, integers or booleans, received {np.dtype(dtype)}"
        )
    return x.astype(dtype), lambda dy: dy


def astype(x: Any, dtype: Any) -> Variable:
    """The same values in another dtype. The gradient comes back in the dtype of x.

    Integers and booleans have no gradient: astype to them leaves the graph.
    """
    return _astype(x, dtype)
