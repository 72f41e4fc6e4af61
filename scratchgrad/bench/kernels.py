"""The kernels that are timed one by one: a table with a row for each piece of work.

To bench another kernel, add a row: a part to select it by, a name, its size, how many operations
and how many numbers moved, and a function of the dtype that makes the data and returns the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad.autograd import no_grad
from scratchgrad.bench import spec
from scratchgrad.bench.count import attention_flops, bound, product_flops
from scratchgrad.bench.timing import Timing, timed
from scratchgrad.kernels import (
    activation,
    adamw,
    attention,
    indexing,
    norm,
    softmax,
)
from scratchgrad.kernels.matmul import matmul
from scratchgrad.nn.functional import cross_entropy
from scratchgrad.tensor import tensor

Call = Callable[[], object]


@dataclass(frozen=True)
class Work:
    """One piece of work.

    ``numbers`` is how many floats it reads and writes at least, ``heavy`` that it takes much
    longer than the others, so that a quick run leaves it out.
    """

    part: str
    name: str
    size: str
    flops: float
    numbers: float
    make: Callable[[Any], Call]
    heavy: bool = False


@dataclass(frozen=True)
class Measured:
    """A piece of work, timed, beside the machine's limits."""

    work: Work
    dtype: str
    timing: Timing
    roofs: dict[str, Any]

    @property
    def bytes(self) -> float:
        """What it moves at least."""
        return self.work.numbers * np.dtype(self.dtype).itemsize

    @property
    def roof(self) -> tuple[float, str]:
        """The least seconds by the roofline, and the side that sets it."""
        peak = self.roofs["matmul"][self.dtype]["flops"]
        return bound(self.work.flops, self.bytes, peak, self.roofs["bandwidth"])

    def record(self) -> dict[str, Any]:
        """As JSON has it; the keys are listed in docs/bench.md."""
        least, side = self.roof
        seconds = self.timing.median
        return {
            "part": self.work.part,
            "name": self.work.name,
            "size": self.work.size,
            "dtype": self.dtype,
            "seconds": seconds,
            "low": self.timing.low,
            "high": self.timing.high,
            "runs": self.timing.runs,
            "flops": self.work.flops,
            "bytes": self.bytes,
            "flops_per_second": self.work.flops / seconds,
            "bytes_per_second": self.bytes / seconds,
            "bound": side,
            "of_roof": least / seconds,
        }


def measure(work: Work, dtype: str, roofs: dict[str, Any], seconds: float) -> Measured:
    """Time one piece of work. A product that is faster than the peak so far is the peak."""
    measured = Measured(work, dtype, timed(work.make(dtype), seconds), roofs)
    peak = roofs["matmul"][dtype]
    rate = work.flops / measured.timing.median
    if work.part == "matmul" and rate > peak["flops"]:
        peak.update(flops=rate, shape=[int(n) for n in work.size.split("x")])
    return measured


def table() -> list[Work]:
    """All the work."""
    return [*_products(), *_attentions(), *_losses(), *_elementwise(), *_rows(), *_updates()]


def _products() -> Iterator[Work]:
    for shape in spec.MATMULS:
        M, K, N = shape
        for form in spec.FORMS:

            def make(dtype: Any, form: str = form, shape: tuple[int, ...] = shape) -> Call:
                a, b = spec.operands(form, shape, dtype)
                return lambda: matmul(a, b)

            size = f"{M}x{K}x{N}"
            numbers = M * K + K * N + M * N
            yield Work("matmul", f"matmul {form}", size, product_flops(shape), numbers, make)


def _attentions() -> Iterator[Work]:
    for shape in spec.ATTENTIONS:
        B, H, T, D = shape
        forward, backward = attention_flops(shape, shape, shape, True)
        each, rows = B * H * T * D, B * H * T

        def arrays(dtype: Any, shape: tuple[int, ...] = shape) -> tuple[Any, ...]:
            return tuple(spec.draw(name, *shape, dtype=dtype) for name in ("q", "k", "v", "dout"))

        def attend(dtype: Any, arrays: Any = arrays, D: int = D) -> Call:
            q, k, v, _ = arrays(dtype)
            return lambda: attention.attention(q, k, v, None, True, D**-0.5, None)

        def back(dtype: Any, arrays: Any = arrays, D: int = D) -> Call:
            q, k, v, dout = arrays(dtype)
            how = (None, True, D**-0.5, None)
            out, lse = attention.attention(q, k, v, *how)
            return lambda: attention.attention_backward(dout, q, k, v, out, lse, *how)

        size, heavy = spec.attention_name(shape), T > 1000
        yield Work("attention", "attention", size, forward, 4 * each + rows, attend, heavy)
        numbers = 8 * each + rows
        yield Work("attention", "attention backward", size, backward, numbers, back, heavy)


