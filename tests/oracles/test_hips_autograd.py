"""A second oracle, which needs no PyTorch: HIPS autograd, https://github.com/HIPS/autograd.

It differentiates NumPy by tracing, so each formula stands here once more in plain NumPy, and shares
nothing with our operations but NumPy's arithmetic. Values and vector-Jacobian products with a
random cotangent agree to ten digits.
"""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.operation import OPS

autograd = pytest.importorskip("autograd", reason="needs HIPS autograd, of the extra 'test'")
anp = pytest.importorskip("autograd.numpy", reason="needs HIPS autograd, of the extra 'test'")

F = sg.nn.functional
RTOL = 1e-10


class Twin(NamedTuple):
    """An operation of ours, its formula for autograd, and the shapes of the inputs."""

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    positive: bool = False  # inputs are drawn above 0


IDS = np.array([[2, 0], [-1, 2]])  # one row twice, and one from the end
ROWS = np.array([[4, 0, 4], [2, 2, 1]])
TARGETS = np.array([3, 0, 3, 4])
MASK = np.array([[True, False, True, True], [False, True, True, False], [True] * 4])
MAY_LOOK = np.array([[True, True, False, True], [True, False, True, True], [False, True] * 2])


def normed(x: Any, axis: Any = -1) -> Any:
    """Without its mean, of variance 1 but for eps."""
    centred = x - anp.mean(x, axis, keepdims=True)
    return centred / anp.sqrt(anp.mean(centred**2, axis, keepdims=True) + 1e-5)


def logsumexp(x: Any, axis: Any = -1) -> Any:
    return anp.log(anp.sum(anp.exp(x), axis, keepdims=True))  # no overflow at these sizes


def softmax(x: Any, axis: int = -1) -> Any:
    return anp.exp(x - logsumexp(x, axis))


def log_softmax(x: Any, axis: int = -1) -> Any:
    return x - logsumexp(x, axis)


def cross_entropy(x: Any, smoothing: float) -> Any:
    logp = log_softmax(x)
    hard, even = -logp[np.arange(4), TARGETS], -anp.mean(logp, axis=-1)
    return (1 - smoothing) * hard + smoothing * even


def attention(q: Any, k: Any, v: Any, may_look: np.ndarray, groups: int = 1) -> Any:
    k, v = anp.repeat(k, groups, axis=1), anp.repeat(v, groups, axis=1)
    scores = anp.einsum("bhtd,bhsd->bhts", q, k) / np.sqrt(q.shape[-1])
    return anp.einsum("bhts,bhsd->bhtd", softmax(anp.where(may_look, scores, -1e30)), v)


def causal_self_attention(qkv: Any) -> Any:
    """Four heads of queries and two of keys and of values, of three numbers each."""
    heads = anp.swapaxes(anp.reshape(qkv, (2, 5, 8, 3)), 1, 2)
    q, k, v = heads[:, :4], heads[:, 4:6], heads[:, 6:]
    y = attention(q, k, v, np.tri(5, dtype=bool), groups=2)
    return anp.reshape(anp.swapaxes(y, 1, 2), (2, 5, 12))


ANGLES = np.random.default_rng(3).uniform(0, 6, (5, 2))


def rope(x: Any) -> Any:
    """Three heads of four numbers, turned by a matrix, and two numbers that are not turned."""
    turned = []
    for t, (first, second) in enumerate(ANGLES):
        c1, s1, c2, s2 = np.cos(first), np.sin(first), np.cos(second), np.sin(second)
        turn = np.array([[c1, 0, -s1, 0], [0, c2, 0, -s2], [s1, 0, c1, 0], [0, s2, 0, c2]])
        whole = np.eye(14)
        whole[:12, :12] = np.kron(np.eye(3), turn)
        turned.append(anp.dot(x[:, t], whole.T))
    return anp.stack(turned, axis=1)


def gelu(x: Any) -> Any:
    return x / 2 * (1 + anp.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + anp.exp(-x))


