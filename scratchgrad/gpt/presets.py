"""Models of the literature by name: what GPTConfig takes for each.

Sources: Radford et al., GPT-2 (2019), table 2, and its published configurations; nanoGPT's
config/train_shakespeare_char.py and its README; llama2.c's table of stories models; SmolLM2's and
TinyLlama's published configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _gpt2(n_layer: int, n_head: int, n_embd: int) -> dict[str, Any]:
    sizes = {"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd}
    return {"vocab_size": 50257, "block_size": 1024, **sizes, "mlp": "gelu_tanh"}


def _nanogpt(n_layer: int, n_head: int, n_embd: int, **rest: Any) -> dict[str, Any]:
    sizes = {"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd}
    return {"vocab_size": 65, **sizes, "bias": False, **rest}


def _llama(n_layer: int, n_head: int, n_embd: int, **rest: Any) -> dict[str, Any]:
    kind = {"norm": "rmsnorm", "mlp": "swiglu", "position": "rope", "bias": False}
    sizes = {"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd}
    return {"vocab_size": 32000, **sizes, **kind, **rest}


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": _gpt2(12, 12, 768),
    "gpt2-medium": _gpt2(24, 16, 1024),
    "gpt2-large": _gpt2(36, 20, 1280),
    "gpt2-xl": _gpt2(48, 25, 1600),
    # nanoGPT on characters: the one for a processor, and the one for a graphics card.
    "nanogpt-char": _nanogpt(4, 4, 128, block_size=64),
    "nanogpt-baby": _nanogpt(6, 6, 384, block_size=256, dropout=0.2),
    # Llama's architecture in small; llama2.c turns pairs of neighbours.
    "stories260K": _llama(
        5,
        8,
        64,
        vocab_size=512,
        block_size=512,
        n_kv_head=4,
        n_inner=172,
        rope_interleaved=True,
    ),
    "stories15M": _llama(6, 6, 288, block_size=256, n_inner=768, rope_interleaved=True),
    "stories42M": _llama(8, 8, 512, block_size=1024, n_inner=1376, rope_interleaved=True),
    "stories110M": _llama(12, 12, 768, block_size=1024, n_inner=2048, rope_interleaved=True),
    "smollm2-135m": _llama(
        30,
        9,
        576,
        vocab_size=49152,
        block_size=8192,
        n_kv_head=3,
        n_inner=1536,
        rope_base=100000.0,
    ),
    "tinyllama-1.1b": _llama(
        22, 32, 2048, block_size=2048, n_kv_head=4, n_inner=5632, tied_head=False
    ),
}
