"""What is asked of a gradient, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError
from scratchgrad.gradcheck.compare import Comparison, MakeLine, Tolerance, compare_leaf
from scratchgrad.gradcheck.diagnosis import Evidence, are_float32, likely_cause
from scratchgrad.gradcheck.differences import (
    SLOPE,
    Line,
    cotangent_like,
    dot_product_error,
    taylor_slope,
    unit_direction,
)
from scratchgrad.gradcheck.manners import clean_gradients, raise_if_infinite, the_same_twice
from scratchgrad.gradcheck.report import GradcheckReport, failed
from scratchgrad.gradcheck.subject import Subject, in_float64, make_subject

WORTH_ALL = 4096  # a wrong leaf of so many entries is compared whole, to tell the cause
DOT_PRODUCT = 1e-12


def gradcheck(
    fn: Any,
    inputs: list[Any] | tuple[Any, ...] = (),
    *,
    step: float = 1e-3,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    max_entries: int = 1000,
    directions: int = 8,
    seed: int = 0,
) -> GradcheckReport:
    """Prove a gradient by finite differences, or say what is wrong with it.

    In order: the function is one (called twice, it gives the same); backward with a random
    cotangent, twice, gives the same bits; nothing is written to, and no gradient shares memory
    with an input or another gradient; every entry of every gradient equals the five-point
    difference; the Taylor remainder falls as h²; and, where the function is linear in an input,
    the dot-product test holds to 1e-12.

    Parameters
    ----------
    fn : what to check
        A function of Tensors that returns a Tensor or a tuple of them; a Module, of which every
        parameter is checked too, in float64; or a pair ``(forward, vjp)`` of NumPy functions,
        ``forward(*inputs)`` and ``vjp(dy, *inputs)``, the latter giving one gradient an input
        (None where there is none; dy is a tuple if forward returns several).
    inputs : arrays or Tensors
        Float arrays must be float64. Tensors are differentiated if they require a gradient, or
        if none of the inputs does. They are moved in place and put back, so parameters that
        ``fn`` reaches by itself can be given here too. Anything else is passed as it is.
    step : h, in the unit of the inputs, and times the size of an input above 1. It shrinks by
        itself where f bends too much for it.
    rtol, atol : an entry is right if |analytic - numeric| <= atol + rtol * scale + rounding
        Scale is the larger of the two magnitudes, but at least a thousandth of that gradient's
        largest entry; atol is for values of size one, and shrinks with smaller ones; rounding is
        that of the difference, known from the outputs. Where it leaves less than three digits the
        check refuses to judge.
    max_entries : so many entries are compared one by one, smallest inputs first. Inputs beyond
        that are compared along random unit directions; the report says which.
    directions : how many, for each such input
    seed : of the random cotangent and directions

    Returns
    -------
    GradcheckReport

    Raises
    ------
    GradcheckError
        Naming the input or parameter, the index, both values, the relative error, and the likely
        cause where it can be told; the parts are in its ``.failure``. Also at a kink, where there
        is no derivative and nothing can be proved.
    DtypeError
        For float32 inputs.

    >>> import numpy as np, scratchgrad as sg
    >>> report = sg.gradcheck(sg.exp, [np.array([0.0, 1.0])])
    >>> report.entries, report.worst < 1e-7, report.linear
    (2, True, ())
    >>> pair = (np.sin, lambda dy, x: dy * np.cos(x))          # plain NumPy, no Tensor
    >>> sg.gradcheck(pair, [np.array([0.5])]).entries
    1
    """
    numbers = (step, rtol, atol, max_entries, directions, seed)
    good = all(isinstance(n, (int, float, np.number)) for n in numbers)
    if not (good and min(step, rtol) > 0 and min(atol, max_entries, seed) >= 0 and directions >= 1):
        raise ConfigError(
            "gradcheck: expected step and rtol above 0, atol, max_entries and seed of 0 or more "
            f"and directions of 1 or more, received {step}, {rtol}, {atol}, {max_entries}, "
            f"{seed} and {directions}"
        )
    if not isinstance(inputs, (list, tuple)):
        raise ConfigError(
            f"gradcheck: expected a list of inputs, received {type(inputs).__name__}; for a "
            "single input x write [x]"
        )
    tolerance = Tolerance(step, rtol, atol)
    # What is not finite is told by the check, in words, and not by NumPy's warnings.
    with in_float64(fn), np.errstate(all="ignore"):
        return _check(make_subject(fn, inputs), tolerance, max_entries, directions, seed)


def _check(
    subject: Subject, tolerance: Tolerance, max_entries: int, directions: int, seed: int
) -> GradcheckReport:
    rng = np.random.default_rng(seed)
    raise_if_infinite(subject)
    centre = the_same_twice(subject)
    cotangents = [cotangent_like(rng, y.shape) for y in centre]
    analytic = clean_gradients(subject, cotangents)

    line = _lines(subject, cotangents, centre)
    by_entry = _affordable([leaf.array.size for leaf in subject.leaves], max_entries)
    comparisons = [
        compare_leaf(leaf, g, line, tolerance, None if i in by_entry else directions, rng)
        for i, (leaf, g) in enumerate(zip(subject.leaves, analytic, strict=True))
    ]
    if not all(c.right.all() and not c.kinks for c in comparisons):
        _raise_if_value_is_narrow(subject, centre)
    _raise_at_a_kink(subject, comparisons)
    _raise_if_drowned(subject, comparisons, centre)
    _raise_if_wrong(subject, comparisons, analytic, cotangents, centre, tolerance)
    _raise_if_narrow(subject, comparisons, analytic)
    linear = _dot_product_test(subject, analytic, line, rng)
    slope = _taylor_test(subject, analytic, line, rng)
    return GradcheckReport(
        name=subject.name,
        entries=sum(c.numeric.size for c in comparisons),
        worst=max(c.worst for c in comparisons),
        elementwise=tuple(c.leaf.name for c in comparisons if c.elementwise),
        directions=tuple(c.leaf.name for c in comparisons if not c.elementwise),
        slope=slope,
        linear=linear,
    )


def _lines(
    subject: Subject, cotangents: Sequence[np.ndarray], centre: Sequence[np.ndarray]
) -> MakeLine:
    return lambda moves: Line(subject.outputs, cotangents, centre, moves)


def _affordable(sizes: Sequence[int], max_entries: int) -> set[int]:
    """The leaves that are compared entry by entry: the smallest first, while the budget lasts."""
    chosen = set()
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        max_entries -= sizes[i]
        if max_entries < 0:
            break
        chosen.add(i)
    return chosen


# ------------------------------------------------------------------------------ the comparison


def _raise_if_value_is_narrow(subject: Subject, centre: Sequence[np.ndarray]) -> None:
    if are_float32(centre) and not are_float32([leaf.array for leaf in subject.leaves]):
        whole = all(np.array_equal(y, np.round(y)) for y in centre)  # of an argmax, a floor
        if not whole:
            raise failed(
                "dtype",
                subject.name,
                "the outputs are exact float32 numbers: something inside computes in float32, and "
                "moves in steps where it should move smoothly",
            )


def _raise_at_a_kink(subject: Subject, comparisons: Sequence[Comparison]) -> None:
    for c in comparisons:
        if c.kinks:
            here = f"index {c.kinks[0]}" if c.elementwise else "a random direction"
            raise failed(
                "kink",
                subject.name,
                f"not differentiable here: {c.leaf.name}, {here}, lies on a kink or a jump "
                f"({len(c.kinks)} of {c.numeric.size} do), where no gradient is right or wrong; "
                "move the input away from it",
                where=c.leaf.name,
                index=c.kinks[0] if c.elementwise else None,
            )


def _raise_if_drowned(
    subject: Subject, comparisons: Sequence[Comparison], centre: Sequence[np.ndarray]
) -> None:
    for c in comparisons:
        if c.drowned and c.right[c.drowned[0]]:  # else it is wrong by more than rounding
            largest = max(float(np.abs(y).max(initial=0.0)) for y in centre)
            raise failed(
                "value",
                subject.name,
                f"{c.leaf.name}, index {c.drowned[0]}: the outputs are so large (about "
                f"{largest:.0e}) that rounding hides how they change; take away what is constant, "
                "or check at smaller values",
                where=c.leaf.name,
                index=c.drowned[0],
            )


def _raise_if_wrong(
    subject: Subject,
    comparisons: Sequence[Comparison],
    analytic: Sequence[np.ndarray],
    cotangents: Sequence[np.ndarray],
    centre: Sequence[np.ndarray],
    tolerance: Tolerance,
) -> None:
    wrong = [i for i, c in enumerate(comparisons) if not c.right.all()]
    if not wrong:
        return
    i = max(wrong, key=lambda i: comparisons[i].worst)
    c = comparisons[i]

    def with_cotangents(others: Sequence[np.ndarray]) -> np.ndarray:
        return subject.gradients(others)[i]

    def numeric_with(others: Sequence[np.ndarray]) -> np.ndarray:
        line = _lines(subject, others, centre)
        return compare_leaf(c.leaf, analytic[i], line, tolerance.once()).numeric

    others = {
        o.leaf.name: (o.numeric, bool(o.right.all()))
        for j, o in enumerate(comparisons)
        if j != i and o.elementwise
    }
    seen = c
    if not c.elementwise and c.leaf.array.size <= WORTH_ALL:
        line = _lines(subject, cotangents, centre)
        seen = compare_leaf(c.leaf, analytic[i], line, tolerance.once())
    evidence = Evidence(
        seen.analytic,
        seen.numeric,
        seen.right,
        c.leaf.array if seen.elementwise else None,
        others,
        centre,
        cotangents,
        with_cotangents,
        numeric_with,
    )
    cause = likely_cause(evidence)
    index, exact, numeric = c.worst_entry()
    relative = _relative(exact, numeric)
    kinds = {o.elementwise for o in comparisons}
    unit = "entries" if kinds == {True} else "directions" if kinds == {False} else "comparisons"
    message = (
        f"{sum(int((~o.right).sum()) for o in comparisons)} of "
        f"{sum(o.numeric.size for o in comparisons)} {unit} are wrong; the worst is "
        f"{c.leaf.name}, index {index}: analytic {exact:.10g}, numeric {numeric:.10g}, relative "
        f"error {relative:.1e}"
    )
    also = [comparisons[j].leaf.name for j in wrong if j != i]
    right = [o.leaf.name for o in comparisons if o.right.all()]
    if also:
        message += f"; {', '.join(also)} {'are' if len(also) > 1 else 'is'} wrong too"
    if right:
        message += f"; {', '.join(right)} {'are' if len(right) > 1 else 'is'} right"
    raise failed(
        "gradient",
        subject.name,
        message,
        where=c.leaf.name,
        index=index,
        analytic=exact,
        numeric=numeric,
        relative=relative,
        cause=cause,
    )


def _raise_if_narrow(
    subject: Subject, comparisons: Sequence[Comparison], analytic: Sequence[np.ndarray]
) -> None:
    """A gradient in which all digits after the seventh are zero is within no tolerance's reach."""
    for c, g in zip(comparisons, analytic, strict=True):
        more_than_rounding = float(np.abs(g).max(initial=0.0)) > 1e-9
        if more_than_rounding and are_float32([g]) and not are_float32([c.numeric]):
            raise failed(
                "dtype",
                subject.name,
                f"the gradient of {c.leaf.name} holds float32 numbers only, in float64: something "
                "in the backward narrows it (an astype, an array made without a dtype)",
                where=c.leaf.name,
            )


