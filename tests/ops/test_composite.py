"""Each fused operation equals its spelling out of small ones, in value and in gradients."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad.cases import Call
from scratchgrad.ops import composite
from scratchgrad.testing import axes, layouts
from tests.finite import random_like
from tests.ops.registry import TABLE, calls_of
from tests.ops.test_every_op import as_tensors

FUSED = [
    "attention",
    "causal_self_attention",
    "cross_entropy",
    "gelu",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "logsumexp",
    "mlp",
    "rms_norm",
    "rope",
    "sigmoid",
    "silu",
    "softmax",
    "swiglu",
]

# Without the generator that the functions of the table take as a seed.
FUNCTIONS = {
    "attention": sg.ops.scaled_dot_product_attention,
    "causal_self_attention": sg.ops.causal_self_attention,
}


def drawn_for(name: str, data: Any) -> Call:
    """A call that both spellings understand."""
    call = data.draw(calls_of(name))
    settings = dict(call.settings)
    assume(call.inputs[0].size)  # small operations refuse the largest element of none
    if name == "attention":
        for setting in ("dropout_p", "seed"):
            settings.pop(setting)
        mask = np.ones(1, dtype=bool) if call.inputs[3] is None else np.atleast_1d(call.inputs[3])
        mask[..., :1] = True  # the composite has no answer for a query that may look nowhere
        return Call((*call.inputs[:3], mask), settings)
    if name == "causal_self_attention":
        for setting in ("dropout_p", "seed"):
            settings.pop(setting)
        return Call(call.inputs, settings)
    if name == "logsumexp":
        if not call.inputs[0].ndim:
            return Call((call.inputs[0][None],), {"axis": 0})
        return Call(call.inputs, {"axis": data.draw(axes(call.inputs[0].ndim, False, False))})
    return call


def values_and_gradients(function: Any, call: Call, layout: str, rng: Any) -> list[np.ndarray]:
    tensors = as_tensors(call, layout, set(call.floats()))
    y = function(*tensors.inputs, **tensors.settings)
    y.backward(random_like(rng, y.numpy()))
    return [y.numpy(), *(tensors.inputs[i].grad for i in call.floats())]


def test_every_composite_is_compared() -> None:
    spelled = {
        name
        for name, value in vars(composite).items()
        if getattr(value, "__module__", "") == composite.__name__
    }
    assert spelled == set(FUSED)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FUSED)
@given(data=st.data(), layout=layouts(), seed=st.integers(0, 2**32 - 1))
def test_fused_equals_composite(name: str, dtype: Any, data: Any, layout: str, seed: int) -> None:
    call = drawn_for(name, data).cast(dtype)
    function = FUNCTIONS.get(name) or TABLE[name].function
    fused = values_and_gradients(function, call, layout, np.random.default_rng(seed))
    spelled = values_and_gradients(
        getattr(composite, name), call, layout, np.random.default_rng(seed)
    )
    tolerance = 1e-10 if dtype is np.float64 else 1e-4
    for f, c in zip(fused, spelled, strict=True):
        assert f.dtype == c.dtype == dtype
        np.testing.assert_allclose(f, c, rtol=tolerance, atol=tolerance)
