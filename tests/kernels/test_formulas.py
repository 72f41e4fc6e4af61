"""The formulas in kernels/reference: each backward against differences of its forward.

That a kernel equals its formula proves nothing if both are wrong. The operations are checked by
differences too, but they run the kernels; this is the same for the specification.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scratchgrad.kernels import reference
from tests.finite import numeric_gradient, random_like

Arrays = tuple[np.ndarray, ...]

SHAPES = {"B": 2, "T": 3, "S": 4, "D": 3, "C": 5}


def normal(rng: np.random.Generator, sizes: str) -> np.ndarray:
    return rng.standard_normal([SHAPES[c] for c in sizes])


def softmax(rng: np.random.Generator) -> Any:
    def backward(dy: np.ndarray, x: np.ndarray) -> Arrays:
        return (reference.softmax_backward(dy, reference.softmax(x, 1), 1),)

    return (normal(rng, "BTC"),), lambda x: reference.softmax(x, 1), backward


def log_softmax(rng: np.random.Generator) -> Any:
    def backward(dy: np.ndarray, x: np.ndarray) -> Arrays:
        return (reference.log_softmax_backward(dy, reference.log_softmax(x, 1), 1),)

    return (normal(rng, "BTC"),), lambda x: reference.log_softmax(x, 1), backward


def attention(rng: np.random.Generator) -> Any:
    """Two key heads under four query heads; a mask that blinds a query; causal; with dropout."""
    q, k, v = (rng.standard_normal((2, h, n, 3)) for h, n in ((4, 3), (2, 4), (2, 4)))
    mask = rng.random((3, 4)) < 0.7
    mask[1] = False
    how = (mask, True, 0.6, (0.3, 5))

    def backward(dout: np.ndarray, *qkv: np.ndarray) -> Arrays:
        return reference.attention_backward(dout, *qkv, *reference.attention(*qkv, *how), *how)

    return (q, k, v), lambda *qkv: reference.attention(*qkv, *how)[0], backward


def qkv_attention(rng: np.random.Generator) -> Any:
    """Two key heads under four query heads, all in one array."""
    how = (4, 2, 0.6, (0.3, 5))

    def backward(dout: np.ndarray, qkv: np.ndarray) -> Arrays:
        out = reference.qkv_attention(qkv, *how)
        return (reference.qkv_attention_backward(dout, qkv, *out, *how),)

    return (
        (rng.standard_normal((2, 3, 24)),),
        lambda qkv: reference.qkv_attention(qkv, *how)[0],
        backward,
    )


def windowed(rng: np.random.Generator) -> Any:
    """The same where a query sees two keys."""
    how = (4, 2, 0.6, (0.3, 5), 2)

    def backward(dout: np.ndarray, qkv: np.ndarray) -> Arrays:
        out = reference.qkv_attention(qkv, *how)
        return (reference.qkv_attention_backward(dout, qkv, *out, *how),)

    return (
        (rng.standard_normal((2, 4, 24)),),
        lambda qkv: reference.qkv_attention(qkv, *how)[0],
        backward,
    )


def rope(interleaved: bool) -> Callable[[np.random.Generator], Any]:
    """Two heads that are turned, and a number behind them that is not."""
    angle = np.random.default_rng(5).uniform(0, 6, (3, 2))
    how = (np.cos(angle), np.sin(angle), 2, interleaved)
    return lambda rng: (
        (rng.standard_normal((2, 3, 9)),),
        lambda x: reference.rope(x, *how),
        lambda dy, x: (reference.rope_backward(dy, *how),),
    )


def layer_norm(rng: np.random.Generator) -> Any:
    def backward(dy: np.ndarray, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> Arrays:
        _, mean, rstd = reference.layer_norm(x, weight, bias, 0.1)
        return reference.layer_norm_backward(dy, x, weight, mean, rstd)

    inputs = (normal(rng, "BTC"), normal(rng, "C"), normal(rng, "C"))
    return inputs, lambda *args: reference.layer_norm(*args, 0.1)[0], backward


def rms_norm(rng: np.random.Generator) -> Any:
    def backward(dy: np.ndarray, x: np.ndarray, weight: np.ndarray) -> Arrays:
        rstd = reference.rms_norm(x, weight, 0.1)[1]
        return reference.rms_norm_backward(dy, x, weight, rstd)

    inputs = (normal(rng, "BTC"), normal(rng, "C"))
    return inputs, lambda *args: reference.rms_norm(*args, 0.1)[0], backward


def cross_entropy(rng: np.random.Generator) -> Any:
    targets = np.array([0, 4, -1])

    def backward(dlosses: np.ndarray, logits: np.ndarray) -> Arrays:
        return (reference.cross_entropy_backward(dlosses, logits, targets, -1, 0.2),)

    def losses(logits: np.ndarray) -> np.ndarray:
        return reference.cross_entropy(logits, targets, -1, 0.2)

    return (normal(rng, "TC"),), losses, backward


def activation(name: str, *settings: Any) -> Callable[[np.random.Generator], Any]:
    forward = getattr(reference, name)
    backward = getattr(reference, f"{name}_backward")
    return lambda rng: (
        (2 * normal(rng, "TC"),),
        lambda x: forward(x, *settings),
        lambda dy, x: (backward(dy, x, *settings),),
    )


def swiglu(rng: np.random.Generator) -> Any:
    def backward(dy: np.ndarray, x: np.ndarray) -> Arrays:
        return (reference.swiglu_backward(dy, x),)

    return (2 * rng.standard_normal((3, 8)),), reference.swiglu, backward


def matmul_gelu(approximate: str) -> Callable[[np.random.Generator], Any]:
    """y = gelu(h) Wᵀ, by h."""
    weight = np.random.default_rng(5).standard_normal((4, 3))

    def backward(dy: np.ndarray, h: np.ndarray) -> Arrays:
        return (reference.matmul_gelu_backward(dy, weight, h, approximate),)

    return lambda rng: (
        (2 * rng.standard_normal((5, 3)),),
        lambda h: reference.gelu(h, approximate) @ weight.T,
        backward,
    )


def add_rows(rng: np.random.Generator) -> Any:
    """The backward of looking up; ids repeat."""
    ids = np.array([1, 3, 1, 1])

    def backward(dy: np.ndarray, table: np.ndarray) -> Arrays:
        back = np.zeros_like(table)
        reference.add_rows(back, ids, dy)
        return (back,)

    return (normal(rng, "SC"),), lambda table: table[ids], backward


FORMULAS: dict[str, Callable[[np.random.Generator], Any]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "attention": attention,
    "qkv_attention": qkv_attention,
    "qkv_attention-window": windowed,
    "rope-halves": rope(False),
    "rope-neighbours": rope(True),
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "cross_entropy": cross_entropy,
    "gelu-none": activation("gelu", "none"),
    "gelu-tanh": activation("gelu", "tanh"),
    "matmul_gelu-none": matmul_gelu("none"),
    "matmul_gelu-tanh": matmul_gelu("tanh"),
    "silu": activation("silu"),
    "swiglu": swiglu,
    "add_rows": add_rows,
}


def test_every_backward_has_a_formula_here() -> None:
    backwards = {name for name in vars(reference) if name.endswith("_backward")}
    assert {f"{name.partition('-')[0]}_backward" for name in FORMULAS} == {
        *backwards,
        "add_rows_backward",  # it is a backward itself
    }


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_equals_finite_differences(name: str, rng: np.random.Generator) -> None:
    inputs, forward, backward = FORMULAS[name](rng)
    y = forward(*inputs)
    dy = random_like(rng, y)
    gradients = backward(dy, *inputs)
    assert len(gradients) == len(inputs)
    for x, gradient in zip(inputs, gradients, strict=True):
        numeric = numeric_gradient(lambda: float((forward(*inputs) * dy).sum()), x)
        assert gradient.shape == x.shape
        np.testing.assert_allclose(gradient, numeric, rtol=1e-7, atol=1e-9)


def test_the_formula_of_attention_is_causal(rng: np.random.Generator) -> None:
    """A query's output does not change with a later key; with its own key it does."""
    q, k, v = (rng.standard_normal((1, 1, 4, 3)) for _ in range(3))
    before = reference.attention(q, k, v, None, True, 0.6, None)[0]
    for t in range(4):
        later = k.copy()
        later[:, :, t] += 1
        after = reference.attention(q, later, v, None, True, 0.6, None)[0]
        np.testing.assert_array_equal(after[:, :, :t], before[:, :, :t])
        assert (after[:, :, max(t, 1) :] != before[:, :, max(t, 1) :]).any(axis=-1).all()
