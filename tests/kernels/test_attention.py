"""Attention where blocks begin and end, in place, in groups, and how much memory it takes."""

import subprocess
import sys

import numba
import numpy as np
import pytest

from scratchgrad.cases.kernels import assert_close
from scratchgrad.kernels import attention as calls
from scratchgrad.kernels import reference
from scratchgrad.kernels.attention import (
    attention,
    attention_backward,
    qkv_attention,
    qkv_attention_backward,
)
from scratchgrad.kernels.attention_blocks import BLOCK
from scratchgrad.kernels.simd import ROWS

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
SIZES = [1, ROWS, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + ROWS + 1]


def drawn(rng, dtype, *shapes):
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def compared(rng, q, k, v, *how):
    """Kernel against formula, forward and backward."""
    out, lse = attention(q, k, v, *how)
    wanted = reference.attention(q, k, v, *how)
    assert_close(out, wanted[0])
    assert_close(lse, wanted[1])
    dout = rng.standard_normal(out.shape).astype(q.dtype)
    got = attention_backward(dout, q, k, v, out, lse, *how)
    for g, w in zip(got, reference.attention_backward(dout, q, k, v, *wanted, *how), strict=True):
        assert_close(g, w)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("D", [3, 32])
@pytest.mark.parametrize(
    ("T", "S"), [(n, n) for n in SIZES] + [(BLOCK + 1, 5), (5, BLOCK + 1), (3 * BLOCK, BLOCK)]
)
def test_sizes_about_a_block(T, S, D, is_causal, rng):
    q, k, v = drawn(rng, np.float32, (1, 1, T, D), (1, 1, S, D), (1, 1, S, D))
    compared(rng, q, k, v, None, is_causal, 0.3)


@DTYPES
@pytest.mark.parametrize("block", [0, 1, 2])
def test_the_largest_score_may_come_in_any_block(block, dtype, rng):
    """What was summed before must shrink, and must not where nothing larger comes."""
    T = 3 * BLOCK
    q, k, v = drawn(rng, dtype, (1, 1, T, 4), (1, 1, T, 4), (1, 1, T, 4))
    q[..., 0], k[..., 0] = 3, 0
    k[0, 0, block * BLOCK + 7, 0] = 3  # a score of 9, where the others are of size 2
    compared(rng, q, k, v, None, False, 1.0)
    compared(rng, q, k, v, None, True, 1.0)


def test_dropout_beyond_the_first_block(rng):
    q, k, v = drawn(rng, np.float64, (2, 2, BLOCK + 5, 3), *[(2, 1, BLOCK + 9, 3)] * 2)
    compared(rng, q, k, v, None, True, 0.5, (0.4, 2**63 + 11))
    mask = rng.random((BLOCK + 5, BLOCK + 9)) < 0.5
    compared(rng, q, k, v, mask, False, 0.5, (0.4, 3))
    compared(rng, q, k, v, None, False, 0.5, (1.0, 3))


@pytest.mark.parametrize("few", [0, calls.FEW])
def test_a_group_adds_up_in_one_unit_or_in_several(few, rng, monkeypatch):
    monkeypatch.setattr(calls, "FEW", few)
    T = BLOCK + 3
    q, k, v = drawn(rng, np.float64, (2, 6, T, 3), (2, 2, T, 3), (2, 2, T, 3))
    compared(rng, q, k, v, None, True, 0.5)
    (qkv,) = drawn(rng, np.float64, (2, T, 10 * 3))
    out, lse = qkv_attention(qkv, 6, 2, 0.5)
    (dout,) = drawn(rng, np.float64, out.shape)
    assert_close(
        qkv_attention_backward(dout, qkv, out, lse, 6, 2, 0.5),
        reference.qkv_attention_backward(dout, qkv, out, lse, 6, 2, 0.5),
    )


@DTYPES
@pytest.mark.parametrize("D", [5, 32])
def test_in_place_is_the_same_to_the_bit(D, dtype, rng):
    """The order of every sum depends on the sizes alone, not on where the numbers lie."""
    T, H, Hk = BLOCK + 2 * ROWS, 4, 2
    (qkv,) = drawn(rng, dtype, (2, T, (H + 2 * Hk) * D))
    heads = qkv.reshape(2, T, H + 2 * Hk, D).swapaxes(1, 2)
    q, k, v = (np.ascontiguousarray(x) for x in np.split(heads, [H, H + Hk], axis=1))
    out, lse = qkv_attention(qkv, H, Hk, 0.5)
    apart, lse_apart = attention(q, k, v, None, True, 0.5)
    np.testing.assert_array_equal(out.reshape(2, T, H, D).swapaxes(1, 2), apart)
    np.testing.assert_array_equal(lse, lse_apart)
    dqkv = qkv_attention_backward(out, qkv, out, lse, H, Hk, 0.5)
    wanted = attention_backward(apart, q, k, v, apart, lse, None, True, 0.5)
    wanted = np.concatenate(wanted, axis=1).swapaxes(1, 2).reshape(dqkv.shape)
    np.testing.assert_array_equal(dqkv, wanted)


def test_a_mask_is_not_stretched_in_memory(rng):
    """Along an axis of size 1 the kernel stands still; a mask of 2 MB is not made one of 2 GB."""
    q, k, v = drawn(rng, np.float32, *[(2, 3, 70, 4)] * 3)
    for shape in [(1, 1, 1, 70), (2, 1, 1, 70), (3, 70, 1), (), (1, 3, 1, 1), (70, 70)]:
        compared(rng, q, k, v, rng.random(shape) < 0.7, False, 0.5)


PEAK = """
import resource, sys
import numpy as np
from scratchgrad.kernels.attention import qkv_attention, qkv_attention_backward
def run(T):
    qkv = np.ones((1, T, 3 * 32), np.float32)
    out, lse = qkv_attention(qkv, 1, 1, 0.1, (0.1, 5))
    return qkv_attention_backward(out, qkv, out, lse, 1, 1, 0.1, (0.1, 5))
run(64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(int(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="10^8 scores are too many for Python")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts kilobytes as Linux does")
def test_memory_grows_with_the_length_and_not_with_its_square():
    """A (T, T) matrix at T = 16384 would take 1 GB, of booleans 256 MB."""
    grown = subprocess.run(
        [sys.executable, "-c", PEAK, "16384"], check=True, capture_output=True, text=True
    )
    arrays = 16384 * 32 * 4 * 8  # bytes: qkv and its gradient count three each, out and dout
    assert int(grown.stdout) * 1024 < 2 * arrays
