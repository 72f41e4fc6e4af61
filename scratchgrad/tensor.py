"""Tensor: an array with a gradient. Its operators are a table over ``ops``: nothing happens here.

NumPy's own functions work on Tensors too: ``np.exp(t)`` and ``array * t`` arrive in
``__array_ufunc__``, ``np.sum(t)`` in ``__array_function__``, and both look the function up in a
table of operations. A function that is not in the table raises: it could only return a plain array,
and the gradient would be lost without a word. (NumPy does not ask a Tensor inside a list, nor one
that ``np.asarray`` converts: there it gets the plain value, out of the graph.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchgrad import ops
from scratchgrad.autograd import Variable, as_array
from scratchgrad.errors import DtypeError, GraphError, ShapeError
from scratchgrad.operation import result_class


def _swapped(op: Callable[..., Any]) -> Callable[..., Any]:
    """The operator for a Tensor on the right: ``2 - t`` calls ``t.__rsub__(2)``."""

    def reflected(self: Tensor, other: Any) -> Any:
        return op(other, self)

    return reflected


def _augmented(op: Callable[..., Any]) -> Callable[..., Any]:
    """``t += x`` gives the name t to a new Tensor, unless t is a parameter: then it raises.

    Who writes ``p -= lr * p.grad`` means to change the parameter itself; a new Tensor under its
    name would train nothing, without a word.
    """

    def augmented(self: Tensor, other: Any) -> Any:
        if self._requires_grad and self._node is None:
            raise GraphError(
                f"{op.__name__} in place: a leaf that wants a gradient is not changed by an "
                "operator; write `p.data -= step` to update it, or `y = p + x` for a new Tensor"
            )
        return op(self, other)

    return augmented


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that has no gradient, on the arrays inside: comparisons, argmax, shape."""

    def on_arrays(*args: Any, **kwargs: Any) -> Any:
        return function(*(_unwrapped(a) for a in args), **kwargs)

    return on_arrays


def _unwrapped(x: Any) -> Any:
    if isinstance(x, Variable):
        return x._array
    if isinstance(x, (list, tuple)) and any(isinstance(e, Variable) for e in x):
        return type(x)(_unwrapped(e) for e in x)
    return x


