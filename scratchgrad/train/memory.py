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
    forward pass saves: for each block 16 C numbers a token (the stream, two norms, queries, keys,
    values, attention's output, the MLP's wide layer before and after GELU), and for the head the
    logits and their gradient.

    >>> least_bytes(GPTConfig(65, 64, 4, 4, 128), batch_size=12)
    38412288
    """
    c, layers = config.n_embd, config.n_layer
    parameters = 12 * layers * c * c + (config.vocab_size + config.block_size) * c
    tokens = batch_size * config.block_size
    saved = tokens * (16 * layers * c + 2 * config.vocab_size)
    return 4 * (4 * parameters + saved)


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
