"""The transformer block and its two halves. Shapes: B batch, T time, C channels, H heads, D = C/H.

Source: Vaswani et al., Attention Is All You Need (2017), section 3; Radford et al., GPT-2 (2019),
section 2.3, for the norm's place before each half.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError
from scratchgrad.nn import functional as F
from scratchgrad.nn.cache import KVCache
from scratchgrad.nn.layers import Dropout, LayerNorm, Linear
from scratchgrad.nn.module import Module


def _onto(residual: Any, linear: Linear, dropout: Dropout, x: Any) -> Any:
    """residual + dropout(linear(x)), in one pass over memory where nothing is dropped."""
    if dropout.training and dropout.p > 0:
        y = dropout(linear(x))
        return y if residual is None else residual + y
    return linear(x, residual)


class CausalSelfAttention(Module):
    """Each position looks at itself and all before it: (B, T, C) -> (B, T, C).

    The queries, keys and values of all heads come out of one product, ``c_attn``.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        dropout: float = 0.0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        if n_head < 1 or n_embd % n_head:
            raise ConfigError(
                f"CausalSelfAttention: expected n_embd to be a multiple of n_head, received "
                f"n_embd={n_embd}, n_head={n_head}"
            )
        self.n_head = n_head
        self.c_attn = Linear(n_embd, 3 * n_embd, bias, rng)
        self.c_proj = Linear(n_embd, n_embd, bias, rng)
        self.attn_dropout = Dropout(dropout)
        self.resid_dropout = Dropout(dropout)

    def forward(self, x: Any, cache: KVCache | None = None, residual: Any = None) -> Any:
        """With a cache, x holds the positions after those that it has seen; with a residual
        (B, T, C), the result is added to it."""
        qkv = self.c_attn(x)  # (B, T, 3 C): the heads of q, of k, of v
        if cache is not None:
            return self.c_proj(cache.attend(qkv, self.n_head), residual)
        drop = self.attn_dropout
        y = F.causal_self_attention(
            qkv, self.n_head, dropout_p=drop.p if self.training else 0.0, rng=drop.rng
        )
        return _onto(residual, self.c_proj, self.resid_dropout, y)  # (B, T, C)


class MLP(Module):
    """Each position by itself: widen four times, GELU, narrow again. (B, T, C) -> (B, T, C)."""

    def __init__(
        self,
        n_embd: int,
        dropout: float = 0.0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.c_fc = Linear(n_embd, 4 * n_embd, bias, rng)
        self.c_proj = Linear(4 * n_embd, n_embd, bias, rng)
        self.dropout = Dropout(dropout)

    def forward(self, x: Any, residual: Any = None) -> Any:
        """With a residual (B, T, C), the result is added to it."""
        return _onto(residual, self.c_proj, self.dropout, F.gelu(self.c_fc(x)))


class Block(Module):
    """Attention, then MLP, each added to the stream that runs past it. (B, T, C) -> (B, T, C).

    With ``norm_position="pre"`` the norm stands before each half, on a branch, so the stream itself
    is never rescaled (GPT-2). With ``"post"`` it stands on the stream, after each addition (the
    original transformer).
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        dropout: float = 0.0,
        bias: bool = True,
        norm_position: str = "pre",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        if norm_position not in ("pre", "post"):
            raise ConfigError(
                f"Block: expected norm_position 'pre' or 'post', received {norm_position!r}"
            )
        self.norm_position = norm_position
        self.ln_1 = LayerNorm(n_embd, bias=bias)
        self.attn = CausalSelfAttention(n_embd, n_head, dropout, bias, rng)
        self.ln_2 = LayerNorm(n_embd, bias=bias)
        self.mlp = MLP(n_embd, dropout, bias, rng)

    def forward(self, x: Any, cache: KVCache | None = None) -> Any:
        if self.norm_position == "pre":
            x = self.attn(self.ln_1(x), cache, residual=x)  # x + attn(norm(x))
            return self.mlp(self.ln_2(x), residual=x)  # x + mlp(norm(x))
        x = self.ln_1(self.attn(x, cache, residual=x))
        return self.ln_2(self.mlp(x, residual=x))
