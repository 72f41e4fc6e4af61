"""How a model knows where a token stands: four answers, of which it has one.

Attention by itself sees a set of tokens, not a row of them. Learned and sinusoidal positions are
added to the embeddings, once; rotary positions turn the queries and keys of every layer; and a
causal model learns something of its positions even without any, for the first token sees one key
and the hundredth sees a hundred (Haviv et al., 2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ConfigError
from scratchgrad.nn import functional as F
from scratchgrad.nn.layers import Embedding
from scratchgrad.nn.module import Module


def unchanged(x: Any, start: int = 0) -> Any:
    """No positions here: x (B, T, C) as it is."""
    return x


class LearnedPositions(Embedding):
    """A row of a table, learned, is added at each position: GPT-2's way. (B, T, C) -> (B, T, C)."""

    def forward(self, x: Any, start: int = 0) -> Any:
        """``start`` is the position of the first token of x."""
        return x + self.weight[start : start + x.shape[1]]  # (B, T, C) + (T, C)


class SinusoidalPositions(Module):
    """Waves are added, a sine and a cosine of each of C / 2 lengths. (B, T, C) -> (B, T, C).

    ``table[p, 2 i] = sin(p / 10000^(2 i / C))``, and ``table[p, 2 i + 1]`` its cosine.

    Source: Vaswani et al., Attention Is All You Need (2017), section 3.5.
    """

    def __init__(self, num_positions: int, embedding_dim: int) -> None:
        super().__init__()
        angles = _angles(np.arange(num_positions), embedding_dim, 10000.0)  # (positions, C / 2)
        waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # (positions, C / 2, 2)
        self.table = waves.reshape(num_positions, -1)[:, :embedding_dim]

    def forward(self, x: Any, start: int = 0) -> Any:
        """``start`` is the position of the first token of x."""
        return x + self.table[start : start + x.shape[1]].astype(x.dtype, copy=False)


class Rope:
    """Rotary positions: what turns the queries and keys of a layer, at every layer the same.

    Pair i of a head of D numbers, at position p, is turned by the angle ``p / base^(2 i / D)``.

    Parameters
    ----------
    head_size : int
        D, an even number.
    base : float
        The larger it is, the slower the last pairs turn, and the farther apart two positions may
        be before their angles look alike.
    interleaved : bool
        Whether pair i is the numbers 2 i and 2 i + 1 (the paper, llama2.c); else they are i and
        i + D / 2 (Hugging Face). The same model in another order of its rows.

    Source: Su et al., RoFormer (2021), section 3.2.2.
    """

    def __init__(self, head_size: int, base: float = 10000.0, interleaved: bool = False) -> None:
        if head_size < 2 or head_size % 2:
            raise ConfigError(
                f"Rope: expected an even head size, for numbers are turned in pairs, received "
                f"{head_size}"
            )
        self.head_size, self.base, self.interleaved = head_size, base, interleaved
        self._tables: dict[Any, NDArray[Any]] = {}  # by dtype: (2, positions, D / 2)

    def tables(
        self, start: int, stop: int, dtype: Any = np.float32
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Cosine and sine of the angles at the positions from start to stop: (T, D / 2) each."""
        tables = self._tables.get(dtype)
        if tables is None or stop > tables.shape[1]:  # some more: generating asks one by one
            angles = _angles(np.arange(max(stop, 2 * start)), self.head_size, self.base)
            tables = np.stack([np.cos(angles), np.sin(angles)]).astype(dtype)
            self._tables[dtype] = tables
        cos, sin = tables[:, start:stop]
        return cos, sin

    def __call__(self, x: Any, heads: int, start: int = 0) -> Any:
        """Turn the first ``heads`` heads of x (B, T, W), whose first position is ``start``."""
        cos, sin = self.tables(start, start + x.shape[1], x.dtype)
        return F.rope(x, cos=cos, sin=sin, n_head=heads, interleaved=self.interleaved)


def _angles(positions: NDArray[Any], channels: int, base: float) -> NDArray[np.float64]:
    """position / base^(2 i / channels) for each pair i: (T,) -> (T, channels / 2)."""
    return positions[:, None] * base ** (-np.arange(0, channels, 2) / channels)
