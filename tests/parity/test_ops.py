"""Every operation of the table against PyTorch, value and gradients, in float64 and float32."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.cases import Call
from scratchgrad.operation import OPS
from scratchgrad.testing import rngs
from tests.finite import random_like
from tests.ops.registry import TABLE, calls_of
from tests.ops.test_every_op import run_backward
from tests.parity.oracles import ORACLES


def run_oracle(
    name: str, call: Call, cotangents: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """PyTorch's gradients of the float inputs, and its outputs."""
    inputs = list(call.inputs)
    for i in call.floats():
        inputs[i] = torch.tensor(inputs[i], requires_grad=True)
    y = ORACLES[name](*inputs, **call.settings)
    outputs = y if isinstance(y, tuple) else (y,)
    for out, c in zip(outputs, cotangents, strict=True):
        out.backward(torch.tensor(c).reshape(out.shape), retain_graph=True)
    leaves = [inputs[i] for i in call.floats()]
    gradients = [np.zeros(tuple(x.shape)) if x.grad is None else x.grad.numpy() for x in leaves]
    return gradients, [out.detach().numpy() for out in outputs]


def test_every_op_has_an_oracle() -> None:
    assert ORACLES.keys() == TABLE.keys()


@pytest.mark.parametrize("name", sorted(TABLE))
@given(data=st.data(), rng=rngs, wide=st.booleans())
def test_values_and_gradients_equal_pytorch(name: str, data: Any, rng: Any, wide: bool) -> None:
    entry = TABLE[name]
    dtype = np.float64 if wide or OPS[name].changes_dtype else np.float32
    call = data.draw(calls_of(name)).cast(dtype)
    cotangents = [random_like(rng, np.asarray(y, dtype=dtype)) for y in entry.expected(call)]
    leaves, outputs = run_backward(entry, call, cotangents)
    gradients, expected = run_oracle(name, call, cotangents)
    rtol = 1e-10 if dtype is np.float64 else 10 * entry.rtol32
    for y, e in zip(outputs, expected, strict=True):
        compare(y.numpy(), e.reshape(y.shape), rtol)
    for x, g in zip(leaves, gradients, strict=True):
        compare(x.grad, g, rtol)


def compare(ours: np.ndarray, theirs: np.ndarray, rtol: float) -> None:
    scale = np.abs(theirs).max(initial=1.0)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * scale)
