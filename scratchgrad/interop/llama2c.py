"""llama2.c's first file format: a header of seven numbers, and the weights in float32.

======  ===========  ==========================================================
bytes   name         what
======  ===========  ==========================================================
4       dim          C, channels of the stream
4       hidden_dim   I, the inner width of the MLP
4       n_layers     L
4       n_heads      H
4       n_kv_heads   Hk
4       vocab_size   V; negative where the head is not the token table
4       seq_len      T, the context
rest    weights      one kind after the other, each of all layers, as below
======  ===========  ==========================================================

There are no names; what a number is follows from where it stands. RoPE turns neighbours. The two
tables with its cosines and sines, which llama2.c itself has skipped since it computes them, are
skipped here too. The epsilon of the norms is 1e-5 and RoPE's base 10,000, in the program and not
in the file.

Source: karpathy/llama2.c, run.c (``memory_map_weights``) and export.py (``legacy_export``).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from scratchgrad.errors import CheckpointError, ConfigError
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.gpt.shapes import parameter_shapes
from scratchgrad.interop.files import first_bytes
from scratchgrad.interop.layout import Layout, Part, check_size, read_state
from scratchgrad.interop.pretrained import Pretrained, quietly_load_tokenizer
from scratchgrad.interop.tensor_file import Entry, TensorFile

HEADER = struct.Struct("<7i")
_FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
_MAGIC = b"24ka"  # "ak42", as an int32, begins the later versions of the format
_MOST_LAYERS = 10_000
BEGIN = 1  # begins a text; a model trained on many of them says it where the next one would begin

# Our layer, and which of theirs its rows are, in the order of ours.
_BLOCK = {
    "ln_1": ("rms_att",),
    "attn.c_attn": ("wq", "wk", "wv"),
    "attn.c_proj": ("wo",),
    "ln_2": ("rms_ffn",),
    "mlp.c_fc": ("w1", "w3"),
    "mlp.c_proj": ("w2",),
}
_OUTSIDE = {"wte": "tokens", "ln_f": "norm", "lm_head": "head"}


class Llama2cFile(TensorFile):
    """The file, with a name for every tensor of every layer: "0.wq", "norm", "tables"."""

    config: GPTConfig

    def _find(self) -> dict[str, Entry]:
        if self.size < HEADER.size:
            raise CheckpointError(
                f"{self.path} is no model of llama2.c: it has {self.size} bytes; expected "
                f"{HEADER.size} or more"
            )
        raw = self._read(HEADER.size)
        if raw[:4] == _MAGIC:
            raise CheckpointError(
                f"{self.path} is of a later version of llama2.c's format; expected the first "
                f"(version 0, float32), which its export.py writes with --version 0"
            )
        self.config = _config(dict(zip(_FIELDS, HEADER.unpack(raw), strict=True)), self.path)
        entries, end = {}, HEADER.size
        for name, shape in _order(self.config):
            start, end = end, end + 4 * int(np.prod(shape, dtype=object))
            entries[name] = Entry("F32", shape, start, end)
        if end != self.size:
            raise CheckpointError(
                f"{self.path} {'is cut short' if end > self.size else 'is too long'}: expected "
                f"{end:,} bytes by its header; got {self.size:,}"
            )
        return entries


def _config(numbers: dict[str, int], where: str) -> GPTConfig:
    tied = numbers["vocab_size"] > 0
    n = numbers | {"vocab_size": abs(numbers["vocab_size"])}
    for name, value in n.items():
        if value < 1:
            raise CheckpointError(
                f"{where} is no model of llama2.c: expected {name} to be at least 1; got {value}"
            )
    if n["n_layers"] > _MOST_LAYERS:
        raise CheckpointError(
            f"{where} is no model of llama2.c: expected at most {_MOST_LAYERS:,} layers; got "
            f"{n['n_layers']:,}"
        )
    try:
        return GPTConfig(
            vocab_size=n["vocab_size"],
            block_size=n["seq_len"],
            n_layer=n["n_layers"],
            n_head=n["n_heads"],
            n_embd=n["dim"],
            n_inner=n["hidden_dim"],
            n_kv_head=n["n_kv_heads"],
            bias=False,
            norm="rmsnorm",
            norm_eps=1e-5,
            mlp="swiglu",
            position="rope",
            rope_interleaved=True,
            tied_head=tied,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where} is no model of llama2.c: {error}") from None


def _order(c: GPTConfig) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of what stands in the file, one after the other."""
    keys = c.kv_heads * c.head_size
    kinds: list[tuple[str, tuple[int, ...]]] = [
        ("rms_att", (c.n_embd,)),
        ("wq", (c.n_embd, c.n_embd)),
        ("wk", (keys, c.n_embd)),
        ("wv", (keys, c.n_embd)),
        ("wo", (c.n_embd, c.n_embd)),
        ("rms_ffn", (c.n_embd,)),
        ("w1", (c.inner, c.n_embd)),
        ("w2", (c.n_embd, c.inner)),
        ("w3", (c.inner, c.n_embd)),
    ]
    order: list[tuple[str, tuple[int, ...]]] = [("tokens", (c.vocab_size, c.n_embd))]
    order += [(f"{i}.{kind}", shape) for kind, shape in kinds for i in range(c.n_layer)]
    order += [("norm", (c.n_embd,)), ("tables", (2, c.block_size, c.head_size // 2))]
    return order if c.tied_head else [*order, ("head", (c.vocab_size, c.n_embd))]


def _layout(c: GPTConfig) -> Layout:
    shapes = dict(_order(c))
    table: dict[str, tuple[Part, ...]] = {}
    for name in parameter_shapes(c):
        layer = name.rsplit(".", 1)[0]
        if layer in _OUTSIDE:
            several = [_OUTSIDE[layer]]
        else:
            _, number, inner = layer.split(".", 2)
            several = [f"{number}.{kind}" for kind in _BLOCK[inner]]
        table[name] = tuple(Part(theirs, shapes[theirs]) for theirs in several)
    return table


def looks_like_it(path: Path) -> bool:
    """Whether a file begins as one of this format does, or of a later version of it."""
    raw = first_bytes(path, HEADER.size)
    if raw[:4] == _MAGIC:
        return True
    if len(raw) < HEADER.size:
        return False
    dim, hidden, layers, heads, kv_heads, vocab, length = HEADER.unpack(raw)
    small = 0 < layers <= _MOST_LAYERS and 0 < kv_heads <= heads <= dim <= 1 << 20
    return small and hidden > 0 and vocab != 0 and length > 0 and dim % heads == 0


def read_llama2c(
    path: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
    dtype: Any = np.float32,
) -> Pretrained:
    """Read a model of llama2.c, version 0.

    Parameters
    ----------
    path : path
        The .bin.
    tokenizer : path, optional
        Its tokenizer.bin. If none is given, tok<V>.bin or tokenizer.bin beside the model is taken,
        as llama2.c names them.
    dtype : float32 or float64

    Raises
    ------
    CheckpointError
        The file is no such model, or its size is not what its header says.
    """
    path = Path(path)
    with Llama2cFile(path) as tensors:
        config = tensors.config
        check_size(config, len(tensors.entries), tensors.path)
        state = read_state(tensors, _layout(config), config, ignored="tables", dtype=dtype)
    found = Pretrained(GPT.from_state(config, state), None, begin=BEGIN, stop=(BEGIN,))
    found.source = str(path)
    if tokenizer is None:
        names = (f"tok{config.vocab_size}.bin", "tokenizer.bin")
        beside = [path.with_name(n) for n in names if path.with_name(n).exists()]
        if not beside:
            found.notes.append(f"no tokenizer: {path.parent} has no {' and no '.join(names)}")
            return found
        found.notes.append(f"tokenizer: {beside[0]}")
        found.tokenizer = quietly_load_tokenizer(beside[0], found.notes)
    return found
