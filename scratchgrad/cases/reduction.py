"""The table's rows for ops/reduction.py, and the soft cousins of max."""

from functools import partial
from typing import Any

import numpy as np

from scratchgrad.cases.call import Call, entry
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import axes, numbers, shape_of


def _count(shape: tuple[int, ...], axis: Any) -> int:
    chosen = range(len(shape)) if axis is None else np.atleast_1d(np.asarray(axis, dtype=int))
    return int(np.prod([shape[a] for a in chosen]))


def folded(choose: Choices, empty: bool = False) -> Call:
    """An array, the axes to fold, and whether they stay with size 1."""
    shape = shape_of(choose, min_side=0 if empty else 1)
    settings = {"axis": axes(choose, len(shape)), "keepdims": choose.flag()}
    return Call(numbers(choose.rng(), shape), settings)


def spread(choose: Choices) -> Call:
    """For var and std: more elements than the correction."""
    call = folded(choose)
    n = _count(call.inputs[0].shape, call.settings["axis"])
    correction = choose.one_of([c for c in (0, 1, 0.5) if c < n])
    return Call(call.inputs, {**call.settings, "correction": correction})


def product(choose: Choices) -> Call:
    """With no zero, or some."""
    call = folded(choose, empty=True)
    rng = choose.rng()
    share = choose.one_of([0.0, 0.2, 0.6])
    (x,) = call.inputs
    return Call((np.where(rng.random(x.shape) < share, 0.0, x),), call.settings)


def running(choose: Choices) -> Call:
    shape = shape_of(choose, min_dims=1)
    axis = axes(choose, len(shape), none=len(shape) == 1, several=False)
    settings = {"axis": axis, "include_initial": choose.flag()}
    return Call(numbers(choose.rng(), shape), settings)


def along(choose: Choices) -> Call:
    """An array and one axis of it."""
    shape = shape_of(choose, min_dims=1)
    axis = axes(choose, len(shape), none=False, several=False)
    return Call(numbers(choose.rng(), shape, high=3.0), {"axis": axis})


def _running_reference(x: Any, axis: Any, include_initial: bool) -> Any:
    axis = 0 if axis is None else axis
    y = np.cumsum(x, axis)
    width = [(0, 0)] * x.ndim
    width[axis] = (1, 0)
    return np.pad(y, width) if include_initial else y


def logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def softmax(x: Any, axis: int) -> Any:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


ENTRIES = dict(
    [
        entry("sum", partial(folded, empty=True), np.sum),
        entry("mean", folded, np.mean),
        entry("var", spread, np.var),
        entry("std", spread, np.std, rtol32=1e-4),
        entry("max", folded, np.max),
        entry("min", folded, np.min),
        entry("prod", product, np.prod),
        entry("logsumexp", folded, logsumexp),
        entry("cumulative_sum", running, _running_reference),
        entry("softmax", along, softmax),
        entry("log_softmax", along, lambda x, axis: np.log(softmax(x, axis))),
    ]
)
