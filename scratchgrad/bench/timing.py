"""One way to time anything: warm up, repeat, take the median."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SHORTEST = 1e-4  # seconds: below this, several runs are timed as one


@dataclass(frozen=True)
class Timing:
    """Seconds of one run: median and quartiles over the runs that were timed."""

    median: float
    low: float
    high: float
    runs: int

    @property
    def noise(self) -> float:
        """Half the distance of the quartiles, as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


def summarise(samples: list[float], each: int = 1) -> Timing:
    """Median and quartiles of samples, each of so many runs.

    >>> summarise([3.0, 1.0, 2.0, 5.0, 4.0])
    Timing(median=3.0, low=2.0, high=4.0, runs=5)
    """
    ordered = sorted(samples)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    return Timing(at(0.5), at(0.25), at(0.75), len(ordered) * each)


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect before the block and not within it: a collection would count as the work's time."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def timed(run: Callable[[], object], seconds: float = 0.3, least: int = 5) -> Timing:
    """Time a function: at least so many runs, and for about so many seconds.

    Before that it runs twice or more untimed, for a tenth of the seconds, so that what is compiled
    is compiled, memory is mapped, and the processor has left its sleep.
    """
    with no_garbage_collection():
        run()  # the first call may compile
        warm, once = time.perf_counter() + seconds / 10, 0.0
        while True:
            began = time.perf_counter()
            run()
            ended = time.perf_counter()
            once = min(once or 1.0, ended - began)
            if ended >= warm:
                break
        each = max(1, round(SHORTEST / max(once, 1e-9)))
        samples: list[float] = []
        stop = time.perf_counter() + seconds
        while len(samples) < least or time.perf_counter() < stop:
            began = time.perf_counter()
            for _ in range(each):
                run()
            samples.append((time.perf_counter() - began) / each)
    return summarise(samples, each)
