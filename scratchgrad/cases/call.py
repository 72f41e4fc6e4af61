"""One call of an operation, and what is known of an operation: how to draw calls, a reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.cases.choices import Choices
from scratchgrad.gradcheck import GradcheckReport, gradcheck

# Tighter than what users get: these cases are well conditioned.
RTOL, ATOL = 1e-7, 1e-10


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

    def cast(self, dtype: Any) -> Call:
        """The same call with its float arrays in another dtype."""
        floats = self.floats()
        inputs = (x.astype(dtype) if i in floats else x for i, x in enumerate(self.inputs))
        return Call(tuple(inputs), self.settings)


@dataclass(frozen=True)
class Entry:
    """What is known of one operation.

    Attributes
    ----------
    calls : draws a Call, in float64, away from kinks and ties
    function : the operation as users call it
    reference : the same on NumPy arrays, written without the package
    rtol32 : how far float32 may be from float64, relative to the largest number of a result
    """

    calls: Callable[[Choices], Call]
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

    def prove(self, choose: Choices) -> GradcheckReport:
        """Draw a call and check its gradients.

        Raises
        ------
        GradcheckError
        """
        call = self.calls(choose)
        floats = call.floats()

        def function(*arrays: Any) -> Any:  # the numbers among the inputs are constants
            inputs = list(call.inputs)
            for i, x in zip(floats, arrays, strict=True):
                inputs[i] = x
            return self.function(*inputs, **call.settings)

        function.__name__ = getattr(self.function, "__name__", "function")
        return gradcheck(function, [call.inputs[i] for i in floats], rtol=RTOL, atol=ATOL)


def entry(name: str, calls: Any, reference: Callable[..., Any], **extra: Any) -> tuple[str, Entry]:
    """A row of a table: an operation that users call by its own name."""
    function = extra.pop("function", None) or getattr(sg, name)
    return name, Entry(calls, function, reference, **extra)
