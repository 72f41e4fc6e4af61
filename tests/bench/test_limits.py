"""The two kernels that measure the machine do what they say."""

import numpy as np
import pytest

from scratchgrad.bench import machine
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


def test_limits_are_of_a_plausible_size():
    peak = machine.matmul_peak("float32", seconds=0.002)
    assert tuple(peak["shape"]) in machine.PEAK_SHAPES
    assert 1e8 < peak["flops"] < 1e14
    assert 1e8 < machine.register_peak("float32", seconds=0.002) < 1e14
    assert 1e8 < machine.bandwidth(seconds=0.002, size=1 << 20) < 1e13


def test_facts():
    facts = machine.facts()
    assert facts["numpy"] == np.__version__
    assert facts["threads"] >= 1
    assert facts["cpu"]
    assert facts["vector_bits"] in (128, 256, 512)
    assert machine.installed("no-such-package") is None
    assert "threads" in machine.heading(facts)
    assert "JIT DISABLED" in machine.heading({**facts, "jit": False})
