"""The rarer paths of the operations: each was wrong in a mutant that no other test caught."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import IdRangeError, ShapeError
from scratchgrad.ops import composite
from scratchgrad.ops.arguments import checked_ids

F = sg.nn.functional
X = sg.tensor(np.ones((2, 3)))
V = sg.tensor(np.ones(3))
ONE = sg.tensor(np.array(2.0))

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "matmul number first": (lambda: sg.matmul(2.0, X), r"matmul: .*single number; use \*"),
    "matmul too few": (lambda: X.T @ X.T, r"matmul: .*\(3, 2\).*\(3, 2\) differ"),
    "matmul too many": (lambda: X @ X, r"matmul: .*\(2, 3\).*\(2, 3\) differ"),
    "einsum too many operands": (lambda: sg.einsum("ij", X, X), "has 1 terms for 2 operands"),
    "einsum too many letters": (lambda: sg.einsum("ijk->i", X), "the term 'ijk' names 3 axes"),
    "einsum size 0": (
        lambda: sg.einsum("i,i->i", V, np.ones(0)),
        "'i' in 'i,i->i' has two sizes, 3 and 0",
    ),
    "linear weight of 1 axis": (lambda: F.linear(X, V), "linear: expected x"),
    "linear weight of 3 axes": (lambda: F.linear(X, X[None]), "linear: expected x"),
    "linear number": (lambda: F.linear(ONE, X), "linear: expected x"),
    "linear residual": (lambda: F.linear(X, X, None, V), "linear: expected a residual"),
    "fused heads": (lambda: F.causal_self_attention(X[None], 5), "causal_self_attention: expected"),
    "linear x too short": (lambda: F.linear(X[:, :2], X), "linear: expected x"),
    "linear x too long": (lambda: F.linear(np.ones((2, 4)), X), "linear: expected x"),
    "linear bias too short": (lambda: F.linear(X, X, np.ones(1)), "linear: expected a bias"),
    "linear bias too long": (lambda: F.linear(X, X, np.ones(3)), "linear: expected a bias"),
    "cross_entropy number": (lambda: F.cross_entropy(ONE, 0), "cross_entropy: expected logits"),
    "cross_entropy ids": (lambda: F.cross_entropy(X, [0, 0, 0]), "cross_entropy: expected logits"),
    "layer_norm long": (lambda: F.layer_norm(X, np.ones(4)), "layer_norm: expected a weight"),
    "rms_norm short": (lambda: F.rms_norm(X, np.ones(2)), "rms_norm: expected a weight"),
    "take_along_axis": (lambda: sg.take_along_axis(V, [[0]]), "expected indices of 1 dimensions"),
    "embedding 3 axes": (lambda: F.embedding([0], X[None]), "embedding: expected a weight"),
    "permute_dims few": (lambda: sg.permute_dims(X, (0,)), "permute_dims: expected 2 axes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name: str) -> None:
    call, match = REFUSED[name]
    with pytest.raises(ShapeError, match=match):
        call()


def test_the_first_bad_id_is_the_one_named() -> None:
    with pytest.raises(IdRangeError, match=r"received 7 at position \(0, 1\)"):
        F.embedding([[0, 7], [9, 1]], X)


def test_ids_that_count_from_the_end_come_out_counted_from_the_front() -> None:
    assert checked_ids("op", [-1, 0, -3, 2], 3, wrap=True).tolist() == [2, 0, 0, 2]
    assert checked_ids("op", [1, 0], 3).tolist() == [1, 0]


def test_booleans_are_taken_as_numbers() -> None:
    yes = sg.tensor([True, False, True])
    assert sg.add(yes, V).numpy().tolist() == [2, 1, 2]
    assert sg.flip(yes).dtype == bool
    np.testing.assert_allclose(F.softmax(yes).numpy().sum(), 1)
    assert F.softmax(yes).dtype == np.float32
    assert sg.matmul(yes, V).numpy() == 2
    assert (sg.matmul(yes, yes).numpy(), sg.matmul(yes, yes).dtype) == (2, np.float32)
    assert F.linear(yes, X).numpy().tolist() == [2, 2]
    assert F.linear(yes, X).dtype == np.float64
    assert sg.mean(yes).dtype == np.float32


def test_a_narrow_value_of_a_wide_input_is_widened() -> None:
    @sg.differentiable
    def careless(x):
        return x.astype(np.float32), lambda dy: dy

    assert careless(sg.tensor(np.ones(2))).dtype == np.float64


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_pow_of_zero_to_a_negative_exponent() -> None:
    a, b = (sg.tensor(np.array([v]), requires_grad=True) for v in (0.0, -0.5))
    (a**b).backward()
    assert b.grad.tolist() == [-np.inf]


@pytest.mark.parametrize("value", [0.0, 1.5, 3.0])
def test_where_bounds_cross_the_upper_gets_the_gradient_of_any_x(value: float) -> None:
    x, low, high = (sg.tensor(np.array([v]), requires_grad=True) for v in (value, 2.0, 1.0))
    y = sg.clip(x, low, high)
    assert y.item() == 1
    y.backward()
    assert (x.grad.tolist(), low.grad.tolist(), high.grad.tolist()) == ([0], [0], [1])


def test_an_ellipsis_that_stands_for_no_axis() -> None:
    assert sg.einsum("...i->...i", V).numpy().tolist() == [1, 1, 1]
    assert sg.einsum("...ij,j", X, V).numpy().tolist() == [3, 3]


def test_einsum_of_one_element_beside_none() -> None:
    x = sg.tensor(np.ones(1), requires_grad=True)
    sg.einsum("i,i->i", x, np.ones(0)).backward(np.ones(0))
    assert x.grad.tolist() == [0]


SIZES = {"q": (2, 4, 5, 3), "k": (2, 2, 6, 3), "v": (2, 2, 6, 7)}


@pytest.mark.parametrize(
    ("name", "axis"), [("k", 0), ("k", 3), ("v", 0), ("v", 1), ("v", 2), ("q", 0), ("q", 1)]
)
@pytest.mark.parametrize("by", [1, -1])
def test_attention_refuses_every_size_that_does_not_fit(name: str, axis: int, by: int) -> None:
    shapes = {n: list(s) for n, s in SIZES.items()}
    shapes[name][axis] += by
    with pytest.raises(ShapeError, match=r"^scaled_dot_product_attention: .* of Hk"):
        F.scaled_dot_product_attention(*(np.ones(s) for s in shapes.values()))


def test_attention_without_key_heads_is_refused() -> None:
    q, k = np.ones((1, 2, 3, 4)), np.ones((1, 0, 3, 4))
    with pytest.raises(ShapeError, match=r"^scaled_dot_product_attention: .* of Hk"):
        F.scaled_dot_product_attention(q, k, k)


def test_heads_of_size_zero_average_the_values() -> None:
    q, v = np.ones((1, 1, 2, 0)), np.array([[[[1.0], [3.0]]]])
    assert F.scaled_dot_product_attention(q, q, v).numpy().tolist() == [[[[2], [2]]]]


def test_without_dropout_nothing_is_drawn(rng: np.random.Generator) -> None:
    before = rng.bit_generator.state
    x = np.ones((1, 1, 2, 3))
    F.scaled_dot_product_attention(x, x, x, dropout_p=0.0, rng=rng)
    F.dropout(x, 0.0, rng=rng)
    F.dropout(x, 0.5, training=False, rng=rng)
    assert rng.bit_generator.state == before


def test_an_id_of_the_only_class_but_one_is_refused() -> None:
    with pytest.raises(IdRangeError, match="from 0 to 0, received 1"):
        F.cross_entropy(np.ones((2, 1)), [0, 1])
    assert F.cross_entropy(np.ones((2, 1)), [0, 0]).item() == 0


def test_the_default_scale_of_both_spellings_of_attention(rng: np.random.Generator) -> None:
    q, k, v = (sg.tensor(rng.standard_normal((1, 2, 3, 9))) for _ in range(3))
    fused = F.scaled_dot_product_attention(q, k, v).numpy()
    np.testing.assert_allclose(composite.attention(q, k, v).numpy(), fused, rtol=1e-12)
    thirds = F.scaled_dot_product_attention(q, k, v, scale=1 / 3).numpy()
    np.testing.assert_allclose(thirds, fused, rtol=1e-12)