@result_class
class Tensor(Variable):
    """An array of float32 or float64 numbers (or integers, without a gradient) on the tape.

    Made by :func:`tensor`; every operation on it returns another.

    Attributes
    ----------
    data : ndarray
        The value. Read-only while a recorded graph may still need it.
    grad : ndarray or None
        The gradient, after ``backward``; only leaves keep one, unless ``retain_grad`` is called.
    requires_grad : bool
        Whether operations on it are recorded.
    """

    __slots__ = ()

    # ---- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return ops.permute_dims(self, tuple(range(self.ndim))[::-1])

    @property
    def is_leaf(self) -> bool:
        """Made by hand, not by an operation."""
        return self._node is None

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("len: a Tensor that is a single number has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        prefix = "Tensor("
        text = np.array2string(self._array, separator=", ", prefix=prefix)
        parts = [prefix + text, f"dtype={self.dtype}"]
        if self._node is not None:
            parts.append(f"op={self._node.op.name}")
        elif self._requires_grad:
            parts.append("requires_grad=True")
        return ", ".join(parts) + ")"

    # ---- out of the graph: each of these is asked for by name, so no gradient is lost unseen

    def detach(self) -> Tensor:
        """The same value and memory, outside the graph."""
        out = Tensor(self._array)
        out._memory = self._memory
        return out

    def numpy(self) -> np.ndarray:
        """The value as a NumPy array, outside the graph: ``data``."""
        return self.data

    def item(self) -> float | int | bool:
        """The value of a single number, as Python's own."""
        if self.size != 1:
            raise ShapeError(f"item: expected a single number, received shape {self.shape}")
        return self._array.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if dtype is not None and np.dtype(dtype) != self.dtype:
            if copy is False:
                raise ValueError(f"a Tensor of {self.dtype} is no {dtype} without a copy")
            return self._array.astype(dtype)
        return self._array.copy() if copy else self.data

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DtypeError(f"index: expected an integer Tensor, received {self.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"bool: a Tensor of shape {self.shape} is neither true nor false; compare it and "
                "use .all() or .any() on the result"
            )
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    # ---- operators

    __add__ = ops.add
    __sub__ = ops.subtract
    __mul__ = ops.multiply
    __truediv__ = ops.divide
    __pow__ = ops.pow
    __matmul__ = ops.matmul
    __radd__ = _swapped(ops.add)
    __rsub__ = _swapped(ops.subtract)
    __rmul__ = _swapped(ops.multiply)
    __rtruediv__ = _swapped(ops.divide)
    __rpow__ = _swapped(ops.pow)
    __rmatmul__ = _swapped(ops.matmul)
    __neg__ = ops.negative
    __abs__ = ops.abs
    __getitem__ = ops.getitem

    def __pos__(self) -> Tensor:
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GraphError(
            "setitem: a Tensor is not written in place, for the graph may have saved its value; "
            "use where() or concat() for a new one, or write to .data outside the graph"
        )

    __iadd__ = _augmented(ops.add)
    __isub__ = _augmented(ops.subtract)
    __imul__ = _augmented(ops.multiply)
    __itruediv__ = _augmented(ops.divide)
    __ipow__ = _augmented(ops.pow)
    __imatmul__ = _augmented(ops.matmul)

    # ---- comparisons give plain boolean arrays

    __lt__ = _plain(np.less)
    __le__ = _plain(np.less_equal)
    __gt__ = _plain(np.greater)
    __ge__ = _plain(np.greater_equal)
    __eq__ = _plain(np.equal)
    __ne__ = _plain(np.not_equal)
    __hash__ = object.__hash__

    # ---- methods, where NumPy has them

    sum = ops.sum
    mean = ops.mean
    var = ops.var
    std = ops.std
    max = ops.max
    min = ops.min
    prod = ops.prod
    clip = ops.clip
    repeat = ops.repeat
    squeeze = ops.squeeze
    swapaxes = ops.swapaxes
    take = ops.take
    astype = ops.astype
    argmax = _plain(np.argmax)
    argmin = _plain(np.argmin)
    argsort = _plain(np.argsort)
    all = _plain(np.all)
    any = _plain(np.any)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape: ``t.reshape(2, -1)`` or ``t.reshape((2, -1))``."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order; in reverse order without any named."""
        if not axes:
            return self.T
        return ops.permute_dims(self, axes if isinstance(axes[0], int) else tuple(axes[0]))

    def flatten(self) -> Tensor:
        """All elements in one row."""
        return ops.reshape(self, -1)

    # ---- NumPy's functions on Tensors

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        op = _UFUNCS.get(ufunc)
        if method != "__call__" or op is None or kwargs:
            what = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            raise TypeError(_refusal(f"np.{what}", kwargs))
        return op(*inputs)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        op = _FUNCTIONS.get(function)
        given = {key: value for key, value in kwargs.items() if value is not np._NoValue}
        if op is None or given.keys() & {"out", "dtype", "where", "initial", "casting"}:
            raise TypeError(_refusal(f"np.{function.__name__}", given))
        return op(*args, **given)


def _refusal(name: str, kwargs: dict[str, Any]) -> str:
    options = f" with {', '.join(sorted(kwargs))}=" if kwargs else ""
    return (
        f"{name}{options} is not a differentiable operation of scratchgrad, and its result would "
        "lose the gradient; use a function of scratchgrad, or pass t.data to leave the graph"
    )


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of the data.

    Parameters
    ----------
    data : number, nested lists, array or Tensor
        Python floats become float32; an array keeps float32 or float64.
    dtype : float32, float64, an integer dtype or bool, optional
    requires_grad : bool
        Record what is done with it, so that ``backward`` can fill in ``.grad``.

    Raises
    ------
    DtypeError
        For complex numbers, text, objects; or a gradient wanted for integers.

    >>> import scratchgrad as sg
    >>> x = sg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """
    return Tensor(as_array(data, dtype), requires_grad)


_UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: ops.add,
    np.subtract: ops.subtract,
    np.multiply: ops.multiply,
    np.divide: ops.divide,
    np.negative: ops.negative,
    np.power: ops.pow,
    np.float_power: ops.pow,
    np.exp: ops.exp,
    np.log: ops.log,
    np.log1p: ops.log1p,
    np.expm1: ops.expm1,
    np.sqrt: ops.sqrt,
    np.square: ops.square,
    np.absolute: ops.abs,
    np.sin: ops.sin,
    np.cos: ops.cos,
    np.tanh: ops.tanh,
    np.maximum: ops.maximum,
    np.minimum: ops.minimum,
    np.matmul: ops.matmul,
} | {
    ufunc: _plain(ufunc)
    for ufunc in (
        np.less,
        np.less_equal,
        np.greater,
        np.greater_equal,
        np.equal,
        np.not_equal,
        np.isfinite,
        np.isnan,
        np.isinf,
        np.signbit,
    )
}

_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.sum: ops.sum,
    np.mean: ops.mean,
    np.var: lambda x, axis=None, ddof=0, **k: ops.var(x, axis, k.pop("correction", ddof), **k),
    np.std: lambda x, axis=None, ddof=0, **k: ops.std(x, axis, k.pop("correction", ddof), **k),
    np.max: ops.max,
    np.min: ops.min,
    np.prod: ops.prod,
    np.clip: lambda x, a_min=None, a_max=None, **k: ops.clip(
        x, k.pop("min", a_min), k.pop("max", a_max), **k
    ),
    np.where: ops.where,
    np.reshape: ops.reshape,
    np.transpose: lambda x, axes=None: x.T if axes is None else ops.permute_dims(x, axes),
    np.swapaxes: ops.swapaxes,
    np.expand_dims: ops.expand_dims,
    np.squeeze: ops.squeeze,
    np.broadcast_to: ops.broadcast_to,
    np.concatenate: ops.concat,
    np.stack: ops.stack,
    np.split: ops.split,
    np.flip: ops.flip,
    np.roll: ops.roll,
    np.pad: lambda x, pad_width, mode="constant", constant_values=0: _pad(
        x, pad_width, mode, constant_values
    ),
    np.repeat: ops.repeat,
    np.tril: ops.tril,
    np.triu: ops.triu,
    np.take: ops.take,
    np.take_along_axis: ops.take_along_axis,
    np.einsum: ops.einsum,
    np.dot: lambda a, b: _dot(a, b),
    np.ravel: lambda x: ops.reshape(x, -1),
} | {
    function: _plain(function)
    for function in (
        np.shape,
        np.ndim,
        np.size,
        np.argmax,
        np.argmin,
        np.argsort,
        np.searchsorted,
        np.count_nonzero,
        np.nonzero,
        np.all,
        np.any,
        np.allclose,
        np.isclose,
        np.array_equal,
        np.array_repr,
        np.array_str,
        np.array2string,
        np.result_type,
        np.may_share_memory,
        np.shares_memory,
        np.zeros_like,
        np.ones_like,
        np.empty_like,
        np.full_like,
    )
}


def _pad(x: Any, pad_width: Any, mode: Any, constant: Any) -> Any:
    if mode != "constant":
        raise TypeError(_refusal("np.pad", {"mode": mode}))
    return ops.pad(x, pad_width, constant)


def _dot(a: Any, b: Any) -> Any:
    """np.dot is matmul, but for single numbers and for stacks, where the two differ."""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return ops.multiply(a, b)
    if np.ndim(b) > 2:
        raise TypeError(_refusal("np.dot", {}) + "; for stacks of matrices use matmul")
    return ops.matmul(a, b)