def chained(parts: Any, concatenate: Callable[..., Any]) -> Any:
    """Several pieces as one array again, in reverse, so that their order counts."""
    return concatenate(parts[::-1], axis=1)


X, STRETCHED, CUBE = ((3, 4),), ((3, 1, 4), (2, 4)), ((2, 3, 4),)
TWINS = {
    "add": Twin(sg.add, anp.add, STRETCHED),
    "subtract": Twin(sg.subtract, anp.subtract, STRETCHED),
    "multiply": Twin(sg.multiply, anp.multiply, STRETCHED),
    "divide": Twin(sg.divide, anp.divide, STRETCHED, positive=True),
    "pow": Twin(sg.pow, anp.power, STRETCHED, positive=True),
    "pow of a number": Twin(lambda x: 2.5**x, lambda x: 2.5**x, X),
    "pow with a number": Twin(lambda x: x**3, lambda x: x**3, X),
    "maximum": Twin(sg.maximum, anp.maximum, STRETCHED),
    "minimum": Twin(sg.minimum, anp.minimum, STRETCHED),
    "clip": Twin(lambda x: sg.clip(x, -0.5, 0.5), lambda x: anp.clip(x, -0.5, 0.5), X),
    "where": Twin(lambda a, b: sg.where(MASK, a, b), lambda a, b: anp.where(MASK, a, b), X * 2),
    "negative": Twin(sg.negative, anp.negative, X),
    "square": Twin(sg.square, anp.square, X),
    "sqrt": Twin(sg.sqrt, anp.sqrt, X, positive=True),
    "abs": Twin(sg.abs, anp.abs, X),
    "exp": Twin(sg.exp, anp.exp, X),
    "expm1": Twin(sg.expm1, anp.expm1, X),
    "log": Twin(sg.log, anp.log, X, positive=True),
    "log1p": Twin(sg.log1p, anp.log1p, X, positive=True),
    "sin": Twin(sg.sin, anp.sin, X),
    "cos": Twin(sg.cos, anp.cos, X),
    "tanh": Twin(sg.tanh, anp.tanh, X),
    "sigmoid": Twin(sg.sigmoid, sigmoid, X),
    "relu": Twin(sg.relu, lambda x: anp.maximum(x, 0), X),
    "gelu": Twin(lambda x: sg.gelu(x, approximate="tanh"), gelu, X),
    "silu": Twin(sg.silu, lambda x: x * sigmoid(x), X),
    "sum": Twin(lambda x: sg.sum(x, (0, 2)), lambda x: anp.sum(x, (0, 2)), CUBE),
    "mean": Twin(lambda x: sg.mean(x, 1), lambda x: anp.mean(x, 1), CUBE),
    "var": Twin(lambda x: sg.var(x, 1), lambda x: anp.var(x, 1), CUBE),
    "var of a sample": Twin(
        lambda x: sg.var(x, (0, 2), correction=1), lambda x: anp.var(x, (0, 2), ddof=1), CUBE
    ),
    "std": Twin(lambda x: sg.std(x, -1), lambda x: anp.std(x, -1), CUBE),
    "max": Twin(lambda x: sg.max(x, 1), lambda x: anp.max(x, 1), CUBE),
    "min": Twin(lambda x: sg.min(x, (0, 1)), lambda x: anp.min(x, (0, 1)), CUBE),
    "prod": Twin(lambda x: sg.prod(x, 2), lambda x: anp.prod(x, 2), CUBE),
    "logsumexp": Twin(
        lambda x: sg.logsumexp(x, (0, 1), keepdims=True), lambda x: logsumexp(x, (0, 1)), CUBE
    ),
    "cumulative_sum": Twin(
        lambda x: sg.cumulative_sum(x, 1), lambda x: anp.cumsum(x, axis=1), CUBE
    ),
    "softmax": Twin(lambda x: F.softmax(x, axis=1), lambda x: softmax(x, 1), CUBE),
    "log_softmax": Twin(lambda x: F.log_softmax(x, axis=0), lambda x: log_softmax(x, 0), CUBE),
    "reshape": Twin(lambda x: sg.reshape(x, (4, -1)), lambda x: anp.reshape(x, (4, -1)), CUBE),
    "permute_dims": Twin(
        lambda x: sg.permute_dims(x, (2, 0, 1)), lambda x: anp.transpose(x, (2, 0, 1)), CUBE
    ),
    "swapaxes": Twin(lambda x: sg.swapaxes(x, 0, 2), lambda x: anp.swapaxes(x, 0, 2), CUBE),
    "expand_dims": Twin(lambda x: sg.expand_dims(x, 1), lambda x: anp.expand_dims(x, 1), X),
    "squeeze": Twin(lambda x: sg.squeeze(x, 1), lambda x: anp.squeeze(x, 1), ((3, 1, 4),)),
    "broadcast_to": Twin(
        lambda x: sg.broadcast_to(x, (2, 3, 4)),
        lambda x: anp.broadcast_to(x, (2, 3, 4)),
        ((1, 3, 1),),  # autograd's adds no axes in front
    ),
    "concat": Twin(
        lambda *x: sg.concat(x, 1), lambda *x: anp.concatenate(x, 1), ((3, 4), (3, 1), (3, 2))
    ),
    "stack": Twin(lambda *x: sg.stack(x, 1), lambda *x: anp.stack(x, 1), X * 3),
    "split": Twin(
        lambda x: chained(sg.split(x, [1, 3], axis=1), sg.concat),
        lambda x: chained(anp.split(x, [1, 3], axis=1), anp.concatenate),
        X,
    ),
    "flip": Twin(lambda x: sg.flip(x, 0), anp.flipud, CUBE),
    "roll": Twin(lambda x: sg.roll(x, 3, 1), lambda x: anp.roll(x, 3, 1), X),
    "pad": Twin(
        lambda x: sg.pad(x, ((1, 2), (0, 3))),
        lambda x: anp.pad(x, ((1, 2), (0, 3)), "constant"),
        X,
    ),
    "repeat": Twin(lambda x: sg.repeat(x, 3, axis=0), lambda x: anp.repeat(x, 3, axis=0), X),
    "tril": Twin(lambda x: sg.tril(x, 1), lambda x: anp.tril(x, 1), CUBE),
    "triu": Twin(lambda x: sg.triu(x, -1), lambda x: anp.triu(x, -1), CUBE),
    "getitem": Twin(lambda x: x[::-2, IDS], lambda x: x[::-2, IDS], ((4, 3, 2),)),
    "getitem of a mask": Twin(lambda x: x[MASK], lambda x: x[MASK], X),
    "take": Twin(lambda x: sg.take(x, IDS, axis=1), lambda x: x[:, IDS], ((2, 3, 4),)),
    "take_along_axis": Twin(
        lambda x: sg.take_along_axis(x, ROWS, axis=1),
        lambda x: x[np.arange(2)[:, None], ROWS],
        ((2, 5),),
    ),
    "embedding": Twin(lambda x: F.embedding(ROWS, x), lambda x: x[ROWS], ((5, 3),)),
    "matmul": Twin(sg.matmul, anp.matmul, ((2, 1, 3, 4), (5, 4, 2))),
    "matmul with one matrix": Twin(sg.matmul, anp.matmul, ((2, 3, 4), (4, 5))),
    "matmul of vectors": Twin(sg.matmul, anp.matmul, ((4,), (2, 4, 3))),
    "einsum": Twin(
        lambda a, b: sg.einsum("bij,bjk->ki", a, b),
        lambda a, b: anp.einsum("bij,bjk->ki", a, b),
        ((2, 3, 4), (2, 4, 5)),
    ),
    "linear": Twin(
        F.linear,
        lambda x, w, b, r: anp.dot(x, anp.transpose(w)) + b + r,
        ((2, 3, 4), (5, 4), (5,), (2, 3, 5)),
    ),
    "mlp": Twin(
        lambda *inputs: F.mlp(*inputs, approximate="tanh"),
        lambda x, w, b, v, c, r: (
            anp.dot(gelu(anp.dot(x, anp.transpose(w)) + b), anp.transpose(v)) + c + r
        ),
        ((2, 3, 4), (6, 4), (6,), (5, 6), (5,), (2, 3, 5)),
    ),
    "linear_cross_entropy": Twin(
        lambda x, w: F.linear_cross_entropy(x, w, TARGETS),
        lambda x, w: anp.mean(cross_entropy(anp.dot(x, anp.transpose(w)), 0)),
        ((4, 3), (5, 3)),
    ),
    "swiglu": Twin(
        F.swiglu,
        lambda x: x[..., :3] / (1 + anp.exp(-x[..., :3])) * x[..., 3:],
        ((2, 6),),
    ),
    "layer_norm": Twin(F.layer_norm, lambda x, w, b: normed(x) * w + b, ((2, 3, 6), (6,), (6,))),
    "rms_norm": Twin(
        F.rms_norm,
        lambda x, w: x / anp.sqrt(anp.mean(x**2, -1, keepdims=True) + 1e-6) * w,
        ((2, 3, 6), (6,)),
    ),
    "rope": Twin(
        lambda x: F.rope(x, np.cos(ANGLES), np.sin(ANGLES), 3),
        rope,
        ((2, 5, 14),),
    ),
    "cross_entropy": Twin(
        lambda x: F.cross_entropy(x, TARGETS), lambda x: anp.mean(cross_entropy(x, 0)), ((4, 5),)
    ),
    "cross_entropy, smoothed": Twin(
        lambda x: F.cross_entropy(x, TARGETS, label_smoothing=0.1, reduction="none"),
        lambda x: cross_entropy(x, 0.1),
        ((4, 5),),
    ),
    "attention": Twin(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask=MAY_LOOK),
        lambda q, k, v: attention(q, k, v, MAY_LOOK),
        ((2, 2, 3, 5), (2, 2, 4, 5), (2, 2, 4, 5)),
    ),
    "attention, causal and grouped": Twin(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda q, k, v: attention(q, k, v, np.tri(4, dtype=bool), groups=2),
        ((1, 4, 4, 3), (1, 2, 4, 3), (1, 2, 4, 3)),
    ),
    "causal_self_attention": Twin(
        lambda qkv: F.causal_self_attention(qkv, 4, 2),
        causal_self_attention,
        ((2, 5, 24),),
    ),
}

