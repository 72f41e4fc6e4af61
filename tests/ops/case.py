"""One call of an operation, and how to draw calls of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

import scratchgrad as sg


@dataclass(frozen=True)
class Call:
    """The inputs of one call (arrays, numbers, None) and its settings.

    The float arrays among the inputs are what is differentiated.
    """

    inputs: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def floats(self) -> list[int]:
        """Which inputs are float arrays."""
        return [
            i
            for i, x in enumerate(self.inputs)
            if isinstance(x, np.ndarray) and x.dtype.kind == "f"
        ]

    def cast(self, dtype: Any) -> "Call":
        """The same call with its float arrays in another dtype."""
        floats = self.floats()
        inputs = (x.astype(dtype) if i in floats else x for i, x in enumerate(self.inputs))
        return Call(tuple(inputs), self.settings)


@dataclass(frozen=True)
class Entry:
    """What the suite knows of one operation.

    Attributes
    ----------
    calls : strategy for Call, in float64, away from kinks and ties
    function : the operation as users call it
    reference : the same on NumPy arrays, written without the package
    rtol32 : how far float32 may be from float64, relative to the largest number of a result
    """

    calls: st.SearchStrategy[Call]
    function: Callable[..., Any]
    reference: Callable[..., Any]
    rtol32: float = 1e-5

    def run(self, call: Call) -> tuple[Any, ...]:
        """The outputs, always as a tuple."""
        y = self.function(*call.inputs, **call.settings)
        return y if isinstance(y, tuple) else (y,)

    def expected(self, call: Call) -> tuple[Any, ...]:
        """What NumPy gives, always as a tuple."""
        y = self.reference(*call.inputs, **call.settings)
        return tuple(y) if isinstance(y, (tuple, list)) else (y,)


def entry(name: str, calls: Any, reference: Callable[..., Any], **extra: Any) -> tuple[str, Entry]:
    """A row of a table: an operation that users call by its own name."""
    function = extra.pop("function", None) or getattr(sg, name)
    return name, Entry(calls, function, reference, **extra)
