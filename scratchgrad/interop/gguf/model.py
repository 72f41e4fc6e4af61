r"""The architecture "llama": which number is what, and the rows of Q and K in their own order.

**The order of the rows.** A rotation turns pairs of a head's D channels. Hugging Face's Llama, and
ours, pairs channel i with i + D/2; llama.cpp pairs 2i with 2i + 1. To have the same model, its
converter moves the rows that make channel s D/2 + i of a head (s is 0 or 1) to 2i + s:

    theirs[h, 2i + s] = ours[h, s D/2 + i]          for every head h of Q and of K

The pairs, and with them the angles, are then the same; Q and K are moved alike, so that their dot
product is the same sum in another order. V is not rotated, and stays. Here the rows move back: as
an array, theirs has the axes (head, i, s, column), and ours (head, s, i, column).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ConfigError
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.gpt.shapes import parameter_shapes
from scratchgrad.interop.gguf.reading import GGUF, shown
from scratchgrad.interop.gguf.tokenizer import read_tokenizer
from scratchgrad.interop.layout import (
    MAX_CONTEXT,
    Layout,
    Part,
    half_split,
    read_state,
)
from scratchgrad.interop.pretrained import Pretrained
from scratchgrad.interop.tensor_file import Entry

# What the values of the architecture may be besides those that `_config` reads: only what changes
# nothing. A value that is not known here may say anything, so it is refused.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "rope.scaling.type": ("none",),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "tensor_data_layout": ("reference",),
}


def read_gguf(path: str | os.PathLike[str], dtype: Any = np.float32) -> Pretrained:
    """Read a model with its tokenizer and its chat template; the weights become floats.

    Parameters
    ----------
    path : path of a .gguf file
        Of the architecture "llama", with tensors of F32, F16, BF16, Q8_0, Q4_0 or Q4_1.
    dtype : float32 or float64
        Of the parameters. What the file has becomes float32 first, bit for bit as in ggml.

    Returns
    -------
    Pretrained

    Raises
    ------
    CheckpointError
        The file is damaged, or has what cannot be had exactly; the message says what.
    """
    with GGUF(path) as file:
        config = _config(file)
        tokens = read_tokenizer(file)
        if tokens.tokenizer.vocab_size - len(tokens.missing) > config.vocab_size:
            raise file.refuse(
                f"the tokenizer has {tokens.tokenizer.vocab_size:,} ids; expected at most "
                f"{config.vocab_size:,}, the rows of token_embd.weight"
            )
        state = _state(file, config, dtype)
    return Pretrained(
        model=GPT.from_state(config, state),
        tokenizer=tokens.tokenizer,
        chat_template=tokens.chat_template,
        begin=tokens.begin,
        stop=tokens.stop,
        bos=tokens.bos,
        eos=tokens.eos,
        notes=tokens.notes,
        source=str(path),
    )


def _config(file: GGUF) -> GPTConfig:
    """The configuration, from the values that the file gives; checked against the table."""
    architecture = file.values.get("general.architecture")
    if architecture != "llama":
        which = "missing" if architecture is None else shown(architecture)
        raise file.refuse(f"general.architecture is {which}; expected 'llama'")
    values = {
        name.removeprefix("llama."): value
        for name, value in file.values.items()
        if name.startswith("llama.")
    }

    def take(name: str, kind: type, default: Any = None) -> Any:
        value: Any = values.pop(name, default)
        wrong = type(value) is not kind
        if wrong or (kind is int and value < 1):
            expected = "a whole number of at least 1" if kind is int else "a number"
            raise file.refuse(f"llama.{name} is {shown(value)}; expected {expected}")
        return value

    n_embd, n_head = take("embedding_length", int), take("attention.head_count", int)
    n_layer, context = take("block_count", int), take("context_length", int)
    if n_embd % n_head or n_embd // n_head % 2:
        raise file.refuse(
            f"llama.embedding_length is {n_embd:,} and llama.attention.head_count {n_head:,}; "
            f"expected a multiple of twice the heads"
        )
    for name in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        if take(name, int, n_embd // n_head) != n_embd // n_head:
            raise file.refuse(f"llama.{name} is not {n_embd // n_head}, the channels of a head")
    if n_layer > len(file.tensors):
        raise file.refuse(
            f"llama.block_count is {n_layer:,}; expected no more than the file's "
            f"{len(file.tensors):,} tensors"
        )
    if context > MAX_CONTEXT:
        raise file.refuse(f"llama.context_length is {context:,}; expected at most {MAX_CONTEXT:,}")
    table = file.tensors.get("token_embd.weight")
    if table is None:
        raise file.refuse("has no tensor token_embd.weight")
    if take("vocab_size", int, table.shape[0]) != table.shape[0]:
        raise file.refuse(
            f"llama.vocab_size is not {table.shape[0]:,}, the rows of token_embd.weight"
        )
    settings: dict[str, Any] = {
        "n_kv_head": take("attention.head_count_kv", int, n_head),
        "n_inner": take("feed_forward_length", int),
        "norm_eps": take("attention.layer_norm_rms_epsilon", float),
        "rope_base": take("rope.freq_base", float, 10000.0),
    }
    for name, value in values.items():
        if value not in _HARMLESS.get(name, ()) or type(value) is bool:
            raise file.refuse(
                f"llama.{name} is {shown(value)}, which cannot be represented; a model with it "
                f"would say other things here"
            )
    try:
        return GPTConfig(
            vocab_size=table.shape[0],
            block_size=context,
            n_layer=n_layer,
            n_head=n_head,
            n_embd=n_embd,
            bias=False,
            norm="rmsnorm",
            mlp="swiglu",
            position="rope",
            tied_head="output.weight" not in file.tensors,
            **settings,
        )
    except ConfigError as error:
        raise file.refuse(str(error)) from None


# Our layer, and which of theirs its rows are, in the order of ours.
_BLOCK = {
    "ln_1": ("attn_norm",),
    "attn.c_attn": ("attn_q", "attn_k", "attn_v"),
    "attn.c_proj": ("attn_output",),
    "ln_2": ("ffn_norm",),
    "mlp.c_fc": ("ffn_gate", "ffn_up"),
    "mlp.c_proj": ("ffn_down",),
}
_OUTSIDE = {"wte": "token_embd", "ln_f": "output_norm", "lm_head": "output"}


def _layout(config: GPTConfig) -> Layout:
    """Which tensors of the file each parameter of ours is."""
    keys = config.kv_heads * config.head_size
    rows = {"attn_q": config.n_embd, "attn_k": keys, "attn_v": keys}
    rows |= {"ffn_gate": config.inner, "ffn_up": config.inner}
    parts: dict[str, tuple[Part, ...]] = {}
    for name, shape in parameter_shapes(config).items():
        layer = name.removesuffix(".weight")
        if layer in _OUTSIDE:
            parts[name] = (Part(f"{_OUTSIDE[layer]}.weight", shape),)
        else:
            _, number, inner = layer.split(".", 2)
            parts[name] = tuple(
                Part(f"blk.{number}.{theirs}.weight", (rows.get(theirs, shape[0]), *shape[1:]))
                for theirs in _BLOCK[inner]
            )
    return parts


class _AsFloats:
    """The file as the other formats' tables see it: whatever it has comes out in float32."""

    def __init__(self, file: GGUF) -> None:
        self.path = str(file.path)
        self.entries = {
            name: Entry("F32", row.shape, row.start, row.start + row.nbytes)
            for name, row in file.tensors.items()
        }
        self._file = file

    def read_into(self, name: str, out: NDArray[Any]) -> None:
        """Read one tensor."""
        if out.dtype == np.float32:
            self._file.read(name, out=out)
        else:
            out[...] = self._file.read(name)


def _state(file: GGUF, config: GPTConfig, dtype: Any) -> dict[str, NDArray[Any]]:
    """The parameters under our names. Each tensor is read into its place in the result."""
    if "rope_freqs.weight" in file.tensors:
        raise file.refuse(
            "has rope_freqs.weight, which scales the rotation's frequencies; that cannot be "
            "represented"
        )
    state = read_state(_AsFloats(file), _layout(config), config, dtype=dtype)
    heads, kv_heads, size = config.n_head, config.kv_heads, config.head_size
    for i in range(config.n_layer):
        q, k, _ = np.split(
            state[f"h.{i}.attn.c_attn.weight"], [heads * size, (heads + kv_heads) * size]
        )
        q[...] = half_split(q, heads)
        k[...] = half_split(k, kv_heads)
    return state