LEFT_OUT = {
    "erf": "autograd has it only with SciPy",
    "dropout": "drawn anew by each",
    "astype": "between dtypes; this is all in float64",
}


def test_every_operation_has_a_twin() -> None:
    twinned = {name.partition(" of ")[0].partition(" with ")[0].partition(",")[0] for name in TWINS}
    assert twinned | LEFT_OUT.keys() == OPS.keys()
    assert not twinned & LEFT_OUT.keys()


@pytest.mark.parametrize("name", TWINS)
def test_values_and_gradients(name: str) -> None:
    twin = TWINS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    low, high = (0.5, 2.0) if twin.positive else (-2.0, 2.0)
    arrays = [rng.uniform(low, high, shape) for shape in twin.shapes]
    leaves = [sg.tensor(a, requires_grad=True) for a in arrays]
    y = twin.ours(*leaves)
    dy = rng.standard_normal(y.shape)
    y.backward(dy)
    for argument, leaf in enumerate(leaves):
        vjp, expected = autograd.make_vjp(twin.theirs, argument)(*arrays)
        np.testing.assert_allclose(y.numpy(), expected, rtol=RTOL, atol=RTOL)
        gradient = vjp(dy)
        scale = np.abs(gradient).max()
        assert scale > 1e-3, "a gradient that is zero everywhere proves nothing"
        np.testing.assert_allclose(leaf.grad, gradient, rtol=RTOL, atol=RTOL * scale)
