"""The register tile equals the sum it stands for: any strides, any depth, compiled or not."""

import numpy as np
import pytest

from scratchgrad.kernels import moving, simd
from scratchgrad.kernels.jit import kernel


@kernel()
def _one_tile(start, stop, a, b, c, at, add):
    simd.tile(a, at[0], at[1], at[2], b, at[3], at[4], at[5], c, at[6], at[7], add)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("K", [0, 1, 2, 37])
def test_a_tile_is_the_product(dtype, add, transposed, K):
    rng = np.random.default_rng(K)
    rows, n = simd.ROWS, simd.columns(dtype)
    a = rng.standard_normal((K + 1, rows + 3) if transposed else (rows + 3, K + 1)).astype(dtype)
    b = rng.standard_normal((K + 2, n + 5)).astype(dtype)
    c = rng.standard_normal((rows + 2, n + 7)).astype(dtype)
    expected = c.astype(np.float64)
    left = a.T[1 : 1 + rows, :K] if transposed else a[1 : 1 + rows, :K]
    product = left.astype(np.float64) @ b[1 : 1 + K, 2 : 2 + n].astype(np.float64)
    expected[1 : 1 + rows, 3 : 3 + n] = product + (expected[1 : 1 + rows, 3 : 3 + n] * add)
    ai, ak = (1, rows + 3) if transposed else (K + 1, 1)
    at = np.array([ai, ai, ak, n + 5 + 2, n + 5, K, n + 7 + 3, n + 7])
    _one_tile(1, a.reshape(-1), b.reshape(-1), c.reshape(-1), at, add, work=0)
    # all else in c is as it was: expected holds it
    np.testing.assert_allclose(c, expected, rtol=30 * np.finfo(dtype).eps, atol=1e-5)


def test_a_tile_fills_two_vectors():
    assert simd.columns(np.float32) * 4 == simd.columns(np.float64) * 8 == 2 * simd.VECTOR


@kernel()
def _one_square(start, stop, x, y, at):
    moving.turn(x, at[0], at[1], y, at[2], at[3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_square_is_turned(dtype, rng):
    n = simd.VECTOR // np.dtype(dtype).itemsize
    x, y = rng.standard_normal((n + 3, n + 5)).astype(dtype), np.zeros((n + 2, n + 9), dtype)
    expected = y.copy()
    expected[1 : 1 + n, 4 : 4 + n] = x[2 : 2 + n, 3 : 3 + n].T
    _one_square(
        1, x.reshape(-1), y.reshape(-1), np.array([2 * n + 13, n + 5, n + 13, n + 9]), work=0
    )
    np.testing.assert_array_equal(y, expected)


@kernel()
def _one_copy(start, stop, x, y, at, step):
    moving.claim(y, at[1] + 10**6)  # asking reads nothing: beyond the array is no fault
    moving.expect(x, at[0] - 10**6)
    if step:
        moving.move_step(x, at[0], y, at[1])
    else:
        moving.move(x, at[0], y, at[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [False, True])
def test_a_copy_takes_as_many_numbers_as_it_says(dtype, step, rng):
    n = simd.ROWS if step else simd.columns(dtype)
    x, y = rng.standard_normal(50).astype(dtype), np.zeros(60, dtype)
    expected = y.copy()
    expected[5 : 5 + n] = x[3 : 3 + n]
    _one_copy(1, x, y, np.array([3, 5]), step, work=0)
    np.testing.assert_array_equal(y, expected)
