"""Where the choices of a case come from: a seeded generator, or a testing tool that can shrink.

A case is described once, as a function of a ``Choices``. ``scratchgrad gradcheck`` hands it random
choices; ``scratchgrad.testing`` hands it Hypothesis, which looks for the simplest case that fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

T = TypeVar("T")


class Choices(Protocol):
    """Decisions, one at a time. Simpler options come first: a tool that shrinks moves there."""

    def one_of(self, options: Sequence[T]) -> T:
        """One of the options."""

    def integer(self, low: int, high: int) -> int:
        """A whole number, both ends included."""

    def flag(self) -> bool:
        """Yes or no."""

    def permutation(self, items: Sequence[T]) -> list[T]:
        """The items in some order."""

    def rng(self) -> np.random.Generator:
        """A generator, for the numbers inside an array."""


class RandomChoices:
    """Choices at random; the same seed makes the same choices.

    >>> RandomChoices(7).integer(0, 99) == RandomChoices(7).integer(0, 99)
    True
    """

    def __init__(self, seed: int | Sequence[int]) -> None:
        self._rng = np.random.default_rng(seed)

    def one_of(self, options: Sequence[T]) -> T:
        return options[int(self._rng.integers(len(options)))]

    def integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def flag(self) -> bool:
        return bool(self._rng.integers(2))

    def permutation(self, items: Sequence[T]) -> list[T]:
        return [items[int(i)] for i in self._rng.permutation(len(items))]

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self._rng.integers(2**32))
