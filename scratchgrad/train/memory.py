"""Does a run fit into this machine? Asked before anything is built.

Without the question a slip of the hand (a batch of a billion) fills the memory until the system
kills the process, or another one.
"""

from __future__ import annotations

import os

from scratchgrad.errors import ConfigError
from scratchgrad.gpt import GPTConfig


def least_bytes(config: GPTConfig, batch_size: int) -> int:
    """A lower bound of what a training step holds at once, in bytes.

    Four float32 arrays for the parameters (weights, gradients, AdamW's two means), and what the
    forward pass saves for the backward.

    >>> least_bytes(GPTConfig(65, 64, 4, 4, 128), batch_size=12)
    39207936
    """
    memory = config.memory(batch_size)
    return sum(memory[part] for part in ("weights", "gradients", "optimizer", "activations"))


def physical_bytes() -> int | None:
    """The machine's memory in bytes, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def check_fits(config: GPTConfig, batch_size: int) -> None:
    """Raise ConfigError if a step cannot fit."""
    needed, there = least_bytes(config, batch_size), physical_bytes()
    if there is not None and needed > there:
        raise ConfigError(
            f"a step would take at least {needed / 2**30:,.0f} GiB and this machine has "
            f"{there / 2**30:,.0f}; take a smaller --batch-size (and --grad-accum), --n-embd, "
            "--n-layer or --block-size"
        )
