"""NumPy's functions by the operation that each is on a Tensor: ``np.exp`` is ``ops.exp``.

A function that is in no table raises when a Tensor meets it: it could only return a plain array,
and the gradient would be lost without a word. (NumPy does not ask a Tensor inside a list, nor one
that ``np.asarray`` converts: there it gets the plain value, out of the graph.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchgrad import ops
from scratchgrad.autograd import Variable


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
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


def refusal(name: str, kwargs: dict[str, Any]) -> str:
    """What to say of a function, or of options of it, that would lose the gradient."""
    options = f" with {', '.join(sorted(kwargs))}=" if kwargs else ""
    return (
        f"{name}{options} is not a differentiable operation of scratchgrad, and its result would "
        "lose the gradient; use a function of scratchgrad, or pass t.data to leave the graph"
    )


def _pad(x: Any, pad_width: Any, mode: Any = "constant", constant_values: Any = 0) -> Any:
    if mode != "constant":
        raise TypeError(refusal("np.pad", {"mode": mode}))
    return ops.pad(x, pad_width, constant_values)


def _dot(a: Any, b: Any) -> Any:
    """np.dot is matmul, but for single numbers and for stacks, where the two differ."""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return ops.multiply(a, b)
    if np.ndim(b) > 2:
        raise TypeError(refusal("np.dot", {}) + "; for stacks of matrices use matmul")
    return ops.matmul(a, b)


UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
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
    ufunc: plain(ufunc)
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

FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
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
    np.pad: _pad,
    np.repeat: ops.repeat,
    np.tril: ops.tril,
    np.triu: ops.triu,
    np.take: ops.take,
    np.take_along_axis: ops.take_along_axis,
    np.einsum: ops.einsum,
    np.dot: _dot,
    np.ravel: lambda x: ops.reshape(x, -1),
} | {
    function: plain(function)
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
