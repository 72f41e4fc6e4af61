"""Memory for results, used again and again.

A training step makes the same arrays as the step before. Asking the system for their memory each
time costs more than filling it: a fresh page is cleared by the system when it is first touched,
about 0.25 ms a megabyte. So blocks are kept, and ``empty`` lends them out.

A block comes back by itself. The array that ``empty`` returns has a block as its base, and a weak
reference watches the array; every view of it keeps the array alive, for NumPy follows a view's
bases up to the first one of another class, and the block is of a class of its own. When the array
and the last of its views are gone, the reference's callback, which is the ``append`` of a list,
puts the block on top of its pile. So the block that is lent next is the one used last, most
likely still in the processor's cache; there is nothing to search, no reference is counted, and no
lock is taken: a list's append and pop are atomic, with or without the interpreter's lock.

The one thing not to do with a result is to take its ``.base`` and keep that alone.
"""

import math
import os
import threading
import weakref
from typing import Any

import numpy as np

SMALL = 1 << 14  # bytes; the allocator of NumPy and of the C library reuses smaller ones itself
ALIGNMENT = 64  # bytes: a vector load across two cache lines takes twice as long

# How far the blocks held, lent and free, may exceed the most that was lent at once. Without slack
# two kinds of results that take turns would push each other's blocks out at every step.
SLACK, SLACK_SHARE = 1 << 24, 1 / 8


class _Block(np.ndarray):
    """Bytes. A class of its own, so that a view of a view of it is not made a view of it."""

    __slots__ = ("lease",)
    lease: Any


class _Lease(weakref.ref):
    """A block as lent to one array: in the block until the array is gone, then on the pile."""

    __slots__ = ("block",)
    block: Any


class _Pile:
    """The free blocks of one size, as their last leases; the one used last on top."""

    __slots__ = ("free", "give_back", "size", "used")

    def __init__(self, size: int):
        self.size = size
        self.free: list[_Lease] = []
        self.give_back: Any = self.free.append
        self.used = 0  # the clock when a block was last lent


_piles: dict[int, _Pile] = {}
_lock = threading.Lock()  # round what is rare: making and dropping blocks
_held = 0  # bytes in all blocks
_peak = 0  # the most bytes lent at once, as far as seen when blocks were made
_clock = 0  # counts blocks made


def empty(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array to be filled: C-contiguous, aligned, its content arbitrary.

    Like ``np.empty``, and from 16 KB on in memory that earlier results have left.

    Examples
    --------
    >>> a = empty((256, 256), np.float32)
    >>> place = a.ctypes.data
    >>> view = a[1:].T
    >>> del a
    >>> empty((256, 256), np.float32).ctypes.data == place  # the view holds it
    False
    >>> del view
    >>> b, c = (empty((256, 256), np.float32) for _ in range(2))
    >>> place in (b.ctypes.data, c.ctypes.data)
    True
    """
    dtype = np.dtype(dtype)
    n = dtype.itemsize
    for length in shape if isinstance(shape, tuple) else (shape,):
        n *= length
    if n < SMALL:
        return np.empty(shape, dtype)
    # Sixteen sizes between a power of two and the next: at most a sixteenth is wasted.
    shift = n.bit_length() - 5
    size = ((n - 1 >> shift) + 1) << shift
    pile = _piles.get(size) or _piles.setdefault(size, _Pile(size))
    try:
        block = pile.free.pop().block
    except IndexError:
        block = _make(size)
    array: np.ndarray = np.ndarray(shape, dtype, block)
    block.lease = lease = _Lease(array, pile.give_back)
    lease.block = block
    pile.used = _clock
    return array


def _make(size: int) -> Any:
    """A new block. Free ones of other sizes, those unused for longest, go where it is too much."""
    global _held, _peak, _clock
    with _lock:
        _clock += 1
        _peak = max(_peak, _lent() + size)
        _drop(_held + size - _peak - int(_peak * SLACK_SHARE) - SLACK)
        try:
            raw: Any = _Block((size + ALIGNMENT,), np.uint8)
        except MemoryError:
            _drop(math.inf)
            raw = _Block((size + ALIGNMENT,), np.uint8)
        _held += size
    offset = -raw.ctypes.data % ALIGNMENT
    return raw[offset : offset + size]


def _lent() -> int:
    return _held - sum(len(pile.free) * pile.size for pile in list(_piles.values()))


def _drop(surplus: float) -> None:
    """Give free blocks back to the system until the surplus is gone or there are none."""
    global _held
    if surplus <= 0:
        return
    piles = list(_piles.values())  # at once: another thread may add one
    for pile in sorted(piles, key=lambda pile: (pile.used, -pile.size)):
        while surplus > 0 and pile.free:
            try:
                lease = pile.free.pop(0)  # the one used least recently
            except IndexError:  # another thread took it
                break
            del lease.block.lease  # they hold each other
            _held -= pile.size
            surplus -= pile.size


def release() -> None:
    """Give all memory that is not in use back to the system: after training, say.

    Examples
    --------
    >>> release()
    >>> held()[1]
    0
    """
    global _peak
    with _lock:
        _drop(math.inf)
        _peak = _lent()


def held() -> tuple[int, int]:
    """How many bytes of blocks are in use, and how many are free."""
    with _lock:
        lent = _lent()
        return lent, _held - lent


def _after_fork() -> None:
    """In the child: a thread that does not exist there may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