def _relative(exact: float, numeric: float) -> float:
    scale = max(abs(exact), abs(numeric))
    return abs(exact - numeric) / scale if np.isfinite(scale) and scale else float("inf")


# ------------------------------------------------------------------- the two finer tests


def _dot_product_test(
    subject: Subject, analytic: Sequence[np.ndarray], line: MakeLine, rng: np.random.Generator
) -> tuple[str, ...]:
    linear = []
    for leaf, g in zip(subject.leaves, analytic, strict=True):
        # As long as the leaf is large: else a large x moves too little to show that f bends.
        size = max(1.0, float(np.abs(leaf.array).mean())) if leaf.array.size else 1.0
        d = size * cotangent_like(rng, leaf.array.shape)
        along, scale = float(np.sum(g * d)), float(np.abs(g * d).sum())
        error = dot_product_error(line([(leaf.array, d)]), along, scale)
        if error is None:
            continue
        if not error <= DOT_PRODUCT:
            raise failed(
                "dot-product",
                subject.name,
                f"the function is linear in {leaf.name}, yet <J d, c> and <d, Jᵀ c> differ by "
                f"{error:.1e} relative to their terms (expected {DOT_PRODUCT:.0e} or less)",
                where=leaf.name,
                relative=error,
            )
        if leaf.array.size:
            linear.append(leaf.name)
    return tuple(linear)


