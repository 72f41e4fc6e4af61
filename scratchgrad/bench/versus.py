"""The same work by us and by a rival, in turn, each in a process of its own.

A process of its own, because OpenBLAS and OpenMP threads go on spinning for a while after a call,
and would take the cores from whoever runs next. The two take turns with a pause between, five
rounds of each, and the ratio is taken round by round, so that a slow minute of the machine slows
both. A rival may know several ways; the fastest is held against us.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import scratchgrad
from scratchgrad.bench import spec
from scratchgrad.bench.timing import summarise
from scratchgrad.errors import ConfigError, ScratchgradError

ROUNDS, PAUSE = 5, 0.3
AGREE = 2e-3  # by how much, relatively, the two sides' results may differ
RIVAL = Path("tests") / "parity" / "rival.py"


class RivalError(ScratchgradError):
    """A side of a comparison that ended or could not do its work."""


def find_rival(script: Path = RIVAL, rival: str = "torch") -> Path:
    """A rival's side: a script of the repository, since the package never imports a rival.

    Raises
    ------
    ConfigError
        There is no checkout round the package, nor in the working directory.
    """
    for root in (Path(scratchgrad.__file__).parents[1], Path.cwd()):
        if (root / script).is_file():
            return root / script
    raise ConfigError(
        f"--vs {rival}: {script} was not found; it is part of the repository and not of the "
        "installed package, so run this from a clone of it"
    )


def works(
    rival: str, parts: Iterable[str], presets: Iterable[str], dtype: str | None = None
) -> list[dict[str, Any]]:
    """What is compared with a rival, of the parts that are asked for (none: all).

    NumPy's products are of both dtypes unless one is asked for; all the rest is in float32.

    Each has a part, a label, the kind and sizes that the sides read, and the seconds of a round.
    """
    if rival == "numpy":
        every = [work for work in _products() if dtype in (None, work["dtype"])]
    else:
        every = [*_steps(presets), *_kernels()]
    chosen = set(parts)
    return [work for work in every if not chosen or work["part"] in chosen]


def _products() -> list[dict[str, Any]]:
    return [
        {
            "part": "matmul",
            "label": f"matmul {form} {'x'.join(map(str, shape))} {dtype}",
            "kind": "matmul",
            "form": form,
            "shape": list(shape),
            "dtype": dtype,
            "seconds": 0.15,
        }
        for dtype in ("float32", "float64")
        for shape in spec.MATMULS
        for form in spec.FORMS
    ]


def _steps(presets: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {
            "part": "step",
            "label": f"train step {preset}",
            "kind": "step",
            "preset": preset,
            "seconds": 1.0,
        }
        for preset in presets
    ]


def _kernels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "part": "attention",
            "label": f"attention forward+backward {spec.attention_name(shape)}",
            "kind": "attention",
            "shape": list(shape),
            "seconds": 0.3,
        }
        for shape in spec.ATTENTIONS
    ]
    found.append(
        {
            "part": "loss",
            "label": "cross-entropy with gradient " + "x".join(map(str, spec.LOGITS)),
            "kind": "cross_entropy",
            "shape": list(spec.LOGITS),
            "seconds": 0.5,
        }
    )
    for part, name in (("activation", "gelu"), ("norm", "layer_norm"), ("softmax", "softmax")):
        found += [
            {
                "part": part,
                "label": f"{name}{phase} {'x'.join(map(str, spec.ELEMENTS))}",
                "kind": "rows",
                "name": name + phase,
                "shape": list(spec.ELEMENTS),
                "seconds": 0.3,
            }
            for phase in ("", " backward")
        ]
    label = "AdamW step of baby's parameters"
    found.append(
        {"part": "optimiser", "label": label, "kind": "adamw", "preset": "baby", "seconds": 0.3}
    )
    return found


# -- the two processes -------------------------------------------------------------------------


class Side:
    """A process that speaks the lines of `side.py`."""

    def __init__(self, name: str, command: list[str], threads: int) -> None:
        self.name = name
        count = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the side
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **count},
            text=True,
            encoding="utf-8",
        )
        self._requests: Any = self._process.stdin
        self._answers: Any = self._process.stdout
        try:
            self.about: str = self._answer()["about"]
        except BaseException:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request, wait for its answer.

        Raises
        ------
        RivalError
            The process ended, or could not do it.
        """
        with contextlib.suppress(OSError):  # it has ended; what it left behind says why
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            left = self._errors.read().decode(errors="replace").strip().splitlines()
            last = left[-1] if left else f"exit code {self._process.returncode}"
            raise RivalError(f"{self.name} ended: {last}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RivalError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):  # what was not read by a process that has ended
            self._requests.close()
        self._answers.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def our_side(threads: int) -> Side:
    """Start ours."""
    command = [sys.executable, "-m", "scratchgrad.bench.ours", str(threads)]
    return Side("scratchgrad", command, threads)


def rival_side(rival: str, threads: int) -> Side:
    """Start a rival: "torch" or "numpy"."""
    if rival == "numpy":
        command = [sys.executable, "-m", "scratchgrad.bench.against_numpy"]
        return Side("NumPy", command, threads)
    return Side("PyTorch", [sys.executable, str(find_rival()), str(threads)], threads)


# -- comparing ---------------------------------------------------------------------------------


@dataclass
class Compared:
    """Seconds of each round: ours, and the rival's by each way it knows."""

    part: str
    label: str
    ours: list[float] = field(default_factory=list)
    rivals: dict[str, list[float]] = field(default_factory=dict)
    agree: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> str:
        """The rival's fastest way."""
        return min(self.rivals, key=lambda way: summarise(self.rivals[way]).median)

    @property
    def ratios(self) -> list[float]:
        """How many times as fast we are, round by round."""
        return [r / o for r, o in zip(self.rivals[self.best], self.ours, strict=True)]

    def record(self) -> dict[str, Any]:
        """As JSON has it; the keys are listed in docs/bench.md."""
        ratios = self.ratios
        return {
            "part": self.part,
            "label": self.label,
            "seconds": summarise(self.ours).median,
            "rival_seconds": {way: summarise(s).median for way, s in self.rivals.items()},
            "rival": self.best,
            "ratio": summarise(ratios).median,
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
            "rounds": len(ratios),
            "agree": self.agree,
            "notes": self.notes,
        }


def compare(
    ours: Side,
    rival: Side,
    work: dict[str, Any],
    *,
    rounds: int = ROUNDS,
    pause: float | None = None,
) -> Compared:
    """Do one piece of work on both sides, in turn."""
    result = Compared(work["part"], work["label"])
    mine = ours.ask(do="make", work=work)
    theirs = rival.ask(do="make", work=work)
    result.notes = mine["notes"] + theirs["notes"]
    if mine["result"] is not None and theirs["result"] is not None:
        scale = max(abs(mine["result"]), abs(theirs["result"]), 1e-3)
        result.agree = abs(mine["result"] - theirs["result"]) <= AGREE * scale
    (way,) = mine["variants"]
    result.rivals = {name: [] for name in theirs["variants"]}
    pause = PAUSE if pause is None else pause
    for _ in range(rounds):
        time.sleep(pause)
        result.ours.append(ours.ask(do="run", variant=way, seconds=work["seconds"])["seconds"])
        for name, samples in result.rivals.items():
            time.sleep(pause)
            answer = rival.ask(do="run", variant=name, seconds=work["seconds"])
            samples.append(answer["seconds"])
    return result


def compare_memory(rival: str, preset: str, threads: int, steps: int = 3) -> dict[str, Any]:
    """The peak of each process over some steps, one process after the other."""
    work = {"kind": "step", "preset": preset}
    peaks = {}
    for name, start in (
        ("ours", lambda: our_side(threads)),
        ("rival", lambda: rival_side(rival, threads)),
    ):
        with start() as side:
            side.ask(do="make", work=work)
            peaks[name] = side.ask(do="peak", steps=steps)["peak"]
    return {"preset": preset, "steps": steps, **peaks}
