"""One side of a comparison: a process that makes work and times it when it is told to.

Requests and answers are lines of JSON on stdin and stdout. A side first says what it is::

    {"about": "NumPy 2.4.6, OpenBLAS"}

then answers requests, in any order::

    {"do": "make", "work": {...}}
    {"variants": ["eager"], "result": 4.17, "notes": []}
    {"do": "run", "variant": "eager", "seconds": 1}
    {"seconds": 0.0213}
    {"do": "peak", "steps": 3}
    {"peak": 1987654656}

``work`` is one of `versus.works`; ``result`` a number both sides must agree on. An ``error`` in an
answer ends the comparison with that message. Neither NumPy nor a kernel is needed here, so that a
rival written by somebody else may use this module, or speak the lines itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from scratchgrad.bench.resident import forget_peak, peak_bytes
from scratchgrad.bench.timing import timed

Call = Callable[[], object]


@dataclass
class Made:
    """A piece of work that is ready: ways to do it, a number it gives, remarks for the reader.

    With ``timed`` a way times itself and returns the seconds: where only a part of it counts.
    """

    variants: dict[str, Call]
    result: float | None = None
    notes: list[str] = field(default_factory=list)
    timed: bool = False


def serve(about: str, make: Callable[[dict[str, Any]], Made]) -> None:
    """Answer requests until stdin ends. What the work prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _say(out, {"about": about})
    made = Made({})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "make":
                made = Made({})  # free the last work before the next one is made
                made = make(request["work"])
                answer: dict[str, Any] = {
                    "variants": list(made.variants),
                    "result": made.result,
                    "notes": made.notes,
                }
            elif request["do"] == "run":
                run = made.variants[request["variant"]]
                seconds = run() if made.timed else timed(run, request["seconds"], least=1).median
                answer = {"seconds": seconds}
            else:
                answer = {"peak": _peak(next(iter(made.variants.values())), request["steps"])}
        except Exception as error:  # the other process can only be told in words
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(out, answer)


def _peak(run: Call, steps: int) -> int | None:
    forget_peak()
    for _ in range(steps):
        run()
    return peak_bytes()


def _say(out: TextIO, answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()
