"""The three kernels that measure the machine do what they say."""

import numpy as np
import pytest

from scratchgrad.errors import ShapeError
from scratchgrad.kernels import limits


@pytest.mark.parametrize("size", [0, 1, limits.CHUNK - 1, 3 * limits.CHUNK + 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copy(size, dtype, rng):
    x, y = rng.standard_normal(size).astype(dtype), np.zeros(size, dtype)
    limits.copy(x, y)
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros(3), np.zeros(4)),
        (np.zeros(3), np.zeros(3, np.float32)),
        (np.zeros((2, 2)), np.zeros((2, 2))),
        (np.zeros(6)[::2], np.zeros(3)),
    ],
)
def test_copy_refuses_what_does_not_fit(x, y):
    with pytest.raises(ShapeError, match="two flat arrays"):
        limits.copy(x, y)


@pytest.mark.parametrize("words", [0, 1, limits.CHUNK - 1, 2 * limits.CHUNK + 5])
def test_read(words, rng):
    x = rng.standard_normal(2 * words).astype(np.float32)
    whole = limits.read(x)
    assert whole == int(np.bitwise_xor.reduce(x.view(np.uint64)))
    for at in {0, words // 2, words - 1} if words else ():  # none is left out
        changed = x.copy()
        changed[2 * at] += 1
        assert limits.read(changed) != whole


@pytest.mark.parametrize("x", [np.zeros(3, np.float32), np.zeros((2, 2)), np.zeros(6)[::2]])
def test_read_refuses_what_it_would_not_read_whole(x):
    with pytest.raises(ShapeError, match="a flat array of whole words of 8 bytes"):
        limits.read(x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles(dtype):
    c, flops = limits.tiles(np.dtype(dtype), 3)
    assert (c == limits.DEPTH).all()
    assert flops == 2 * c.size * limits.DEPTH * 3
