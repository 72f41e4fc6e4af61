"""Cross-entropy, attention, dropout, softmax and the norms: options, masks and the ends."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad.cases import attention
from scratchgrad.errors import DtypeError, ShapeError
from scratchgrad.ops import composite, loss
from scratchgrad.testing import rngs

F = sg.nn.functional
sdpa = F.scaled_dot_product_attention


def grown(rng: np.random.Generator, *shape: int) -> sg.Tensor:
    return sg.tensor(rng.standard_normal(shape), requires_grad=True)


# --------------------------------------------------------------------------------- cross-entropy


def test_ignored_rows_have_no_loss_and_no_gradient(rng: np.random.Generator) -> None:
    logits = grown(rng, 3, 4)
    losses = F.cross_entropy(logits, [1, -100, 2], reduction="none")
    assert losses.numpy()[1] == 0
    F.cross_entropy(logits, [1, -100, 2]).backward()
    assert (logits.grad[1] == 0).all()
    kept = grown(rng, 2, 4)
    kept.data = logits.numpy()[[0, 2]]
    F.cross_entropy(kept, [1, 2]).backward()
    np.testing.assert_allclose(logits.grad[[0, 2]], kept.grad, rtol=1e-14)


def test_ignored_rows_may_hold_anything(rng: np.random.Generator) -> None:
    logits = grown(rng, 2, 3)
    with sg.no_grad():
        logits.data[1] = np.nan
    loss = F.cross_entropy(logits, [0, -100])
    loss.backward()
    assert np.isfinite(loss.item())
    assert np.isfinite(logits.grad).all()


def test_all_rows_ignored(rng: np.random.Generator) -> None:
    logits = grown(rng, 2, 3)
    mean = F.cross_entropy(logits, [-100, -100])
    assert np.isnan(mean.item())
    mean.backward()
    assert (logits.grad == 0).all()
    assert F.cross_entropy(logits, [-100, -100], reduction="sum").item() == 0
    assert F.cross_entropy(logits, [-100, -100], reduction="none").numpy().tolist() == [0, 0]


def test_an_ignore_index_inside_the_vocabulary(rng: np.random.Generator) -> None:
    logits = grown(rng, 2, 3)
    one = F.cross_entropy(logits, [2, 0], ignore_index=0)
    assert one.item() == pytest.approx(F.cross_entropy(logits[:1], [2]).item())


def test_smoothing_mixes_the_target_with_all_classes_evenly(rng: np.random.Generator) -> None:
    logits = grown(rng, 5)
    hard = F.cross_entropy(logits, 3).item()
    even = -sg.log_softmax(logits).mean().item()
    smooth = F.cross_entropy(logits, 3, label_smoothing=0.3).item()
    assert smooth == pytest.approx(0.7 * hard + 0.3 * even, rel=1e-14)


def test_extreme_logits() -> None:
    logits = sg.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    assert F.cross_entropy(logits, [0]).item() == 0
    loss = F.cross_entropy(logits, [2])
    assert loss.item() == 2e4
    loss.backward()
    assert logits.grad.tolist() == [[1, 0, -1]]


def test_a_class_that_is_impossible() -> None:
    logits = sg.tensor([[0.0, -np.inf, 0.0]], requires_grad=True)
    loss = F.cross_entropy(logits, [0])
    assert loss.item() == pytest.approx(np.log(2))
    loss.backward()
    np.testing.assert_allclose(logits.grad, [[-0.5, 0, 0.5]], atol=1e-7)


def test_the_mean_is_taken_with_the_digits_of_float64() -> None:
    logits = sg.tensor(np.zeros((200_000, 2), np.float32))
    loss = F.cross_entropy(logits, np.zeros(200_000, int))
    assert loss.dtype == np.float32
    assert loss.item() == np.float32(np.log(2))


# -------------------------------------------------------------------------- the head and its loss


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 7, 100])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_chunks_of_the_head_do_not_show(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, rows: int, reduction: str
) -> None:
    """Seven rows of logits at once, or fewer at a time: the same loss and gradients, twice."""
    x, weight = grown(rng, 7, 3), grown(rng, 5, 3)
    targets = np.array([0, 4, -100, 1, 1, 2, 3])
    settings = {"label_smoothing": 0.1, "reduction": reduction}
    spelled = composite.linear_cross_entropy(x, weight, targets, **settings)
    dy = rng.standard_normal(spelled.shape)
    spelled.backward(dy)
    wanted = [x.grad, weight.grad]
    monkeypatch.setattr(loss, "LOGITS_BYTES", rows * 5 * 8)
    fused = F.linear_cross_entropy(x, weight, targets, **settings)
    np.testing.assert_allclose(fused.numpy(), spelled.numpy(), rtol=1e-12)
    for keep in (True, False):
        x.grad = weight.grad = None
        fused.backward(dy, retain_graph=keep)
        np.testing.assert_allclose(x.grad, wanted[0], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(weight.grad, wanted[1], rtol=1e-12, atol=1e-14)
    with sg.no_grad():
        again = F.linear_cross_entropy(x, weight, targets, **settings)
    np.testing.assert_array_equal(again.numpy(), fused.numpy())


def test_the_chunks_of_the_head_are_few_and_even() -> None:
    def ends(n: int, most: int) -> list[int]:
        return [chunk.stop for chunk in loss._chunks(n, loss.LOGITS_BYTES // most)]

    assert ends(7, 7) == [7]
    assert ends(8, 7) == [4, 8]
    assert ends(7, 3) == [3, 6, 7]
    assert ends(3, 1) == [1, 2, 3]
    assert ends(0, 4) == [0]
    assert loss._chunks(2, 0) == [slice(0, 2)]
    assert [c.stop for c in loss._chunks(2, 2 * loss.LOGITS_BYTES)] == [1, 2]  # a row at least


def test_the_head_never_holds_all_the_logits(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(loss, "LOGITS_BYTES", 2 * 5 * 8)
    seen = []
    real = loss.product

    def spied(a: Any, b: Any, *rest: Any, **how: Any) -> Any:
        y = real(a, b, *rest, **how)
        seen.append(y.shape)
        return y

    monkeypatch.setattr(loss, "product", spied)
    x, weight = grown(rng, 6, 3), grown(rng, 5, 3)
    F.linear_cross_entropy(x, weight, [0, 1, 2, 3, 4, 0]).backward()
    assert set(seen) == {(2, 5), (2, 3), (5, 3)}
    assert len(seen) == 9  # nothing is computed twice


@pytest.mark.parametrize(
    ("x", "weight", "targets", "match"),
    [
        ((2, 3), (4, 2), (2,), r"x \(..., C\) and weight \(V, C\), received \(2, 3\)"),
        ((2, 3), (3,), (2,), r"x \(..., C\) and weight"),
        ((), (4, 3), (), r"x \(..., C\) and weight"),
        ((2, 3), (4, 3), (3,), r"x \(..., C\) and targets \(...\), received \(2, 3\)"),
    ],
)
def test_a_head_of_shapes_that_do_not_fit(x: Any, weight: Any, targets: Any, match: str) -> None:
    with pytest.raises(ShapeError, match=f"linear_cross_entropy: expected {match}"):
        F.linear_cross_entropy(np.ones(x), np.ones(weight), np.zeros(targets, int))


# ------------------------------------------------------------------------------------- attention


@given(rng=rngs, t=st.integers(1, 6), s=st.integers(1, 6), causal=st.booleans())
def test_attention_where_queries_and_keys_differ_in_number(
    rng: np.random.Generator, t: int, s: int, causal: bool
) -> None:
    q, k, v = grown(rng, 1, 2, t, 3), grown(rng, 1, 2, s, 3), grown(rng, 1, 2, s, 4)
    y = sdpa(q, k, v, is_causal=causal)
    expected = attention.attention(q.numpy(), k.numpy(), v.numpy(), is_causal=causal)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("t", "s"), [(70, 130), (130, 70), (64, 64), (65, 65)])
def test_attention_longer_than_a_block_of_the_kernel(
    rng: np.random.Generator, t: int, s: int
) -> None:
    q, k, v = grown(rng, 1, 2, t, 5), grown(rng, 1, 1, s, 5), grown(rng, 1, 1, s, 5)
    mask = rng.random((t, s)) < 0.7
    c = rng.standard_normal((1, 2, t, 5))
    for settings in ({}, {"is_causal": True}, {"mask": mask}):
        for x in (q, k, v):
            x.grad = None
        y = sdpa(q, k, v, **settings)
        y.backward(c)
        blind = mask.copy() if "mask" in settings else np.ones((t, s), bool)
        if "is_causal" in settings:
            blind &= np.tri(t, s, dtype=bool)
        fused = [x.grad for x in (q, k, v)]
        for x in (q, k, v):
            x.grad = None
        spelled = composite.attention(q, k, v, blind)
        spelled.backward(c)
        np.testing.assert_allclose(y.numpy(), spelled.numpy(), rtol=1e-10, atol=1e-12)
        for x, g in zip((q, k, v), fused, strict=True):
            np.testing.assert_allclose(g, x.grad, rtol=1e-10, atol=1e-12)


def test_a_group_of_query_heads_shares_a_key_head(rng: np.random.Generator) -> None:
    q, k, v = grown(rng, 2, 6, 3, 4), grown(rng, 2, 2, 5, 4), grown(rng, 2, 2, 5, 4)
    c = rng.standard_normal((2, 6, 3, 4))
    y = sdpa(q, k, v)
    y.backward(c)
    grouped = [x.grad for x in (q, k, v)]
    for x in (q, k, v):
        x.grad = None
    wide = sdpa(q, sg.repeat(k, 3, axis=1), sg.repeat(v, 3, axis=1))
    wide.backward(c)
    np.testing.assert_allclose(y.numpy(), wide.numpy(), rtol=1e-13)
    for x, g in zip((q, k, v), grouped, strict=True):
        np.testing.assert_allclose(g, x.grad, rtol=1e-12)


def test_a_query_that_may_look_nowhere_gets_zero_and_gives_no_gradient(
    rng: np.random.Generator,
) -> None:
    q, k, v = grown(rng, 1, 1, 3, 2), grown(rng, 1, 1, 4, 2), grown(rng, 1, 1, 4, 2)
    mask = np.ones((3, 4), bool)
    mask[1] = False
    y = sdpa(q, k, v, mask)
    assert (y.numpy()[0, 0, 1] == 0).all()
    y.backward(rng.standard_normal(y.shape))
    assert (q.grad[0, 0, 1] == 0).all()
    for x in (q, k, v):
        assert np.isfinite(x.grad).all()
    nowhere = sdpa(q, k, v, np.zeros((3, 4), bool))
    assert (nowhere.numpy() == 0).all()
    nowhere.backward(np.ones(y.shape))


def test_a_key_that_is_masked_has_no_influence_whatever_it_holds(rng: np.random.Generator) -> None:
    q, k, v = grown(rng, 1, 1, 2, 2), grown(rng, 1, 1, 3, 2), grown(rng, 1, 1, 3, 2)
    mask = np.array([True, False, True])
    before = sdpa(q, k, v, mask).numpy().copy()
    k.data[0, 0, 1] = 1e30
    v.data[0, 0, 1] = -1e30
    np.testing.assert_array_equal(sdpa(q, k, v, mask).numpy(), before)


def test_scores_far_apart_do_not_overflow(rng: np.random.Generator) -> None:
    q = sg.tensor(np.full((1, 1, 1, 1), 1e4, np.float32), requires_grad=True)
    k = sg.tensor(np.array([1.0, -1.0], np.float32).reshape(1, 1, 2, 1), requires_grad=True)
    y = sdpa(q, k, k)
    assert y.item() == 1
    y.backward()
    assert np.isfinite(q.grad).all()
    assert np.isfinite(k.grad).all()


@pytest.mark.parametrize(
    ("shapes", "mask", "match"),
    [
        (((1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3, 5)), None, "H a multiple of Hk"),
        (((1, 3, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)), None, "H a multiple of Hk"),
        (((2, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)), None, "H a multiple of Hk"),
        (((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 5, 4)), None, "H a multiple of Hk"),
        (((1, 2, 3, 4), (1, 0, 3, 4), (1, 0, 3, 4)), None, "H a multiple of Hk"),
        (((1, 2, 3, 4),) * 3, np.ones((2, 2), bool), r"broadcasts to \(1, 2, 3, 3\), received"),
        (((1, 2, 3, 4),) * 3, np.ones((1, 1, 1, 3, 3), bool), "broadcasts to"),
    ],
)
def test_attention_of_shapes_that_do_not_fit(shapes: Any, mask: Any, match: str) -> None:
    with pytest.raises(ShapeError, match=match):
        sdpa(*(np.ones(shape) for shape in shapes), mask)


def test_an_additive_mask_is_refused() -> None:
    with pytest.raises(DtypeError, match=r"boolean mask.*float64.*mask == 0"):
        sdpa(*[np.ones((1, 1, 2, 2))] * 3, np.zeros((2, 2)))


def test_a_mask_may_be_a_tensor_of_booleans(rng: np.random.Generator) -> None:
    q = grown(rng, 1, 1, 2, 2)
    mask = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(
        sdpa(q, q, q, sg.tensor(mask)).numpy(), sdpa(q, q, q, mask).numpy()
    )


def test_dropping_attention_weights_keeps_the_mean() -> None:
    q = sg.tensor(np.zeros((1, 1, 2000, 1), np.float32))
    v = sg.tensor(np.ones((1, 1, 50, 1), np.float32))
    y = sdpa(q, np.zeros((1, 1, 50, 1)), v, dropout_p=0.25, rng=np.random.default_rng(0))
    assert y.numpy().std() > 0.05
    assert y.numpy().mean() == pytest.approx(1, abs=0.01)


# --------------------------------------------------------------------------------------- dropout


def test_dropout_zeroes_the_share_and_scales_the_rest() -> None:
    x = sg.tensor(np.ones(100_000, np.float32))
    y = F.dropout(x, 0.2, rng=np.random.default_rng(0)).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1.25)}
    assert (y == 0).mean() == pytest.approx(0.2, abs=0.005)
    assert y.mean() == pytest.approx(1, abs=0.01)


def test_the_gradient_of_dropout_passes_where_the_value_did() -> None:
    x = sg.tensor(np.ones(1000), requires_grad=True)
    y = F.dropout(x, 0.5, rng=np.random.default_rng(0))
    y.backward(np.ones(1000))
    np.testing.assert_array_equal(x.grad, y.numpy())


def test_dropout_follows_its_generator() -> None:
    x = sg.tensor(np.ones(100))
    first, again, other = (
        F.dropout(x, 0.5, rng=np.random.default_rng(seed)).numpy() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (F.dropout(x, 0.5).numpy() != F.dropout(x, 0.5).numpy()).any()


def test_dropout_that_drops_nothing_or_all() -> None:
    x = sg.tensor(np.ones(10), requires_grad=True)
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 0.9, training=False) is x
    assert (F.dropout(x, 1.0).numpy() == 0).all()


# ----------------------------------------------------------------------------- softmax and norms


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_adds_up_to_one_and_stands_extremes(axis: int) -> None:
    x = sg.tensor([[1e4, 0.0, -1e4], [3.0, 3.0, 3.0]])
    y = F.softmax(x, axis).numpy()
    np.testing.assert_allclose(y.sum(axis), 1, rtol=1e-6)
    assert np.isfinite(F.log_softmax(x, axis).numpy()).all()


def test_log_softmax_keeps_what_softmax_rounds_to_zero() -> None:
    x = sg.tensor([0.0, -1e3])
    assert F.softmax(x).numpy()[1] == 0
    assert F.log_softmax(x).numpy()[1] == -1e3


def test_softmax_of_minus_infinity_is_zero_there() -> None:
    x = sg.tensor([0.0, -np.inf, 0.0], requires_grad=True)
    y = F.softmax(x)
    assert y.numpy().tolist() == [0.5, 0, 0.5]
    y.backward([1.0, 5.0, 0.0])
    assert x.grad.tolist() == [0.25, 0, -0.25]


def test_norms_of_a_constant_row() -> None:
    x = sg.tensor(np.full((1, 4), 3.0, np.float32), requires_grad=True)
    y = F.layer_norm(x)
    assert (y.numpy() == 0).all()
    y.backward([[1.0, 2.0, 3.0, 4.0]])
    assert np.isfinite(x.grad).all()
    z = F.rms_norm(sg.tensor(np.zeros((1, 4))))
    assert (z.numpy() == 0).all()


def test_layer_norm_far_from_zero_keeps_its_digits() -> None:
    row = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    near = F.layer_norm(sg.tensor(row)).numpy()
    far = F.layer_norm(sg.tensor(row + 4096)).numpy()
    np.testing.assert_allclose(far, near, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_hands_its_kernel_one_dtype(
    monkeypatch: pytest.MonkeyPatch, dtype: Any, reduction: str
) -> None:
    """Another one would compile the kernel a second time, in the middle of a training step."""
    from scratchgrad.kernels import cross_entropy as kernels

    seen = []
    real = kernels._run

    def spied(logits: Any, targets: Any, ignored: Any, smoothing: Any, *rest: Any) -> Any:
        seen.append({x.dtype for x in (logits, *rest)})
        return real(logits, targets, ignored, smoothing, *rest)

    monkeypatch.setattr(kernels, "_run", spied)
    logits = sg.tensor(np.ones((3, 4), dtype), requires_grad=True)
    for _ in range(2):  # with a second backward, which runs the kernel again
        loss = sg.cross_entropy(logits, np.array([0, 1, 3]), reduction=reduction)
        loss.backward(np.ones(loss.shape), retain_graph=True)
        loss.backward(np.full(loss.shape, 2))
    assert seen == [{np.dtype(dtype)}] * (6 if reduction == "none" else 4)


def test_a_second_backward_of_the_loss_is_made_anew(rng: np.random.Generator) -> None:
    """The first gave its gradient away, and whoever got it may have written to it."""
    logits = grown(rng, 2, 3)
    loss = F.cross_entropy(logits, [1, 2])
    loss.backward(3.0, retain_graph=True)
    first = logits.grad.copy()
    logits.grad *= 100
    logits.grad = None
    loss.backward(3.0)
    np.testing.assert_allclose(logits.grad, first, rtol=1e-12)


def test_a_cotangent_that_is_not_finite_leaves_ignored_rows_alone(rng: np.random.Generator) -> None:
    for dy in (np.nan, np.inf):
        logits = grown(rng, 2, 3)
        F.cross_entropy(logits, [1, -100]).backward(dy)
        assert (logits.grad[1] == 0).all()
        assert not np.isfinite(logits.grad[0]).any()


def test_no_gradient_is_made_where_nothing_is_recorded(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    from scratchgrad.kernels import cross_entropy as kernels

    logits = grown(rng, 2, 3)
    recorded = F.cross_entropy(logits, [1, 2]).item()
    monkeypatch.setattr(kernels, "cross_entropy_with_gradient", None)
    with sg.no_grad():
        assert F.cross_entropy(logits, [1, 2]).item() == recorded


# ----------------------------------------------------------------------------------------- dtypes


def test_plain_arrays_of_two_dtypes_are_taken_in_the_wider_one(rng: np.random.Generator) -> None:
    """No kernel knows two dtypes at once, and 1e9 in float32 would lose its last digits."""
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((30, 4), (4, 4)))
    far = rng.standard_normal((30, 4)) + 1e9
    b = rng.standard_normal(4) + 1e9
    wide, w64 = x.astype(np.float64), w.astype(np.float64)
    for y, wanted in (
        (F.linear(x, w, None, far), wide @ w64.T + far),
        (F.linear(x, w, b), wide @ w64.T + b),
        (F.mlp(x, w, None, w, b), composite.mlp(wide, w64, None, w64, b).numpy()),
        (F.layer_norm(x, None, b), F.layer_norm(wide, None, b).numpy()),
        (F.rms_norm(x, b), F.rms_norm(wide, b).numpy()),
    ):
        assert y.dtype == np.float64
        np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-12)
    q, k, v = (rng.standard_normal((1, 2, 30, 4)) for _ in range(3))
    narrow = q.astype(np.float32)
    for mixed in ((narrow, k, v), (narrow, narrow, v)):
        np.testing.assert_array_equal(
            sdpa(*mixed).numpy(), sdpa(*(x.astype(np.float64) for x in mixed)).numpy()
        )


# ------------------------------------------------------------------------------------------- mlp


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_mlp_of_many_rows(approximate: str, rng: np.random.Generator) -> None:
    """With few rows its products take another way, on which nothing happens in the store."""
    shapes = (2, 9, 6), (20, 6), (20,), (5, 20), (5,), (2, 9, 5)
    inputs = [rng.standard_normal(shape) for shape in shapes]
    dy = rng.standard_normal((2, 9, 5))
    results = []
    for mlp in (F.mlp, composite.mlp):
        tensors = [sg.tensor(x, requires_grad=True) for x in inputs]
        y = mlp(*tensors, approximate=approximate)
        y.backward(dy)
        results.append([y.numpy(), *(x.grad for x in tensors)])
    for ours, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-10, atol=1e-12)
