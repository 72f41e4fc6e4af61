"""The kernels' rarer paths: each of these was wrong in a mutant that no other test caught."""

import numpy as np
import pytest

from scratchgrad import kernels
from scratchgrad.cases.kernels import assert_close
from scratchgrad.errors import ShapeError
from scratchgrad.kernels import reference
from scratchgrad.kernels.adamw import CHUNK, adamw_step, sum_of_squares
from scratchgrad.kernels.attention import attention, attention_backward
from scratchgrad.kernels.cross_entropy import (
    cross_entropy,
    cross_entropy_backward,
    cross_entropy_in_place,
    cross_entropy_with_gradient,
)
from scratchgrad.kernels.indexing import add_rows
from scratchgrad.kernels.norm import layer_norm, rms_norm

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


# -- attention ---------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("T", [1, 5, 67, 130])
@pytest.mark.parametrize("sign", [1, -1])
def test_scores_too_large_for_exp(dtype, T, sign, rng):
    """Every query's largest score is taken off, whichever block it is in and whichever key."""
    q, k = np.ones((1, 1, T, 1), dtype), np.full((1, 1, T, 1), sign * 2000, dtype)
    k[0, 0, :, 0] += 100 * rng.permutation(T)
    v = rng.standard_normal((1, 1, T, 2)).astype(dtype)
    for is_causal in (True, False):
        args = (q, k, v, None, is_causal, 1.0, None)
        (out, lse), (wanted, wanted_lse) = attention(*args), reference.attention(*args)
        assert np.isfinite(out).all()
        assert_close(out, wanted)
        np.testing.assert_allclose(lse, wanted_lse, rtol=1e-6)


@DTYPES
def test_a_query_of_nan_gives_nan_and_only_there(dtype, rng):
    q, k, v = (rng.standard_normal((1, 1, 5, 3)).astype(dtype) for _ in range(3))
    q[0, 0, 2] = np.nan
    for module in (kernels.attention, reference):
        out, lse = module.attention(q, k, v, None, False, 1.0, None)
        assert np.isnan(out[0, 0]).all(axis=-1).tolist() == [False, False, True, False, False]
        assert np.isnan(lse[0, 0]).tolist() == [False, False, True, False, False]


@DTYPES
@pytest.mark.parametrize("shape", [(2, 2, 5, 0), (0, 2, 5, 3), (2, 2, 0, 3), (2, 0, 5, 3)])
def test_attention_of_nothing(dtype, shape, rng):
    """Heads of size 0 score 0 everywhere: the values are averaged, and dv is not left unset."""
    q, k = np.ones(shape, dtype), np.ones(shape, dtype)
    v, dout = (rng.standard_normal((*shape[:3], 4)).astype(dtype) for _ in range(2))
    how = (None, True, 1.0, None)
    out, lse = attention(q, k, v, *how)
    assert_close(out, reference.attention(q, k, v, *how)[0])
    got = attention_backward(dout, q, k, v, out, lse, *how)
    wanted = reference.attention_backward(dout, q, k, v, out, lse, *how)
    for g, w in zip(got, wanted, strict=True):
        assert_close(g, w)


@DTYPES
def test_keys_that_no_query_head_reads_get_gradients_of_zero(dtype):
    q, k, out = (np.ones((2, h, 5, 3), dtype) for h in (0, 2, 0))
    lse = np.ones((2, 0, 5), dtype)
    for gradient in attention_backward(out, q, k, k, out, lse, None, False, 1.0, None):
        assert (gradient == 0).all()


FITTING = {"q": (2, 4, 5, 3), "k": (2, 2, 6, 3), "v": (2, 2, 6, 7)}


@pytest.mark.parametrize(
    ("name", "axis"), [("k", 0), ("k", 3), ("v", 0), ("v", 1), ("v", 2), ("q", 0), ("q", 3)]
)
@pytest.mark.parametrize("by", [1, -1])
def test_attention_refuses_every_size_that_does_not_fit(name, axis, by):
    shapes = {n: list(s) for n, s in FITTING.items()}
    shapes[name][axis] += by
    q, k, v = (np.ones(s, np.float32) for s in shapes.values())
    with pytest.raises(ShapeError, match="attention: expected q"):
        attention(q, k, v, None, False, 1.0, None)


