"""The two kernels that measure the machine do what they say."""

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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles(dtype):
    c, flops = limits.tiles(np.dtype(dtype), 3)
    assert (c == limits.DEPTH).all()
    assert flops == 2 * c.size * limits.DEPTH * 3
