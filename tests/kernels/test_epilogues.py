"""What a product does to its result while it is in the cache, against the steps one by one."""

import numba
import numpy as np
import pytest

from scratchgrad.cases.kernels import assert_close
from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.kernels import reference, threads
from scratchgrad.kernels.activation import gelu, gelu_backward
from scratchgrad.kernels.linear import linear, linear_gelu, matmul_gelu_backward
from scratchgrad.kernels.matmul import DEPTH, FEW, PANELS, matmul
from scratchgrad.kernels.simd import ROWS, columns

FORMS = pytest.mark.parametrize("approximate", ["none", "tanh"])
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
LANES = columns(np.float32)
SIZES = {  # rows, steps, columns
    "no-rows": (0, 3, 5),
    "no-steps": (5, 0, 7),
    "no-columns": (5, 3, 0),
    "one": (1, 1, 1),
    "few": (FEW, 9, 33),
    "more": (FEW + 1, 9, 33),
    "a-panel": (2 * ROWS - 1, 5, LANES),
    "a-block": (2 * ROWS, 5, PANELS * LANES),
    "beyond-a-block": (2 * ROWS + 3, 17, PANELS * LANES + 5),
    "two-depths": (2 * ROWS + 1, DEPTH + 1, LANES + 1),  # a sum is complete after the second
    "three-depths": (2 * ROWS, 2 * DEPTH + 9, 3),
}
EVERY_SIZE = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())


def drawn(rng, dtype, size):
    """x, weight, bias; dy, another weight, h: for a product of this size, forward and backward."""
    M, K, N = size
    shapes = (M, K), (N, K), (N,), (M, K), (K, N), (M, N)
    x, weight, bias, dy, back, h = (rng.standard_normal(s).astype(dtype) for s in shapes)
    shrink = np.asarray(max(K, 1) ** -0.5, dtype)  # so that the sums are where GELU bends
    return x * shrink, weight, bias, dy * shrink, back, 2 * h


@FORMS
@DTYPES
@EVERY_SIZE
def test_the_numbers_are_those_of_the_formulas(size, dtype, approximate, rng):
    x, weight, bias, dy, back, h = drawn(rng, dtype, size)
    for b in (bias, None):
        wanted = reference.linear_gelu(x, weight, b, approximate)
        for got, want in zip(linear_gelu(x, weight, b, approximate), wanted, strict=True):
            assert_close(got, want)
    wanted = reference.matmul_gelu_backward(dy, back, h, approximate)
    assert_close(matmul_gelu_backward(dy, back, h, approximate), wanted)


@FORMS
@DTYPES
@EVERY_SIZE
def test_the_bits_are_those_of_one_step_after_the_other(size, dtype, approximate, rng):
    x, weight, bias, dy, back, h = drawn(rng, dtype, size)
    before, activated = linear_gelu(x, weight, bias, approximate)
    apart = linear(x, weight, bias)
    np.testing.assert_array_equal(before, apart)
    np.testing.assert_array_equal(activated, gelu(apart, approximate))
    np.testing.assert_array_equal(
        matmul_gelu_backward(dy, back, h, approximate),
        gelu_backward(matmul(dy, back), h, approximate),
    )


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="interpreted kernels share no work")
@FORMS
@DTYPES
def test_the_bits_do_not_depend_on_threads(dtype, approximate, rng):
    x, weight, bias, dy, back, h = drawn(rng, dtype, (203, DEPTH + 90, 150))
    before, results = threads.get_threads(), []
    try:
        for n in (1, 2, 3):
            threads.set_threads(n)
            results.append(
                [
                    *linear_gelu(x, weight, bias, approximate),
                    matmul_gelu_backward(dy, back, h, approximate),
                ]
            )
    finally:
        threads.set_threads(before)
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


@FORMS
def test_the_ends(approximate):
    """Infinities and nan come out as the kernel of GELU by itself has them."""
    h = np.array([[0.0, -100.0, 100.0, np.inf, -np.inf, np.nan]] * 2 * ROWS, np.float32)
    eye = np.eye(6, dtype=np.float32)
    dy = np.ones_like(h)
    np.testing.assert_array_equal(
        matmul_gelu_backward(dy, eye, h, approximate), gelu_backward(dy, h, approximate)
    )
    weight = h[0][:, None].copy()
    got, activated = linear_gelu(np.ones((2 * ROWS, 1), np.float32), weight, None, approximate)
    np.testing.assert_array_equal(got, h)
    np.testing.assert_array_equal(activated, gelu(h, approximate))


@pytest.mark.parametrize("layout", ["transposed", "strided", "read-only"])
def test_arrays_that_lie_otherwise(layout, rng):
    x, weight, bias, dy, back, h = drawn(rng, "float64", (20, 30, 40))

    def lay(a):
        if layout == "transposed":
            return np.asfortranarray(a)
        if layout == "strided":
            return np.repeat(a, 2, axis=-1)[..., ::2]
        a = a.copy()
        a.flags.writeable = False
        return a

    for got, wanted in zip(
        linear_gelu(lay(x), lay(weight), lay(bias), "none"),
        linear_gelu(x, weight, bias, "none"),
        strict=True,
    ):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(
        matmul_gelu_backward(lay(dy), lay(back), lay(h), "none"),
        matmul_gelu_backward(dy, back, h, "none"),
    )


def ones(*shape):
    return np.ones(shape, np.float32)


def test_what_does_not_fit_is_refused():
    for args in ((ones(2, 3), ones(4, 2), None), (ones(2, 3), ones(4, 3), ones(3))):
        with pytest.raises(ShapeError, match=r"linear_gelu: expected x \(N, in\)"):
            linear_gelu(*args, "none")
    for args in (
        (ones(2, 3), ones(4, 5), ones(2, 5)),
        (ones(2, 3), ones(3, 5), ones(2, 3)),
        (ones(2, 3), ones(3, 5), ones(5, 5)),
        (ones(3), ones(3, 5), ones(3, 5)),
        (ones(2, 3), ones(3), ones(2)),
    ):
        with pytest.raises(ShapeError, match=r"matmul_gelu_backward: expected dy \(N, out\)"):
            matmul_gelu_backward(*args, "none")
    with pytest.raises(ConfigError, match="linear_gelu: expected approximate"):
        linear_gelu(ones(2, 3), ones(4, 3), None, "quick")
    with pytest.raises(ConfigError, match="matmul_gelu_backward: expected approximate"):
        matmul_gelu_backward(ones(2, 3), ones(3, 5), ones(2, 5), "quick")
