"""What Hypothesis draws: shapes, layouts in memory, axes, and numbers that are good to test with.

Numbers come from a seeded generator rather than element by element: a draw stays small, and all the
numbers of one call can be kept apart from one another and from zero. There a function with a kink
(abs, max, clip, ...) has no derivative, so finite differences would measure nothing.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)

LAYOUTS = ("contiguous", "transposed", "strided", "reversed")
layouts = st.sampled_from(LAYOUTS)


@st.composite
def shapes(
    draw: Any, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> tuple[int, ...]:
    """Sizes 0 and 1 among them, but seldom: an empty array proves little."""
    sides = [n for n in (2, 3, 4, 2, 3, 1, 0) if min_side <= n <= max_side]
    ndim = draw(st.sampled_from(range(max_dims, min_dims - 1, -1)))
    return tuple(draw(st.sampled_from(sides)) for _ in range(ndim))


@st.composite
def groups(draw: Any, n: int) -> list[tuple[int, ...]]:
    """n shapes that broadcast together, sizes 0 and 1 and no axes at all among them."""
    whole = draw(shapes(max_side=3))
    group = []
    for _ in range(n):
        left = draw(st.sampled_from([0, *range(len(whole) + 1)]))  # so many axes left away
        stretched = draw(st.sets(st.sampled_from(range(len(whole))))) if whole else set()
        group.append(tuple(1 if a in stretched else whole[a] for a in range(left, len(whole))))
    return group


def numbers(
    rng: np.random.Generator,
    *shapes: tuple[int, ...],
    low: float = 0.2,
    high: float = 2.0,
    signs: bool = True,
) -> tuple[np.ndarray, ...]:
    """Float64 arrays whose numbers all differ in magnitude: from low to high, of either sign."""
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
    if layout == "transposed":
        return array.T.copy().T
    if layout == "strided":
        wide = np.zeros([2 * n for n in array.shape], array.dtype)
        view = wide[(..., *[slice(None, None, 2)] * array.ndim)]
        view[...] = array
        return view
    if layout == "reversed":
        back = (..., *[slice(None, None, -1)] * array.ndim)
        return array[back].copy()[back]
    return array.copy()


@st.composite
def axes(draw: Any, ndim: int, none: bool = True, several: bool = True) -> Any:
    """An axis, counted from either end; or None, for all; or several of them, perhaps none."""
    kinds = [*(["none"] if none or not ndim else []), *(["one"] if ndim else [])]
    kind = draw(st.sampled_from([*kinds, *(["several"] if several else [])]))
    if kind == "none":
        return None
    one = st.integers(-ndim, ndim - 1)
    if kind == "one":
        return draw(one)
    return tuple(draw(st.lists(one, unique_by=lambda a: a % ndim, max_size=ndim))) if ndim else ()
