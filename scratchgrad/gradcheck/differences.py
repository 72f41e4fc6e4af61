"""The numeric side: how y . c really changes when a leaf is moved.

Five points, f(x - 2h) to f(x + 2h), give two central differences, D(h) and D(2h). Their errors are
h² f'''/6 and four times that, so (4 D(h) - D(2h)) / 3 is free of it: with h = 1e-3 an error of
order h⁴ is left, and rounding, eps / h, is 1000 times less than with the usual h = 1e-6.

The same five points tell a kink. Those of a smooth function lie on a cubic but for h⁴ f''''; at a
kink they miss it by h times the jump of the slope. So the fourth difference divided by h falls
with h³ for a smooth function and stays for a kink.

Source: the five-point formula, Abramowitz and Stegun (1964), table 25.2; the idea of telling kinks
from the fit of five points, chainer's gradient_check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SHRINK = 10.0
RUNGS = 12  # h, h/10, h/100, ...: as long as rounding does not drown the change
EPS = float(np.finfo(np.float64).eps)
STEADY = 1e-5  # two central differences that agree so well leave an error far below 1e-7
SLOPE = 1.8  # of a Taylor remainder that counts as 2: the third order shifts it a little
KINK = 1e-2  # a jump of the slope smaller than this part of the slope is not seen

Outputs = Callable[[], list[np.ndarray]]


@dataclass(frozen=True)
class Slope:
    """A numeric derivative; nan where none could be formed.

    ``noise`` is what the rounding of the outputs may add, ``still`` what that of outputs which
    did not move at all may hide.
    """

    value: float
    noise: float = 0.0
    still: float = 0.0
    kink: bool = False


# What is asked of f at x - 2h, x - h, x, x + h, x + 2h, each still to be divided by h: D(h), D(2h),
# the fourth difference, and the slopes of the two sides.
_QUESTIONS = np.array(
    [
        [0, -1 / 2, 0, 1 / 2, 0],
        [-1 / 4, 0, 0, 0, 1 / 4],
        [1, -4, 6, -4, 1],
        [0, -1, 1, 0, 0],
        [0, 0, -1, 1, 0],
    ]
)


class Line:
    """y . c along a line through the leaves: x + s d, for a number s.

    ``centre`` are the outputs at x. ``moves`` are pairs (array, d), d an array of the same shape,
    or an index: one entry alone.
    """

    def __init__(
        self,
        outputs: Outputs,
        cotangents: Sequence[np.ndarray],
        centre: Sequence[np.ndarray],
        moves: Sequence[tuple[np.ndarray, np.ndarray | tuple[int, ...]]],
    ) -> None:
        self.outputs = outputs
        self.c = flat(cotangents)
        self.centre = flat(centre)
        self.moves = moves

    def at(self, s: float) -> np.ndarray:
        """All outputs at x + s d in one row; the leaves are put back bit for bit."""
        kept = []
        try:
            for array, d in self.moves:
                if isinstance(d, tuple):
                    kept.append(array[d])
                    array[d] += s
                else:
                    kept.append(array.copy())
                    array += s * d
            return flat(self.outputs())
        finally:
            for (array, d), old in zip(self.moves, kept, strict=False):
                array[d if isinstance(d, tuple) else ...] = old

    @property
    def whole(self) -> float:
        """The size of y . c: the sum of |y c|."""
        return self.size(self.centre)

    def _magnitude(self) -> float:
        """Of what is moved, if above 1: steps grow with it."""
        array, d = self.moves[0]
        return max(1.0, float(np.abs(array[d] if isinstance(d, tuple) else array).mean()))

    def _representable(self, h: float) -> float:
        """A step as near to h as x allows, for x + h is rounded; 0 if x is too large for it."""
        array, d = self.moves[0]
        return float((array[d] + h) - array[d]) if isinstance(d, tuple) else h

    def combine(self, *terms: tuple[float, np.ndarray]) -> float:
        """(sum of a weight times outputs) . c. Entries that do not move cancel before the sum."""
        return float(sum(w * y for w, y in terms) @ self.c)

    def size(self, y: np.ndarray) -> float:
        """The sum of |y c|: what the rounding of y . c is relative to."""
        return float(np.abs(y) @ np.abs(self.c))

    def slope(self, step: float, floor: float, accept: Callable[[float, float], bool]) -> Slope:
        """The derivative at s = 0, along one leaf.

        The step shrinks until the two central differences agree well, no kink is in sight, and
        the value is one that the caller accepts; if no step does it all, the surest value is
        returned, and a kink is reported if it was in sight at the smallest steps too.

        ``floor`` is the size below which a derivative counts as zero; ``accept`` is asked about a
        value and its noise.
        """
        found: list[tuple[float, float, float]] = []  # (how unsure, value, noise)
        kinks: list[bool] = []
        magnitude, sizes, still = self._magnitude(), np.abs(self.centre * self.c), 0.0
        for rung in range(RUNGS + math.ceil(math.log10(magnitude))):
            h = self._representable(magnitude * step / SHRINK**rung)
            if h == 0:
                break
            a, b, d, e = (self.at(k * h) for k in (-2, -1, 1, 2))
            moved = (a != b) | (b != d) | (d != e)
            points = np.stack([a, b, self.centre, d, e])[:, moved]
            answers = _QUESTIONS @ points @ self.c[moved] / h
            near, far, bend, left, right = answers.tolist()
            if not (math.isfinite(near) and math.isfinite(far)):
                continue
            value = (4 * near - far) / 3
            scale = max(abs(near), abs(far), floor)
            noise = 4 * EPS * float(sizes[moved].sum()) / h
            if not found:
                still = 4 * EPS * float(sizes[~moved].max(initial=0.0)) / h
            unsure = abs(near - far)
            # A jump that is odd about x leaves the fourth difference 0, but not these two alike.
            bent = max(abs(bend), unsure) - 4 * noise
            kinks.append(bent > KINK * max(scale, abs(left), abs(right)))
            if found:
                unsure = min(unsure, abs(value - found[-1][1]))
            found.append((unsure + noise, value, noise))
            # With the noise of the longest step: that of shorter ones would excuse anything.
            if unsure <= STEADY * scale and not kinks[-1] and accept(value, found[0][2]):
                return Slope(value, noise, still)
            if rung >= 3 and noise > STEADY * scale:
                break  # smaller steps show more rounding, not more of f
        if not found:
            return Slope(math.nan)
        _, value, noise = min(found)
        return Slope(value, noise, still, kink=all(kinks[-2:]))


def flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All their numbers in one row."""
    if len(arrays) == 1:
        return arrays[0].ravel()
    return np.concatenate([a.ravel() for a in arrays])


