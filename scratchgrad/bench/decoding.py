"""Our side of `scratchgrad bench --vs transformers`: a model that reads given ids.

python -m scratchgrad.bench.decoding THREADS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.bench.side import Made, serve
from scratchgrad.bench.timing import no_garbage_collection, summarise, timed
from scratchgrad.interop.pretrained import read_pretrained
from scratchgrad.kernels.limits import read
from scratchgrad.kernels.threads import get_threads, set_threads

VARIANT, READ = "scratchgrad", "plain read"
READING = 0.3  # seconds of reads in a round


@lru_cache(maxsize=1)
def _model(folder: str) -> sg.GPT:
    return read_pretrained(Path(folder)).model


def make(work: dict[str, Any]) -> Made:
    """One of `against_transformers.works`; with decoding goes a plain read of as many bytes."""
    model, ids = _model(work["model"]), np.array([work["ids"]])
    start = work["start"] if work["kind"] == "decode" else ids.shape[1]

    def begin() -> tuple[Callable[[Any], Any], Any]:
        """A reader of further ids, and the logits after the prompt."""
        cache = model.new_cache()
        return partial(model.next_logits, cache=cache), model.next_logits(ids[:, :start], cache)

    def decode() -> tuple[float, Any]:
        step, logits = begin()
        samples = []
        with no_garbage_collection():
            for at in range(start, ids.shape[1]):
                began = time.perf_counter()
                logits = step(ids[:, at : at + 1])
                samples.append(time.perf_counter() - began)
        return summarise(samples[work["warm"] :]).median, logits

    def run() -> float:
        with sg.no_grad():
            if work["kind"] == "decode":
                return decode()[0]
            return timed(begin, work["seconds"], least=3).median

    with sg.no_grad():
        logits = decode()[1] if work["kind"] == "decode" else begin()[1]
    np.save(work["logits"], logits.data)  # (1, V): a row a way
    made = Made({VARIANT: run}, timed=True)
    if work["kind"] == "decode":
        numbers = np.ones(work["bytes"] // 8)
        made.variants[READ] = lambda: timed(lambda: read(numbers), READING).median
    return made


if __name__ == "__main__":
    set_threads(int(sys.argv[1]))
    serve(f"scratchgrad {sg.__version__}, {get_threads()} threads", make)
