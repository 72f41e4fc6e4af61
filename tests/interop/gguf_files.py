"""Small GGUF files, right ones and all kinds of wrong ones."""

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchgrad.tokenizer.formats.bytelevel import LETTERS

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "BF16": 30}
KINDS = {
    "u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"),
    "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<B"), "u64": (10, "<Q"), "i64": (11, "<q"),
    "f64": (12, "<d"),
}  # fmt: skip


class Typed(NamedTuple):
    """A value whose type is not the one that Python's own suggests."""

    kind: str
    value: Any


class Raw(NamedTuple):
    """Type and value as bytes, for what no writer would write."""

    data: bytes


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def payload(value: Any) -> tuple[int, bytes]:
    """The number of a type, and the bytes of a value of it."""
    if isinstance(value, Typed):
        code, form = KINDS[value.kind]
        return code, struct.pack(form, value.value)
    if isinstance(value, bool):
        return payload(Typed("bool", value))
    if isinstance(value, int):
        return payload(Typed("u32", value))
    if isinstance(value, float):
        return payload(Typed("f32", value))
    if isinstance(value, str | bytes):
        return 8, string(value)
    items = [payload(item) for item in value]
    kind = items[0][0] if items else 4
    return 9, struct.pack("<IQ", kind, len(items)) + b"".join(data for _, data in items)


def entry(name: str | bytes, value: Any) -> bytes:
    if isinstance(value, Raw):
        return string(name) + value.data
    code, data = payload(value)
    return string(name) + struct.pack("<I", code) + data


class Row(NamedTuple):
    """A tensor: its bytes, and what the table says of it."""

    shape: tuple[int, ...]
    data: bytes
    kind: int | str = "F32"
    start: int | None = None  # right behind the one before, if None
    name: str | bytes | None = None


def row_of(array: np.ndarray, kind: str = "F32") -> Row:
    if kind == "F16":
        return Row(array.shape, array.astype("<f2").tobytes(), kind)
    if kind == "BF16":
        return Row(
            array.shape, (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes(), kind
        )
    return Row(array.shape, array.astype("<f4").tobytes(), "F32")


def table_row(name: str | bytes, row: Row, start: int) -> bytes:
    code = TYPES[row.kind] if isinstance(row.kind, str) else row.kind
    dims = b"".join(struct.pack("<Q", n) for n in reversed(row.shape))
    at = start if row.start is None else row.start
    head = string(name if row.name is None else row.name) + struct.pack("<I", len(row.shape))
    return head + dims + struct.pack("<IQ", code, at)


def gguf_bytes(
    values: dict,
    rows: dict[str, Row],
    *,
    version=3,
    alignment=32,
    counts=(None, None),
    magic=b"GGUF",
) -> bytes:
    """The bytes of a file; ``counts`` replaces the numbers of tensors and values in the header."""
    tensors, pairs = (len(rows), len(values))
    tensors = tensors if counts[0] is None else counts[0]
    pairs = pairs if counts[1] is None else counts[1]
    out = magic + struct.pack("<IQQ", version, tensors, pairs)
    out += b"".join(entry(name.split("\0")[0], value) for name, value in values.items())
    start, data = 0, b""
    for name, row in rows.items():
        out += table_row(name.split("\0")[0], row, start)
        data += row.data + bytes(-len(row.data) % alignment)
        start = len(data)
    return out + bytes(-len(out) % alignment) + data


# ---- a whole model of a few kilobytes

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_values(vocab: int = 260, **changes: Any) -> dict[str, Any]:
    """The values of a Llama of 2 layers, 4 heads of 8 channels, 2 of keys; bytes, one merge."""
    tokens = [*SPECIAL, *LETTERS, "ab"]
    values = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.block_count": 2,
        "llama.context_length": 64,
        "llama.embedding_length": 32,
        "llama.feed_forward_length": 64,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
        "llama.rope.dimension_count": 8,
        "llama.vocab_size": vocab,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [Typed("i32", 3)] * 3 + [Typed("i32", 1)] * 257,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            values.pop(key)
        else:
            values[key] = value
    return values


def tiny_arrays(seed: int = 0, vocab: int = 260, tied: bool = True) -> dict[str, np.ndarray]:
    """Weights of that model, under GGUF's names, in llama.cpp's order of rows."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocab, 32)}
    for i in range(2):
        shapes |= {
            f"blk.{i}.attn_norm.weight": (32,),
            f"blk.{i}.attn_q.weight": (32, 32),
            f"blk.{i}.attn_k.weight": (16, 32),
            f"blk.{i}.attn_v.weight": (16, 32),
            f"blk.{i}.attn_output.weight": (32, 32),
            f"blk.{i}.ffn_norm.weight": (32,),
            f"blk.{i}.ffn_gate.weight": (64, 32),
            f"blk.{i}.ffn_up.weight": (64, 32),
            f"blk.{i}.ffn_down.weight": (32, 64),
        }
    shapes["output_norm.weight"] = (32,)
    if not tied:
        shapes["output.weight"] = (vocab, 32)
    return {
        name: (1 + 0.1 * rng.standard_normal(shape) if len(shape) == 1 else
               rng.standard_normal(shape) / math.sqrt(shape[-1])).astype(np.float32)
        for name, shape in shapes.items()
    }  # fmt: skip


def tiny_file(path: Path, tied: bool = True, **changes: Any) -> Path:
    arrays = tiny_arrays(tied=tied)
    rows = {name: row_of(array) for name, array in arrays.items()}
    path.write_bytes(gguf_bytes(tiny_values(**changes), rows))
    return path
