"""Infinities, nan, masked rows, ignored targets, bad shapes."""

import numpy as np
import pytest

from scratchgrad.errors import ConfigError, DtypeError, ShapeError
from scratchgrad.kernels import reference
from scratchgrad.kernels.activation import gelu, gelu_backward, sigmoid, silu, silu_backward
from scratchgrad.kernels.adamw import adamw_step, all_finite, sum_of_squares
from scratchgrad.kernels.attention import attention, attention_backward, qkv_attention
from scratchgrad.kernels.cross_entropy import cross_entropy, cross_entropy_backward
from scratchgrad.kernels.indexing import add_rows
from scratchgrad.kernels.linear import linear, linear_gelu, matmul_gelu_backward
from scratchgrad.kernels.matmul import matmul
from scratchgrad.kernels.norm import layer_norm, rms_norm
from scratchgrad.kernels.softmax import log_softmax, softmax

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
INF, NAN = np.inf, np.nan


@DTYPES
def test_softmax_of_infinities(dtype):
    x = np.array(
        [[-INF, -INF, -INF], [0, -INF, 0], [INF, 0, 0], [NAN, 0, 0], [0, NAN, 1], [1e30, -1e30, 0]],
        dtype,
    )
    wanted = [[NAN] * 3, [0.5, 0, 0.5], [NAN] * 3, [NAN] * 3, [NAN] * 3, [1, 0, 0]]
    got = softmax(x, -1)
    # PyTorch's softmax(inf, 0, 0) is (nan, 0, 0) too; what counts is that the row is not a
    # distribution
    np.testing.assert_allclose(got[[0, 1, 3, 4, 5]], np.array(wanted)[[0, 1, 3, 4, 5]])
    assert np.isnan(got[2]).any()
    np.testing.assert_allclose(
        log_softmax(x, -1)[[0, 1, 3]],
        [[NAN] * 3, [-np.log(2), -INF, -np.log(2)], [NAN] * 3],
        rtol=1e-6,
    )


