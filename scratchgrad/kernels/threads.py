"""Sharing the work of one kernel among threads.

A kernel is a function of (start, stop, ...) that does the units start … stop - 1 of its work: rows,
blocks, heads. Each unit writes results of its own, so it does not matter who does it, nor when:
the bits are the same on any number of threads. Kernels run without the interpreter's lock, so
plain Python threads do; each takes a piece off the board, and another when it is done.

Numba's own parallel loops compile a kernel five times over and abort the process when two Python
threads start one at once (with the threading layer that is always there). Here nobody waits for a
piece that nobody has begun: a helper that wakes late, or was lost in a fork, costs only its help.

Waking a thread that sleeps takes 30 µs, as long as a small kernel runs. So a helper that has
nothing to do watches the board's bell for some 200 µs before it sleeps; a training step rings
every 100 µs or so. `board.py` is what they do in machine code, here is who they are.
"""

import operator
import os
import threading
from collections.abc import Callable

import numpy as np

from scratchgrad.errors import ConfigError
from scratchgrad.kernels.board import new_board

WATCH = 8000  # looks at the bell, about 25 ns each
EXPECT = 40 * WATCH  # when woken: the bell is about to be rung, unless the caller lost its core


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS, not on Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_threads = _cores()
# More threads than cores gain nothing; some are allowed, to try out what a larger machine does.
# Beyond that it is a slip of the keyboard, and each thread costs memory.
MOST = max(64, 4 * _cores())


def set_threads(n: int, *, name: str = "set_threads") -> None:
    """Use n threads from now on. Results do not depend on it, to the bit.

    Where the system gives fewer, as many as there are do the work; `get_threads` says how many.

    Parameters
    ----------
    n
        From 1 to `MOST`.
    name
        What a complaint calls it: a command's option has a name of its own.

    Raises
    ------
    ConfigError
        If n is not such an integer.
    """
    global _threads
    try:
        count = 0 if isinstance(n, bool | np.bool_) else operator.index(n)  # NumPy's integers, too
    except TypeError:
        count = 0
    if not 1 <= count <= MOST:
        raise ConfigError(
            f"{name}: expected a number of threads from 1 to {MOST}, got {n!r}; "
            f"take {_cores()}, one for each core"
        )
    _threads = count


def get_threads() -> int:
    """The number of threads that kernels use."""
    return _threads


BOARD = new_board()
_busy = threading.Lock()  # one call at a time has the board
_helpers: list["_Helper"] = []


class _Helper:
    """A thread that joins in whatever is announced on the board."""

    def __init__(self, number: int, serve: Callable[..., int]):
        self.number, self.serve = number, serve
        # more watchers than cores would be in each other's way
        self.looks = WATCH if number < _cores() else 1
        self.asleep = threading.Event()
        self.wake = threading.Semaphore(0)
        name = f"scratchgrad-{number}"
        threading.Thread(target=self._run, daemon=True, name=name).start()

    def _run(self) -> None:
        seen = 0
        while True:
            seen = self.serve(BOARD, self.number, seen, EXPECT, self.looks)
            self.asleep.set()
            if BOARD[0] == seen:  # else it was rung since: that would not be heard
                self.wake.acquire()
            self.asleep.clear()


def prepare(serve: Callable[..., int]) -> None:
    """Compile, or load, what helpers do: a look at a board where nothing is announced.

    Whoever makes the first helper does it, so that no two helpers compile at the same time.
    """
    serve(new_board(), 0, 0, 1, 1)


def borrow(serve: Callable[..., int]) -> bool:
    """Take the board for one call, with helpers who watch it; False if another call has it.

    serve(board, number, seen, looks, later_looks) is what a helper does: join in what is
    announced, until the bell was silent for so many looks, before the first ring and after it;
    it returns how often the bell was rung.
    """
    if not _busy.acquire(blocking=False):
        return False
    try:
        if not _helpers and _threads > 1:
            prepare(serve)
        _hire(serve)
        for helper in _helpers[: _threads - 1]:
            if helper.asleep.is_set():
                helper.asleep.clear()
                helper.wake.release()
    except BaseException:  # Ctrl-C; no memory to compile
        give_back()
        raise
    return True


def _hire(serve: Callable[..., int]) -> None:
    """Make the helpers that are missing, or do with those that there are."""
    global _threads
    try:
        while len(_helpers) < _threads - 1:
            _helpers.append(_Helper(len(_helpers) + 1, serve))
    except RuntimeError:  # the system has no thread left; asking at each call would cost time
        _threads = len(_helpers) + 1


def give_back() -> None:
    """After the call."""
    _busy.release()


def _in_child() -> None:
    """Threads do not live on in a child, and one of them may have had the board."""
    global _busy
    _helpers.clear()
    BOARD[:] = 0
    _busy = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
