"""Random bits without a state: a function of a seed and of a number's place.

A generator with a state gives its numbers in one order, so threads would have to wait for each
other, and what it gave would have to be kept for the backward. Here the bits of element i are
computed from (seed, i) wherever they are wanted: by any thread, in any order, twice. A mask of
dropout is then never stored: the backward makes the same bits again.

The function is SplitMix64: the state seed + (i + 1) γ, which a generator would step through, put
through a mixing function in which each bit of the state reaches every bit of the result. It costs
two multiplications, vectorises, and passes BigCrush.

Sources: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014), section 5;
the constants of the mixing function are Stafford's variant 13, which they use too.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.jit import device, kernel, plain

Array = NDArray[np.floating]

CHUNK = 4096  # elements in a unit of work

# 2^64 divided by the golden ratio, made odd: multiples of it lie evenly in the 64-bit numbers
GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFT_1, SHIFT_2, SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
ONE, HALF = np.uint64(1), np.uint64(32)


@device
def mixed_bits(seed, index):
    """64 random bits for element ``index``: uint64, uint64 -> uint64."""
    z = seed + (index + ONE) * GAMMA  # wraps round at 2^64, as do the products
    z = (z ^ (z >> SHIFT_1)) * MIX_1
    z = (z ^ (z >> SHIFT_2)) * MIX_2
    return z ^ (z >> SHIFT_3)


@device
def uniform_bits(seed, index):
    """32 random bits for element ``index``: uint64, uint64 -> uint32.

    Both arguments must be np.uint64: with a signed integer among them Numba, like NumPy, would
    compute in float64.
    """
    return np.uint32(mixed_bits(seed, index) >> HALF)


def threshold(p: float) -> np.uint32:
    """What uniform bits lie below with probability p: round(p 2^32).

    For p = 1 there is no such number, and one bit pattern in 2^32 is missed: the caller must
    multiply by 0 then.
    """
    return np.uint32(min(round(p * 2**32), 2**32 - 1))


# -- dropout -----------------------------------------------------------------------------------


@kernel()
def _dropout(start, stop, x, y, seed, limit, scale):
    zero, first = x.dtype.type(0), np.uint64(start * CHUNK)
    x, y = x[start * CHUNK : stop * CHUNK], y[start * CHUNK : stop * CHUNK]
    for i in range(x.size):
        bits = uniform_bits(seed, first + np.uint64(i))
        y[i] = x[i] * (scale if bits >= limit else zero)


def dropout(x: Array, p: float, seed: int) -> Array:
    """Each element times 0 with probability p, else times 1 / (1 - p). It is its own backward.

    Parameters
    ----------
    x : any shape
        What an element is multiplied by depends on its place in C order and on the seed only.
    p : float
    seed : int
        From 0 to 2^64 - 1.

    Examples
    --------
    >>> dropout(np.ones(6), 0.5, seed=1)
    array([2., 2., 2., 0., 0., 2.])
    """
    y = empty(x.shape, x.dtype)
    if y.size:
        _dropout(
            -(-y.size // CHUNK),
            plain(x).reshape(-1),
            y.reshape(-1),
            np.uint64(seed),
            threshold(p),
            x.dtype.type(1 / (1 - p) if p < 1 else 0),
            work=y.size * 8,
        )
    return y