def unit_direction(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A random direction of length 1, no component of which is near zero.

    A component near zero would hide a wrong entry.
    """
    return cotangent_like(rng, shape) / math.sqrt(max(1.0, math.prod(shape)))


def cotangent_like(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of either sign, from 0.5 to 1.5 in size: never near zero, never all alike."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


# ---------------------------------------------------------------------------------- Taylor test


def taylor_slope(
    line: Line, derivative: float, scale: float, rounded: float
) -> tuple[float | None, float]:
    """How fast |f(x + h d) - f(x) - h g . d| falls, as a power of h; and g . d's share of it.

    With the right g the rest begins with h² f''/2: the power is 2, or more where f'' is zero. A
    wrong g leaves h times its error, which wins as h falls: 1. So does a kink between x and
    x + h d, but it is gone once h is shorter than the way there. None: the rest is only rounding,
    so f is linear along d and g . d is right.

    ``scale`` is the size of the single terms of g . d, of which 1e-9 is taken for rounding, and
    ``rounded`` that of the terms of g . x, for x + h d is rounded too.
    """
    noise = 200 * EPS * max(line.size(line.centre) + rounded, 1e-3)
    points: list[tuple[float, float]] = []
    slope = None
    for k in range(13):  # h = 1e-2 to 6e-10; beyond the sixth only on suspicion
        h = 1e-2 / 4**k
        rest = abs(line.combine((1, line.at(h)), (-1, line.centre)) - h * derivative)
        if not math.isfinite(rest):
            continue
        if rest <= max(noise, 1e-9 * h * scale):
            if slope is not None and slope < SLOPE and points[-1][1] / 4 > 4 * noise:
                return None, 0.0  # gone all at once: what was left was a kink further off
            break
        points.append((h, rest))
        if len(points) > 1:
            (h1, r1), (h2, r2) = points[-2:]
            slope = math.log(r1 / r2) / math.log(h1 / h2)
            if k >= 5 and slope >= SLOPE:
                break
    return slope, points[-1][1] / points[-1][0] if points else 0.0


# ------------------------------------------------------------------------------ dot-product test


def dot_product_error(line: Line, gradient_along: float, scale: float) -> float | None:
    """|<J d, c> - <d, Jᵀ c>| relative to the size of their terms; None where f is not linear.

    For a linear f the step may be as long as d itself, so that no small difference is divided by a
    small h, and the two sides agree to rounding: twelve digits and more.
    """
    try:
        forth, back, half = line.at(1.0), line.at(-1.0), line.at(0.5)
    except (ArithmeticError, ValueError, IndexError):
        return None  # so long a step left the domain of f: then it is not linear
    size = max(line.size(ys) for ys in (forth, back, line.centre))
    bent = abs(line.combine((1, forth), (1, back), (-2, line.centre)))
    bent += abs(line.combine((1, forth), (-2, half), (1, line.centre)))
    if not bent <= 1e-13 * size:
        return None
    along = line.combine((0.5, forth), (-0.5, back))
    return abs(along - gradient_along) / max(scale, size, 1e-3)  # rounding of nothing is no error
