"""A Tensor as a Python object: conversions, printing, operators, methods; the package's names."""

import operator
import subprocess
import sys

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import DtypeError, ScratchgradError, ShapeError
from tests.finite import check_gradients


def test_what_it_tells_of_itself() -> None:
    x = sg.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    assert (x.shape, x.ndim, x.size, x.dtype) == ((1, 3), 2, 3, np.float32)
    assert x.is_leaf
    assert x.requires_grad
    assert x.grad is None
    y = x.T
    assert y.shape == (3, 1)
    assert not y.is_leaf


def test_repr_shows_value_dtype_and_op() -> None:
    x = sg.tensor([1.0, 2.5], requires_grad=True)
    assert repr(x) == "Tensor([1. , 2.5], dtype=float32, requires_grad=True)"
    assert repr(x.detach()) == "Tensor([1. , 2.5], dtype=float32)"
    assert repr((x * 2).sum()) == "Tensor(7., dtype=float32, op=sum)"
    assert repr(sg.tensor(3)) == "Tensor(3, dtype=int64)"
    assert repr(sg.tensor([[1.0], [2.0]])) == "Tensor([[1.],\n        [2.]], dtype=float32)"
    assert "..." in repr(sg.tensor(np.zeros(10_000)))
    assert str(x) == repr(x)


def test_numbers_out_of_it() -> None:
    assert float(sg.tensor(1.5)) == 1.5
    assert int(sg.tensor([[3.9]])) == 3
    assert sg.tensor([2]).item() == 2
    assert isinstance(sg.tensor(2.0).item(), float)
    assert isinstance(sg.tensor(2).item(), int)
    assert isinstance(sg.tensor(True).item(), bool)
    assert f"{sg.tensor(1.23456):.2f}" == "1.23"
    assert f"{sg.tensor([1.0])}" == "Tensor([1.], dtype=float32)"
    assert bool(sg.tensor(0.0)) is False
    assert bool(sg.tensor([[1]])) is True


@pytest.mark.parametrize(
    "convert", [float, int, bool, lambda t: t.item(), lambda t: format(t, ".2f"), operator.index]
)
@pytest.mark.parametrize("data", [[1, 2], []])
def test_no_number_comes_out_of_several(convert: object, data: list[int]) -> None:
    with pytest.raises(ShapeError, match="shape"):
        convert(sg.tensor(data, dtype=np.int64))


def test_as_an_index() -> None:
    assert [10, 20, 30][sg.tensor(1)] == 20
    assert list(range(sg.tensor([3]))) == [0, 1, 2]
    for bad in (1.0, True):
        with pytest.raises(DtypeError, match="index: expected an integer Tensor"):
            operator.index(sg.tensor(bad))


def test_length_and_iteration() -> None:
    x = sg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    assert len(x) == 3
    rows = list(x)
    assert [row.numpy().tolist() for row in rows] == [[1, 2], [3, 4], [5, 6]]
    (rows[0] * rows[2]).sum().backward()
    assert x.grad.tolist() == [[5, 6], [0, 0], [1, 2]]
    number = sg.tensor(1.0)
    with pytest.raises(ShapeError, match="no length"):
        len(number)
    with pytest.raises(ShapeError, match="no length"):
        iter(number)


def test_hash_is_identity() -> None:
    x, y = sg.tensor([1.0, 2.0]), sg.tensor([1.0, 2.0])
    assert {x: "x", y: "y"}[x] == "x"
    assert len({x, y, x}) == 2


OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.pow,
]


@pytest.mark.parametrize("op", OPERATORS)
def test_operators_from_both_sides(op: object, rng: np.random.Generator) -> None:
    a, b = np.array([1.5, 2.5]), np.array([0.5, 3.0])
    x = sg.Tensor(a.copy(), requires_grad=True)
    y = sg.Tensor(b.copy(), requires_grad=True)
    np.testing.assert_allclose(op(x, y).numpy(), op(a, b))
    np.testing.assert_allclose(op(x, 2.0).numpy(), op(a, 2.0))
    np.testing.assert_allclose(op(2.0, x).numpy(), op(2.0, a))
    np.testing.assert_allclose(op([2.0, 3.0], x).numpy(), op(np.array([2.0, 3.0]), a))
    check_gradients(lambda: op(x, y) + op(2.0, x) + op(y, 2.0), [x, y], rng)


def test_comparison_with_a_list_of_tensors() -> None:
    x = sg.tensor([1.0, 2.0])
    assert (x == [x[0], x[0]]).tolist() == [True, False]


def test_unary_and_matrix_operators(rng: np.random.Generator) -> None:
    x = sg.Tensor(np.array([[1.0, -2.0], [0.5, 3.0]]), requires_grad=True)
    np.testing.assert_array_equal((-x).numpy(), -x.numpy())
    assert +x is x
    np.testing.assert_array_equal(abs(x).numpy(), np.abs(x.numpy()))
    check_gradients(lambda: -x @ abs(x) + [[1.0, 2.0], [3.0, 4.0]] @ x, [x], rng)