def _losses() -> Iterator[Work]:
    """The operations, not the kernels: how loss and gradient share a pass is their affair."""
    N, V = spec.LOGITS

    def forward(dtype: Any) -> Call:
        logits, targets = spec.draw("logits", N, V, dtype=dtype), spec.draw_ids("targets", V, N)

        def run() -> Any:
            with no_grad():
                return cross_entropy(logits, targets).data

        return run

    def both(dtype: Any) -> Call:
        logits = tensor(spec.draw("logits", N, V, dtype=dtype), requires_grad=True)
        targets = spec.draw_ids("targets", V, N)

        def run() -> Any:
            logits.grad = None
            cross_entropy(logits, targets).backward()
            return logits.grad

        return run

    size, n = f"{N}x{V}", N * V
    yield Work("loss", "cross_entropy", size, 4 * n, n, forward, True)
    yield Work("loss", "cross_entropy with gradient", size, 7 * n, 2 * n, both, True)


def _elementwise() -> Iterator[Work]:
    size, n = "x".join(map(str, spec.ELEMENTS)), float(np.prod(spec.ELEMENTS))
    kinds: tuple[tuple[str, Any, Any, tuple[str, ...], int, int], ...] = (
        ("gelu exact", activation.gelu, activation.gelu_backward, ("none",), 5, 8),
        ("gelu tanh", activation.gelu, activation.gelu_backward, ("tanh",), 8, 14),
        ("silu", activation.silu, activation.silu_backward, (), 3, 6),
    )
    for name, function, gradient, how, forward, backward in kinds:

        def ahead(dtype: Any, function: Any = function, how: Any = how) -> Call:
            x = spec.draw("x", *spec.ELEMENTS, dtype=dtype)
            return lambda: function(x, *how)

        def back(dtype: Any, gradient: Any = gradient, how: Any = how) -> Call:
            x, dy = (spec.draw(name, *spec.ELEMENTS, dtype=dtype) for name in ("x", "dy"))
            return lambda: gradient(dy, x, *how)

        yield Work("activation", name, size, forward * n, 2 * n, ahead)
        yield Work("activation", f"{name} backward", size, backward * n, 3 * n, back)


def _rows() -> Iterator[Work]:
    N, C = spec.ELEMENTS
    size, n = f"{N}x{C}", float(N * C)

    def arrays(dtype: Any) -> tuple[Any, ...]:
        x, dy = (spec.draw(name, N, C, dtype=dtype) for name in ("x", "dy"))
        return x, dy, np.ones(C, dtype), np.zeros(C, dtype)

    def layer_norm(dtype: Any) -> Call:
        x, _, gain, bias = arrays(dtype)
        return lambda: norm.layer_norm(x, gain, bias, 1e-5)

    def layer_norm_backward(dtype: Any) -> Call:
        x, dy, gain, bias = arrays(dtype)
        _, mean, rstd = norm.layer_norm(x, gain, bias, 1e-5)
        return lambda: norm.layer_norm_backward(dy, x, gain, mean, rstd)

    def rms_norm(dtype: Any) -> Call:
        x, _, gain, _ = arrays(dtype)
        return lambda: norm.rms_norm(x, gain, 1e-5)

    def rms_norm_backward(dtype: Any) -> Call:
        x, dy, gain, _ = arrays(dtype)
        _, rstd = norm.rms_norm(x, gain, 1e-5)
        return lambda: norm.rms_norm_backward(dy, x, gain, rstd)

    def soft(dtype: Any) -> Call:
        x = arrays(dtype)[0]
        return lambda: softmax.softmax(x, -1)

    def soft_backward(dtype: Any) -> Call:
        x, dy, *_ = arrays(dtype)
        y = softmax.softmax(x, -1)
        return lambda: softmax.softmax_backward(dy, y, -1)

    yield Work("norm", "layer_norm", size, 7 * n, 2 * n + 2 * (N + C), layer_norm)
    yield Work("norm", "layer_norm backward", size, 13 * n, 3 * n + 2 * N, layer_norm_backward)
    yield Work("norm", "rms_norm", size, 5 * n, 2 * n + N + C, rms_norm)
    yield Work("norm", "rms_norm backward", size, 9 * n, 3 * n + N, rms_norm_backward)
    yield Work("softmax", "softmax", size, 4 * n, 2 * n, soft)
    yield Work("softmax", "softmax backward", size, 4 * n, 3 * n, soft_backward)


def _updates() -> Iterator[Work]:
    n = 10_000_000  # about the parameters of the baby

    def step(dtype: Any) -> Call:
        param, grad, m, v = (np.full(n, 0.1, dtype) for _ in range(4))
        return lambda: adamw.adamw_step(param, grad, m, v, 1e-3, 0.9, 0.99, 1e-8, 0.1, 10)

    def norm_of(dtype: Any) -> Call:
        grad = np.full(n, 0.1, dtype)
        return lambda: adamw.sum_of_squares(grad)

    V, N, C = 50257, 1024, 768

    def add_rows(dtype: Any) -> Call:
        table, rows = np.zeros((V, C), dtype), spec.draw("rows", N, C, dtype=dtype)
        ids = spec.draw_ids("ids", V, N)
        return lambda: indexing.add_rows(table, ids, rows)

    yield Work("optimiser", "adamw_step", f"{n:.0e}", 14.0 * n, 7 * n, step)
    yield Work("optimiser", "sum_of_squares", f"{n:.0e}", 2.0 * n, n, norm_of)
    yield Work("embedding", "add_rows", f"{N}x{C} of {V}", N * C, 3 * N * C, add_rows)