# -- softmax and cross-entropy -----------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("at", range(4))
def test_a_logit_too_large_for_exp_wherever_it_stands(dtype, at):
    x = np.zeros((1, 4), dtype)
    x[0, at] = 5000
    one_hot = np.eye(4, dtype=dtype)[[at]]
    for module in (kernels.softmax, reference):
        np.testing.assert_array_equal(module.softmax(x, -1), one_hot)
        np.testing.assert_array_equal(module.log_softmax(x, -1), x - 5000)
    assert cross_entropy(x, np.array([at]), -1, 0.0).tolist() == [0]
    losses = cross_entropy(x, np.array([(at + 1) % 4]), -1, 0.5)
    np.testing.assert_allclose(losses, [5000 * (0.5 + 0.5 * 3 / 4)])


@DTYPES
@pytest.mark.parametrize("ignored", [-100, 0, 1, 2])
def test_any_class_may_be_the_one_that_is_ignored(dtype, ignored, rng):
    logits, targets = rng.standard_normal((5, 3)).astype(dtype), np.array([0, 1, 2, 1, 0])
    dlosses = rng.standard_normal(5).astype(dtype)
    for smoothing in (0.0, 0.3):
        losses = cross_entropy(logits, targets, ignored, smoothing)
        assert_close(losses, reference.cross_entropy(logits, targets, ignored, smoothing))
        assert ((losses == 0) == (targets == ignored)).all()
        backward = (dlosses, logits, targets, ignored, smoothing)
        assert_close(cross_entropy_backward(*backward), reference.cross_entropy_backward(*backward))


def test_rows_of_no_class_have_a_gradient_of_their_shape():
    none, ids, row = np.ones((2, 0)), np.zeros(2, np.int64), np.ones(2)
    for module in (kernels.cross_entropy, reference):
        assert module.cross_entropy_backward(row, none, ids, -1, 0.1).shape == (2, 0)
        assert module.cross_entropy(none, ids - 1, -1, 0.1).tolist() == [0, 0]
        losses, dlogits = module.cross_entropy_with_gradient(row, none, ids - 1, -1, 0.1)
        assert (losses.tolist(), dlogits.shape) == ([0, 0], (2, 0))
        losses[:] = np.nan
        module.cross_entropy_in_place(row, losses, none, ids - 1, -1, 0.1)
        assert losses.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("logits", "targets"), [((2, 3), (1,)), ((2, 3), (3,)), ((2,), (2,)), ((2, 3, 4), (2,))]
)
def test_cross_entropy_refuses_what_does_not_fit(logits, targets):
    x, ids = np.ones(logits, np.float32), np.zeros(targets, np.int64)
    with pytest.raises(ShapeError, match="cross_entropy: expected logits"):
        cross_entropy(x, ids, -1, 0.0)
    with pytest.raises(ShapeError, match="cross_entropy_backward: expected logits"):
        cross_entropy_backward(ids, x, ids, -1, 0.0)
    with pytest.raises(ShapeError, match="cross_entropy_with_gradient: expected logits"):
        cross_entropy_with_gradient(ids, x, ids, -1, 0.0)
    row, ids = np.ones(2), np.zeros(2, np.int64)
    for losses, logits in ((np.ones(3), np.ones((2, 3))), (row, np.ones((2, 6))[:, ::2])):
        with pytest.raises(ShapeError, match="cross_entropy_in_place: expected contiguous"):
            cross_entropy_in_place(row, losses, logits, ids, -1, 0.0)
    with pytest.raises(ShapeError, match=r"and dlosses \(N,\), got \(3,\)"):
        cross_entropy_backward(np.ones(3), np.ones((2, 3)), np.zeros(2, np.int64), -1, 0.0)


