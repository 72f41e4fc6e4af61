"""exp, tanh, erf and sigmoid in units in the last place, over the whole range."""

import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from scratchgrad.kernels import elementary

# The largest errors allowed, in units in the last place of the true result. The double ones for
# exp, tanh and sigmoid need a wider oracle, which some processors lack.
BOUNDS = {
    ("exp", "float32"): 1.2,
    ("tanh", "float32"): 2.6,
    ("erf", "float32"): 2.6,
    ("sigmoid", "float32"): 3.0,
    ("exp", "float64"): 1.2,
    ("tanh", "float64"): 2.6,
    ("erf", "float64"): 3.0,
    ("sigmoid", "float64"): 3.0,
}
WIDE = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant
MANY = 400 if numba.config.DISABLE_JIT else 40_000  # interpreted, a number takes 10 µs


def compiled(name):
    function = getattr(elementary, name)

    @numba.njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp", "afn"})
    def run(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    def apply(x):
        y = np.empty_like(x)
        with np.errstate(all="ignore"):
            run(x, y)
        return y

    return apply


def oracle(name, x):
    x = x.astype(np.longdouble)
    if name == "erf":
        return np.array([math.erf(float(v)) for v in x], np.longdouble)
    if name == "sigmoid":
        return 1 / (1 + np.exp(-x))
    return getattr(np, name)(x)


def samples(dtype, rng):
    """Every exponent and sign at random, the usual range densely, the edges of the range."""
    bits = rng.integers(0, 2**32, MANY, dtype=np.uint64)
    if dtype == "float64":
        bits = bits << np.uint64(32) | rng.integers(0, 2**32, MANY, dtype=np.uint64)
    anywhere = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    top = float(np.log(np.finfo(dtype).max))
    bottom = float(np.log(np.finfo(dtype).smallest_subnormal))
    return np.concatenate(
        [
            anywhere[np.isfinite(anywhere)],
            rng.uniform(-1, 1, MANY).astype(dtype),
            rng.uniform(-8, 8, MANY * 3 // 2).astype(dtype),
            rng.uniform(bottom - 1, top + 1, MANY).astype(dtype),
            np.linspace(bottom - 2, bottom + 2, MANY // 20).astype(dtype),
            np.linspace(top - 1, top + 1, MANY // 20).astype(dtype),
        ]
    )


@pytest.mark.parametrize(("name", "dtype"), BOUNDS)
def test_error_in_ulps(name, dtype, rng):
    if dtype == "float64" and name != "erf" and not WIDE:
        pytest.skip("no floating-point type here is wider than float64")
    x = samples(dtype, rng)
    with np.errstate(all="ignore"):
        wanted = oracle(name, x)
        rounded = wanted.astype(dtype)
        unit = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1)))
        got = compiled(name)(x)
        error = np.abs(got - wanted) / unit
    infinite = ~np.isfinite(rounded)
    np.testing.assert_array_equal(got[infinite], rounded[infinite])
    worst = np.argmax(np.where(infinite, 0, error))
    assert error[worst] <= BOUNDS[name, dtype], f"{name}({x[worst]!r}) = {got[worst]!r}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values(dtype):
    def call(name, *values):
        return compiled(name)(np.array(values, dtype)).tolist()

    smallest = float(np.finfo(dtype).smallest_subnormal)
    assert call("exp", 0, smallest, -np.inf, np.inf, 1e4, -1e4) == [1, 1, 0, np.inf, np.inf, 0]
    assert call("tanh", 0, smallest, np.inf, -np.inf, 30, -30) == [0, smallest, 1, -1, 1, -1]
    assert call("erf", 0, smallest, np.inf, -np.inf, 10, -10) == [0, smallest, 1, -1, 1, -1]
    assert call("sigmoid", 0, np.inf, -np.inf, 1e4, -1e4) == [0.5, 1, 0, 1, 0]
    assert all(np.isnan(call(name, np.nan)[0]) for name in ("exp", "tanh", "erf", "sigmoid"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_normal_distribution(dtype, rng):
    """To two units in the last place of 1, over the whole range; exactly 0 and 1 at the ends."""
    x = samples(dtype, rng)
    x = np.concatenate([x, np.linspace(-5.4, 5.4, MANY).astype(dtype)])
    wanted = [0.5 * math.erfc(-float(v) / math.sqrt(2)) for v in x]
    got = compiled("normal")(x)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2.1 * np.finfo(dtype).eps / 2)
    assert got.min() >= 0
    ends = compiled("normal")(np.array([-np.inf, -1e30, -9, 0, 9, 1e30, np.inf, np.nan], dtype))
    np.testing.assert_array_equal(ends, [0, 0, 0, 0.5, 1, 1, 1, np.nan])


def test_plain_python_gives_the_same():
    """With the JIT disabled, this file itself must pass, but for the many numbers."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "special", __file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "2 passed" in result.stdout
