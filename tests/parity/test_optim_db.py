"""Our AdamW with the settings that PyTorch ships for tests of its own: optim_db."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing._internal.common_optimizers import optim_db

import scratchgrad as sg
from tests.parity import op_db

ADAMW = next(info for info in optim_db if info.optim_cls is torch.optim.AdamW)
STEPS = 12
SHAPES = [(3, 4), (5,), (), (2, 0), (1, 1, 7)]

# What our AdamW has no argument for, and what it is.
NOT_OURS = {
    "amsgrad": "another algorithm",
    "maximize": "negate the loss",
    "foreach": "how PyTorch loops",
    "fused": "how PyTorch loops",
    "capturable": "graphs of a GPU",
    "differentiable": "gradients of the steps",
}


def given() -> dict[str, dict[str, Any]]:
    """The settings of each input that sets nothing but what we have."""
    inputs = ADAMW.optim_inputs_func("cpu")
    return {i.desc: i.kwargs for i in inputs if not NOT_OURS.keys() & i.kwargs.keys()}


# PyTorch ships few settings for AdamW; these stand beside them.
MORE: dict[str, dict[str, Any]] = {
    "other betas": {"betas": (0.5, 0.7)},
    "no memory": {"betas": (0.0, 0.0)},
    "large eps": {"eps": 0.1},
    "no decay": {"weight_decay": 0.0},
    "all": {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.3},
}


def test_enough_settings_are_left() -> None:
    assert given().keys() >= {"default", "non-default lr", "nonzero weight_decay"}


@pytest.mark.parametrize("settings", [*given(), *MORE])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_steps(settings: str, dtype: type, rng: np.random.Generator) -> None:
    """Each of several steps, with parameters that have no gradient now and then."""
    kwargs = {**given(), **MORE}[settings]
    values = [np.asarray(rng.standard_normal(shape), dtype=dtype) for shape in SHAPES]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    ours = [sg.tensor(v, requires_grad=True) for v in values]
    optimizer, optimiser = torch.optim.AdamW(theirs, **kwargs), sg.optim.AdamW(ours, **kwargs)
    rtol = 1e-12 if dtype is np.float64 else 1e-5
    for step in range(STEPS):
        for i, (p, q) in enumerate(zip(theirs, ours, strict=True)):
            g = np.asarray(rng.standard_normal(p.shape), dtype=dtype) if (step + i) % 4 else None
            p.grad = None if g is None else torch.tensor(g)
            q.grad = g
        optimizer.step()
        optimiser.step()
        for p, q in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(q.data, p.detach().numpy(), rtol=rtol, atol=rtol)


def errors() -> dict[str, Any]:
    with op_db.quiet_torch():
        found = ADAMW.optim_error_inputs_func("cpu", torch.float64)
    return {error.optimizer_error_input.desc: error.optimizer_error_input for error in found}


@pytest.mark.parametrize("error", errors())
def test_what_pytorch_refuses_raises(error: str) -> None:
    """Foreach and capturable are left out of the settings; what remains is an error here too."""
    params, kwargs = errors()[error].params, errors()[error].kwargs
    made: dict[int, sg.Tensor] = {}  # a parameter that comes twice is the same Tensor twice

    def change(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return made.setdefault(id(leaf), op_db.to_ours(leaf))
        return leaf

    kwargs = {k: op_db.rebuilt(v, change) for k, v in kwargs.items() if k not in NOT_OURS}
    params = [sg.tensor(1.0, requires_grad=True)] if params is None else params
    with pytest.raises(sg.errors.ScratchgradError, match=r"AdamW: "):
        sg.optim.AdamW(op_db.rebuilt(params, change), **kwargs)