@DTYPES
def test_the_largest_of_a_row_sorts_all_floats(dtype, rng):
    """It is found among the bits read as whole numbers: all signs, sizes and infinities."""
    wide = (rng.standard_normal(300) * np.exp(20 * rng.standard_normal(300))).astype(dtype)
    low = np.array([-np.inf, -1e-30], dtype)
    for row in (wide, -np.abs(wide), np.abs(wide), wide[:1], low):
        shifted = np.concatenate([row, [-np.inf]]).astype(dtype)
        for x in (row, shifted, shifted[::-1].copy()):
            with np.errstate(all="ignore"):
                wanted = np.exp(x - x.max()).sum()
            loss = cross_entropy(x[None], np.array([int(x.argmax())]), -1, 0.0)
            np.testing.assert_allclose(loss, [np.log(wanted)], rtol=1e-5, atol=1e-6)


# -- norms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (2,), (4,)])
def test_norms_refuse_what_does_not_fit(shape):
    x, odd = np.ones((2, 3), np.float32), np.ones(shape, np.float32)
    calls = [
        lambda: layer_norm(x, odd, None, 1e-5),
        lambda: layer_norm(x, None, odd, 1e-5),
        lambda: layer_norm(x, odd[..., None], None, 1e-5),
        lambda: rms_norm(x, odd, 1e-6),
    ]
    if not shape:
        calls += [lambda: layer_norm(odd, None, None, 1e-5), lambda: rms_norm(odd, None, 1e-6)]
    for call in calls:
        with pytest.raises(ShapeError, match="_norm: expected x"):
            call()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_swiglu_refuses_what_has_no_halves(shape):
    with pytest.raises(ShapeError, match="swiglu: expected x"):
        kernels.activation.swiglu(np.ones(shape))
    with pytest.raises(ShapeError, match="swiglu_backward: expected x"):
        kernels.activation.swiglu_backward(np.ones(shape), np.ones(shape))


def test_swiglu_backward_refuses_another_half():
    with pytest.raises(ShapeError, match="expected dy of half"):
        kernels.activation.swiglu_backward(np.ones((2, 4)), np.ones((2, 4)))


# -- matmul and add_rows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"), [((2, 2), (3, 2)), ((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), ())]
)
def test_matmul_refuses_what_does_not_fit(a, b):
    with pytest.raises(ShapeError, match="matmul: expected"):
        kernels.matmul.matmul(np.ones(a), np.ones(b))


@pytest.mark.parametrize(
    ("table", "ids", "rows"),
    [
        ((3,), (4,), (4,)),
        ((3, 2), (), (2,)),
        ((3, 2), (4,), (3, 2)),
        ((3, 2), (4,), (5, 2)),
        ((3, 2), (4,), (4, 1)),
        ((3, 2), (4,), (4, 3)),
        ((3, 2), (4, 1), (4, 1, 2)),
        ((3, 2, 2), (4,), (4, 2)),
        ((3, 2, 2), (4,), (4, 2, 2)),
    ],
)
def test_add_rows_refuses_what_does_not_fit(table, ids, rows):
    before = np.ones(table)
    with pytest.raises(ShapeError, match="add_rows: expected"):
        add_rows(before, np.zeros(ids, np.int64), np.ones(rows))
    assert (before == 1).all()


# -- the optimiser -----------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [(0,), (1,), (2,), (3,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("size", [2, 4])
def test_adamw_step_refuses_any_array_of_another_shape(odd, size):
    arrays = [np.ones(size if i in odd else 3, np.float32) for i in range(4)]
    with pytest.raises(ShapeError, match="four arrays of one shape"):
        adamw_step(*arrays, 0.1, 0.9, 0.99, 1e-8, 0.0, 1)


def test_the_sums_of_the_chunks_are_added_without_rounding():
    x = np.zeros(3 * CHUNK)
    x[0], x[CHUNK], x[-1] = 1e8, 1, 1
    assert sum_of_squares(x) == 1e16 + 2  # 1e16 + 1 is no float64
