"""A training step, timed whole and taken apart, operation by operation.

The step is the trainer's own: zero the gradients, draw a batch, forward, backward, clip, AdamW.
It is taken apart by two hooks that cost nothing while nobody uses them: `operation.observe` stands
where every operation runs, forward and backward, and `jit.observe` where every kernel does.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad import operation
from scratchgrad.bench import count, spec
from scratchgrad.bench.timing import Timing, no_garbage_collection, summarise
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.kernels import jit
from scratchgrad.operation import Op
from scratchgrad.train.config import TrainConfig
from scratchgrad.train.trainer import Trainer

REST = "rest"


def make_trainer(preset: spec.Preset) -> Trainer:
    """A model with the weights, and a trainer with the text, that any rival has too."""
    model = GPT(GPTConfig(**preset.model))
    for name, parameter in model.named_parameters():
        parameter.writable()[...] = spec.weights(name, parameter.shape)
    config = TrainConfig(
        batch_size=preset.batch_size,
        lr=spec.LR,
        min_lr=spec.LR,
        warmup_steps=0,
        beta1=spec.BETAS[0],
        beta2=spec.BETAS[1],
        eps=spec.EPS,
        weight_decay=spec.WEIGHT_DECAY,
        clip=spec.CLIP,
        seed=spec.SEED,
    )
    return Trainer(model, config, spec.text(preset))


@dataclass
class Row:
    """What one operation did in a step, forward or backward, all its calls together.

    ``kernels`` is the part of ``seconds`` that was spent in compiled kernels; the rest is NumPy
    and Python. ``flops`` is None where nobody wrote down how to count it.
    """

    name: str
    phase: str
    calls: int = 0
    seconds: float = 0.0
    kernels: float = 0.0
    flops: float | None = 0.0
    bytes: float = 0.0

    def add(self, seconds: float, flops: float | None, moved: float) -> None:
        """Take in one call."""
        self.calls += 1
        self.seconds += seconds
        self.flops = None if flops is None or self.flops is None else self.flops + flops
        self.bytes += moved


class Recorder:
    """Listens to a step and keeps a row for each operation and phase, in order of appearance."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self._current: Row | None = None

    def _row(self, name: str, phase: str) -> Row:
        return self.rows.setdefault((name, phase), Row(name, phase))

    def wrap(self, op: Op) -> Callable[..., Any]:
        """An operation's function, timed, with a timed backward."""

        def run(*arrays: Any, **settings: Any) -> Any:
            returned, seconds = self._time(
                self._row(op.name, "forward"), op.function, arrays, settings
            )
            value, backward = returned
            counter = count.OPERATIONS.get(op.name)
            flops, back = counter(arrays, value, settings) if counter else (None, None)
            moved = count.forward_bytes(op.name, arrays, value)
            self._row(op.name, "forward").add(seconds, flops, moved)
            if not isinstance(backward, tuple):
                return value, self._backward(op.name, backward, back)
            each = back if isinstance(back, tuple) else (back,) + (0.0,) * (len(backward) - 1)
            if back is None:
                each = (None,) * len(backward)
            return value, tuple(
                f and self._backward(op.name, f, flops)
                for f, flops in zip(backward, [*each, *[0.0] * len(backward)], strict=False)
            )

        return run

    def _backward(self, name: str, function: Any, flops: Any) -> Any:
        if not callable(getattr(function, "function", None)):
            return self._timed(name, function, flops)
        # An object round a function, whose class tells the tape how to call it: it stays one.
        same = copy.copy(function)
        same.function = self._timed(name, function.function, flops)
        return same

    def _timed(self, name: str, function: Callable[..., Any], flops: Any) -> Callable[..., Any]:
        held = count.captured(function)
        saved = count.nbytes(held)
        total = sum(flops) if isinstance(flops, tuple) else flops

        @functools.wraps(function)
        def run(dy: Any, *more: Any, **settings: Any) -> Any:
            row = self._row(name, "backward")
            result, seconds = self._time(row, function, (dy, *more), settings)
            results = result if isinstance(result, tuple) else (result,)
            if any(callable(g) for g in results):
                # The work that they share is done, and they do the rest. It read what they do not
                # hold, and made what they hold and it did not.
                later = [a for g in results if callable(g) for a in count.captured(g)]
                row.add(seconds, total, _apart(held, later) + count.nbytes([dy]))
                return tuple(self._backward(name, g, 0.0) if callable(g) else g for g in results)
            given = dy if isinstance(dy, tuple) else (dy,)
            # A view of dy is no work, and moves nothing.
            passed = all(
                g is None or g is dy or (g.base is not None and _same(g, dy)) for g in results
            )
            moved = 0 if passed else saved + count.nbytes(given) + count.nbytes(results)
            row.add(seconds, total, moved)
            return result

        return run

    def _time(self, row: Row, function: Any, arrays: Any, settings: Any) -> tuple[Any, float]:
        outer, self._current = self._current, row
        began = time.perf_counter()
        try:
            result = function(*arrays, **settings)
        finally:
            seconds = time.perf_counter() - began
            self._current = outer
        return result, seconds

    def kernel(self, name: str, args: tuple[Any, ...], seconds: float) -> None:
        """A kernel ran: within an operation, or, as the optimiser's, by itself."""
        if self._current is not None:
            self._current.kernels += seconds
            return
        row = self._row(name, "update")
        row.kernels += seconds
        size = getattr(args[0], "size", 0)
        if name in count.UPDATES:
            flops, passes = count.UPDATES[name]
            row.add(seconds, flops * size, passes * args[0].nbytes)
        else:
            row.add(seconds, None, count.nbytes(args))


