"""How an operation joins the tape: a function on arrays becomes an operation on Tensors.

``differentiable`` does, once and for all operations, what none of them should have to know:
unwrapping Tensors, keeping dtypes, naming the operation in errors, watching memory, recording.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from scratchgrad.autograd import Variable, as_array, edge_of, is_recording
from scratchgrad.errors import (
    DtypeError,
    GraphError,
    IdRangeError,
    ScratchgradError,
    ShapeError,
)
from scratchgrad.tape import Node, Op, into, read_only

__all__ = ["OPS", "differentiable", "into", "result_class"]

OPS: dict[str, Op] = {}
"""The op table: every operation of the package, so that tests can demand a proof of each."""

_result_class: type[Variable] = Variable
_wrap: Callable[[Op], Callable[..., Any]] | None = None


def result_class(cls: type[Variable]) -> type[Variable]:
    """Class decorator: operations return this class, which lives in a layer above the engine."""
    global _result_class
    _result_class = cls
    return cls


def differentiable(
    function: Callable[..., Any] | None = None, *, changes_dtype: bool = False
) -> Any:
    """Lift a function on arrays, returning (value, backward), to an operation on Tensors.

    The arrays it differentiates are its parameters before ``/``, or, where it has no ``/``, those
    without a default; the rest are settings and are passed as they are. ``backward`` is a tuple
    with one function an input (None: that input has no gradient; only the needed ones are
    called), or one function that returns all the gradients. Each gets dy, the gradient of the
    value: an array of the value's shape, or a tuple of them if the value is a tuple. In the place
    of a gradient, the one function may return a function of dy: it is called if it is needed.

    >>> import numpy as np, scratchgrad as sg
    >>> @sg.differentiable
    ... def cube(x):
    ...     return x**3, lambda dy: dy * 3 * x**2
    >>> x = sg.tensor([2.0], requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    array([12.], dtype=float32)
    """
    if function is None:
        return functools.partial(differentiable, changes_dtype=changes_dtype)
    names, variadic = _inputs_of(function)
    ours = (function.__module__ or "").startswith("scratchgrad.ops.")
    name = function.__name__.strip("_")
    op = Op(name, function, names, variadic, changes_dtype, guarded=not ours)
    if ours:
        OPS[op.name] = op

    @functools.wraps(function)
    def lifted(*args: Any, **settings: Any) -> Any:
        if variadic:
            return _apply(op, args, (), settings)
        inputs, rest = args[: len(names)], args[len(names) :]
        if len(inputs) < len(names):
            inputs = _by_name(op, inputs, settings)
        return _apply(op, inputs, rest, settings)

    lifted.op = op  # type: ignore[attr-defined]
    return lifted


def _inputs_of(function: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    parameters = list(inspect.signature(function).parameters.values())
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            return (p.name,), True
    before_slash = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
    return before_slash or tuple(p.name for p in parameters if p.default is p.empty), False


def _by_name(op: Op, inputs: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, ...]:
    """Fill in the inputs that were given by keyword or left at their default."""
    parameters = inspect.signature(op.function).parameters
    filled = list(inputs)
    for name in op.inputs[len(inputs) :]:
        default = parameters[name].default
        if name not in settings and default is inspect.Parameter.empty:
            raise TypeError(f"{op.name}: the input {name!r} is missing")
        filled.append(settings.pop(name, default))
    return tuple(filled)


def _apply(op: Op, inputs: Sequence[Any], rest: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """Run an operation and, if an input wants a gradient, record it."""
    for setting in (*rest, *settings.values()):
        if isinstance(setting, Variable) and setting._requires_grad:
            raise DtypeError(
                f"{op.name}: a Tensor that wants a gradient was given for a setting, which has "
                f"none; its inputs are {', '.join(op.inputs)}. Pass .data to leave the graph"
            )
    dtype = _float_dtype(op, inputs)
    arrays = [x._array if isinstance(x, Variable) else _constant(x, dtype) for x in inputs]
    if op.guarded:
        arrays = [read_only(a) if isinstance(a, np.ndarray) else a for a in arrays]
    try:
        function = op.function if _wrap is None else _wrap(op)
        returned = function(*arrays, *rest, **settings)
    except ScratchgradError:
        raise
    except (ValueError, IndexError, TypeError) as error:
        if isinstance(error, TypeError) and op.guarded:
            raise  # a mistake in a user's own code, whose line they want to see
        shapes = ", ".join(str(np.shape(a)) for a in arrays if a is not None)
        kinds = {ValueError: ShapeError, IndexError: IdRangeError, TypeError: DtypeError}
        kind = next(kinds[base] for base in kinds if isinstance(error, base))
        raise kind(f"{op.name}: {error} (inputs of shape {shapes})") from None
    if not (isinstance(returned, tuple) and len(returned) == 2 and _is_backward(returned[1])):
        raise GraphError(
            f"{op.name}: expected its function to return (value, backward), backward a function of "
            f"dy or a tuple of such, received {_described(returned)}"
        )
    value, backward = returned
    several = isinstance(value, tuple)
    values = list(value) if several else [value]
    if not op.changes_dtype:
        values = [_settle(v, dtype, arrays) for v in values]
    results = [_result_class(v) for v in values]
    for result in results:
        _share_memory(result, inputs)
    if is_recording() and any(isinstance(x, Variable) and x._requires_grad for x in inputs):
        memories = [x._memory for x in inputs if isinstance(x, Variable)]
        memories += [result._memory for result in results]
        edges = [edge_of(x) for x in inputs]
        node = Node(op, edges, inputs, backward, values, several, memories)
        for i, result in enumerate(results):
            if result._array.dtype.kind == "f":
                result._node, result._output, result._requires_grad = node, i, True
    return tuple(results) if several else results[0]


@contextlib.contextmanager
def observe(wrap: Callable[[Op], Callable[..., Any]]) -> Iterator[None]:
    """Within the block, run wrap(op) where an operation's own function would run.

    What it returns takes the same arrays and settings and must return the same value; the
    backward it returns may be a wrapped one too. So time is measured, and nothing else changed.
    """
    global _wrap
    before, _wrap = _wrap, wrap
    try:
        yield
    finally:
        _wrap = before


def _is_backward(backward: Any) -> bool:
    return callable(backward) or (
        isinstance(backward, tuple) and all(f is None or callable(f) for f in backward)
    )


def _described(returned: Any) -> str:
    if isinstance(returned, tuple):
        return f"({', '.join(type(r).__name__ for r in returned)})"
    return type(returned).__name__


def _owner(array: Any) -> Any:
    """The array whose memory it is, of which this one may be a view of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Parameters of one optimiser have one owner, so that is not enough: each has its own part."""
    return _owner(a) is _owner(b) and np.may_share_memory(a, b)


def _share_memory(result: Variable, inputs: Sequence[Any]) -> None:
    """A view of an input's memory is watched together with that input."""
    if result._array.base is None and not any(
        isinstance(x, Variable) and x._array is result._array for x in inputs
    ):
        return
    for x in inputs:
        if isinstance(x, Variable) and _overlap(x._array, result._array):
            result._memory = x._memory
            return


# ---------------------------------------------------------------------------------------- dtypes


def _float_dtype(op: Op, inputs: Sequence[Any]) -> np.dtype | None:
    """The one float dtype among the Variables of a call, or None; two are an error.

    NumPy would promote float32 with float64 to float64, in silence, and from there the whole
    network would run in float64 at half the speed.
    """
    found: np.dtype | None = None
    for x in inputs:
        if isinstance(x, Variable) and x._array.dtype.kind == "f":
            if found is not None and x._array.dtype != found:
                raise DtypeError(
                    f"{op.name}: expected inputs of one float dtype, received {found} and "
                    f"{x._array.dtype}; convert one of them with .astype"
                )
            found = x._array.dtype
    return found


def _constant(x: Any, dtype: np.dtype | None) -> Any:
    """An input that is no Variable, as the operation's body gets it.

    Beside a float Variable a Python scalar stays what it is, for NumPy then keeps the Variable's
    dtype; float arrays take the dtype of the Variables; every array is copied, so that the caller
    may reuse theirs while the tape still holds the value.
    """
    if x is None or (dtype is not None and isinstance(x, (bool, int, float))):
        return x
    array = as_array(x)
    return array.astype(dtype) if dtype is not None and array.dtype.kind == "f" else array


def _settle(value: Any, dtype: np.dtype | None, arrays: Sequence[Any]) -> np.ndarray:
    """The value as an array in the dtype that went in; float64 never appears by itself."""
    array = np.asarray(value)
    # `is not None`, because NumPy takes None for float64 where it expects a dtype.
    if array.dtype.kind != "f" or (dtype is not None and array.dtype == dtype):
        return array
    if dtype is None and any(getattr(a, "dtype", None) == np.float64 for a in arrays):
        return array
    return array.astype(dtype or np.float32, copy=False)
