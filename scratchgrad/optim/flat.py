"""Parameters side by side in one array, their gradients in another.

So the optimiser's step is one pass over four long arrays, and the norm one over one, however many
parameters there are; and a backward writes each gradient where the optimiser reads it.

Memory of a parameter belongs to whoever lays it flat last. Each parameter begins on a cache line;
the few numbers between two of them are zero, and stay so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from scratchgrad.autograd import Variable
from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.kernels.adamw import Run
from scratchgrad.kernels.buffers import ALIGNMENT, empty
from scratchgrad.tape import Home, home_of


class Flat:
    """Parameters of one dtype, and as flat arrays (N,): param, grad, m and v.

    Each parameter's array is a view of ``param`` from here on, and ``grad`` is the home of its
    gradient. An array that is assigned to ``data`` or ``grad`` later is copied in by ``gather``.
    """

    def __init__(self, params: Sequence[Variable]) -> None:
        self.params = params
        self.dtype = params[0]._array.dtype
        self.starts: list[int] = []
        size = 0
        for p in params:
            self.starts.append(size)
            size += _rounded(p._array.size, self.dtype)
        self.stops = [*self.starts[1:], size]
        self.param, self.grad, self.m, self.v = (empty((size,), self.dtype) for _ in range(4))
        for array in (self.param, self.grad, self.m, self.v):
            array[...] = 0
        self.views = self.split(self.param)
        self.homes = [Home(p, self.grad, i) for p, i in zip(params, self.starts, strict=True)]
        for i in range(len(params)):
            self._adopt(i)

    def split(self, flat: np.ndarray) -> list[np.ndarray]:
        """A flat array as one view a parameter, in its shape."""
        return [
            flat[start : start + p._array.size].reshape(p._array.shape)
            for start, p in zip(self.starts, self.params, strict=True)
        ]

    def _adopt(self, i: int) -> None:
        """Make the parameter's array the view again, with the values of the one it has now."""
        p, view = self.params[i], self.views[i]
        if p._array is not view:
            if p._array.dtype != self.dtype:
                raise ConfigError(
                    f"AdamW: parameter {i} was {self.dtype} and is {p._array.dtype} now; make the "
                    "optimiser after astype"
                )
            view[...] = p._array
            p._array = view
        p._home = self.homes[i]

    def gather(self) -> list[bool]:
        """Bring the flat arrays up to date; say for each parameter whether it has a gradient."""
        there = []
        for i, (p, home) in enumerate(zip(self.params, self.homes, strict=True)):
            if p._array is not self.views[i] or p._home is not home:
                self._adopt(i)
            grad = p.grad
            there.append(grad is not None)
            if grad is not None and grad is not home.array:
                if grad.shape != home.array.shape:
                    raise ShapeError(
                        f"AdamW: expected a gradient of shape {home.array.shape} for parameter "
                        f"{i}, received {grad.shape}"
                    )
                home.array[...] = grad
        return there

    def runs(self, there: list[bool], decays: list[float], steps: list[int]) -> list[Run]:
        """The parameters that have a gradient, neighbours that are stepped alike as one."""
        runs: list[tuple[int, int, float, int]] = []
        stop, decay, step = -1, 0.0, 0
        for i, start in enumerate(self.starts):
            if not there[i]:
                continue
            if start == stop and decays[i] == decay and steps[i] == step:
                start = runs.pop()[0]
            stop, decay, step = self.stops[i], decays[i], steps[i]
            runs.append((start, stop, decay, step))
        return [Run(*run) for run in runs]


def _rounded(size: int, dtype: np.dtype) -> int:
    """So many elements that the next parameter begins on a cache line."""
    line = ALIGNMENT // dtype.itemsize
    return -(-size // line) * line


def at_home(
    params: Iterable[Variable],
) -> tuple[list[np.ndarray], list[tuple[Variable, np.ndarray]]]:
    """The gradients: those at home, neighbours as one flat array; the others, and whose."""
    homes: list[Home] = []
    elsewhere: list[tuple[Variable, np.ndarray]] = []
    for p in {id(p): p for p in params}.values():  # each once
        home = home_of(p)
        if home is not None and p.grad is home.array:
            homes.append(home)
        elif p.grad is not None:
            elsewhere.append((p, p.grad))
    homes.sort(key=lambda home: (id(home.buffer), home.start, home.stop))
    spans: list[tuple[np.ndarray, int, int]] = []
    for home in homes:
        span = (home.buffer, home.start, home.stop)
        if spans:
            buffer, start, stop = spans[-1]
            if buffer is home.buffer and _rounded(stop, buffer.dtype) == home.start:
                span = (buffer, start, home.stop)
                spans.pop()
        spans.append(span)
    return [buffer[start:stop] for buffer, start, stop in spans], elsewhere
