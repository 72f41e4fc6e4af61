"""What no kernel can exceed, as kernels: memory read, copied, multiply-adds that wait for nothing.

`scratchgrad bench` times these three, and holds the others against them.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.jit import EXACT, get_threads, kernel
from scratchgrad.kernels.simd import ROWS, columns, tile

Array = NDArray[np.floating]

CHUNK = 1 << 16  # elements in a unit of copying, and of reading
DEPTH = 128  # steps of a tile: its operands take some 20 KB, and so stay in the first cache


@kernel(fastmath=EXACT)
def _copy(start, stop, x, y):
    source, target = x[start * CHUNK : stop * CHUNK], y[start * CHUNK : stop * CHUNK]
    for i in range(source.size):
        target[i] = source[i]


def copy(x: Array, y: Array) -> None:
    """y = x, by all threads.

    Parameters
    ----------
    x, y : (N,), contiguous, of one dtype

    Raises
    ------
    ShapeError
        If they are not.
    """
    fit = x.shape == y.shape and x.ndim == 1 and x.dtype == y.dtype
    if not fit or not (x.flags.c_contiguous and y.flags.c_contiguous):
        raise ShapeError(f"copy: expected two flat arrays of one kind, got {x.shape}, {y.shape}")
    _copy(-(-x.size // CHUNK), x, y, work=x.size * 8)


@kernel()
def _read(start, stop, words, found):
    for unit in range(start, stop):
        part, bits = words[unit * CHUNK : unit * CHUNK + CHUNK], found[unit]
        for i in range(part.size):
            bits ^= part[i]
        found[unit] = bits


def read(x: Array) -> int:
    """Every number read once, by all threads.

    The bits are combined by exclusive or. A sum of float would be one chain of additions, each of
    which waits for the last: its order must not change. This order may, so it is vectorised, and
    nothing but memory is waited for.

    Parameters
    ----------
    x : (N,), contiguous, of a multiple of 8 bytes

    Returns
    -------
    int
        The exclusive or of all words of 64 bits.

    Raises
    ------
    ShapeError
        If it is not.
    """
    if x.ndim != 1 or not x.flags.c_contiguous or x.nbytes % 8:
        raise ShapeError(f"read: expected a flat array of whole words of 8 bytes, got {x.shape}")
    words = x.view(np.uint64)
    found = np.zeros(-(-words.size // CHUNK), np.uint64)
    _read(found.size, words, found, work=words.size * 8)
    return int(np.bitwise_xor.reduce(found))


@kernel(fastmath=EXACT)
def _tiles(start, stop, a, b, c, n, repeats):
    for unit in range(start, stop):
        for _ in range(repeats):
            tile(a, 0, DEPTH, 1, b, 0, n, DEPTH, c, unit * ROWS * n, n, False)


def tiles(dtype: np.dtype, repeats: int) -> tuple[Array, float]:
    """The same small product, repeats times on every thread, out of the first cache.

    Returns
    -------
    c : (threads, rows, columns)
        The product of ones: DEPTH everywhere.
    flops : float
        The multiplications and additions done.
    """
    threads, n = get_threads(), columns(dtype)
    a, b = np.ones(ROWS * DEPTH, dtype), np.ones(DEPTH * n, dtype)
    c = np.zeros(threads * ROWS * n, dtype)
    flops = 2.0 * ROWS * n * DEPTH * threads * repeats
    _tiles(threads, a, b, c, n, repeats, work=int(flops))
    return c.reshape(threads, ROWS, n), flops
