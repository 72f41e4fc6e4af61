"""The name and shape of every parameter, from the configuration alone.

What a model costs is counted from it (`cost`), and what a file must hold (`interop`). A test holds
it to the models that are built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scratchgrad.gpt.config import GPTConfig

Shape = tuple[int, ...]


def parameter_shapes(c: GPTConfig) -> dict[str, Shape]:
    """The name and shape of every parameter of a GPT, without building it."""
    norm: dict[str, Shape] = {"weight": (c.n_embd,)}
    if c.norm == "layernorm" and c.bias:
        norm["bias"] = (c.n_embd,)
    qkv = (c.n_head + 2 * c.kv_heads) * c.head_size
    wide = c.inner * (2 if c.mlp == "swiglu" else 1)
    matrices = {
        "attn.c_attn": (qkv, c.n_embd),
        "attn.c_proj": (c.n_embd, c.n_embd),
        "mlp.c_fc": (wide, c.n_embd),
        "mlp.c_proj": (c.n_embd, c.inner),
    }
    block = {f"{layer}.{part}": shape for layer in ("ln_1", "ln_2") for part, shape in norm.items()}
    for layer, shape in matrices.items():
        block[f"{layer}.weight"] = shape
        if c.bias:
            block[f"{layer}.bias"] = shape[:1]
    if c.qk_norm:
        block |= {f"attn.{layer}.weight": (c.head_size,) for layer in ("q_norm", "k_norm")}
    shapes: dict[str, Shape] = {"wte.weight": (c.vocab_size, c.n_embd)}
    if c.position == "learned":
        shapes["wpe.weight"] = (c.block_size, c.n_embd)
    for i in range(c.n_layer):
        shapes |= {f"h.{i}.{name}": shape for name, shape in block.items()}
    shapes |= {f"ln_f.{part}": shape for part, shape in norm.items()}
    if not c.tied_head:
        shapes["lm_head.weight"] = (c.vocab_size, c.n_embd)
    return shapes