def _taylor_test(
    subject: Subject, analytic: Sequence[np.ndarray], line: MakeLine, rng: np.random.Generator
) -> float | None:
    size = max(1, sum(leaf.array.size for leaf in subject.leaves))
    # One unit direction through all leaves together.
    parts = [
        unit_direction(rng, leaf.array.shape) * (leaf.array.size / size) ** 0.5
        for leaf in subject.leaves
    ]
    moves = [(leaf.array, d) for leaf, d in zip(subject.leaves, parts, strict=True)]
    along = sum(float(np.sum(g * d)) for g, d in zip(analytic, parts, strict=True))
    scale = sum(float(np.abs(g * d).sum()) for g, d in zip(analytic, parts, strict=True))
    pairs = zip(subject.leaves, analytic, strict=True)
    rounded = sum(float(np.abs(g * leaf.array).sum()) for leaf, g in pairs)
    slope, share = taylor_slope(line(moves), along, scale, rounded)
    if slope is not None and slope < SLOPE:
        raise failed(
            "taylor",
            subject.name,
            "every entry is within the tolerance, but |f(x + hd) - f(x) - h g.d| falls as h to "
            f"the power {slope:.2f} and not 2: some of the gradient is off by little (about "
            f"{share:.1e} along a random direction)",
            relative=share / max(scale, np.finfo(np.float64).tiny),
        )
    return slope
