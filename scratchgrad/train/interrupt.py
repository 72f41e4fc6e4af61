"""Ctrl-C that finishes what it interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_NOTICE = b"\nstopping after this step, and saving; once more to abort at once\n"
_STANDARD_ERROR = 2


class Interrupt:
    """Whether, and by which signal, the user asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_at_next_step() -> Iterator[Interrupt]:
    """Within the block, the first Ctrl-C (or SIGTERM) only raises a flag; the second one aborts.

    A loop that looks at the flag between two steps can save and leave in good order. The second
    signal raises KeyboardInterrupt at once, for the one who will not wait.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may handle signals; elsewhere the caller's own handling stays.
        yield interrupt
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if interrupt:
            raise KeyboardInterrupt
        interrupt.signal = number
        # A stream may be in the middle of a write, and would refuse a second one from here.
        with contextlib.suppress(OSError):
            os.write(_STANDARD_ERROR, _NOTICE)

    # A signal that the shell had ignored (a background job, nohup) stays ignored.
    stops = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    previous = {number: signal.signal(number, handle) for number in stops}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
