"""float32 unless told otherwise, float64 only when given, and never the two together."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import DtypeError

F32, F64, I64 = np.float32, np.float64, np.int64


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.0, F32),
        ([1.0, 2.0], F32),
        ([[1, 2.5]], F32),
        (1, I64),
        ([1, 2], I64),
        (True, bool),
        (np.float64(1.0), F64),
        (np.zeros(2), F64),
        (np.zeros(2, F32), F32),
        (np.zeros(2, np.float16), F32),
        (np.zeros(2, np.int8), np.int8),
        (np.zeros(2, np.uint16), np.uint16),
        ([], F32),
    ],
)
def test_the_dtype_of_fresh_tensors(data: Any, dtype: Any) -> None:
    assert sg.tensor(data).dtype == dtype


def test_a_dtype_that_is_asked_for() -> None:
    assert sg.tensor([1, 2], dtype="float32").dtype == F32
    assert sg.tensor([1.0, 2.0], dtype=F64).dtype == F64
    assert sg.tensor([1.7], dtype=I64).numpy().tolist() == [1]


@pytest.mark.parametrize("bad", ["text", [1j], [None], np.array(["a"]), {"a": 1}, object()])
def test_what_is_no_number_is_refused(bad: Any) -> None:
    with pytest.raises(DtypeError, match="expected float32, float64, integers or booleans"):
        sg.tensor(bad)


def test_a_ragged_list_is_refused() -> None:
    with pytest.raises(sg.errors.ShapeError, match="rectangle"):
        sg.tensor([[1.0], [1.0, 2.0]])


def test_a_tensor_copies_its_data() -> None:
    data = np.ones(3, F32)
    x = sg.tensor(data)
    data[:] = 7
    assert x.numpy().tolist() == [1, 1, 1]


def test_integers_want_no_gradient() -> None:
    with pytest.raises(DtypeError, match=r"write 1\.0 instead of 1"):
        sg.tensor([1, 2], requires_grad=True)


OPERANDS = [2, 2.5, True, F32(2), F64(2), I64(2), np.full(3, 2.0), np.full(3, 2), [2.0] * 3]


@pytest.mark.parametrize("other", OPERANDS)
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("op", [sg.add, sg.subtract, sg.multiply, sg.divide, sg.pow, sg.maximum])
def test_constants_take_the_dtype_of_the_tensor(op: Any, dtype: Any, other: Any) -> None:
    x = sg.tensor([1.0, 2.0, 3.0], dtype=dtype, requires_grad=True)
    for y in (op(x, other), op(other, x)):
        assert y.dtype == dtype
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == dtype


@pytest.mark.parametrize("other", OPERANDS)
def test_constants_take_the_dtype_through_operators_too(other: Any) -> None:
    x = sg.tensor([1.0, 2.0, 3.0])
    for y in (x + other, other + x, x * other, other * x, x - other, other - x, x / other):
        assert isinstance(y, sg.Tensor)
        assert y.dtype == F32
    assert (other / x).dtype == F32
    assert (other**x).dtype == F32


def test_two_float_dtypes_do_not_mix() -> None:
    narrow, wide = sg.tensor([1.0]), sg.tensor([1.0], dtype=F64)
    for mix in (
        lambda: narrow + wide,
        lambda: wide * narrow,
        lambda: sg.matmul(narrow, wide),
        lambda: sg.concat([narrow, wide]),
        lambda: sg.where(np.array([True]), narrow, wide),
        lambda: np.add(narrow, wide),
    ):
        with pytest.raises(DtypeError, match=r"one float dtype.*astype"):
            mix()


def test_astype_carries_the_gradient_back_in_the_dtype_of_the_input() -> None:
    x = sg.tensor([0.1, 0.2], requires_grad=True)
    y = x.astype(F64)
    assert y.dtype == F64
    (y * y).sum().backward()
    assert x.grad.dtype == F32
    np.testing.assert_array_equal(x.grad, 2 * x.numpy())
    assert x.astype(F32).numpy() is not x.numpy()


def test_astype_to_integers_leaves_the_graph() -> None:
    x = sg.tensor([1.5, 2.5], requires_grad=True)
    for dtype in (I64, bool, "uint8"):
        y = x.astype(dtype)
        assert not y.requires_grad
        assert y.dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, "U3", object])
def test_astype_to_what_the_engine_does_not_know_is_refused(dtype: Any) -> None:
    with pytest.raises(DtypeError, match="astype: expected float32, float64"):
        sg.astype(sg.tensor([1.0]), dtype)


FROM_INTEGERS = {
    "mean": lambda x: sg.mean(x),
    "var": lambda x: sg.var(x),
    "std": lambda x: sg.std(x),
    "logsumexp": lambda x: sg.logsumexp(x),
    "softmax": lambda x: sg.softmax(x),
    "log_softmax": lambda x: sg.log_softmax(x),
    "layer_norm": lambda x: sg.layer_norm(x),
    "rms_norm": lambda x: sg.rms_norm(x),
    "exp": lambda x: sg.exp(x),
    "sqrt": lambda x: sg.sqrt(x),
    "divide": lambda x: sg.divide(x, 2),
    "erf": lambda x: sg.erf(x),
    "sigmoid": lambda x: sg.sigmoid(x),
    "gelu": lambda x: sg.gelu(x),
    "silu": lambda x: sg.silu(x),
    "matmul": lambda x: sg.matmul(x, x),
    "dropout": lambda x: sg.dropout(x, 0.3, rng=np.random.default_rng(0)),
}


@pytest.mark.parametrize("name", FROM_INTEGERS)
def test_integers_become_float32_where_the_result_is_no_integer(name: str) -> None:
    ints, floats = np.array([3, 1, 2]), np.array([3, 1, 2], dtype=F32)
    for x in (ints, sg.tensor(ints), ints.tolist()):
        y = FROM_INTEGERS[name](x)
        assert y.dtype == F32
        np.testing.assert_allclose(y.numpy(), FROM_INTEGERS[name](floats).numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x + 1,
        lambda x: x * x,
        lambda x: -x,
        lambda x: sg.sum(x),
        lambda x: sg.prod(x),
        lambda x: sg.max(x),
        lambda x: sg.cumulative_sum(x),
        lambda x: sg.clip(x, 0, 5),
        lambda x: sg.clip(x, min=2),
        lambda x: sg.relu(x),
        lambda x: x[[0, 0]],
        lambda x: sg.where(x > 1, x, 0),
        lambda x: sg.pad(x, 1),
        lambda x: sg.repeat(x, 2),
    ],
)
def test_integers_stay_integers_where_the_result_is_one(op: Any) -> None:
    y = op(sg.tensor([1, 2, 3]))
    assert y.dtype == I64
    assert not y.requires_grad


def test_plain_arrays_give_tensors_of_their_dtype() -> None:
    assert sg.exp(np.ones(2)).dtype == F64
    assert sg.exp(np.ones(2, F32)).dtype == F32
    assert sg.exp([1.0, 2.0]).dtype == F32
    assert sg.add(1, 2).numpy() == 3


def test_integers_beside_float64_lose_no_digits() -> None:
    big = 2**24 + 1  # the first whole number that float32 cannot hold
    wide = sg.tensor(np.ones((1, 1)))
    assert sg.matmul(np.array([[big]]), wide).item() == big
    assert sg.matmul(wide, np.array([[big]])).item() == big
    assert sg.linear(np.array([[big]]), wide).item() == big


def test_float16_and_float64_arrays_beside_a_float32_tensor_take_its_dtype() -> None:
    x = sg.tensor([[1.0]])
    for dtype in (np.float16, F64):
        assert sg.matmul(x, np.ones((1, 1), dtype)).dtype == F32
        assert sg.matmul(np.ones((1, 1), dtype), x).dtype == F32
        assert sg.concat([x, np.ones((1, 1), dtype)]).dtype == F32


def test_dropout_of_a_float16_array_does_not_compute_in_float16() -> None:
    x = np.full(1000, 3.0, np.float16)
    y = sg.dropout(x, 0.1, rng=np.random.default_rng(0))
    assert y.dtype == F32
    assert y.numpy().max() == pytest.approx(3 / 0.9, rel=1e-6)
