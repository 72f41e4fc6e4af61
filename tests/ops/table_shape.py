"""The table's rows for ops/shape.py."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

import scratchgrad as sg
from tests.ops.case import Call, entry
from tests.strategies import axes, groups, numbers, rngs, shapes


@st.composite
def reshaped(draw: Any) -> Call:
    """To any order of the sizes, perhaps with one left as -1, or to one row."""
    shape = draw(shapes())
    new = list(draw(st.permutations(shape)))
    if shape and 0 not in shape and draw(st.booleans()):
        new[draw(st.integers(0, len(new) - 1))] = -1
    target = -1 if draw(st.booleans()) and 0 not in shape else tuple(new)
    return Call(numbers(draw(rngs), shape), {"shape": target})


@st.composite
def permuted(draw: Any) -> Call:
    shape = draw(shapes())
    order = draw(st.permutations(range(len(shape))))
    signed = tuple(a - len(shape) if draw(st.booleans()) else a for a in order)
    return Call(numbers(draw(rngs), shape), {"axes": signed})


@st.composite
def swapped(draw: Any) -> Call:
    shape = draw(shapes(min_dims=1))
    one = axes(len(shape), none=False, several=False)
    return Call(numbers(draw(rngs), shape), {"axis1": draw(one), "axis2": draw(one)})


@st.composite
def expanded(draw: Any) -> Call:
    shape = draw(shapes())
    n = len(shape)
    several = st.sampled_from([(0, -1), (1, 0), (0, 1, 2)])
    axis = draw(st.one_of(st.integers(-n - 1, n), several))
    return Call(numbers(draw(rngs), shape), {"axis": axis})


@st.composite
def squeezed(draw: Any) -> Call:
    shape = draw(shapes(max_side=2))
    ones = [a for a, n in enumerate(shape) if n == 1]
    axis = draw(st.sampled_from([None, *ones, *(a - len(shape) for a in ones), tuple(ones)]))
    return Call(numbers(draw(rngs), shape), {"axis": axis})


@st.composite
def stretched(draw: Any) -> Call:
    small, other = draw(groups(2))
    return Call(numbers(draw(rngs), small), {"shape": np.broadcast_shapes(small, other)})


@st.composite
def joined(draw: Any, new_axis: bool) -> Call:
    """Some arrays that are alike but, for concat, along the axis."""
    shape = draw(shapes(min_dims=0 if new_axis else 1, max_dims=2, max_side=3))
    n = len(shape) + new_axis
    axis = draw(st.integers(-n, n - 1))
    count = draw(st.integers(1, 3))
    parts = [list(shape) for _ in range(count)]
    if not new_axis:
        for part in parts:
            part[axis] = draw(st.integers(0, 3))
    return Call(numbers(draw(rngs), *(tuple(part) for part in parts)), {"axis": axis})


@st.composite
def cut(draw: Any) -> Call:
    """Into equal pieces, or at indices (empty pieces among them)."""
    shape = draw(shapes(min_dims=1, min_side=1))
    axis = draw(axes(len(shape), none=False, several=False))
    n = shape[axis]
    equal = st.sampled_from([k for k in range(1, n + 1) if n % k == 0])
    at = st.lists(st.integers(0, n), max_size=3).map(sorted)
    settings = {"indices_or_sections": draw(st.one_of(equal, at)), "axis": axis}
    return Call(numbers(draw(rngs), shape), settings)


@st.composite
def flipped(draw: Any) -> Call:
    shape = draw(shapes())
    return Call(numbers(draw(rngs), shape), {"axis": draw(axes(len(shape)))})


@st.composite
def rolled(draw: Any) -> Call:
    shape = draw(shapes())
    axis = draw(axes(len(shape))) or None  # NumPy's roll refuses an empty tuple
    step = st.integers(-5, 5)
    several = isinstance(axis, tuple) and draw(st.booleans())
    shift = tuple(draw(step) for _ in axis) if several else draw(step)
    return Call(numbers(draw(rngs), shape), {"shift": shift, "axis": axis})


@st.composite
def padded(draw: Any) -> Call:
    shape = draw(shapes(min_dims=1, max_side=3))
    width = st.integers(0, 2)
    pair = st.tuples(width, width)
    widths = draw(st.one_of(width, pair, st.tuples(*[pair] * len(shape))))
    return Call(
        numbers(draw(rngs), shape),
        {"pad_width": widths, "constant_value": draw(st.sampled_from([0, 1.5]))},
    )


@st.composite
def repeated(draw: Any) -> Call:
    shape = draw(shapes())
    axis = draw(axes(len(shape), several=False))
    length = int(np.prod(shape)) if axis is None else shape[axis]
    count = st.integers(0, 3)
    each = st.lists(count, min_size=length, max_size=length).map(
        lambda counts: np.array(counts, dtype=np.int64)
    )
    return Call(numbers(draw(rngs), shape), {"repeats": draw(st.one_of(count, each)), "axis": axis})


@st.composite
def triangle(draw: Any) -> Call:
    shape = draw(shapes(min_dims=2))
    return Call(numbers(draw(rngs), shape), {"k": draw(st.integers(-3, 3))})


@st.composite
def converted(draw: Any) -> Call:
    # Only to float64: through float32 finite differences would measure the rounding.
    return Call(numbers(draw(rngs), draw(shapes())), {"dtype": np.float64})


def _pad(x: Any, pad_width: Any, constant_value: Any) -> Any:
    return np.pad(x, pad_width, constant_values=constant_value)


ENTRIES = dict(
    [
        entry("reshape", reshaped(), np.reshape),
        entry("permute_dims", permuted(), np.transpose),
        entry("swapaxes", swapped(), np.swapaxes),
        entry("expand_dims", expanded(), np.expand_dims),
        entry("squeeze", squeezed(), np.squeeze),
        entry("broadcast_to", stretched(), np.broadcast_to),
        entry(
            "concat",
            joined(new_axis=False),
            lambda *parts, axis: np.concatenate(parts, axis),
            function=lambda *parts, axis: sg.concat(parts, axis),
        ),
        entry(
            "stack",
            joined(new_axis=True),
            lambda *parts, axis: np.stack(parts, axis),
            function=lambda *parts, axis: sg.stack(parts, axis),
        ),
        entry("split", cut(), np.split),
        entry("flip", flipped(), np.flip),
        entry("roll", rolled(), np.roll),
        entry("pad", padded(), _pad),
        entry("repeat", repeated(), np.repeat),
        entry("tril", triangle(), np.tril),
        entry("triu", triangle(), np.triu),
        entry("astype", converted(), lambda x, dtype: x.astype(dtype)),
    ]
)
