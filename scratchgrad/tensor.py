"""Tensor: an array with a gradient. Its operators are a table over ``ops``: nothing happens here.

NumPy's own functions work on Tensors too: ``np.exp(t)`` and ``array * t`` arrive in
``__array_ufunc__``, ``np.sum(t)`` in ``__array_function__``, and both look the function up in the
tables of ``numpy_functions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchgrad import ops
from scratchgrad.autograd import Variable, as_array
from scratchgrad.errors import DtypeError, GraphError, ShapeError
from scratchgrad.numpy_functions import FUNCTIONS, UFUNCS, plain, refusal
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

    __lt__ = plain(np.less)
    __le__ = plain(np.less_equal)
    __gt__ = plain(np.greater)
    __ge__ = plain(np.greater_equal)
    __eq__ = plain(np.equal)
    __ne__ = plain(np.not_equal)
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
    argmax = plain(np.argmax)
    argmin = plain(np.argmin)
    argsort = plain(np.argsort)
    all = plain(np.all)
    any = plain(np.any)

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
        op = UFUNCS.get(ufunc)
        if method != "__call__" or op is None or kwargs:
            what = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            raise TypeError(refusal(f"np.{what}", kwargs))
        return op(*inputs)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        op = FUNCTIONS.get(function)
        given = {key: value for key, value in kwargs.items() if value is not np._NoValue}
        if op is None or given.keys() & {"out", "dtype", "where", "initial", "casting"}:
            raise TypeError(refusal(f"np.{function.__name__}", given))
        return op(*args, **given)


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
