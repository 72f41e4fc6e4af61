"""The table's rows for ops/reduction.py, and the soft cousins of max."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.case import Call, entry
from tests.strategies import axes, numbers, rngs, shapes


def _count(shape: tuple[int, ...], axis: Any) -> int:
    chosen = range(len(shape)) if axis is None else np.atleast_1d(np.asarray(axis, dtype=int))
    return int(np.prod([shape[a] for a in chosen]))


@st.composite
def folded(draw: Any, empty: bool = False) -> Call:
    """An array, the axes to fold, and whether they stay with size 1."""
    shape = draw(shapes(min_side=0 if empty else 1))
    settings = {"axis": draw(axes(len(shape))), "keepdims": draw(st.booleans())}
    return Call(numbers(draw(rngs), shape), settings)


@st.composite
def spread(draw: Any) -> Call:
    """For var and std: more elements than the correction."""
    call = draw(folded())
    n = _count(call.inputs[0].shape, call.settings["axis"])
    correction = draw(st.sampled_from([c for c in (0, 1, 0.5) if c < n]))
    return Call(call.inputs, {**call.settings, "correction": correction})


@st.composite
def product(draw: Any) -> Call:
    """With no zero, or some."""
    call = draw(folded(empty=True))
    rng = draw(rngs)
    share = draw(st.sampled_from([0.0, 0.2, 0.6]))
    (x,) = call.inputs
    return Call((np.where(rng.random(x.shape) < share, 0.0, x),), call.settings)


@st.composite
def running(draw: Any) -> Call:
    shape = draw(shapes(min_dims=1))
    axis = draw(axes(len(shape), none=len(shape) == 1, several=False))
    settings = {"axis": axis, "include_initial": draw(st.booleans())}
    return Call(numbers(draw(rngs), shape), settings)


@st.composite
def along(draw: Any) -> Call:
    """An array and one axis of it."""
    shape = draw(shapes(min_dims=1))
    axis = draw(axes(len(shape), none=False, several=False))
    return Call(numbers(draw(rngs), shape, high=3.0), {"axis": axis})


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
        entry("sum", folded(empty=True), np.sum),
        entry("mean", folded(), np.mean),
        entry("var", spread(), np.var),
        entry("std", spread(), np.std, rtol32=1e-4),
        entry("max", folded(), np.max),
        entry("min", folded(), np.min),
        entry("prod", product(), np.prod),
        entry("logsumexp", folded(), logsumexp),
        entry("cumulative_sum", running(), _running_reference),
        entry("softmax", along(), softmax),
        entry("log_softmax", along(), lambda x, axis: np.log(softmax(x, axis))),
    ]
)
