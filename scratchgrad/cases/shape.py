"""The table's rows for ops/shape.py."""

from functools import partial
from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.cases.call import Call, entry
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import axes, broadcastable, numbers, shape_of


def reshaped(choose: Choices) -> Call:
    """To any order of the sizes, perhaps with one left as -1, or to one row."""
    shape = shape_of(choose)
    new = choose.permutation(shape)
    if shape and 0 not in shape and choose.flag():
        new[choose.integer(0, len(new) - 1)] = -1
    target = -1 if choose.flag() and 0 not in shape else tuple(new)
    return Call(numbers(choose.rng(), shape), {"shape": target})


def permuted(choose: Choices) -> Call:
    shape = shape_of(choose)
    order = choose.permutation(range(len(shape)))
    signed = tuple(a - len(shape) if choose.flag() else a for a in order)
    return Call(numbers(choose.rng(), shape), {"axes": signed})


def swapped(choose: Choices) -> Call:
    shape = shape_of(choose, min_dims=1)
    one, other = (axes(choose, len(shape), none=False, several=False) for _ in range(2))
    return Call(numbers(choose.rng(), shape), {"axis1": one, "axis2": other})


def expanded(choose: Choices) -> Call:
    shape = shape_of(choose)
    n = len(shape)
    axis = choose.one_of([choose.integer(-n - 1, n), (0, -1), (1, 0), (0, 1, 2)])
    return Call(numbers(choose.rng(), shape), {"axis": axis})


def squeezed(choose: Choices) -> Call:
    shape = shape_of(choose, max_side=2)
    ones = [a for a, n in enumerate(shape) if n == 1]
    axis = choose.one_of([None, *ones, *(a - len(shape) for a in ones), tuple(ones)])
    return Call(numbers(choose.rng(), shape), {"axis": axis})


def stretched(choose: Choices) -> Call:
    small, other = broadcastable(choose, 2)
    return Call(numbers(choose.rng(), small), {"shape": np.broadcast_shapes(small, other)})


def joined(choose: Choices, new_axis: bool) -> Call:
    """Some arrays that are alike but, for concat, along the axis."""
    shape = shape_of(choose, min_dims=0 if new_axis else 1, max_dims=2, max_side=3)
    n = len(shape) + new_axis
    axis = choose.integer(-n, n - 1)
    count = choose.integer(1, 3)
    parts = [list(shape) for _ in range(count)]
    if not new_axis:
        for part in parts:
            part[axis] = choose.integer(0, 3)
    return Call(numbers(choose.rng(), *(tuple(part) for part in parts)), {"axis": axis})


def cut(choose: Choices) -> Call:
    """Into equal pieces, or at indices (empty pieces among them)."""
    shape = shape_of(choose, min_dims=1, min_side=1)
    axis = axes(choose, len(shape), none=False, several=False)
    n = shape[axis]
    if choose.flag():
        cuts: Any = choose.one_of([k for k in range(1, n + 1) if n % k == 0])
    else:
        cuts = sorted(choose.integer(0, n) for _ in range(choose.integer(0, 3)))
    settings = {"indices_or_sections": cuts, "axis": axis}
    return Call(numbers(choose.rng(), shape), settings)


def flipped(choose: Choices) -> Call:
    shape = shape_of(choose)
    return Call(numbers(choose.rng(), shape), {"axis": axes(choose, len(shape))})


def rolled(choose: Choices) -> Call:
    shape = shape_of(choose)
    axis: Any = axes(choose, len(shape)) or None  # NumPy's roll refuses an empty tuple
    several = isinstance(axis, tuple) and choose.flag()
    shift = tuple(choose.integer(-5, 5) for _ in axis) if several else choose.integer(-5, 5)
    return Call(numbers(choose.rng(), shape), {"shift": shift, "axis": axis})


def padded(choose: Choices) -> Call:
    shape = shape_of(choose, min_dims=1, max_side=3)
    pairs = tuple((choose.integer(0, 2), choose.integer(0, 2)) for _ in shape)
    widths = choose.one_of([pairs, pairs[0], pairs[0][0]])
    return Call(
        numbers(choose.rng(), shape),
        {"pad_width": widths, "constant_value": choose.one_of([0, 1.5])},
    )


def repeated(choose: Choices) -> Call:
    shape = shape_of(choose)
    axis = axes(choose, len(shape), several=False)
    length = int(np.prod(shape)) if axis is None else shape[axis]
    each = np.array([choose.integer(0, 3) for _ in range(length)], dtype=np.int64)
    repeats = each if choose.flag() else choose.integer(0, 3)
    return Call(numbers(choose.rng(), shape), {"repeats": repeats, "axis": axis})


def triangle(choose: Choices) -> Call:
    shape = shape_of(choose, min_dims=2)
    return Call(numbers(choose.rng(), shape), {"k": choose.integer(-3, 3)})


def converted(choose: Choices) -> Call:
    # Only to float64: through float32 finite differences would measure the rounding.
    return Call(numbers(choose.rng(), shape_of(choose)), {"dtype": np.float64})


def _pad(x: Any, pad_width: Any, constant_value: Any) -> Any:
    return np.pad(x, pad_width, constant_values=constant_value)


ENTRIES = dict(
    [
        entry("reshape", reshaped, np.reshape),
        entry("permute_dims", permuted, np.transpose),
        entry("swapaxes", swapped, np.swapaxes),
        entry("expand_dims", expanded, np.expand_dims),
        entry("squeeze", squeezed, np.squeeze),
        entry("broadcast_to", stretched, np.broadcast_to),
        entry(
            "concat",
            partial(joined, new_axis=False),
            lambda *parts, axis: np.concatenate(parts, axis),
            function=lambda *parts, axis: sg.concat(parts, axis),
        ),
        entry(
            "stack",
            partial(joined, new_axis=True),
            lambda *parts, axis: np.stack(parts, axis),
            function=lambda *parts, axis: sg.stack(parts, axis),
        ),
        entry("split", cut, np.split),
        entry("flip", flipped, np.flip),
        entry("roll", rolled, np.roll),
        entry("pad", padded, _pad),
        entry("repeat", repeated, np.repeat),
        entry("tril", triangle, np.tril),
        entry("triu", triangle, np.triu),
        entry("astype", converted, lambda x, dtype: x.astype(dtype)),
    ]
)
