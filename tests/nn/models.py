"""Tiny models with weights of size one, and the batches they are tried on."""

from typing import Any

import numpy as np

import scratchgrad as sg

# For finite differences: many layers bend so much that the step must be smaller.
DEEP = {"rtol": 1e-6, "atol": 1e-8, "step": 2e-4}


def grown_up(module: Any, seed: int = 0) -> Any:
    """The module in float64 with weights of size one.

    With the small weights that training starts from, attention is nearly even, every GELU nearly
    linear, and much that is wrong with a gradient is too small to see.
    """
    rng = np.random.default_rng(seed)
    module.astype(np.float64)
    for parameter in module.parameters():
        size = rng.uniform(0.3, 1.2, parameter.shape)
        parameter.data = size * rng.choice([-1.0, 1.0], parameter.shape)
    return module


def tiny_config(**changes: Any) -> sg.GPTConfig:
    settings = {"vocab_size": 5, "block_size": 4, "n_layer": 2, "n_head": 2, "n_embd": 4}
    return sg.GPTConfig(**{**settings, **changes})


def batch(config: sg.GPTConfig, rows: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids and targets; the last target of the first row does not count."""
    rng = np.random.default_rng(seed)
    ids, targets = rng.integers(0, config.vocab_size, (2, rows, config.block_size))
    targets[0, -1] = -100
    return ids, targets
