"""NumPy's own functions on Tensors: in the graph, or an error; never a gradient lost in silence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from tests.finite import check_gradients

IDS = np.array([[0, 1, 1], [1, 0, 0]])
TWO_BY_THREE = np.array([[0.3, 1.2, 0.7], [1.6, 0.9, 0.4]])
MASK = TWO_BY_THREE > 0.8

# Each is called on a Tensor and on the plain array, and must give the same.
IN_THE_GRAPH: dict[str, Callable[[Any], Any]] = {
    "add": lambda t: np.add(t, 2.0),
    "subtract": lambda t: np.subtract(2.0, t),
    "multiply": lambda t: np.multiply(t, t),
    "divide": lambda t: np.divide(1.0, t),
    "true_divide": lambda t: np.true_divide(t, 3),
    "negative": lambda t: np.negative(t),
    "power": lambda t: np.power(t, 3),
    "float_power": lambda t: np.float_power(t, 3),
    "pow": lambda t: np.pow(t, 0.5),
    "exp": lambda t: np.exp(t),
    "log": lambda t: np.log(t),
    "log1p": lambda t: np.log1p(t),
    "expm1": lambda t: np.expm1(t),
    "sqrt": lambda t: np.sqrt(t),
    "square": lambda t: np.square(t),
    "absolute": lambda t: np.absolute(t),
    "abs": lambda t: np.abs(t),
    "sin": lambda t: np.sin(t),
    "cos": lambda t: np.cos(t),
    "tanh": lambda t: np.tanh(t),
    "maximum": lambda t: np.maximum(t, 0.8),
    "minimum": lambda t: np.minimum(0.8, t),
    "matmul": lambda t: np.matmul(t, TWO_BY_THREE.T),
    "matmul on the right": lambda t: np.matmul(TWO_BY_THREE.T, t),
    "sum": lambda t: np.sum(t),
    "sum axis": lambda t: np.sum(t, axis=1, keepdims=True),
    "mean": lambda t: np.mean(t, 0),
    "var": lambda t: np.var(t, axis=1, ddof=1),
    "var correction": lambda t: np.var(t, axis=1, correction=1),
    "std": lambda t: np.std(t, axis=1),
    "max": lambda t: np.max(t, axis=0),
    "min": lambda t: np.min(t, keepdims=True),
    "prod": lambda t: np.prod(t, axis=1),
    "clip": lambda t: np.clip(t, 0.5, 1.0),
    "clip by name": lambda t: np.clip(t, min=0.5, max=1.0),
    "clip below": lambda t: np.clip(t, 0.5, None),
    "where": lambda t: np.where(MASK, t, 0.0),
    "reshape": lambda t: np.reshape(t, (3, 2)),
    "transpose": lambda t: np.transpose(t),
    "transpose axes": lambda t: np.transpose(t, (1, 0)),
    "permute_dims": lambda t: np.permute_dims(t, (1, 0)),
    "swapaxes": lambda t: np.swapaxes(t, 0, 1),
    "expand_dims": lambda t: np.expand_dims(t, 1),
    "squeeze": lambda t: np.squeeze(t[None]),
    "broadcast_to": lambda t: np.broadcast_to(t, (4, 2, 3)),
    "concatenate": lambda t: np.concatenate([t, TWO_BY_THREE], axis=1),
    "stack": lambda t: np.stack([TWO_BY_THREE, t], axis=-1),
    "split": lambda t: np.split(t, 3, axis=1)[1],
    "flip": lambda t: np.flip(t, 0),
    "roll": lambda t: np.roll(t, 1, axis=1),
    "pad": lambda t: np.pad(t, 1),
    "pad constant": lambda t: np.pad(t, ((0, 1), (2, 0)), constant_values=3.0),
    "repeat": lambda t: np.repeat(t, 2, axis=1),
    "tril": lambda t: np.tril(t),
    "triu": lambda t: np.triu(t, 1),
    "take": lambda t: np.take(t, [0, 0, 2], axis=1),
    "take_along_axis": lambda t: np.take_along_axis(t, IDS, axis=1),
    "einsum": lambda t: np.einsum("ij,kj->ik", t, TWO_BY_THREE),
    "dot": lambda t: np.dot(t, TWO_BY_THREE.T),
    "dot number": lambda t: np.dot(2.0, t),
    "ravel": lambda t: np.ravel(t),
    "array + t": lambda t: TWO_BY_THREE + t,
    "array - t": lambda t: TWO_BY_THREE - t,
    "array * t": lambda t: TWO_BY_THREE * t,
    "array / t": lambda t: TWO_BY_THREE / t,
    "array ** t": lambda t: TWO_BY_THREE**t,
    "array @ t": lambda t: TWO_BY_THREE.T @ t,
    "t @ array": lambda t: t @ TWO_BY_THREE.T,
    "number ** t": lambda t: 2.0**t,
    "NumPy's number * t": lambda t: np.float64(2.0) * t,
    "NumPy's number / t": lambda t: np.float32(2.0) / t,
    "NumPy's number ** t": lambda t: np.int64(2) ** t,
}


@pytest.mark.parametrize("name", IN_THE_GRAPH)
def test_it_stays_in_the_graph(name: str, rng: np.random.Generator) -> None:
    function = IN_THE_GRAPH[name]
    x = sg.Tensor(TWO_BY_THREE.copy(), requires_grad=True)
    y = function(x)
    assert isinstance(y, sg.Tensor)
    assert y.requires_grad
    np.testing.assert_allclose(y.numpy(), function(TWO_BY_THREE), rtol=1e-14)
    del y
    check_gradients(lambda: function(x), [x], rng)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "floor": lambda t: np.floor(t),
    "arctan": lambda t: np.arctan(t),
    "hypot": lambda t: np.hypot(t, t),
    "floor_divide": lambda t: TWO_BY_THREE // t,
    "remainder": lambda t: TWO_BY_THREE % t,
    "add.reduce": lambda t: np.add.reduce(t),
    "multiply.outer": lambda t: np.multiply.outer(t, t),
    "add.at": lambda t: np.add.at(TWO_BY_THREE.copy(), (0, 0), t),
    "cumsum": lambda t: np.cumsum(t),
    "median": lambda t: np.median(t),
    "sort": lambda t: np.sort(t),
    "linalg.norm": lambda t: np.linalg.norm(t),
    "linalg.inv": lambda t: np.linalg.inv(t[:, :2]),
    "tensordot": lambda t: np.tensordot(t, TWO_BY_THREE),
    "outer": lambda t: np.outer(t, t),
    "vstack": lambda t: np.vstack([t, t]),
    "diag": lambda t: np.diag(t),
    "nan_to_num": lambda t: np.nan_to_num(t),
    "array_split": lambda t: np.array_split(t, 2),
    "copyto": lambda t: np.copyto(TWO_BY_THREE.copy(), t),
    "put": lambda t: np.put(t, 0, 1.0),
    "out=": lambda t: np.add(t, 1.0, out=np.empty((2, 3))),
    "in place": lambda t: TWO_BY_THREE.copy().__iadd__(t),
    "where=": lambda t: np.exp(t, where=MASK),
    "dtype=": lambda t: np.sum(t, dtype=np.float32),
    "sum dtype by position": lambda t: np.sum(t, 0, np.float32),
    "mean dtype by position": lambda t: np.mean(t, 0, np.float32),
    "max out by position": lambda t: np.max(t, 0, np.empty(3)),
    "var dtype by position": lambda t: np.var(t, 0, np.float32),
    "sum initial=": lambda t: np.sum(t, initial=1.0),
    "reshape order=": lambda t: np.reshape(t, (3, 2), order="F"),
    "pad mode": lambda t: np.pad(t, 1, mode="edge"),
    "take mode=": lambda t: np.take(t, [9], axis=1, mode="clip"),
    "dot of stacks": lambda t: np.dot(t, np.ones((2, 3, 4))),
    "concatenate axis None": lambda t: np.concatenate([t, t], axis=None),
    "a list of Tensors": lambda t: sg.tensor([t[0], t[1]]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    x = sg.tensor(TWO_BY_THREE, requires_grad=True)
    with pytest.raises((TypeError, ValueError)):
        REFUSED[name](x)


def test_the_refusal_says_what_to_do() -> None:
    x = sg.tensor([1.0])
    with pytest.raises(TypeError, match=r"np\.floor is not.*lose the gradient.*t\.data"):
        np.floor(x)
    with pytest.raises(TypeError, match=r"np\.add\.reduce is not"):
        np.add.reduce(x)
    with pytest.raises(TypeError, match=r"np\.sum with dtype= is not"):
        np.sum(x, dtype=np.float64)
    with pytest.raises(TypeError, match=r"np\.median is not"):
        np.median(x)


PLAIN: dict[str, Callable[[Any], Any]] = {
    "less": lambda t: np.less(t, 1.0),
    "array < t": lambda t: t * 2 > TWO_BY_THREE,
    "t >= number": lambda t: t >= 0.9,
    "t == array": lambda t: t == TWO_BY_THREE,
    "t != t": lambda t: t != t,
    "t > t": lambda t: t * 2 > t,
    "t <= number": lambda t: t <= 0.7,
    "isfinite": lambda t: np.isfinite(t),
    "isnan": lambda t: np.isnan(t),
    "signbit": lambda t: np.signbit(t),
    "shape": lambda t: np.shape(t),
    "ndim": lambda t: np.ndim(t),
    "size": lambda t: np.size(t),
    "argmax": lambda t: np.argmax(t, axis=1),
    "argmin": lambda t: np.argmin(t),
    "argsort": lambda t: np.argsort(t, axis=1),
    "all": lambda t: np.all(t > 0),
    "any": lambda t: np.any(t),
    "count_nonzero": lambda t: np.count_nonzero(t),
    "nonzero": lambda t: np.stack(np.nonzero(t)),
    "searchsorted": lambda t: np.searchsorted([0.0, 1.0], t),
    "allclose": lambda t: np.allclose(t, TWO_BY_THREE),
    "isclose": lambda t: np.isclose(t, 0.3),
    "array_equal": lambda t: np.array_equal(t, TWO_BY_THREE),
    "zeros_like": lambda t: np.zeros_like(t),
    "ones_like": lambda t: np.ones_like(t),
    "full_like": lambda t: np.full_like(t, 2.0),
    "result_type": lambda t: np.result_type(t).itemsize,
    "shares_memory": lambda t: np.shares_memory(t, TWO_BY_THREE),
    "t.argmax()": lambda t: t.argmax(),
    "t.argmin(1)": lambda t: t.argmin(1),
    "t.argsort()": lambda t: t.argsort(),
    "t.all()": lambda t: t.all(),
    "t.any()": lambda t: t.any(),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_has_no_gradient_gives_plain_values(name: str) -> None:
    x = sg.tensor(TWO_BY_THREE, requires_grad=True)
    y = PLAIN[name](x)
    assert not isinstance(y, sg.Tensor)
    expected = False if name == "shares_memory" else PLAIN[name](TWO_BY_THREE)
    np.testing.assert_array_equal(y, expected)


def test_out_of_the_graph_by_name() -> None:
    x = sg.tensor(TWO_BY_THREE, requires_grad=True)
    y = x * 2
    for array in (np.asarray(y), y.numpy(), y.data):
        assert type(array) is np.ndarray
        assert np.shares_memory(array, y._array)
    assert np.asarray(y, dtype=np.float32).dtype == np.float32
    copy = np.array(y)
    assert not np.shares_memory(copy, y._array)
    copy[...] = 0  # a copy may be written to, whatever the graph needs
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(y, dtype=np.float32, copy=False)


def test_arrays_given_to_numpy_printing() -> None:
    x = sg.tensor([1.0, 2.0])
    assert np.array2string(x) == "[1. 2.]"
    assert np.array_repr(x) == "array([1., 2.], dtype=float32)"
    assert np.array_str(x) == "[1. 2.]"
