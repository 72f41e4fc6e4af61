"""Sharing the work of one kernel among threads.

A kernel is a function of (start, stop, ...) that does the units start … stop - 1 of its work: rows,
blocks, heads. Each unit writes results of its own, so it does not matter who does it, nor when:
the bits are the same on any number of threads. Kernels run without the interpreter's lock, so
plain Python threads do; each takes a piece, and another when it is done.

Numba's own parallel loops start faster (5 µs against 20), but compile a kernel five times over,
abort the process when two Python threads start one at once (with the threading layer that is
always there), and wait busily, which costs milliseconds where other programs share the machine.
Here nobody waits for a piece that nobody has begun: a helper that wakes late, or was lost in a
fork, costs only its help.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

from scratchgrad.errors import ConfigError


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS, not on Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_threads = _cores()


def set_threads(n: int) -> None:
    """Use n threads from now on. Results do not depend on it, to the bit.

    Raises
    ------
    ConfigError
        If n is not a positive integer.
    """
    global _threads
    if not isinstance(n, int) or n < 1:
        raise ConfigError(f"set_threads: expected a number of threads of 1 or more, got {n!r}")
    _threads = n


def get_threads() -> int:
    """The number of threads that kernels use."""
    return _threads


class _Job:
    """The pieces of one call: (0, units) cut into equal ranges, the last one shorter."""

    def __init__(
        self, function: Callable[..., Any], units: int, pieces: int, args: tuple[Any, ...]
    ):
        self.function, self.units, self.args = function, units, args
        self.size = -(-units // pieces)
        self.next = 0  # the first unit that nobody has taken
        self.working = 0  # threads within a piece
        self.lock = threading.Lock()
        self.last_out = threading.Condition(self.lock)
        self.error: BaseException | None = None

    def help(self) -> None:
        """Take pieces until there are none."""
        while True:
            with self.lock:
                start = self.next
                if start >= self.units or self.error is not None:
                    return
                self.next = start + self.size
                self.working += 1
            try:
                self.function(start, min(start + self.size, self.units), *self.args)
            except BaseException as error:  # raised again in the calling thread
                self.error = error
            with self.lock:
                self.working -= 1
                if self.working == 0:
                    self.last_out.notify_all()

    def wait(self) -> None:
        """Until no thread works on a piece."""
        with self.lock:
            while self.working:
                self.last_out.wait()
        if self.error is not None:
            raise self.error


_helpers: list[threading.Semaphore] = []
_current: _Job | None = None  # where two threads call kernels at once, helpers join either


def _serve(wake: threading.Semaphore) -> None:
    while True:
        wake.acquire()
        job = _current
        if job is not None:
            job.help()


def share(function: Callable[..., Any], units: int, pieces_each: int, args: Any) -> None:
    """function(start, stop, *args) over (0, units), on get_threads() threads."""
    global _current
    threads = min(_threads, units)
    if threads < 2:
        function(0, units, *args)
        return
    while len(_helpers) < threads - 1:
        wake = threading.Semaphore(0)
        name = f"scratchgrad-{len(_helpers) + 1}"
        threading.Thread(target=_serve, args=(wake,), daemon=True, name=name).start()
        _helpers.append(wake)
    job = _Job(function, units, min(units, threads * pieces_each), args)
    _current = job
    for wake in _helpers[: threads - 1]:
        wake.release()
    job.help()
    job.wait()
    _current = None