@DTYPES
@pytest.mark.parametrize("T", [1, 5, 70])
def test_attention_that_may_attend_nowhere_is_zero(dtype, T, rng):
    q, k, v, dout = (rng.standard_normal((1, 2, T, 4)).astype(dtype) for _ in range(4))
    mask = np.ones((T, T), bool)
    mask[T // 2] = False
    out, lse = attention(q, k, v, mask, False, 0.5, None)
    assert (out[:, :, T // 2] == 0).all()
    assert (lse[:, :, T // 2] == -INF).all()
    dq, dk, dv = attention_backward(dout, q, k, v, out, lse, mask, False, 0.5, None)
    assert (dq[:, :, T // 2] == 0).all()
    assert all(np.isfinite(x).all() for x in (dq, dk, dv))


@DTYPES
@pytest.mark.parametrize("T", [1, 2, 3, 4, 6, 64, 67, 131])
def test_causal_attention_never_touches_the_future(dtype, T, rng):
    """Not even nan in a later token may show: it is not weighed by 0, it is not read."""
    q, k, v = (rng.standard_normal((1, 1, T, 4)).astype(dtype) for _ in range(3))
    out, lse = attention(q, k, v, None, True, 0.5, None)
    for t in {0, T // 2, T - 1}:
        k2, v2 = k.copy(), v.copy()
        k2[:, :, t] = NAN
        v2[:, :, t] = NAN
        out2, lse2 = attention(q, k2, v2, None, True, 0.5, None)
        assert (out[:, :, :t] == out2[:, :, :t]).all()
        assert (lse[:, :, :t] == lse2[:, :, :t]).all()
        assert np.isnan(out2[:, :, t:]).all()


@DTYPES
def test_ignored_rows_are_exactly_zero(dtype):
    logits = np.array([[0, 1], [NAN, INF], [2, -INF]], dtype)
    targets = np.array([1, -1, 0])
    losses = cross_entropy(logits, targets, -1, 0.0)
    np.testing.assert_allclose(losses, [np.log1p(np.exp(-1)), 0, 0], rtol=1e-6)
    dlosses = np.array([1, NAN, 1], dtype)
    dlogits = cross_entropy_backward(dlosses, logits, targets, -1, 0.1)
    assert (dlogits[1] == 0).all()
    assert np.isfinite(dlogits).all()


@DTYPES
def test_cross_entropy_keeps_its_digits_where_logits_are_large(dtype):
    logits = np.array([[1000.0, 1000.0]], dtype)
    losses = cross_entropy(logits, np.array([0]), -1, 0.0)
    np.testing.assert_allclose(losses, [np.log(2)], rtol=4 * np.finfo(dtype).eps)


@DTYPES
def test_activations_at_the_ends(dtype):
    huge = float(np.finfo(dtype).max) / 4
    x = np.array([-huge, -100, 0, 100, huge, INF, NAN], dtype)
    one = np.ones_like(x)
    for approximate in ("none", "tanh"):
        np.testing.assert_array_equal(gelu(x, approximate), [0, 0, 0, 100, huge, INF, NAN])
        slope = gelu_backward(one, x, approximate)[[0, 1, 2, 3, 4, 6]]
        np.testing.assert_array_equal(slope, [0, 0, 0.5, 1, 1, NAN])
    assert sigmoid(np.array([-INF, INF], dtype)).tolist() == [0, 1]
    tail = sigmoid(np.array([-80], dtype))
    np.testing.assert_allclose(tail, np.exp(np.array([-80], dtype)), rtol=1e-6)
    np.testing.assert_array_equal(silu(x)[[0, 2, 4, 5, 6]], [0, 0, huge, INF, NAN])
    np.testing.assert_array_equal(silu_backward(one, x)[[0, 2, 3, 4, 6]], [0, 0.5, 1, 1, NAN])


@DTYPES
def test_norms_where_the_mean_is_large(dtype):
    x = np.array([[1000.0, 1001.0, 1002.0]], dtype)
    y, mean, _ = layer_norm(x, None, None, 0.0)
    np.testing.assert_allclose(y, [[-np.sqrt(1.5), 0, np.sqrt(1.5)]], rtol=1e-5, atol=1e-6)
    assert mean.tolist() == [1001.0]


def test_sum_of_squares_and_all_finite():
    assert sum_of_squares(np.full(3, 1e30, np.float32)) == pytest.approx(3e60, rel=1e-6)
    assert all_finite(np.array([1e200, 0.0]))
    assert not all_finite(np.array([1.0, INF]))
    assert not all_finite(np.array([NAN], np.float32))
    assert sum_of_squares(np.zeros(0)) == 0.0
    with np.errstate(over="ignore"):
        assert sum_of_squares(np.array([1e200])) == INF


@DTYPES
def test_ten_steps_of_adamw(dtype, rng):
    """The reference, and it against the textbook form, in the order in which PyTorch computes."""
    param, m, v = rng.standard_normal(20000).astype(dtype), *np.zeros((2, 20000), dtype)
    other = [param.copy(), m.copy(), v.copy()]
    for step in range(1, 11):
        grad = rng.standard_normal(20000).astype(dtype)
        adamw_step(param, grad, m, v, 1e-2, 0.9, 0.99, 1e-8, 0.1, step)
        p, m2, v2 = other
        reference.adamw_step(p, grad, m2, v2, 1e-2, 0.9, 0.99, 1e-8, 0.1, step)
    tolerance = 50 * np.finfo(dtype).eps
    for got, wanted in zip((param, m, v), other, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda: matmul(ones(2, 3), ones(3, 2).astype(float)),
        lambda: matmul(ones(2, 3).astype(int), ones(3, 2).astype(int)),
        lambda: linear(ones(2, 3), ones(4, 3), None, ones(2, 4).astype(float)),
        lambda: linear_gelu(ones(2, 3), ones(4, 3), ones(4).astype(float), "none"),
        lambda: matmul_gelu_backward(ones(2, 3), ones(3, 5), ones(2, 5).astype(float), "none"),
    ],
)
def test_products_of_two_dtypes_are_refused(call):
    """The tile would take the bytes of the one for numbers of the other."""
    with pytest.raises(DtypeError, match=r"expected float32 or float64 for all, got .*64"):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: matmul(ones(2, 3), ones(2, 3)), "matmul: expected"),
        (lambda: matmul(ones(2, 3), ones(3, 2), np.broadcast_to(ones(1, 1), (2, 2))), "to write"),
        (lambda: matmul(ones(3), ones(3, 2)), "matmul: expected"),
        (lambda: matmul(ones(2, 3, 3), ones(4, 3, 3)), "do not broadcast"),
        (
            lambda: attention(*[ones(1, 3, 4, 2)] * 2, ones(1, 2, 4, 2), None, True, 1.0, None),
            "H a",
        ),
        (
            lambda: attention(ones(1, 3, 4, 2), *[ones(1, 2, 4, 2)] * 2, None, True, 1.0, None),
            "H a",
        ),
        (
            lambda: attention(*[ones(1, 1, 4, 2)] * 3, np.ones((3, 4), bool), True, 1.0, None),
            "mask",
        ),
        (lambda: qkv_attention(ones(1, 4, 10), 3, 2, 1.0), "multiple of Hk"),
        (lambda: qkv_attention(ones(1, 4, 10), 0, 0, 1.0), "H = 0"),
        (lambda: qkv_attention(ones(1, 4, 9), 2, 1, 1.0), "2 Hk"),
        (lambda: layer_norm(ones(2, 3), ones(2), None, 1e-5), "layer_norm: expected"),
        (lambda: rms_norm(ones(2, 3), ones(2), 1e-5), "rms_norm: expected"),
        (lambda: cross_entropy(ones(2, 3), np.zeros(3, np.int64), -1, 0.0), "cross_entropy: exp"),
        (lambda: add_rows(ones(2, 3), np.zeros(2, np.int64), ones(2, 2)), "add_rows: expected"),
        (lambda: adamw_step(ones(2), *[ones(3)] * 3, 1, 1, 1, 1, 1, 1), "adamw_step: expected"),
        (
            lambda: adamw_step(ones(2, 2)[:, :1], *[ones(2, 1)] * 3, 1, 1, 1, 1, 1, 1),
            "contiguous",
        ),
    ],
)
def test_shapes_that_do_not_fit(call, words):
    with pytest.raises(ShapeError, match=words):
        call()


def test_gelu_of_another_kind():
    with pytest.raises(ConfigError, match="'quick'"):
        gelu(ones(1), "quick")
