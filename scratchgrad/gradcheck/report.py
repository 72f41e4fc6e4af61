"""What a check says: a report when all is right, a Failure inside a GradcheckError when not."""

from __future__ import annotations

from dataclasses import dataclass

from scratchgrad.errors import GradcheckError


@dataclass(frozen=True)
class GradcheckReport:
    """What was compared, and how well it agrees.

    Attributes
    ----------
    name : what was checked
    entries : how many numbers were compared: entries of gradients, and directions
    worst : the largest relative error among them
    elementwise : names of the inputs and parameters of which every entry was compared
    directions : names of those that are too large for it, compared along random directions
    slope : of the Taylor remainder, 2 or more; None where there is none: f is linear there
    linear : names of those in which f is linear, so that the dot-product test held to 1e-12
    """

    name: str
    entries: int
    worst: float
    elementwise: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    slope: float | None = None
    linear: tuple[str, ...] = ()

    def __str__(self) -> str:
        how = "entries" if not self.directions else "entries and random directions"
        slope = "no Taylor remainder" if self.slope is None else f"Taylor slope {self.slope:.2f}"
        parts = [f"{self.entries} {how} agree, largest relative error {self.worst:.1e}, {slope}"]
        if self.directions:
            parts.append(f"along directions only: {', '.join(self.directions)}")
        if self.linear:
            parts.append(f"linear, dot-product test to 1e-12: {', '.join(self.linear)}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Failure:
    """What is wrong, in parts; the message of the GradcheckError says it in words.

    Attributes
    ----------
    kind : "gradient", "taylor", "dot-product", "kink", "value", "nondeterministic", "mutation",
        "aliasing", "dtype", "shape", "integer", or "call": there is nothing to check
    name : what was checked
    where : the input or parameter, as "input 0 (x)" or "parameter weight"
    index : of the worst entry, where there is one
    analytic, numeric, relative : both values of that entry, and their relative error
    cause : the likely cause, where it can be told
    """

    kind: str
    name: str
    where: str = ""
    index: tuple[int, ...] | None = None
    analytic: float | None = None
    numeric: float | None = None
    relative: float | None = None
    cause: str = ""


def failed(kind: str, name: str, message: str, **parts: object) -> GradcheckError:
    """The error to raise, carrying its Failure as ``.failure``."""
    failure = Failure(kind, name, **parts)  # type: ignore[arg-type]
    cause = f". Likely cause: {failure.cause}" if failure.cause else ""
    error = GradcheckError(f"gradcheck of {name}: {message}{cause}")
    error.failure = failure
    return error
