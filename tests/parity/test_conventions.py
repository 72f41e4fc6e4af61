"""At ties, kinks and the ends of the range: what PyTorch does there, we do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import scratchgrad as sg

inf, nan = np.inf, np.nan
NN = sg.nn.functional


def gradients_of(function: Callable[..., Any], inputs: list[Any]) -> tuple[Any, list[Any]]:
    y = function(*inputs)
    (y * 1.0).sum().backward()
    return y, [x.grad for x in inputs]


# name: ours, theirs, inputs
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[Any]]] = {
    "relu": (sg.relu, torch.relu, [[-1.0, 0.0, -0.0, 1.0]]),
    "abs": (sg.abs, torch.abs, [[-1.0, 0.0, -0.0, 1.0]]),
    "sqrt at 0": (sg.sqrt, torch.sqrt, [[0.0, 1.0]]),
    "log at 0": (sg.log, torch.log, [[0.0, 1.0]]),
    "maximum ties": (sg.maximum, torch.maximum, [[1.0, 2.0, 0.0], [1.0, 0.0, 3.0]]),
    "minimum ties": (sg.minimum, torch.minimum, [[1.0, 2.0, 0.0], [1.0, 0.0, 3.0]]),
    "maximum nan": (sg.maximum, torch.maximum, [[nan, 2.0, nan], [1.0, nan, nan]]),
    "minimum nan": (sg.minimum, torch.minimum, [[nan, 2.0, nan], [1.0, nan, nan]]),
    "max ties": (sg.max, torch.amax, [[2.0, 2.0, 1.0, 2.0]]),
    "min ties": (sg.min, torch.amin, [[2.0, 1.0, 1.0, 2.0]]),
    "max ties over an axis": (
        lambda x: sg.max(x, axis=1),
        lambda x: torch.amax(x, dim=1),
        [[[1.0, 1.0], [2.0, 1.0]]],
    ),
    "max ties over two axes": (
        lambda x: sg.max(x, axis=(0, 2)),
        lambda x: torch.amax(x, dim=(0, 2)),
        [[[[1.0, 1.0], [2.0, 1.0]], [[1.0, 0.0], [2.0, 2.0]]]],
    ),
    "clip on numbers": (
        lambda x: sg.clip(x, -1.0, 1.0),
        lambda x: torch.clamp(x, -1.0, 1.0),
        [[-2.0, -1.0, 0.0, 1.0, 2.0]],
    ),
    "clip on tensors": (
        sg.clip,
        torch.clamp,
        [[-2.0, -1.0, 0.0, 1.0, 2.0], [-1.0] * 5, [1.0] * 5],
    ),
    "clip crossed": (sg.clip, torch.clamp, [[0.0, 5.0, 1.0, 2.0], [2.0] * 4, [1.0] * 4]),
    "clip equal bounds": (sg.clip, torch.clamp, [[0.0, 1.0, 2.0], [1.0] * 3, [1.0] * 3]),
    "clip below": (
        lambda x, low: sg.clip(x, low),
        lambda x, low: torch.clamp(x, min=low),
        [[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]],
    ),
    "pow corners": (
        sg.pow,
        torch.pow,
        [[0.0, 0.0, 0.0, 0.0, 2.0, 1.0, -2.0], [0.0, 1.0, 2.0, 0.5, 0.0, 5.0, 2.0]],
    ),
    "pow of infinity": (sg.pow, torch.pow, [[inf, inf], [2.0, 0.0]]),
    "pow 0 to a negative": (sg.pow, torch.pow, [[0.0, 0.0], [-1.0, -0.5]]),
    "pow with 0": (lambda a: a**0, lambda a: a**0, [[0.0, 1.0, -1.0]]),
    "pow with 1": (lambda a: a**1, lambda a: a**1, [[0.0, 1.0, -1.0]]),
    "pow with 2": (lambda a: a**2, lambda a: a**2, [[0.0, 1.0, -1.0]]),
    "pow with 3.0": (lambda a: a**3.0, lambda a: a**3.0, [[0.0, 1.0, -1.0]]),
    "pow with -1": (lambda a: a**-1, lambda a: a**-1, [[0.0, 1.0, -1.0]]),
    "0 to the power": (lambda b: 0.0**b, lambda b: 0.0**b, [[0.0, 1.0, 2.0]]),
    "2 to the power": (lambda b: 2.0**b, lambda b: 2.0**b, [[0.0, 1.0, -2.0]]),
    "prod one zero": (sg.prod, torch.prod, [[0.0, 2.0, 3.0]]),
    "prod two zeros": (sg.prod, torch.prod, [[0.0, 0.0, 3.0]]),
    "std of equals": (sg.std, lambda x: torch.std(x, correction=0), [[2.0, 2.0, 2.0]]),
    "std of equals, sample": (
        lambda x: sg.std(x, correction=1),
        lambda x: torch.std(x),
        [[2.0, 2.0, 2.0]],
    ),
    "var of equals": (sg.var, lambda x: torch.var(x, correction=0), [[2.0, 2.0, 2.0]]),
    "logsumexp ends": (
        lambda x: sg.logsumexp(x, axis=1),
        lambda x: torch.logsumexp(x, 1),
        [[[1000.0, 0.0], [-inf, 0.0], [0.0, 0.0]]],
    ),
    "sigmoid ends": (sg.sigmoid, torch.sigmoid, [[-1000.0, -30.0, 0.0, 30.0, 1000.0]]),
    "silu ends": (sg.silu, F.silu, [[-1000.0, -30.0, 0.0, 30.0, 1000.0]]),
    "gelu ends": (sg.gelu, F.gelu, [[-1000.0, -5.0, 0.0, 5.0, 1000.0]]),
    "gelu tanh ends": (
        lambda x: sg.gelu(x, approximate="tanh"),
        lambda x: F.gelu(x, approximate="tanh"),
        [[-100.0, -5.0, 0.0, 5.0, 100.0]],
    ),
    "tanh ends": (sg.tanh, torch.tanh, [[-1000.0, 0.0, 1000.0]]),
    "erf ends": (sg.erf, torch.erf, [[-1000.0, -6.0, 0.0, 6.0, 1000.0]]),
    "softmax of extremes": (sg.softmax, lambda x: torch.softmax(x, -1), [[1e4, 0.0, -1e4]]),
    "softmax of -inf": (sg.softmax, lambda x: torch.softmax(x, -1), [[-inf, 0.0, 1.0]]),
    "log_softmax of extremes": (
        sg.log_softmax,
        lambda x: torch.log_softmax(x, -1),
        [[1e4, 0.0, -1e4]],
    ),
    "layer_norm of equals": (
        NN.layer_norm,
        lambda x: F.layer_norm(x, (3,)),
        [[[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]]],
    ),
    "rms_norm of zeros": (
        lambda x: NN.rms_norm(x, eps=1e-6),
        lambda x: F.rms_norm(x, (3,), eps=1e-6),
        [[[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]],
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_convention_is_pytorchs(name: str) -> None:
    ours, theirs, values = CASES[name]
    y, gradients = gradients_of(ours, [sg.tensor(np.array(v), requires_grad=True) for v in values])
    expected, expected_gradients = gradients_of(
        theirs, [torch.tensor(np.array(v), requires_grad=True) for v in values]
    )
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-300)
    for g, e in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(g, e.numpy(), rtol=1e-10, atol=1e-15)


TARGETS = {
    "plain": [0, 3, 1, 2],
    "some ignored": [0, -100, 1, -100],
    "all ignored": [-100] * 4,
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("targets", TARGETS)
def test_cross_entropy_options(
    targets: str, smoothing: float, reduction: str, rng: np.random.Generator
) -> None:
    values = 3 * rng.standard_normal((4, 5))
    settings = {"label_smoothing": smoothing, "reduction": reduction}
    y, (g,) = gradients_of(
        lambda x: NN.cross_entropy(x, TARGETS[targets], **settings),
        [sg.tensor(values, requires_grad=True)],
    )
    expected, (expected_g,) = gradients_of(
        lambda x: F.cross_entropy(x, torch.tensor(TARGETS[targets]), **settings),
        [torch.tensor(values, requires_grad=True)],
    )
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12)
    if targets != "all ignored":  # there PyTorch gives 0 or nan, by the reduction; we give 0
        np.testing.assert_allclose(g, expected_g.numpy(), rtol=1e-12, atol=1e-15)
    else:
        assert (g == 0).all()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("masked", ["no mask", "causal", "mask"])
def test_attention_with_grouped_heads(groups: int, masked: str, rng: np.random.Generator) -> None:
    shapes = (2, 4, 7, 8), (2, groups, 7, 8), (2, groups, 7, 8)
    values = [rng.standard_normal(shape) for shape in shapes]
    mask = np.tri(7, 7, dtype=bool) | (rng.random((7, 7)) < 0.3)
    settings = {"is_causal": masked == "causal"}
    y, gradients = gradients_of(
        lambda q, k, v: (
            NN.scaled_dot_product_attention(q, k, v, mask if masked == "mask" else None, **settings)
            ** 2
        ),
        [sg.tensor(v, requires_grad=True) for v in values],
    )
    expected, expected_gradients = gradients_of(
        lambda q, k, v: (
            F.scaled_dot_product_attention(
                q,
                k,
                v,
                torch.tensor(mask) if masked == "mask" else None,
                enable_gqa=True,
                **settings,
            )
            ** 2
        ),
        [torch.tensor(v, requires_grad=True) for v in values],
    )
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-13)
    for g, e in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(g, e.numpy(), rtol=1e-10, atol=1e-13)
