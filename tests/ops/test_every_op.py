"""What must hold of every operation, over drawn shapes, broadcasts, layouts and settings."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad.cases import Call, Entry
from scratchgrad.operation import OPS
from scratchgrad.testing import laid_out, layouts, rngs
from tests.finite import check_gradients, random_like
from tests.ops.registry import TABLE, calls_of

NAMES = sorted(TABLE)
every_op = pytest.mark.parametrize("name", NAMES)


def as_tensors(call: Call, layout: str, wanted: set[int]) -> Call:
    """The call on Tensors in that layout, of which only the wanted ones ask for a gradient."""
    floats = call.floats()
    inputs = tuple(
        sg.Tensor(laid_out(x, layout), requires_grad=i in wanted) if i in floats else x
        for i, x in enumerate(call.inputs)
    )
    return Call(inputs, call.settings)


def onward(entry: Entry, call: Call, onto: str) -> tuple[sg.Tensor, ...]:
    """The outputs, passed on so that the gradient comes back in an unusual layout."""
    outputs = entry.run(call)
    if onto == "transposed":
        return tuple(y.T for y in outputs)
    if onto == "reversed":
        return tuple(sg.flip(y) for y in outputs)
    if onto == "summed":  # the gradient comes back with strides of 0
        return tuple(sg.sum(y, axis=0) if y.ndim else y for y in outputs)
    return outputs


@every_op
@settings(max_examples=3 * settings.default.max_examples)
@given(data=st.data(), layout=layouts(), rng=rngs)
def test_gradients_equal_finite_differences(name: str, data: Any, layout: str, rng: Any) -> None:
    entry = TABLE[name]
    drawn = data.draw(calls_of(name))
    floats = drawn.floats()
    # All inputs, or one of them alone: the others are constants then, and take another path.
    wanted = set(floats) if data.draw(st.booleans()) else {data.draw(st.sampled_from(floats))}
    onto = data.draw(st.sampled_from(["as it is", "transposed", "reversed", "summed"]))
    call = as_tensors(drawn, layout, wanted)
    leaves = [call.inputs[i] for i in sorted(wanted)]
    check_gradients(lambda: onward(entry, call, onto), leaves, rng)
    assert all(call.inputs[i].grad is None for i in floats if i not in wanted)


@every_op
@given(data=st.data(), layout=layouts())
def test_forward_equals_numpy(name: str, data: Any, layout: str) -> None:
    entry = TABLE[name]
    drawn = data.draw(calls_of(name))
    outputs = entry.run(as_tensors(drawn, layout, set()))
    expected = entry.expected(drawn)
    assert len(outputs) == len(expected)
    for y, e in zip(outputs, expected, strict=True):
        assert isinstance(y, sg.Tensor)
        assert not y.requires_grad
        assert y.dtype == np.float64
        assert y.shape == np.shape(e)
        np.testing.assert_allclose(y.numpy(), e, rtol=1e-11, atol=1e-12)


def run_backward(
    entry: Entry, call: Call, cotangents: Any
) -> tuple[list[sg.Tensor], tuple[sg.Tensor, ...]]:
    """Tensors for the float inputs, after a backward from all outputs; and the outputs."""
    tensors = as_tensors(call, "contiguous", set(call.floats()))
    outputs = entry.run(tensors)
    for y, c in zip(outputs, cotangents, strict=True):
        y.backward(c, retain_graph=True)
    return [tensors.inputs[i] for i in call.floats()], outputs


@every_op
@given(data=st.data(), rng=rngs)
def test_float32_stays_and_agrees_with_float64(name: str, data: Any, rng: Any) -> None:
    entry = TABLE[name]
    narrow = data.draw(calls_of(name)).cast(np.float32)
    cotangents = [random_like(rng, np.asarray(e, dtype=np.float32)) for e in entry.expected(narrow)]
    leaves32, outputs32 = run_backward(entry, narrow, cotangents)
    leaves64, outputs64 = run_backward(entry, narrow.cast(np.float64), cotangents)
    for y32, y64 in zip(outputs32, outputs64, strict=True):
        if not OPS[name].changes_dtype:
            assert y32.dtype == np.float32
        assert y64.dtype == np.float64
        close(y32.numpy(), y64.numpy(), entry.rtol32)
    for x32, x64 in zip(leaves32, leaves64, strict=True):
        assert x32.grad.dtype == np.float32
        assert x64.grad.dtype == np.float64
        close(x32.grad, x64.grad, 10 * entry.rtol32)


def close(narrow: np.ndarray, wide: np.ndarray, rtol: float) -> None:
    scale = np.abs(wide).max(initial=1.0)
    np.testing.assert_allclose(narrow, wide, rtol=rtol, atol=rtol * scale)


@every_op
@given(data=st.data(), layout=layouts(), rng=rngs)
def test_nothing_is_mutated_or_shared(name: str, data: Any, layout: str, rng: Any) -> None:
    entry = TABLE[name]
    drawn = data.draw(calls_of(name))
    call = as_tensors(drawn, layout, set(drawn.floats()))
    leaves = [call.inputs[i] for i in drawn.floats()]
    outputs = entry.run(call)
    values = [y.numpy().copy() for y in outputs]
    cotangents = [random_like(rng, y.numpy()) for y in outputs]
    for y, c in zip(outputs, cotangents, strict=True):
        y.backward(c, retain_graph=True)
    for x, before in zip(call.inputs, drawn.inputs, strict=True):
        after = x.numpy() if isinstance(x, sg.Tensor) else x
        np.testing.assert_array_equal(after, before)
    for y, before in zip(outputs, values, strict=True):
        np.testing.assert_array_equal(y.numpy(), before)
    others = [x.numpy() for x in leaves] + [y.numpy() for y in outputs] + cotangents
    gradients = [x.grad for x in leaves]
    for i, g in enumerate(gradients):
        assert g.flags.writeable
        for other in others + gradients[:i]:
            assert not np.shares_memory(g, other)


@every_op
@given(data=st.data(), rng=rngs)
def test_a_second_backward_adds_the_same_again(name: str, data: Any, rng: Any) -> None:
    entry = TABLE[name]
    drawn = data.draw(calls_of(name))
    call = as_tensors(drawn, "contiguous", set(drawn.floats()))
    leaves = [call.inputs[i] for i in drawn.floats()]
    y = entry.run(call)[0]
    c = random_like(rng, y.numpy())
    y.backward(c, retain_graph=True)
    once = [x.grad for x in leaves]
    kept = [g.copy() for g in once]
    y.backward(c)
    for x, g, k in zip(leaves, once, kept, strict=True):
        np.testing.assert_array_equal(g, k)  # what the caller may hold is left alone
        np.testing.assert_array_equal(x.grad, 2 * k)


@every_op
@given(data=st.data())
def test_nothing_is_recorded_under_no_grad(name: str, data: Any) -> None:
    drawn = data.draw(calls_of(name))
    call = as_tensors(drawn, "contiguous", set(drawn.floats()))
    with sg.no_grad():
        outputs = TABLE[name].run(call)
    assert not any(y.requires_grad for y in outputs)
