"""Bad arguments: the error names the op, what was expected and what came."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import ConfigError, DtypeError, ShapeError

F = sg.nn.functional
X = sg.tensor(np.ones((2, 3)))
V = sg.tensor(np.ones(3))
EMPTY = sg.tensor(np.ones((2, 0)))

WHOLE: dict[str, tuple[Callable[[], Any], str]] = {
    "split": (lambda: sg.split(X, 1.5), "split: expected whole numbers for indices_or_sections"),
    "split at": (lambda: sg.split(X, [0.5]), "split: expected whole numbers for indices"),
    "roll": (lambda: sg.roll(X, 1.5), "roll: expected whole numbers for shift, received 1.5"),
    "repeat": (lambda: sg.repeat(X, 1.5), "repeat: expected whole numbers for repeats, received"),
    "tril": (lambda: sg.tril(X, 0.5), "tril: expected whole numbers for k, received 0.5"),
    "triu": (lambda: sg.triu(X, True), "triu: expected whole numbers for k, received True"),
    "sum": (lambda: sg.sum(X, axis=1.5), r"sum: expected whole numbers for axis, received \(1.5,"),
    "mean": (lambda: sg.mean(X, axis=True), r"mean: expected whole numbers for axis"),
    "softmax": (lambda: F.softmax(X, axis="last"), "softmax: expected whole numbers for axis"),
    "reshape": (lambda: X.reshape(1.5, 4), "reshape: .*integer"),
    "squeeze": (lambda: sg.squeeze(X, 0.0), "squeeze: "),
    "flip": (lambda: sg.flip(X, "a"), "flip: "),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_whole_number_is_refused(name: str) -> None:
    call, message = WHOLE[name]
    with pytest.raises(DtypeError, match=message):
        call()


def test_a_type_error_in_an_op_of_a_users_own_is_left_as_it_is() -> None:
    @sg.differentiable
    def wrong(x):
        return x + None, lambda dy: dy

    with pytest.raises(TypeError, match="unsupported operand") as caught:
        wrong(X)
    assert not isinstance(caught.value, DtypeError)


SHAPES: dict[str, tuple[Callable[[], Any], str]] = {
    "add": (lambda: X + np.ones(2), r"add: .*\(2, 3\), \(2,\)"),
    "matmul": (lambda: X @ X, r"matmul: .*\(2, 3\).*\(2, 3\) differ"),
    "matmul number": (lambda: sg.matmul(X, 2.0), r"matmul: .*single number; use \*"),
    "matmul batch": (
        lambda: sg.matmul(np.ones((2, 2, 3)), np.ones((3, 3, 2))),
        r"matmul: .*broadcast",
    ),
    "sum axis": (lambda: sg.sum(X, axis=2), "sum: axis 2 is out of range for an array of 2"),
    "sum axis twice": (lambda: sg.sum(X, axis=(0, -2)), r"sum: the axes \(0, -2\) name one axis"),
    "mean of none": (lambda: sg.mean(EMPTY), r"mean: shape \(2, 0\) has no element"),
    "max of none": (lambda: sg.max(EMPTY, axis=1), r"max: shape \(2, 0\) has no element"),
    "logsumexp of none": (lambda: sg.logsumexp(EMPTY), r"logsumexp: shape \(2, 0\)"),
    "var of one": (lambda: sg.var(V[:1], correction=1), "var: expected more than 1 elements"),
    "std of none": (lambda: sg.std(EMPTY), "std: expected more than 0 elements"),
    "softmax axis": (lambda: F.softmax(X, axis=5), "softmax: axis 5 is out of range"),
    "softmax axes": (lambda: F.softmax(X, axis=(0, 1)), "softmax: expected one whole number"),
    "cumulative_sum": (lambda: sg.cumulative_sum(X), "cumulative_sum: expected an axis for 2"),
    "reshape": (lambda: X.reshape(4), r"reshape: cannot reshape.*\(2, 3\)"),
    "permute_dims": (lambda: sg.permute_dims(X, (0,)), "permute_dims: expected 2 axes"),
    "permute_dims twice": (lambda: sg.permute_dims(X, (0, 0)), "permute_dims: .* one axis twice"),
    "swapaxes": (lambda: sg.swapaxes(X, 0, 2), "swapaxes: "),
    "squeeze": (lambda: sg.squeeze(X, 0), "squeeze: "),
    "expand_dims": (lambda: sg.expand_dims(X, 5), "expand_dims: "),
    "broadcast_to": (lambda: sg.broadcast_to(X, (2, 4)), "broadcast_to: "),
    "concat": (lambda: sg.concat([X, V]), "concat: "),
    "concat none": (lambda: sg.concat([]), "concat: expected at least one array"),
    "concat axis": (lambda: sg.concat([X, X], axis=None), "concat: expected an axis; flatten"),
    "stack": (lambda: sg.stack([X, V]), "stack: "),
    "stack none": (lambda: sg.stack([]), "stack: expected at least one array"),
    "split": (lambda: sg.split(X, 2, axis=1), "split: .*equal division"),
    "tril of a vector": (lambda: sg.tril(V), r"tril: expected at least two axes, .*\(3,\)"),
    "triu of a number": (lambda: sg.triu(V[0]), r"triu: expected at least two axes, .*\(\)"),
    "split in none": (lambda: sg.split(X, 0), "split: expected at least 1 piece, received 0"),
    "flip": (lambda: sg.flip(X, 2), "flip: "),
    "roll": (lambda: sg.roll(X, 1, 2), "roll: "),
    "pad": (lambda: sg.pad(X, [1, 2, 3]), "pad: "),
    "pad negative": (lambda: sg.pad(X, -1), "pad: "),
    "repeat": (lambda: sg.repeat(X, [1, 2, 3], 0), "repeat: "),
    "repeat axis": (lambda: sg.repeat(X, 2, 4), "repeat: axis 4 is out of range"),
    "einsum terms": (lambda: sg.einsum("ij,jk", X), "einsum: 'ij,jk' has 2 terms for 1 operands"),
    "einsum axes": (lambda: sg.einsum("i->i", X), r"einsum: the term 'i' names 1 axes.*\(2, 3\)"),
    "einsum sizes": (lambda: sg.einsum("ij,ij->", X, X.T), "einsum: 'i' .* two sizes, 2 and 3"),
    "einsum target": (lambda: sg.einsum("i->j", V), "einsum: "),
    "linear": (
        lambda: F.linear(X, sg.tensor(np.ones((4, 2)))),
        r"linear: expected x \(\.\.\., in\)",
    ),
    "linear bias": (
        lambda: F.linear(X, np.ones((4, 3)), np.ones(3)),
        r"linear: expected a bias \(4,\)",
    ),
    "mlp": (
        lambda: F.mlp(X, np.ones((4, 2)), None, np.ones((5, 4)), None),
        r"mlp: expected x \(\.\.\., in\) and up_weight .*\(2, 3\) and \(4, 2\)",
    ),
    "mlp down": (
        lambda: F.mlp(X, np.ones((4, 3)), None, np.ones((4, 5)), None),
        r"mlp: expected .* down_weight \(out, inner\), received \(4, 3\) and \(4, 5\)",
    ),
    "mlp up_bias": (
        lambda: F.mlp(X, np.ones((4, 3)), np.ones(3), np.ones((5, 4)), None),
        r"mlp: expected up_bias \(4,\), received \(3,\)",
    ),
    "mlp down_bias": (
        lambda: F.mlp(X, np.ones((4, 3)), None, np.ones((5, 4)), np.ones(4)),
        r"mlp: expected down_bias \(5,\), received \(4,\)",
    ),
    "mlp residual": (
        lambda: F.mlp(X, np.ones((4, 3)), None, np.ones((5, 4)), None, np.ones((2, 4))),
        r"mlp: expected a residual \(2, 5\), received \(2, 4\)",
    ),
    "layer_norm": (
        lambda: F.layer_norm(X, np.ones(2)),
        r"layer_norm: expected a weight of shape \(3,\)",
    ),
    "layer_norm bias": (lambda: F.layer_norm(X, None, np.ones(2)), "layer_norm: expected a bias"),
    "layer_norm none": (lambda: F.layer_norm(EMPTY), "layer_norm: expected at least one element"),
    "rms_norm": (lambda: F.rms_norm(sg.tensor(1.0)), "rms_norm: expected at least one element"),
    "rope angles": (
        lambda: F.rope(np.ones((1, 2, 4)), cos=np.ones((3, 2)), sin=np.ones((3, 2)), n_head=1),
        r"rope: expected x \(B, T, W\) and cos, sin \(T, D / 2\), received \(1, 2, 4\), \(3, 2\)",
    ),
    "rope sin": (
        lambda: F.rope(np.ones((1, 2, 4)), cos=np.ones((2, 2)), sin=np.ones((2, 1)), n_head=1),
        r"rope: expected x .* received \(1, 2, 4\), \(2, 2\) and \(2, 1\)",
    ),
    "rope heads": (
        lambda: F.rope(np.ones((1, 2, 4)), cos=np.ones((2, 2)), sin=np.ones((2, 2)), n_head=2),
        r"rope: expected x .* W at least n_head D = 2 x 4, received \(1, 2, 4\)",
    ),
    "cross_entropy": (lambda: F.cross_entropy(X, [0]), r"cross_entropy: expected logits .*\(1,\)"),
    "attention 3 axes": (
        lambda: F.scaled_dot_product_attention(X[None], X[None], X[None]),
        r"scaled_dot_product_attention: expected q, k, v of \(B, H, T, D\)",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_axes(name: str) -> None:
    call, match = SHAPES[name]
    with pytest.raises(ShapeError, match=match):
        call()


CONFIGS: dict[str, tuple[Callable[[], Any], str]] = {
    "gelu": (
        lambda: F.gelu(X, "erf"),
        "gelu: expected approximate 'none' or 'tanh', received 'erf'",
    ),
    "mlp": (
        lambda: F.mlp(X, np.ones((4, 3)), None, np.ones((5, 4)), None, approximate="erf"),
        "mlp: expected approximate 'none' or 'tanh', received 'erf'",
    ),
    "dropout": (lambda: F.dropout(X, 1.5), "dropout: expected a probability from 0 to 1"),
    "dropout nan": (lambda: F.dropout(X, float("nan")), "dropout: expected a probability"),
    "reduction": (lambda: F.cross_entropy(X, [0, 0], reduction="avg"), "expected reduction 'mean'"),
    "smoothing": (lambda: F.cross_entropy(X, [0, 0], label_smoothing=2), "label_smoothing"),
    "window": (
        lambda: F.causal_self_attention(np.ones((1, 2, 3)), 1, window=0),
        "causal_self_attention: expected a window of at least 1 position, received 0",
    ),
    "attention": (
        lambda: F.scaled_dot_product_attention(*[np.ones((1, 1, 1, 1))] * 3, dropout_p=-0.1),
        "dropout_p",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_settings_out_of_range(name: str) -> None:
    call, match = CONFIGS[name]
    with pytest.raises(ConfigError, match=match):
        call()


def test_where_wants_a_boolean_condition() -> None:
    for condition in ([1, 0, 1], 1.0, sg.tensor([1, 0, 1])):
        with pytest.raises(DtypeError, match="where: expected a boolean condition"):
            sg.where(condition, V, 0.0)
    assert sg.where(True, V, 0.0).numpy().tolist() == [1, 1, 1]
    assert sg.where([True, False, True], V, 0.0).numpy().tolist() == [1, 0, 1]


def test_a_setting_that_does_not_exist() -> None:
    with pytest.raises(TypeError, match="keepdim"):
        sg.sum(X, keepdim=True)
    with pytest.raises(TypeError):
        sg.exp(X, X)