def test_in_place_operators_make_a_new_tensor() -> None:
    x = sg.tensor([1.0], requires_grad=True)
    total = before = x * 1.0
    total += 2.0
    total *= x
    assert before.item() == 1
    assert total.item() == 3
    total.backward()
    assert x.grad.tolist() == [4.0]


@pytest.mark.parametrize("bad", ["text", object(), 1j, None])
def test_operands_that_are_no_numbers(bad: object) -> None:
    x = sg.tensor([1.0])
    for op in OPERATORS:
        with pytest.raises(TypeError):
            op(x, bad)
        with pytest.raises(TypeError):
            op(bad, x)


def test_methods_are_the_functions() -> None:
    x = sg.tensor([[3.0, 1.0], [2.0, 5.0]])
    pairs = [
        (x.sum(0), sg.sum(x, 0)),
        (x.mean(axis=1), sg.mean(x, axis=1)),
        (x.var(correction=1), sg.var(x, correction=1)),
        (x.std(), sg.std(x)),
        (x.max(), sg.max(x)),
        (x.min(1), sg.min(x, 1)),
        (x.prod(), sg.prod(x)),
        (x.clip(2, 3), sg.clip(x, 2, 3)),
        (x.repeat(2, 1), sg.repeat(x, 2, 1)),
        (x[None].squeeze(), x),
        (x.swapaxes(0, 1), sg.swapaxes(x, 0, 1)),
        (x.take([1], 0), sg.take(x, [1], 0)),
        (x.astype(np.float64), sg.astype(x, np.float64)),
        (x.reshape(4), sg.reshape(x, 4)),
        (x.reshape(1, 4), sg.reshape(x, (1, 4))),
        (x.reshape((1, -1)), sg.reshape(x, (1, 4))),
        (x.transpose(), x.T),
        (x.transpose(1, 0), x.T),
        (x.transpose((1, 0)), x.T),
        (x.flatten(), sg.reshape(x, -1)),
    ]
    for method, function in pairs:
        assert method.dtype == function.dtype
        np.testing.assert_array_equal(method.numpy(), function.numpy())


def test_the_dtype_of_a_gradient_follows_a_tensor_made_from_a_tensor() -> None:
    x = sg.tensor(sg.tensor([1.0, 2.0]), dtype=np.float64, requires_grad=True)
    assert x.dtype == np.float64
    assert x.is_leaf


def test_errors_are_the_built_in_ones_too() -> None:
    for name, builtin in {
        "ShapeError": ValueError,
        "DtypeError": TypeError,
        "IdRangeError": IndexError,
        "GraphError": RuntimeError,
        "GradcheckError": AssertionError,
        "ConfigError": ValueError,
        "DataError": ValueError,
        "CheckpointError": ValueError,
        "NonFiniteLossError": ArithmeticError,
    }.items():
        error = getattr(sg.errors, name)
        assert issubclass(error, builtin)
        assert issubclass(error, ScratchgradError)


# ----------------------------------------------------------------------------- the package itself


def fresh(code: str) -> str:
    """What the code prints in a Python of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_imports_neither_numba_nor_numpy() -> None:
    code = (
        "import sys, scratchgrad; print(sorted({'numba', 'numpy', 'torch'} & sys.modules.keys()))"
    )
    assert fresh(code) == "[]"


def test_no_oracle_is_ever_imported() -> None:
    code = (
        "import sys, scratchgrad as sg; sg.tensor([1.0]); sg.GPT; sg.optim.AdamW; sg.tokenizer; "
        "print(sorted({'torch', 'transformers', 'tiktoken'} & sys.modules.keys()))"
    )
    assert fresh(code) == "[]"


def test_tensor_stays_the_function_when_the_module_is_imported() -> None:
    code = """
import scratchgrad.tensor
import scratchgrad as sg
import scratchgrad.gradcheck
from scratchgrad.tensor import Tensor
print(sg.tensor(1.0), sg.Tensor is Tensor, callable(sg.gradcheck))
"""
    assert fresh(code) == "Tensor(1., dtype=float32) True True"


def test_every_public_name_is_there() -> None:
    for name in (*sg.ops.__all__, "tensor", "Tensor", "no_grad", "GPT", "GPTConfig", "gradcheck"):
        assert getattr(sg, name) is not None
        assert name in dir(sg)
    for name in sg.nn.functional.__all__:
        assert callable(getattr(sg.nn.functional, name))


def test_names_that_do_not_exist() -> None:
    for name in ("no_such_thing", "_private"):
        with pytest.raises(AttributeError, match=name):
            getattr(sg, name)
