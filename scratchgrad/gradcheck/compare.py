"""One gradient against differences: entry by entry, or along random directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scratchgrad.gradcheck.differences import Line, Slope, unit_direction
from scratchgrad.gradcheck.subject import Leaf

# An entry this much smaller than the largest of its gradient is compared on the larger's scale: the
# rounding in a difference does not know which entry it is in.
SMALL = 1e-3
# Rounding of a thousandth of what is measured leaves three digits: too few to prove anything.
DROWNED = 1e-3

MakeLine = Callable[[Sequence[tuple[np.ndarray, Any]]], Line]


@dataclass(frozen=True)
class Tolerance:
    """Step and tolerances; see ``gradcheck``. ``patient``: a smaller step where it seems wrong."""

    step: float
    rtol: float
    atol: float
    patient: bool = True

    def once(self) -> Tolerance:
        """For a gradient that is known to be wrong: no smaller steps just because it is."""
        return replace(self, patient=False)

    def of_size(self, size: float) -> Tolerance:
        """For numbers of that size: where they are below 1, what counts as nothing shrinks too.

        Not to nothing, for a zero is seldom exactly 0: 1e-14 is the rounding of numbers near 1.
        """
        return replace(self, atol=self.atol * min(1.0, size) + 1e-14)

    def allows(self, error: float, scale: float, noise: float = 0.0) -> bool:
        return error <= self.atol + self.rtol * scale + noise  # False for nan

    @property
    def floor(self) -> float:
        """Numbers below this are compared as if they were this large."""
        return self.atol / self.rtol


@dataclass
class Comparison:
    """The analytic and the numeric side of one leaf, an entry or a direction each.

    Along directions ``analytic`` and ``numeric`` hold g . d, one number a direction. ``relative``
    is the error beyond rounding, relative to the larger magnitude or, for entries much smaller
    than the rest, to a part of the rest. ``drowned``: rounding left no digit to compare.
    """

    leaf: Leaf
    elementwise: bool
    analytic: np.ndarray
    numeric: np.ndarray
    right: np.ndarray
    relative: np.ndarray
    drowned: list[tuple[int, ...]]
    kinks: list[tuple[int, ...]]
    culprit: tuple[tuple[int, ...], float, float] | None = None

    @property
    def worst(self) -> float:
        return float(self.relative.max(initial=0.0))

    def worst_entry(self) -> tuple[tuple[int, ...], float, float]:
        """Index, analytic value, numeric value."""
        if self.culprit is not None:
            return self.culprit
        index = np.unravel_index(int(np.argmax(self.relative)), self.relative.shape)
        where = tuple(int(i) for i in index)
        return where, float(self.analytic[where]), float(self.numeric[where])


def compare_leaf(
    leaf: Leaf,
    gradient: np.ndarray,
    make_line: MakeLine,
    tolerance: Tolerance,
    directions: int | None = None,
    rng: np.random.Generator | None = None,
) -> Comparison:
    """Entry by entry if ``directions`` is None, else along so many random directions."""
    if directions is None or rng is None:
        return _by_entry(leaf, gradient, make_line, tolerance)
    return _along_directions(leaf, gradient, make_line, tolerance, directions, rng)


def _by_entry(
    leaf: Leaf, gradient: np.ndarray, make_line: MakeLine, tolerance: Tolerance
) -> Comparison:
    largest = _largest(gradient)
    tolerance = tolerance.of_size(max(largest, make_line([]).whole))
    found: dict[tuple[int, ...], Slope] = {}
    for index in np.ndindex(leaf.array.shape):
        line = make_line([(leaf.array, index)])
        found[index] = _measure(line, float(gradient[index]), SMALL * largest, tolerance)
    # By now the numeric side is known too: a gradient of zeros has its scale from there.
    floor = SMALL * max(largest, _largest(np.array([f.value for f in found.values()])))
    return _judged(leaf, True, gradient, found, floor, tolerance)


def _along_directions(
    leaf: Leaf,
    gradient: np.ndarray,
    make_line: MakeLine,
    tolerance: Tolerance,
    directions: int,
    rng: np.random.Generator,
) -> Comparison:
    # g . d is about as large as the length of g, divided by the root of its size.
    floor = float(np.linalg.norm(gradient)) / max(1.0, gradient.size) ** 0.5
    tolerance = tolerance.of_size(max(floor, make_line([]).whole))
    exact = np.zeros(directions)
    found: dict[tuple[int, ...], Slope] = {}
    ways = [unit_direction(rng, leaf.array.shape) for _ in range(directions)]
    for k, d in enumerate(ways):
        exact[k] = np.sum(gradient * d)
        found[(k,)] = _measure(make_line([(leaf.array, d)]), float(exact[k]), floor, tolerance)
    comparison = _judged(leaf, False, exact, found, floor, tolerance)
    wrong = np.flatnonzero(~comparison.right)
    if wrong.size and not comparison.kinks:
        comparison.culprit = _bisect(leaf, gradient, ways[wrong[0]], make_line, tolerance)
    return comparison


def _largest(numbers: np.ndarray) -> float:
    return float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))


def _measure(line: Line, exact: float, floor: float, tolerance: Tolerance) -> Slope:
    def accept(value: float, noise: float) -> bool:
        scale = max(abs(value), abs(exact), floor)
        return not tolerance.patient or tolerance.allows(abs(value - exact), scale, noise)

    return line.slope(tolerance.step, max(floor, tolerance.floor), accept)


def _judged(
    leaf: Leaf,
    elementwise: bool,
    analytic: np.ndarray,
    found: dict[tuple[int, ...], Slope],
    floor: float,
    tolerance: Tolerance,
) -> Comparison:
    numeric, relative = np.zeros(analytic.shape), np.zeros(analytic.shape)
    right = np.zeros(analytic.shape, bool)
    drowned, kinks = [], []
    for index, measured in found.items():
        exact = float(analytic[index])
        numeric[index] = measured.value
        error = abs(exact - measured.value)
        scale = max(abs(exact), abs(measured.value), floor)
        allowed = tolerance.allows(error, scale, measured.noise)
        hidden = not allowed and measured.value == 0 and error <= measured.still
        right[index] = allowed or hidden
        beyond = max(0.0, error - measured.noise) if np.isfinite(error) else np.inf
        relative[index] = beyond / max(scale, tolerance.floor)
        if measured.kink:
            kinks.append(index)
        elif hidden or measured.noise > DROWNED * max(scale, tolerance.floor):
            drowned.append(index)
    return Comparison(leaf, elementwise, analytic, numeric, right, relative, drowned, kinks)


def _bisect(
    leaf: Leaf, gradient: np.ndarray, d: np.ndarray, make_line: MakeLine, tolerance: Tolerance
) -> tuple[tuple[int, ...], float, float]:
    """A single wrong entry, found by halving the direction: the half that is further off."""
    places = np.arange(gradient.size)
    while len(places) > 1:
        halves = np.array_split(places, 2)
        misses = []
        for half in halves:
            part = np.zeros(gradient.shape)
            part.flat[half] = d.flat[half]
            half_way = _measure(make_line([(leaf.array, part)]), np.nan, 0.0, tolerance.once())
            misses.append(abs(float(np.sum(gradient * part)) - half_way.value))
        places = halves[int(np.argmax(misses))]
    index = tuple(int(i) for i in np.unravel_index(int(places[0]), gradient.shape))
    exact = float(gradient[index])
    return index, exact, _measure(make_line([(leaf.array, index)]), exact, 0.0, tolerance).value