def _apart(these: list[np.ndarray], those: list[np.ndarray]) -> int:
    """The bytes of the arrays that stand in one of the lists and not in the other."""
    common = {id(a) for a in these} & {id(a) for a in those}
    return count.nbytes([a for a in (*these, *those) if id(a) not in common])


def _same(view: Any, array: Any) -> bool:
    return isinstance(array, np.ndarray) and np.may_share_memory(view, array)


@dataclass(frozen=True)
class Apart:
    """A step, whole and in parts.

    ``timing`` is of steps that nobody listened to; ``rows`` and ``recorded``, their sum, are of
    one that was listened to, the one of median length.
    """

    preset: str
    timing: Timing
    recorded: float
    rows: list[Row]
    roofs: dict[str, Any]

    @property
    def peak(self) -> float:
        """The matmul peak in float32, in FLOP/s."""
        return float(self.roofs["matmul"]["float32"]["flops"])

    @property
    def bandwidth(self) -> float:
        """Bytes a second."""
        return float(self.roofs["bandwidth"])

    @property
    def model_flops(self) -> float:
        """The operations that the model asks for; see `count.model_flops`."""
        return count.model_flops(spec.PRESETS[self.preset])

    @property
    def of_peak(self) -> float:
        """The share of the matmul peak at which the step runs, by the model's operations."""
        return self.model_flops / self.timing.median / self.peak

    def record(self) -> dict[str, Any]:
        """As JSON has it; the keys are listed in docs/bench.md."""
        tokens = spec.PRESETS[self.preset].tokens
        return {
            "preset": self.preset,
            "seconds": self.timing.median,
            "low": self.timing.low,
            "high": self.timing.high,
            "runs": self.timing.runs,
            "tokens_per_second": tokens / self.timing.median,
            "model_flops": self.model_flops,
            "of_peak": self.of_peak,
            "recorded_seconds": self.recorded,
            "rows": [self._record(row) for row in self.rows],
            "where": self.where(),
        }

    def bound(self, row: Row) -> tuple[float, str]:
        """The least seconds for a row, and what holds it back: compute, memory or Python."""
        least, side = count.bound(row.flops or 0.0, row.bytes, self.peak, self.bandwidth)
        return least, "python" if row.kernels < row.seconds / 2 else side

    def _record(self, row: Row) -> dict[str, Any]:
        least, side = self.bound(row)
        return {
            "name": row.name,
            "phase": row.phase,
            "calls": row.calls,
            "seconds": row.seconds,
            "share": row.seconds / self.recorded,
            "kernel_seconds": row.kernels,
            "flops": row.flops,
            "bytes": row.bytes,
            "bound": side,
            "of_roof": least / row.seconds if row.seconds else 0.0,
        }

    def where(self) -> dict[str, float]:
        """Seconds of the recorded step by what holds them back, and what the roofline asks for."""
        seconds = {"compute": 0.0, "memory": 0.0, "python": 0.0, "roof": 0.0}
        for row in self.rows:
            least, side = self.bound(row)
            seconds["python"] += row.seconds - row.kernels
            side = count.bound(row.flops or 0.0, row.bytes, self.peak, self.bandwidth)[1]
            seconds[side] += row.kernels
            seconds["roof"] += least
        return seconds


def time_steps(step: Callable[[], object], seconds: float, least: int) -> list[float]:
    """Seconds of single steps, after two that are not counted."""
    with no_garbage_collection():
        step()
        step()
        samples: list[float] = []
        stop = time.perf_counter() + seconds
        while len(samples) < least or time.perf_counter() < stop:
            began = time.perf_counter()
            step()
            samples.append(time.perf_counter() - began)
    return samples


def take_apart(preset: str, roofs: dict[str, Any], quick: bool = False) -> Apart:
    """Time steps of a preset, then record some and keep the one of median length."""
    trainer = make_trainer(spec.PRESETS[preset])
    timing = summarise(time_steps(trainer.train_step, 0.5 if quick else 3.0, 3 if quick else 5))
    recorded = []
    for _ in range(3 if quick else 5):
        recorder = Recorder()
        with (
            no_garbage_collection(),
            operation.observe(recorder.wrap),
            jit.observe(recorder.kernel),
        ):
            began = time.perf_counter()
            trainer.train_step()
            recorded.append((time.perf_counter() - began, recorder))
    total, recorder = sorted(recorded, key=lambda pair: pair[0])[len(recorded) // 2]
    rows = list(recorder.rows.values())
    rest = Row(REST, "engine")
    rest.add(max(total - sum(row.seconds for row in rows), 0.0), 0.0, 0.0)
    return Apart(preset, timing, total, [*rows, rest], roofs)
