"""The work that is measured: its sizes and its data, the same for us and for any rival.

NumPy only: a rival's process reads this module, and must not load our kernels.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Preset:
    """A training step: the model's sizes, and the tokens of a batch."""

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    batch_size: int
    bias: bool = False

    @property
    def tokens(self) -> int:
        """Tokens in a step."""
        return self.batch_size * self.block_size

    @property
    def model(self) -> dict[str, Any]:
        """What GPTConfig takes."""
        return {name: value for name, value in vars(self).items() if name != "batch_size"}


PRESETS = {
    "char": Preset(65, 64, 4, 4, 128, 12),  # nanoGPT's setting for a processor
    "baby": Preset(65, 256, 6, 6, 384, 4),  # its baby GPT, with a smaller batch
    "gpt2": Preset(50257, 256, 12, 12, 768, 1, bias=True),  # GPT-2 124M, a quarter of its context
}

# The optimiser of every step: constant rate, both groups of parameters, clipping.
LR, BETAS, EPS, WEIGHT_DECAY, CLIP, SEED = 3e-4, (0.9, 0.99), 1e-8, 0.1, 1.0, 1337

MATMULS = ((768, 128, 384), (768, 512, 128), (1024, 384, 1536), (1024, 1536, 384), (1024,) * 3)
FORMS = ("NN", "NT", "TN")  # T: that operand is given as the transpose of what lies in memory
ATTENTIONS = ((12, 4, 64, 32), (4, 6, 256, 64), (1, 12, 1024, 64), (1, 8, 4096, 64))  # B, H, T, D
ELEMENTS = (4096, 384)  # 1.57 M: the wide layer of the baby's MLP, for all tokens of a batch
LOGITS = (1024, 50257)


def attention_name(shape: tuple[int, ...]) -> str:
    """B12_H4_T64_D32."""
    return "_".join(f"{letter}{size}" for letter, size in zip("BHTD", shape, strict=True))


def draw(name: str, *shape: int, dtype: Any = np.float32) -> Array:
    """Normal numbers that depend on the name and the shape only."""
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    return rng.standard_normal(shape, dtype=np.dtype(dtype).type)


def draw_ids(name: str, below: int, *shape: int) -> NDArray[np.int64]:
    """Ids that depend on the name, the bound and the shape only."""
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    return rng.integers(0, below, shape)


def weights(name: str, shape: tuple[int, ...]) -> Array:
    """The first value of a parameter of a step's model, by its name in the state dict."""
    if len(shape) > 1:
        return 0.02 * draw(name, *shape)
    return np.zeros(shape, np.float32) if name.endswith("bias") else np.ones(shape, np.float32)


def text(preset: Preset) -> NDArray[np.int64]:
    """The ids that a step draws its batches from: enough for some different ones."""
    return draw_ids("text", preset.vocab_size, 8 * preset.tokens + 64)


def operands(form: str, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    """A (M, K) and B (K, N) of a product, a T in the form being a transposed view."""
    M, K, N = shape
    a = draw("a", K, M, dtype=dtype).T if form[0] == "T" else draw("a", M, K, dtype=dtype)
    b = draw("b", N, K, dtype=dtype).T if form[1] == "T" else draw("b", K, N, dtype=dtype)
    return a, b
