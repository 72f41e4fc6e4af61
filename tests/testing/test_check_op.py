"""``check_op`` passes what is right and fails for each kind of mistake."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, settings
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad import testing
from scratchgrad.errors import ConfigError, GradcheckError

quick = settings(max_examples=40, derandomize=True, database=None, phases=[Phase.generate])


def swish(slope: float = 1.0, **wrong: Any) -> Any:
    """An op y = x sigmoid(rate x), with mistakes if wanted."""

    @sg.differentiable
    def swish(x, /, rate=1.0):
        s = 1 / (1 + np.exp(-rate * x))
        y = wrong.get("value", lambda y: y)(x * s)
        grow = s + rate * x * s * (1 - s)
        return y, lambda dy: slope * dy * grow

    return swish


def reference(x: Any, rate: float) -> Any:
    return x / (1 + np.exp(-rate * x))


rates = st.sampled_from([1.0, 2.5])


@testing.check_op(swish(), rate=rates)
def test_swish(x: Any, rate: float) -> Any:
    """The reference of a right op."""
    return reference(x, rate)


def test_the_test_keeps_the_name_of_the_reference() -> None:
    assert test_swish.__name__ == "test_swish"
    assert test_swish.__doc__ == "The reference of a right op."
    assert test_swish.__module__ == __name__


@testing.check_op(
    lambda q, k, v: sg.nn.functional.scaled_dot_product_attention(q, k, v),
    inputs=testing.attention_inputs(grouped=False),
)
def test_an_op_of_other_inputs(q: Any, k: Any, v: Any) -> Any:
    s = q @ np.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


@testing.check_op(lambda x: sg.split(x, 2, axis=1), inputs=testing.arrays((3, 4)))
def test_an_op_of_several_outputs(x: Any) -> Any:
    return x[:, :2], x[:, 2:]


@testing.check_op(
    lambda ids, w: sg.nn.functional.embedding(ids, w),
    inputs=st.tuples(testing.token_ids(5), testing.arrays((5, 3))),
)
def test_integers_among_the_inputs(ids: Any, w: Any) -> Any:
    return w[ids]


def fails(op: Any, like: Any = reference, **options: Any) -> str:
    """The message of the failure that check_op finds."""
    test = testing.check_op(op, profile=quick, **{"rate": rates, **options})(like)
    with pytest.raises(AssertionError) as caught:
        test()
    return str(caught.value)


def test_a_wrong_value_is_found() -> None:
    assert "output 0 and the reference" in fails(swish(value=lambda y: y + 1e-8))


def test_a_wrong_shape_is_found() -> None:
    assert "the reference (1," in fails(swish(), lambda x, rate: reference(x, rate)[None])


def test_a_missing_output_is_found() -> None:
    assert "1 outputs, but the reference has 2" in fails(swish(), lambda x, rate: (x, x))


def test_a_wrong_gradient_is_found() -> None:
    assert "1.001 times" in fails(swish(slope=1.001))


def test_a_gradient_that_is_wrong_for_constants_only_is_found() -> None:
    """Where an input wants no gradient an op may take another path."""

    def product(a: Any, b: Any) -> Any:
        if not a.requires_grad:
            return sg.tensor(a.numpy() * b.numpy()) + 0 * b
        return a * b

    test = testing.check_op(product, profile=quick)(lambda a, b: a * b)
    with pytest.raises(GradcheckError):
        test()


def test_an_op_that_is_wrong_for_a_layout_is_found() -> None:
    @sg.differentiable
    def copy(x, /, rate=1.0):
        flat = x.ravel(order="K").reshape(x.shape)  # the order in memory: wrong when transposed
        return flat * 1, lambda dy: dy

    assert "transposed inputs" in fails(copy, lambda x, rate: x, inputs=testing.arrays((2, 3)))


def test_an_op_that_widens_float32_is_found() -> None:
    @sg.differentiable(changes_dtype=True)
    def wide(x, /, rate=1.0):
        return x * np.float64(1), lambda dy: dy

    assert "output 0 is float64 for float32 inputs" in fails(wide, lambda x, rate: x)


def test_an_op_that_loses_digits_in_float32_is_found() -> None:
    @sg.differentiable
    def lossy(x, /, rate=1.0):
        return (x + x.dtype.type(1e3)) - x.dtype.type(1e3), lambda dy: dy * 1

    message = fails(lossy, lambda x, rate: x, rtol=1e-9, inputs=testing.arrays((3,)))
    assert "output 0 in float32 and in float64" in message


def test_an_op_that_writes_to_its_input_is_found() -> None:
    def writing(x: Any, rate: float) -> Any:
        y = x * 1
        x.data[...] += 1
        return y

    message = fails(writing, lambda x, rate: x, inputs=testing.arrays((3,)))
    assert "written to" in message or "wrote into" in message


def test_hypothesis_shrinks_to_a_small_shape() -> None:
    """A failure that needs two rows is shown with two, not with a crowd."""
    x = find(testing.arrays(), lambda x: x.ndim == 2 and x.shape[0] > 1 and x.size)
    assert x.shape == (2, 2)  # 2 stands before 1 among the sides: 1 hides broadcasting


def test_without_hypothesis_the_package_is_whole() -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import numpy, scratchgrad as sg, scratchgrad.cases\n"
        "sg.gradcheck(sg.exp, [numpy.ones(2)])\n"
        "try:\n    sg.testing\nexcept ImportError as e:\n    print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "scratchgrad.testing needs Hypothesis: pip install hypothesis\n"


def test_a_slow_first_call_is_no_failure() -> None:
    """Hypothesis gives a test 0.2 seconds; a kernel may compile for longer."""
    import time

    slow = [0.5]

    @sg.differentiable
    def late(x):
        time.sleep(slow.pop() if slow else 0)
        return x * 1, lambda dy: dy

    few = settings(quick, max_examples=2)
    testing.check_op(late, inputs=testing.arrays((2,)), profile=few)(lambda x: x)()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: testing.check_op(3), "expected a function, received int"),
        (lambda: testing.check_op(sg.exp, k=2.0), "expected a strategy for k, .* st.just"),
        (lambda: testing.check_op(sg.exp, inputs=np.ones(3)), "expected a strategy for inputs"),
        (
            lambda: testing.check_op(sg.exp, inputs=testing.arrays(), values={"low": 1}),
            "values are for the default inputs",
        ),
        (lambda: testing.check_op(sg.exp)(lambda: 1), "the reference takes no array"),
        (lambda: testing.arrays(3), "expected a shape as a tuple"),
        (lambda: testing.arrays((2,), low=3, high=1).example(), "expected low below high"),
        (lambda: testing.shapes(min_dims=-1).example(), "expected 0 <= min <= max"),
        (lambda: testing.laid_out(np.ones(2), "fortran"), "expected one of contiguous"),
    ],
)
def test_wrong_use_is_told(make: Any, says: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hypothesis warns of .example()
        with pytest.raises(ConfigError, match=says):
            make()
