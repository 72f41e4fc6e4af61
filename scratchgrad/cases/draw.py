"""Shapes, axes, indices, and numbers that are good to test with.

Numbers come from a generator rather than one by one: all the numbers of a call can then be kept
apart from one another and from zero. There a function with a kink (abs, max, clip, ...) has no
derivative, so finite differences would measure nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchgrad.cases.choices import Choices
from scratchgrad.errors import ConfigError

LAYOUTS = ("contiguous", "transposed", "strided", "reversed")


def side(choose: Choices, low: int = 0, high: int = 4) -> int:
    """The size of an axis; 0 and 1 come, but seldom: an empty array proves little."""
    usual = [n for n in (2, 3, 4, 5, 2, 3, 4, 5, 1, 0) if low <= n <= high]
    return choose.one_of(usual or range(low, high + 1))


def shape_of(
    choose: Choices, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> tuple[int, ...]:
    """Any number of axes, of any sizes: see ``side``."""
    if not (0 <= min_dims <= max_dims and 0 <= min_side <= max_side):
        raise ConfigError(
            f"shapes: expected 0 <= min <= max, received {min_dims} to {max_dims} axes of size "
            f"{min_side} to {max_side}"
        )
    ndim = choose.one_of(range(max_dims, min_dims - 1, -1))
    return tuple(side(choose, min_side, max_side) for _ in range(ndim))


def broadcastable(
    choose: Choices, n: int, max_dims: int = 3, max_side: int = 3
) -> list[tuple[int, ...]]:
    """n shapes that broadcast together, sizes 0 and 1 and no axes at all among them."""
    whole = shape_of(choose, max_dims=max_dims, max_side=max_side)
    group = []
    for _ in range(n):
        left = choose.one_of([0, *range(len(whole) + 1)])  # so many axes left away
        stretched = [choose.one_of([False, False, True]) for _ in whole]
        group.append(tuple(1 if stretched[a] else whole[a] for a in range(left, len(whole))))
    return group


def axes(choose: Choices, ndim: int, none: bool = True, several: bool = True) -> Any:
    """An axis, counted from either end; or None, for all; or several of them, perhaps none."""
    kinds = [*(["none"] if none or not ndim else []), *(["one"] if ndim else [])]
    kind = choose.one_of([*kinds, *(["several"] if several else [])])
    if kind == "none":
        return None
    signed = [a - ndim if choose.flag() else a for a in choose.permutation(range(ndim))]
    if kind == "one":
        return signed[0]
    return tuple(signed[: choose.integer(0, ndim)])


def basic_index(choose: Choices, shape: tuple[int, ...]) -> Any:
    """Slices of either direction, whole numbers of either sign, ``...`` and None."""
    items: list[Any] = []
    for n in shape[: choose.integer(0, len(shape))]:
        kind = choose.one_of(["slice", "all", "number"] if n else ["all"])
        if kind == "number":
            items.append(choose.integer(-n, n - 1))
        elif kind == "slice":
            first, last = (choose.one_of([None, choose.integer(-n, n)]) for _ in range(2))
            items.append(slice(first, last, choose.one_of([None, 2, -1, -2])))
        else:
            items.append(slice(None))
    if choose.flag():
        items.append(...)
    if choose.flag():
        items.insert(choose.integer(0, len(items)), None)
    return items[0] if len(items) == 1 and choose.flag() else tuple(items)


def numbers(
    rng: np.random.Generator,
    *shapes: tuple[int, ...],
    low: float = 0.2,
    high: float = 2.0,
    signs: bool = True,
) -> tuple[np.ndarray, ...]:
    """Float64 arrays whose numbers all differ in magnitude: from low to high, of either sign."""
    if not low < high:
        raise ConfigError(f"numbers: expected low below high, received {low} and {high}")
    sizes = [int(np.prod(shape)) for shape in shapes]
    n = max(sum(sizes), 1)
    slots = rng.permutation(n) + rng.uniform(0.3, 0.7, n)  # at least 0.6 of a slot apart
    values = low + (high - low) * slots / n
    if signs:
        values *= rng.choice([-1.0, 1.0], n)
    parts = np.split(values[: sum(sizes)], np.cumsum(sizes)[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """A fresh array of the same values with other strides."""
    if layout not in LAYOUTS:
        raise ConfigError(f"laid_out: expected one of {', '.join(LAYOUTS)}, received {layout!r}")
    if layout == "transposed":
        return array.T.copy().T
    if layout == "strided":
        every_other: Any = (..., *[slice(None, None, 2)] * array.ndim)
        view = np.zeros([2 * n for n in array.shape], array.dtype)[every_other]
        view[...] = array
        return view
    if layout == "reversed":
        back: Any = (..., *[slice(None, None, -1)] * array.ndim)
        return array[back].copy()[back]
    return array.copy()


def attention_inputs(
    choose: Choices, max_time: int = 5, grouped: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q (B, H, T, D), k (B, Hk, S, D), v (B, Hk, S, Dv): H a multiple of Hk, T and S apart."""
    b, t, s = side(choose, 1, 2), side(choose, 0, max_time), side(choose, 1, max_time)
    hk, d = side(choose, 1, 2), side(choose, 1, 3)
    h = hk * (choose.integer(1, 3) if grouped else 1)
    q, k, v = numbers(
        choose.rng(), (b, h, t, d), (b, hk, s, d), (b, hk, s, d + choose.integer(0, 1))
    )
    return q, k, v
