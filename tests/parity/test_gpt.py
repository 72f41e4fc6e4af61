"""The same GPT in PyTorch: logits, loss, every gradient, and ten steps of AdamW."""

from typing import Any

import numpy as np
import pytest
import torch

import scratchgrad as sg
from tests.nn.models import batch, grown_up
from tests.parity.twin import numbers, twin_of

CONFIG = {"vocab_size": 17, "block_size": 24, "n_layer": 3, "n_head": 4, "n_embd": 32}
VARIANTS = [
    pytest.param({"norm_position": norm, "bias": bias}, id=f"{norm} norm, bias={bias}")
    for norm in ("pre", "post")
    for bias in (True, False)
]
# Relative to the largest number of an array: rounding of float32 is 6e-8, and some hundreds of
# roundings add up on the way; float64 has nine digits more.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def built(variant: dict[str, Any], dtype: Any) -> sg.GPT:
    """With weights of a size at which every part of the model matters."""
    model = grown_up(sg.GPT(sg.GPTConfig(**CONFIG, **variant)))
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data = 0.3 * parameter.numpy()
    return model.astype(dtype)


def close(ours: np.ndarray, theirs: np.ndarray, dtype: Any, what: str) -> None:
    tolerance = TOLERANCE[dtype] * max(np.abs(theirs).max(), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=what)


def gradients(model: sg.GPT) -> dict[str, np.ndarray]:
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_loss_and_every_gradient(variant: dict[str, Any], dtype: Any) -> None:
    model = built(variant, dtype)
    twin = twin_of(model)
    ids, targets = batch(model.config, rows=3)
    logits, loss = model(ids, targets)
    twin_logits, twin_loss = twin(torch.tensor(ids), torch.tensor(targets))
    close(logits.numpy(), twin_logits.detach().numpy(), dtype, "logits")
    close(loss.numpy(), twin_loss.detach().numpy(), dtype, "loss")
    loss.backward()
    twin_loss.backward()
    theirs = numbers({name: p.grad for name, p in twin.named_parameters()})
    ours = gradients(model)
    assert ours.keys() == theirs.keys()
    for name, g in ours.items():
        close(g, theirs[name], dtype, name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("variant", VARIANTS)
def test_ten_steps_of_adamw(variant: dict[str, Any], dtype: Any) -> None:
    """With clipping, warm-up, and decay on the matrices alone."""
    model = built(variant, dtype)
    twin = twin_of(model)
    # A larger eps, for where a gradient is zero but for rounding (the bias of the keys has none:
    # softmax ignores what all keys share) m / sqrt(v) would make whole steps of that rounding.
    settings = {"betas": (0.9, 0.99), "eps": 1e-4}
    optimiser = sg.optim.AdamW(sg.optim.parameter_groups(model, 0.1), lr=1.0, **settings)
    split = [[p for p in twin.parameters() if (p.ndim >= 2) is matrix] for matrix in (True, False)]
    groups = [{"params": split[0]}, {"params": split[1], "weight_decay": 0.0}]
    twin_optimiser = torch.optim.AdamW(groups, weight_decay=0.1, **settings)
    losses, twin_losses = [], []
    for step in range(10):
        ids, targets = batch(model.config, rows=3)
        lr = sg.optim.cosine_schedule(step, 3e-3, 3e-4, 2, 10)
        _, loss = model(ids, targets)
        loss.backward()
        norm = sg.optim.clip_grad_norm(model.parameters(), 0.2)
        optimiser.step(lr)
        optimiser.zero_grad()

        for group in twin_optimiser.param_groups:
            group["lr"] = lr
        _, twin_loss = twin(torch.tensor(ids), torch.tensor(targets))
        twin_optimiser.zero_grad()
        twin_loss.backward()
        twin_norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.2)
        twin_optimiser.step()

        assert norm > 0.2, "clipping must have something to do"
        close(np.array(norm), twin_norm.numpy(), dtype, "norm")
        losses.append(loss.item())
        twin_losses.append(twin_loss.item())
    close(np.array(losses), np.array(twin_losses), dtype, "losses")
    assert losses[-1] < losses[0]
    theirs = numbers(twin.state_dict())
    for name, value in model.state_dict().items():
        close(value, theirs[name], dtype, name)


def test_a_fresh_model_is_as_likely_as_its_twin(rng: np.random.Generator) -> None:
    """At the size weights have when training starts, where sums cancel the most."""
    model = sg.GPT(sg.GPTConfig(**CONFIG))
    twin = twin_of(model)
    ids, targets = batch(model.config, rows=4)
    logits, loss = model(ids, targets)
    twin_logits, twin_loss = twin(torch.tensor(ids), torch.tensor(targets))
    np.testing.assert_allclose(logits.numpy(), twin_logits.detach().numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(loss.item(), twin_loss.item(), rtol=1e-6)
