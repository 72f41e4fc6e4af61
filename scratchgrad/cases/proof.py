"""Proving a row of the table: some cases of it, and the worst of what they show."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Protocol

from scratchgrad.cases.choices import Choices, RandomChoices
from scratchgrad.errors import GradcheckError
from scratchgrad.gradcheck import GradcheckReport


class Provable(Protocol):
    """A row: an operation, a layer, or something of a user's."""

    def prove(self, choose: Choices) -> GradcheckReport:
        """Draw a case and check it; raise GradcheckError."""


@dataclass(frozen=True)
class Proof:
    """What the cases of one row show.

    Attributes
    ----------
    cases : how many were tried; the first that fails ends it
    entries : numbers compared, in all cases
    worst : the largest relative error
    slope : the smallest Taylor slope; None if no case had a remainder
    error : what was wrong, or None
    """

    name: str
    cases: int
    entries: int
    worst: float
    slope: float | None
    error: GradcheckError | None

    @property
    def holds(self) -> bool:
        return self.error is None


def prove(name: str, row: Provable, cases: int, seed: int) -> Proof:
    """Try so many cases of a row. The same seed tries the same, whatever else is tried."""
    entries, worst, slopes = 0, 0.0, []
    error = None
    tried = 0
    for case in range(10 * cases):  # a case of empty arrays proves nothing and is not counted
        if tried == cases:
            break
        try:
            report = row.prove(RandomChoices([seed, case, zlib.crc32(name.encode())]))
        except GradcheckError as wrong:
            tried += 1
            error = wrong
            relative = getattr(wrong.failure, "relative", None)
            worst = max(worst, math.nan if relative is None else relative)
            break
        tried += report.entries > 0
        entries += report.entries
        worst = max(worst, report.worst)
        if report.slope is not None:
            slopes.append(report.slope)
    if not entries and error is None:
        error = GradcheckError("nothing was compared: all cases were empty")
    return Proof(name, tried, entries, worst, min(slopes, default=None), error)
