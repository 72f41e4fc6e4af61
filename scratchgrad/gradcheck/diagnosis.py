"""What the shape of a wrong gradient says of its cause.

Each test compares the whole analytic gradient A with the numeric one N and knows one mistake that
people make. The first that explains A is named; if none does, nothing is said: a guess that is
wrong would cost more than it helps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

CLOSE = 1e-5


@dataclass(frozen=True)
class Evidence:
    """All that is known when a gradient is wrong.

    Attributes
    ----------
    analytic, numeric : the gradient of the leaf, both ways
    right : where the two agree
    leaf : the value of the leaf; None if analytic and numeric are along directions
    others : numeric gradients of the other leaves, by name, and whether those are right
    outputs, cotangents : of the whole function
    with_cotangents : the analytic gradient for other cotangents
    numeric_with : the numeric gradient for other cotangents
    """

    analytic: np.ndarray
    numeric: np.ndarray
    right: np.ndarray
    leaf: np.ndarray | None
    others: dict[str, tuple[np.ndarray, bool]]
    outputs: Sequence[np.ndarray]
    cotangents: Sequence[np.ndarray]
    with_cotangents: Callable[[Sequence[np.ndarray]], np.ndarray]
    numeric_with: Callable[[Sequence[np.ndarray]], np.ndarray]


def likely_cause(evidence: Evidence) -> str:
    """The first cause that explains the evidence, or nothing."""
    of_any = (_not_a_number, _zero, _factor)
    of_entries = (
        _ignores_dy,
        _factor,
        _mask_missing,
        _of_another,
        _pointwise_factor,
        _transposed,
        _one_slice_for_the_sum,
        _term_missing,
        _overwritten,
        _narrow,
        _one_place,
    )
    tests = of_any if evidence.leaf is None else (_not_a_number, _zero, *of_entries)
    for test in tests:
        cause = test(evidence)
        if cause:
            return cause
    return ""


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    size = max(float(np.abs(b).max(initial=0.0)), 1e-300)
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= CLOSE * size))


def _explains(e: Evidence, candidate: np.ndarray) -> bool:
    """Whether A is the candidate, there too where A and N are small."""
    if not _same(e.analytic, candidate):
        return False
    wrong = ~e.right
    left, error = np.abs(e.analytic - candidate)[wrong], np.abs(e.analytic - e.numeric)[wrong]
    return bool(np.all(left <= 0.01 * error))


def _not_a_number(e: Evidence) -> str:
    if np.isnan(e.numeric).any():
        return (
            "the function is not finite a small step away: the input lies on the border of its "
            "domain, where there is no derivative"
        )
    bad = int((~np.isfinite(e.analytic)).sum())
    if bad:
        return f"the backward gives nan or inf for {bad} of {e.analytic.size} entries"
    return ""


def _zero(e: Evidence) -> str:
    if not e.analytic.any():
        return (
            "zero: no gradient arrives here; the path is cut (by .data, .detach, no_grad), or the "
            "gradient is lost on its way"
        )
    if not e.numeric.any():
        return "the function does not change with this input at all, so its gradient is zero"
    return ""


def _factor(e: Evidence) -> str:
    """A = k N: the formula is right but for a constant."""
    a, n = e.analytic.ravel(), e.numeric.ravel()
    k = float(a @ n / (n @ n))
    # It must explain the error, not only come near: rounding is no factor of 1.0000001.
    if a.size < 2 or abs(k) < 1e-12 or not _explains(e, k * e.numeric):
        return ""
    said = f"off by a constant factor: the gradient is {k:.9g} times what it should be"
    return said + _explained(k, e)


def _explained(k: float, e: Evidence) -> str:
    def near(value: float) -> bool:
        return abs(k - value) <= 1e-6 * abs(value)

    if near(-1):
        return ", the sign is turned"
    if near(2) or near(0.5):
        return " (a 2 or 1/2 from a derivative, or counted twice or half?)"
    arrays = [*e.outputs, *([] if e.leaf is None else [e.leaf])]
    sizes = sorted({n for y in arrays for n in (*y.shape, y.size) if n > 1})
    for n in sizes:
        for value, words in (
            (n, f"{n}, a size here: a mean in the forward taken for a sum"),
            (1 / n, f"1/{n}, a size here: a mean where a sum belongs, or a lost factor of {n}"),
            (n**0.5, f"sqrt({n}), a size here: a scale of 1/sqrt({n}) is missing"),
            (n**-0.5, f"1/sqrt({n}), a size here: that scale is applied once too often"),
        ):
            if near(value):
                return f" ({words}?)"
    return ""


def _leaf(e: Evidence) -> np.ndarray:
    """The leaf, where entries are compared."""
    return e.analytic if e.leaf is None else e.leaf


def _mask_missing(e: Evidence) -> str:
    """Wrong entries that do not matter at all, or that matter and get nothing."""
    wrong = ~e.right
    if not e.right.any():
        return ""
    if (np.abs(e.numeric[wrong]) <= 1e-3 * np.abs(e.analytic[wrong])).all():
        return (
            "a mask is missing: the function does not depend on the wrong entries, and their "
            "gradient should be zero"
        )
    if not e.analytic[wrong].any():
        return "masked too much: the gradient is zero at entries on which the function depends"
    return ""


def _pointwise_factor(e: Evidence) -> str:
    """A = N times or divided by the output, or the input: an outer factor of the formula."""
    leaf = _leaf(e)
    bases = [("the output", y) for y in e.outputs if y.shape == leaf.shape]
    for words, b in [*bases, ("the input", leaf)]:
        if b.size < 2 or not b.all():
            continue
        if _explains(e, e.numeric / b):
            return f"a factor is missing: every entry should be multiplied by {words}"
        if _explains(e, e.numeric * b):
            return f"a factor too much: every entry should be divided by {words}"
    return ""


def _ignores_dy(e: Evidence) -> str:
    doubled = e.with_cotangents([2 * c for c in e.cotangents])
    if np.array_equal(doubled, e.analytic):
        return "the backward does not use dy"
    if not _same(doubled, 2 * e.analytic):
        return "the backward is not linear in dy: twice the dy must give twice the gradient"
    return ""


def _of_another(e: Evidence) -> str:
    for name, (numeric, right) in e.others.items():
        if e.analytic.shape == numeric.shape and _explains(e, numeric):
            which = "given for both" if right else "the two are swapped"
            return f"this is the gradient of {name}: {which}"
    return ""


def _transposed(e: Evidence) -> str:
    n = e.numeric
    if not 2 <= n.ndim <= 5:
        return ""
    for axes in itertools.permutations(range(n.ndim)):
        turned = n.transpose(axes)
        if axes == tuple(range(n.ndim)):
            continue
        if turned.shape == n.shape and _explains(e, turned):
            return f"transposed: this is the right gradient with its axes in the order {axes}"
        if turned.shape != n.shape and _explains(e, turned.reshape(n.shape)):
            return f"transposed to the order {axes} and then reshaped into place, which hides it"
    return ""


def _slices(e: Evidence) -> Iterator[tuple[int, int, int, list[np.ndarray]]]:
    """Cotangents that are zero but for the first, or last, place on one axis of one output."""
    for i, c in enumerate(e.cotangents):
        for axis, n in enumerate(c.shape):
            for place in (0, n - 1) if 1 < n <= 64 else ():
                masked = [np.zeros_like(other) for other in e.cotangents]
                here = (slice(None),) * axis + (place,)
                masked[i][here] = c[here]
                yield i, axis, place, masked


def _one_slice_for_the_sum(e: Evidence) -> str:
    """A leaf that is used many times over, of which the backward counts one use."""
    if e.analytic.size > 64:
        return ""
    for i, axis, place, masked in _slices(e):
        if _explains(e, e.numeric_with(masked)):
            return (
                f"missing sum over axis {axis} of output {i}: only index {place} of that axis is "
                "counted; what is broadcast or used many times gets the sum of all its gradients"
            )
    return ""


def _term_missing(e: Evidence) -> str:
    """A - N is, along one axis, a constant, or a constant times the output or the input."""
    difference, leaf = e.analytic - e.numeric, _leaf(e)
    ones = np.ones_like(leaf)
    like = [y for y in e.outputs if y.shape == leaf.shape]
    bases = [
        ("something constant", [ones]),
        *(("the output times something constant", [y]) for y in like),
        ("the input times something constant", [leaf]),
        ("the input times a constant, plus another", [ones, leaf]),
    ]
    for words, basis in bases:
        for axis, n in enumerate(leaf.shape):
            # As many lines as may not fit by chance: longer than the basis has members.
            if n > len(basis) + (leaf.size == n) and _spanned(difference, basis, axis):
                return (
                    f"a term is missing or too much: the error is {words} along axis {axis}, as "
                    "when a sum or a mean over that axis is left out (softmax, a norm)"
                )
    return ""


def _spanned(difference: np.ndarray, basis: list[np.ndarray], axis: int) -> bool:
    """Whether on each line along the axis the difference is a combination of the basis."""
    lines = np.moveaxis(difference, axis, -1).reshape(-1, difference.shape[axis])
    columns = [np.moveaxis(b, axis, -1).reshape(lines.shape) for b in basis]
    for i, line in enumerate(lines):
        a = np.stack([c[i] for c in columns], axis=1)
        fit = a @ np.linalg.lstsq(a, line, rcond=None)[0]
        if np.abs(line - fit).max() > 1e-5 * max(np.abs(difference).max(), 1e-300):
            return False
    return True


def _overwritten(e: Evidence) -> str:
    """Wrong entries hold one value of dy, where several belong."""
    wrong = ~e.right
    if not e.right.any() and any(y.shape == _leaf(e).shape for y in e.outputs):
        return ""  # each entry is used once: it is dy itself that came back
    dys = np.concatenate([c.ravel() for c in e.cotangents])
    found = np.isin(e.analytic[wrong], dys)
    if found.all() and not np.isclose(e.numeric[wrong][:, None], dys, rtol=1e-6).any():
        return (
            "the wrong entries hold one value of dy where several add up: written in place of "
            "added (an index that occurs twice needs np.add.at)"
        )
    return ""


def are_float32(arrays: Sequence[np.ndarray]) -> bool:
    """Whether all numbers are float32 numbers, kept in float64."""
    return all(np.array_equal(a, a.astype(np.float32)) for a in arrays)


def _narrow(e: Evidence) -> str:
    if np.abs(e.analytic - e.numeric).max() > 1e-4 * np.abs(e.numeric).max(initial=0.0):
        return ""
    if are_float32([e.analytic]) or are_float32(e.outputs):
        return "something inside computes in float32: all digits after the seventh are lost"
    return ""


def _one_place(e: Evidence) -> str:
    """All wrong entries share one index on an axis, or all lie in one entry."""
    where = np.argwhere(~e.right)
    if len(where) in (0, e.right.size):
        return ""
    for axis in range(e.right.ndim):
        places = set(where[:, axis].tolist())
        n = e.right.shape[axis]
        if len(places) == 1 and n > 1 and len(where) > 1:
            return f"only index {places.pop()} of axis {axis} is wrong: look at that border"
    return ""
