"""What a configuration costs, before anything is built: parameters, operations, bytes.

Tests hold each number to the built model: the parameters it has, the products that it runs, the
arrays that it keeps for the backward pass.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from scratchgrad.gpt.shapes import parameter_shapes
from scratchgrad.nn.cache import places

if TYPE_CHECKING:
    from scratchgrad.gpt.config import GPTConfig


def _widths(c: GPTConfig) -> tuple[int, int]:
    """What a layer's c_attn and c_fc give for a token: (H + 2 Hk) D, and the inner width or two."""
    return (c.n_head + 2 * c.kv_heads) * c.head_size, c.inner * (2 if c.mlp == "swiglu" else 1)


# By part, what stands in the names of its parameters.
PARTS = {
    "token embedding": ("wte.",),
    "positions": ("wpe.",),
    "attention": ("attn.c_",),
    "mlp": ("mlp.",),
    "norms": ("ln_", "_norm."),
    "head": ("lm_head.",),
}


def parameters(c: GPTConfig) -> dict[str, int]:
    """How many numbers each part learns."""
    # One layer, times the layers: somebody may ask for a billion of them.
    numbers = {
        name: math.prod(shape) * (c.n_layer if name.startswith("h.") else 1)
        for name, shape in parameter_shapes(replace(c, n_layer=1)).items()
    }
    return {
        part: sum(n for name, n in numbers.items() if any(word in name for word in words))
        for part, words in PARTS.items()
    }


def pairs(length: int, window: int | None) -> int:
    """How many keys the queries of a text see in all: query t sees min(t + 1, window).

    >>> pairs(4, None), pairs(4, 2)
    (10, 7)
    """
    short = min(length, window or length)
    return short * (short + 1) // 2 + (length - short) * short


def flops_per_token(c: GPTConfig, length: int | None = None, training: bool = False) -> float:
    """Two operations for each number of each matrix, the head's among them, and attention.

    Attention's two products cost 4 n_embd for each key that is seen. Backward, each product has
    two; what the kernels compute again to save memory is not counted, nor what is not a product.

    Source: Kaplan et al., Scaling Laws (2020), table 1; Chowdhery et al., PaLM (2022), appendix B.
    """
    length = c.block_size if length is None else length
    qkv, wide = _widths(c)
    matrices = c.n_layer * (qkv + c.n_embd + wide + c.inner) * c.n_embd + c.vocab_size * c.n_embd
    seen = pairs(length, c.sliding_window) / length
    forward = 2.0 * matrices + 4.0 * c.n_layer * seen * c.n_embd
    return 3 * forward if training else forward


def _saved(c: GPTConfig) -> int:
    """Numbers that a block keeps of a token for the backward pass."""
    qkv, wide = _widths(c)
    stream = 2 * c.n_embd  # what each norm was given
    norms = 2 * c.n_embd + 2 * (2 if c.norm == "layernorm" else 1)  # what it gave, its statistics
    # q, k, v as they were before their norms, and the statistics of those
    heads = qkv + c.n_head + c.kv_heads if c.qk_norm else 0
    attention = qkv + c.n_embd + c.n_head  # q, k, v; what it gave; the log-sum-exp of each head
    # relu2 keeps what relu gave besides what it was given and what the square gave
    mlp = wide + c.inner + (c.inner if c.mlp == "relu2" else 0)
    return stream + norms + heads + attention + mlp


def memory(c: GPTConfig, batch_size: int = 1, itemsize: int = 4) -> dict[str, int]:
    """Bytes by part, for texts of the whole context.

    "activations" is what the forward pass of ``GPT.loss`` keeps for the backward; "kv_cache" what
    generating needs instead of it, and instead of gradients and moments: with a sliding window, for
    what it still shows, and half as many positions again, or 32.
    """
    weights = sum(parameters(c).values()) * itemsize
    tokens = batch_size * c.block_size
    head = 2 * c.n_embd + min(c.vocab_size, c.n_embd)  # its norm; the gradient of either side
    saved = c.n_layer * _saved(c) + head
    cache = 2 * c.n_layer * c.kv_heads * c.head_size
    positions = places(c.sliding_window or c.block_size, c.block_size)
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer": 2 * weights,
        "activations": tokens * saved * itemsize,
        "kv_cache": batch_size * positions * cache * itemsize,
    }
