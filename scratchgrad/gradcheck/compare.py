"""One gradient against differences: entry by entry, or along random directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scratchgrad.gradcheck.differences import Line, unit_direction
from scratchgrad.gradcheck.subject import Leaf

# An entry this much smaller than the largest of its gradient is compared on the larger's scale: the
# rounding in a difference does not know which entry it is in.
SMALL = 1e-3

MakeLine = Callable[[Sequence[tuple[np.ndarray, Any]]], Line]


@dataclass(frozen=True)
class Tolerance:
    """Step and tolerances; see ``gradcheck``."""

    step: float
    rtol: float
    atol: float
    patient: bool = True

    def once(self) -> Tolerance:
        """For a gradient that is known to be wrong: no smaller steps just because it is."""
        return replace(self, patient=False)

    def allows(self, error: float, scale: float) -> bool:
        return error <= self.atol + self.rtol * scale  # False for nan

    def relative(self, error: float, scale: float) -> float:
        if not np.isfinite(error):
            return float("inf")
        return float(error / max(scale, self.atol / self.rtol))


@dataclass
class Comparison:
    """The analytic and the numeric side of one leaf, an entry or a direction each.

    Along directions ``analytic`` and ``numeric`` hold g . d, one number a direction.
    """

    leaf: Leaf
    elementwise: bool
    analytic: np.ndarray
    numeric: np.ndarray
    right: np.ndarray
    relative: np.ndarray
    kinks: list[tuple[int, ...]] = field(default_factory=list)
    culprit: tuple[tuple[int, ...], float, float, float] | None = None

    @property
    def worst(self) -> float:
        return float(self.relative.max(initial=0.0))

    def worst_entry(self) -> tuple[tuple[int, ...], float, float, float]:
        """Index, analytic value, numeric value, relative error."""
        if self.culprit is not None:
            return self.culprit
        index = np.unravel_index(int(np.argmax(self.relative)), self.relative.shape)
        where = tuple(int(i) for i in index)
        return (
            where,
            float(self.analytic[where]),
            float(self.numeric[where]),
            float(self.relative[where]),
        )


def compare_leaf(
    leaf: Leaf,
    gradient: np.ndarray,
    make_line: MakeLine,
    tolerance: Tolerance,
    directions: int | None,
    rng: np.random.Generator | None,
) -> Comparison:
    """Entry by entry if ``directions`` is None, else along so many random directions."""
    if directions is None or rng is None:
        return _by_entry(leaf, gradient, make_line, tolerance)
    return _along_directions(leaf, gradient, make_line, tolerance, directions, rng)


def _by_entry(
    leaf: Leaf, gradient: np.ndarray, make_line: MakeLine, tolerance: Tolerance
) -> Comparison:
    numeric = np.zeros(leaf.array.shape)
    kinks = []
    largest = float(np.abs(gradient[np.isfinite(gradient)]).max(initial=0.0))
    for index in np.ndindex(leaf.array.shape):
        exact = float(gradient[index])
        found = _measure(make_line([(leaf.array, index)]), exact, SMALL * largest, tolerance)
        numeric[index] = found.value
        if found.kink:
            kinks.append(index)
    # By now the numeric side is known too: a gradient of zeros has its scale from there.
    floor = SMALL * max(largest, float(np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0)))
    return _judged(leaf, True, gradient, numeric, floor, tolerance, kinks)


def _along_directions(
    leaf: Leaf,
    gradient: np.ndarray,
    make_line: MakeLine,
    tolerance: Tolerance,
    directions: int,
    rng: np.random.Generator,
) -> Comparison:
    exact, numeric = np.zeros(directions), np.zeros(directions)
    kinks: list[tuple[int, ...]] = []
    # g . d is about as large as the length of g, divided by the root of its size.
    floor = float(np.linalg.norm(gradient)) / max(1.0, gradient.size) ** 0.5
    failing = None
    for k in range(directions):
        d = unit_direction(rng, leaf.array.shape)
        exact[k] = np.sum(gradient * d)
        found = _measure(make_line([(leaf.array, d)]), float(exact[k]), floor, tolerance)
        numeric[k] = found.value
        if found.kink:
            kinks.append((k,))
        elif failing is None and not tolerance.allows(
            abs(exact[k] - numeric[k]), max(abs(exact[k]), abs(numeric[k]), floor)
        ):
            failing = d
    comparison = _judged(leaf, False, exact, numeric, floor, tolerance, kinks)
    if failing is not None and not kinks:
        comparison.culprit = _bisect(leaf, gradient, failing, make_line, tolerance)
    return comparison


def _measure(line: Line, exact: float, floor: float, tolerance: Tolerance) -> Any:
    def accept(value: float) -> bool:
        scale = max(abs(value), abs(exact), floor)
        return not tolerance.patient or tolerance.allows(abs(value - exact), scale)

    return line.slope(tolerance.step, max(floor, tolerance.atol / tolerance.rtol), accept)


def _judged(
    leaf: Leaf,
    elementwise: bool,
    analytic: np.ndarray,
    numeric: np.ndarray,
    floor: float,
    tolerance: Tolerance,
    kinks: list[tuple[int, ...]],
) -> Comparison:
    with np.errstate(invalid="ignore"):
        error = np.abs(analytic - numeric)
        scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), floor)
    right = np.zeros(numeric.shape, bool)
    relative = np.zeros(numeric.shape)
    for index in np.ndindex(numeric.shape):
        right[index] = tolerance.allows(float(error[index]), float(scale[index]))
        relative[index] = tolerance.relative(float(error[index]), float(scale[index]))
    return Comparison(leaf, elementwise, analytic, numeric, right, relative, kinks)


def _bisect(
    leaf: Leaf, gradient: np.ndarray, d: np.ndarray, make_line: MakeLine, tolerance: Tolerance
) -> tuple[tuple[int, ...], float, float, float]:
    """A single wrong entry, found by halving the direction: the half that is further off."""
    places = np.arange(gradient.size)
    while len(places) > 1:
        halves = np.array_split(places, 2)
        misses = []
        for half in halves:
            part = np.zeros(gradient.shape)
            part.flat[half] = d.flat[half]
            found = _measure(make_line([(leaf.array, part)]), np.nan, 0.0, tolerance.once())
            misses.append(abs(float(np.sum(gradient * part)) - found.value))
        places = halves[int(np.argmax(misses))]
    index = tuple(int(i) for i in np.unravel_index(int(places[0]), gradient.shape))
    exact = float(gradient[index])
    numeric = _measure(make_line([(leaf.array, index)]), exact, 0.0, tolerance).value
    error = abs(exact - numeric)
    return index, exact, numeric, tolerance.relative(error, max(abs(exact), abs(numeric)))
