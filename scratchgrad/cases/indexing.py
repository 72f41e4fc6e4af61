"""The table's rows for ops/indexing.py."""

import numpy as np

import scratchgrad as sg
from scratchgrad.cases.call import Call, entry
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import axes, basic_index, numbers, shape_of, side


def indexed(choose: Choices) -> Call:
    """Slices, whole numbers, ..., None; integer arrays that repeat; masks; and mixtures."""
    kind = choose.one_of(["basic", "integers", "mask", "mixed", "tuple"])
    rng = choose.rng()
    if kind == "basic":
        shape = shape_of(choose, min_dims=1)
        index = basic_index(choose, shape)
    elif kind == "integers":
        shape = shape_of(choose, min_dims=1, min_side=1)
        picked = shape_of(choose, max_dims=2, max_side=3)
        index = tuple(rng.integers(-n, n, picked) for n in shape[: choose.integer(1, len(shape))])
    elif kind == "mask":
        shape = shape_of(choose, min_dims=1)
        index = rng.random(shape[: choose.integer(1, len(shape))]) < 0.5
    elif kind == "tuple":  # NumPy takes a tuple inside the index for an array
        shape = shape_of(choose, min_dims=2, min_side=1)
        index = (tuple(int(i) for i in rng.integers(0, shape[0], 4)), slice(None))
    else:
        shape = shape_of(choose, min_dims=3, min_side=1)
        first, last = (rng.integers(-n, n, 4) for n in (shape[0], shape[2]))
        mask = rng.random(shape[1]) < 0.5
        index = choose.one_of(
            [
                (first, slice(None), last),  # the picked axis goes to the front
                (slice(None), mask),
                (..., last.tolist()),
                (first[:, None], None, ..., last),
                (0, first[:1] * 0, slice(None, None, -1)),
            ]
        )
    return Call(numbers(rng, shape), {"index": index})


def taken(choose: Choices) -> Call:
    shape = shape_of(choose, min_dims=1, min_side=1)
    axis = axes(choose, len(shape), none=len(shape) == 1, several=False)
    rng = choose.rng()
    n = shape[0 if axis is None else axis]
    ids = rng.integers(-n, n, shape_of(choose, max_dims=2))
    return Call((*numbers(rng, shape), ids), {"axis": axis})


def taken_along(choose: Choices) -> Call:
    shape = shape_of(choose, min_dims=1, min_side=1)
    axis = axes(choose, len(shape), none=False, several=False)
    rng = choose.rng()
    lines = [1 if choose.flag() else n for n in shape]  # size 1 broadcasts
    lines[axis] = choose.integer(0, 4)
    ids = rng.integers(-shape[axis], shape[axis], lines)
    return Call((*numbers(rng, shape), ids), {"axis": axis})


def embedded(choose: Choices) -> Call:
    v, c = side(choose, 1), side(choose)
    rng = choose.rng()
    return Call((rng.integers(0, v, shape_of(choose, max_dims=2)), *numbers(rng, (v, c))))


ENTRIES = dict(
    [
        entry("getitem", indexed, lambda x, index: x[index], function=lambda x, index: x[index]),
        entry("take", taken, np.take),
        entry("take_along_axis", taken_along, np.take_along_axis),
        entry("embedding", embedded, lambda ids, w: w[ids], function=sg.nn.functional.embedding),
    ]
)
