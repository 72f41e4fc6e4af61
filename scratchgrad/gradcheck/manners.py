"""What a function and its backward must and must not do, before any difference is taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scratchgrad.gradcheck.report import failed
from scratchgrad.gradcheck.subject import Subject


def raise_if_infinite(subject: Subject) -> None:
    for leaf in subject.leaves:
        if not np.isfinite(leaf.array).all():
            index = tuple(int(k) for k in np.argwhere(~np.isfinite(leaf.array))[0])
            raise failed(
                "value",
                subject.name,
                f"{leaf.name} is {leaf.array[index]} at index {index}, and cannot be moved; a "
                "constant, such as a mask, belongs inside the function and not among the inputs",
                where=leaf.name,
                index=index,
            )


def the_same_twice(subject: Subject) -> list[np.ndarray]:
    """The outputs, of a function that has the same ones at every call and writes to no input."""
    before = [(label, x.copy()) for label, x in subject.watched()]
    once, again = subject.outputs(), subject.outputs()
    _raise_if_written(subject, before, "the function")
    if len(once) != len(again) or not all(map(_same_bits, once, again)):
        raise failed(
            "nondeterministic",
            subject.name,
            "two calls with the same inputs gave two values; if it draws random numbers, make it "
            "draw the same ones each time (for a Module with dropout: .eval())",
        )
    for i, y in enumerate(once):
        if not np.isfinite(y).all():
            bad = tuple(int(k) for k in np.argwhere(~np.isfinite(y))[0])
            raise failed(
                "value",
                subject.name,
                f"output {i} is {y[bad]} at index {bad}; there is no derivative of that, so move "
                "the inputs into the function's domain",
            )
    return once


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _raise_if_written(subject: Subject, before: list[tuple[str, np.ndarray]], who: str) -> None:
    for (label, old), (_, new) in zip(before, subject.watched(), strict=True):
        if not _same_bits(old, new):
            raise failed(
                "mutation", subject.name, f"{who} wrote into {label}; copy it first", where=label
            )


def clean_gradients(subject: Subject, cotangents: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The gradients, the same bits each time, and sharing memory with nothing."""
    before = [(label, x.copy()) for label, x in subject.watched()]
    first = subject.gradients(cotangents)
    _raise_if_written(subject, before, "the backward")
    for i, (leaf, g) in enumerate(zip(subject.leaves, first, strict=True)):
        shared = [(label, x) for label, x in subject.watched()]
        shared += [(f"the gradient of {subject.leaves[j].name}", first[j]) for j in range(i)]
        for label, array in shared:
            if np.shares_memory(g, array):
                raise failed(
                    "aliasing",
                    subject.name,
                    f"the gradient of {leaf.name} shares memory with {label}: what is added to "
                    "the one changes the other; return a copy",
                    where=leaf.name,
                )
    first = [g.copy() for g in first]
    for leaf, g, again in zip(subject.leaves, first, subject.gradients(cotangents), strict=True):
        if not _same_bits(g, again):
            raise failed(
                "nondeterministic",
                subject.name,
                f"two backward passes gave two gradients of {leaf.name}; something is kept "
                "between them, or memory is used that was never written",
                where=leaf.name,
            )
    return first
