"""Sharing the work of one kernel among threads.

A kernel is a function of (start, stop, ...) that does the units start … stop - 1 of its work: rows,
blocks, heads. Each unit writes results of its own, so it does not matter who does it, nor when:
the bits are the same on any number of threads. Kernels run without the interpreter's lock, so
plain Python threads do; each takes a piece, and another when it is done.

Numba's own parallel loops compile a kernel five times over and abort the process when two Python
threads start one at once (with the threading layer that is always there). Here nobody waits for a
piece that nobody has begun: a helper that wakes late, or was lost in a fork, costs only its help.

Waking a thread that sleeps takes 30 µs, as long as a small kernel runs. So a helper that has
nothing to do, and a caller whose last piece is with a helper, first watch a number in memory, a
*bell*, for some 200 µs, without the interpreter's lock; only then do they sleep. A training step
rings every 100 µs or so: each launch then costs about 2 µs.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError

WATCH = 8000  # looks at a bell, about 25 ns each


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS, not on Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_threads = _cores()


def _no_watch(bell: np.ndarray, seen: int, looks: int) -> bool:
    return bool(bell[0] != seen)


watch: Callable[[np.ndarray, int, int], bool] = _no_watch
"""Look at a bell until it differs from what was seen; whether it does, after so many looks.

``jit.py`` puts its compiled form here, for this file knows nothing of compilers.
"""


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
    """The pieces of one call: ranges of units, large ones first, for the threads to take.

    Half of each thread's share of what is left, but no less than size: little is left to wait
    for at the end, and few pieces are made.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        units: int,
        threads: int,
        size: int,
        args: tuple[Any, ...],
    ):
        self.function, self.units, self.args = function, units, args
        self.threads, self.size = threads, size
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
                stop = start + max(self.size, (self.units - start) // (2 * self.threads))
                stop = self.next = min(stop, self.units)
                self.working += 1
            try:
                self.function(start, stop, *self.args)
            except BaseException as error:  # raised again in the calling thread
                self.error = error
            with self.lock:
                self.working -= 1
                if self.working == 0:
                    self.last_out.notify_all()
            _finished[0] += 1

    def wait(self) -> None:
        """Until no thread works on a piece."""
        while self.working:
            seen = int(_finished[0])
            if self.working and not watch(_finished, seen, WATCH):
                with self.lock:
                    while self.working:
                        self.last_out.wait()
        if self.error is not None:
            raise self.error


class _Helper:
    """A thread that takes pieces of whatever job was announced last."""

    def __init__(self, number: int):
        self.number = number
        self.wake = threading.Semaphore(0)
        self.asleep = False
        self.watches = number < _cores()  # more watchers than cores would be in each other's way
        watch(_announced, -1, 1)  # compiles or loads it here: the thread would be busy with it
        name = f"scratchgrad-{number}"
        threading.Thread(target=self._serve, daemon=True, name=name).start()

    def _serve(self) -> None:
        seen = 0
        while True:
            if not (self.watches and watch(_announced, seen, WATCH)):
                self.asleep = True
                if _announced[0] == seen:  # else rung since: it would not be heard
                    self.wake.acquire()
                self.asleep = False
            seen = int(_announced[0])
            job = _current
            if job is not None and self.number < job.threads:
                job.help()
            del job  # and with it the arrays


_helpers: list[_Helper] = []
_announced, _finished = np.zeros(1, np.int64), np.zeros(1, np.int64)  # the two bells
_current: _Job | None = None  # where two threads call kernels at once, helpers join either
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.clear)  # threads do not live on in a child


def share(function: Callable[..., Any], units: int, pieces_each: int, args: Any) -> None:
    """function(start, stop, *args) over (0, units), on get_threads() threads."""
    global _current
    threads = min(_threads, units)
    if threads < 2:
        function(0, units, *args)
        return
    while len(_helpers) < threads - 1:
        _helpers.append(_Helper(len(_helpers) + 1))
    job = _Job(function, units, threads, -(-units // (threads * pieces_each)), args)
    _current = job
    _announced[0] += 1
    for helper in _helpers[: threads - 1]:
        if helper.asleep:
            helper.asleep = False
            helper.wake.release()
    job.help()
    job.wait()
    _current = None
