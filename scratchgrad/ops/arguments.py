"""What operations ask of their arguments: axes in range, ids in range, floats where floats belong.

The checks stand at the boundary of the operation because a kernel cannot make them: compiled code
reads past the end of an array without a word.
"""

import math
from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError, DtypeError, IdRangeError, ShapeError
from scratchgrad.kernels.buffers import empty


def as_float(x: Any) -> np.ndarray:
    """x as a float array: integers become float32, floats stay."""
    x = np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def as_floats(*arrays: Any) -> tuple[Any, ...]:
    """Arrays of one float dtype, the widest among them, which integers take too. None stays.

    A kernel is compiled for one dtype: of another's bytes it would make nonsense.
    """
    dtypes = {x.dtype if isinstance(x, np.ndarray) else None for x in arrays if x is not None}
    if len(dtypes) == 1 and (one := dtypes.pop()) is not None and one.kind == "f":
        return arrays
    floats = [x.dtype for x in arrays if getattr(x, "dtype", np.dtype(int)).kind == "f"]
    dtype = np.result_type(*floats) if floats else np.float32
    return tuple(None if x is None else np.asarray(x).astype(dtype, copy=False) for x in arrays)


def memory_for(x: Any, y: Any) -> np.ndarray | None:
    """Reused memory for a result of x and y, element by element, where it has the shape of x."""
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.dtype == y.dtype):
        return None
    if x.dtype.kind != "f" or x.ndim < y.ndim or x.shape[x.ndim - y.ndim :] != y.shape:
        return None
    return empty(x.shape, x.dtype)


def zeroed(out: np.ndarray | None, add: bool, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """What a backward ``into`` adds its gradient to: out if there is one, cleared unless to add."""
    if out is None:
        return np.zeros(shape, dtype)
    if not add:
        out[...] = 0
    return out


def rows_of(x: np.ndarray) -> np.ndarray:
    """All axes but the last as one: (..., C) -> (N, C). A -1 could not tell N where C is 0."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def whole(name: str, what: str, value: Any) -> None:
    """Refuse what is no whole number, nor an array of them: NumPy would cut 1.5 down to 1."""
    kind = np.asarray(value).dtype.kind
    if kind not in "iu" and np.size(value):
        raise DtypeError(f"{name}: expected whole numbers for {what}, received {value!r}")


def axes_of(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes (one or several) counted from the front: all for None. Each at most once."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if np.ndim(axis) == 0 else tuple(axis)
    whole(name, "axis", axes)
    for a in axes:
        if not -ndim <= a < ndim:
            raise ShapeError(f"{name}: axis {a} is out of range for an array of {ndim} dimensions")
    counted = tuple(int(a) % ndim for a in axes)
    if len(set(counted)) != len(counted):
        raise ShapeError(f"{name}: the axes {axes} name one axis twice")
    return counted


def axis_of(name: str, axis: int, ndim: int) -> int:
    """One axis, counted from the front."""
    if np.ndim(axis) or axis is None:
        raise ShapeError(f"{name}: expected one whole number for axis, received {axis!r}")
    return axes_of(name, axis, ndim)[0]


def checked_ids(name: str, ids: Any, size: int, wrap: bool = False) -> np.ndarray:
    """The ids as int64, all of them inside [0, size).

    With ``wrap``, negative ids count from the end, as in NumPy indexing.
    """
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        if ids.size:
            raise DtypeError(f"{name}: expected integer ids, received {ids.dtype}")
        ids = ids.astype(np.int64)
    lowest = -size if wrap else 0
    if ids.size and (ids.min() < lowest or ids.max() >= size):
        bad = (ids < lowest) | (ids >= size)
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise IdRangeError(
            f"{name}: expected ids from {lowest} to {size - 1}, received {int(ids[where])} "
            f"at position {where}"
        )
    ids = ids.astype(np.int64, copy=False)
    return np.where(ids < 0, ids + size, ids) if wrap else ids


def check_probability(name: str, p: float) -> None:
    """Refuse what is no number from 0 to 1."""
    if not 0 <= p <= 1:
        raise ConfigError(f"{name}: expected a probability from 0 to 1, received {p!r}")
