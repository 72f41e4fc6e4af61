"""The transformer block and its two halves. Shapes: B batch, T time, C channels, H heads, D = C/H.

Every variant is a function or a layer that is chosen when the block is made; the passes below do
not ask which.

Source: Vaswani et al., Attention Is All You Need (2017), section 3; Radford et al., GPT-2 (2019),
section 2.3, for the norm's place before each half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError
from scratchgrad.nn import functional as F
from scratchgrad.nn.cache import KVCache
from scratchgrad.nn.layers import Dropout, LayerNorm, Linear, RMSNorm
from scratchgrad.nn.module import Module
from scratchgrad.nn.positions import Rope
from scratchgrad.ops import concat, reshape, split, square

Norm = LayerNorm | RMSNorm


def _squared_relu(x: Any) -> Any:
    """relu(x)^2. Source: So et al., Primer (2021), section 3."""
    return square(F.relu(x))


# What stands between the two products of an MLP; "swiglu" takes twice as many numbers as it gives.
ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "relu2": _squared_relu,
    "swiglu": F.swiglu,
}
NORMS = ("layernorm", "rmsnorm")


def _before(norm: Norm, half: Module, x: Any, *cache: Any) -> Any:
    """x + half(norm(x)): the norm on a branch, so that the stream is never rescaled."""
    return half(norm(x), *cache, residual=x)


def _after(norm: Norm, half: Module, x: Any, *cache: Any) -> Any:
    """norm(x + half(x)): the norm on the stream itself."""
    return norm(half(x, *cache, residual=x))


NORM_POSITIONS: Mapping[str, Callable[..., Any]] = {"pre": _before, "post": _after}


def chosen(layer: str, name: str, value: str, options: Any) -> Any:
    """The option of that name; ConfigError if there is none."""
    if value not in options:
        expected = " or ".join(map(repr, options))
        raise ConfigError(f"{layer}: expected {name} {expected}, received {value!r}")
    return options[value] if isinstance(options, Mapping) else value


def make_norm(kind: str, n: int, eps: float = 1e-5, bias: bool = True) -> Norm:
    """A norm over n channels; an RMS norm has no bias."""
    if chosen("norm", "kind", kind, NORMS) == "rmsnorm":
        return RMSNorm(n, eps)
    return LayerNorm(n, eps, bias)


def _onto(residual: Any, linear: Linear, dropout: Dropout, x: Any) -> Any:
    """residual + dropout(linear(x)), in one pass over memory where nothing is dropped."""
    if dropout.training and dropout.p > 0:
        y = dropout(linear(x))
        return y if residual is None else residual + y
    return linear(x, residual)


class CausalSelfAttention(Module):
    """Each position looks at itself and all before it: (B, T, C) -> (B, T, C).

    The queries, keys and values of all heads come out of one product, ``c_attn``.

    Parameters
    ----------
    n_embd, n_head : int
        C and H; D = C / H.
    dropout : float
        Of the attention weights, and of the result unless ``resid_dropout`` says otherwise.
    n_kv_head : int, default n_head
        Heads of keys and of values, Hk: each serves H / Hk neighbouring queries. Fewer are
        grouped-query attention, one is multi-query.
    qk_norm : bool
        An RMS norm over each head of queries and of keys, so that no score can run away (Henry et
        al., 2020).
    sliding_window : int, optional
        A position sees itself and those before it, so many in all.
    rope : Rope, optional
        Turns queries and keys by their position.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        dropout: float = 0.0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        *,
        resid_dropout: float | None = None,
        n_kv_head: int | None = None,
        qk_norm: bool = False,
        norm_eps: float = 1e-5,
        sliding_window: int | None = None,
        rope: Rope | None = None,
    ) -> None:
        super().__init__()
        kv_heads = n_head if n_kv_head is None else n_kv_head
        if n_head < 1 or n_embd % n_head:
            raise ConfigError(
                f"CausalSelfAttention: expected n_embd to be a multiple of n_head, received "
                f"n_embd={n_embd}, n_head={n_head}"
            )
        if kv_heads < 1 or n_head % kv_heads:
            raise ConfigError(
                f"CausalSelfAttention: expected n_head to be a multiple of n_kv_head, received "
                f"n_head={n_head}, n_kv_head={n_kv_head}"
            )
        d = n_embd // n_head
        self.n_head, self.n_kv_head, self.sliding_window = n_head, kv_heads, sliding_window
        self.c_attn = Linear(n_embd, (n_head + 2 * kv_heads) * d, bias, rng)
        self.c_proj = Linear(n_embd, n_embd, bias, rng)
        self.attn_dropout = Dropout(dropout)
        self.resid_dropout = Dropout(dropout if resid_dropout is None else resid_dropout)
        # What is done to queries and keys before they meet, in this order.
        self.on_heads: list[Callable[[Any, int], Any]] = []
        if qk_norm:
            self.q_norm, self.k_norm = RMSNorm(d, norm_eps), RMSNorm(d, norm_eps)
            self.on_heads.append(self._normalised)
        if rope is not None:
            self.on_heads.append(partial(_turned, rope, n_head + kv_heads))

    def forward(self, x: Any, cache: KVCache | None = None, residual: Any = None) -> Any:
        """With a cache, x holds the positions after those that it has seen; with a residual
        (B, T, C), the result is added to it."""
        qkv = self.c_attn(x)  # (B, T, (H + 2 Hk) D): the heads of q, of k, of v
        for change in self.on_heads:
            qkv = change(qkv, 0 if cache is None else cache.length)
        if cache is not None:
            y = cache.attend(qkv, self.n_head, self.sliding_window)
            return self.c_proj(y, residual)
        drop = self.attn_dropout
        y = F.causal_self_attention(
            qkv,
            self.n_head,
            self.n_kv_head,
            dropout_p=drop.p if self.training else 0.0,
            rng=drop.rng,
            window=self.sliding_window,
        )  # (B, T, C)
        return _onto(residual, self.c_proj, self.resid_dropout, y)

    def _normalised(self, qkv: Any, start: int) -> Any:
        """Each head of q and of k over its own root mean square; v as it is."""
        b, t, w = qkv.shape
        h, hk, d = self.n_head, self.n_kv_head, w // (self.n_head + 2 * self.n_kv_head)
        q, k, v = split(qkv, [h * d, (h + hk) * d], axis=-1)
        q = reshape(self.q_norm(reshape(q, (b, t, h, d))), (b, t, h * d))
        k = reshape(self.k_norm(reshape(k, (b, t, hk, d))), (b, t, hk * d))
        return concat([q, k, v], axis=-1)


def _turned(rope: Rope, heads: int, qkv: Any, start: int) -> Any:
    return rope(qkv, heads, start)


class MLP(Module):
    """Each position by itself: widen, bend, narrow again. (B, T, C) -> (B, T, C).

    Parameters
    ----------
    kind : str
        A key of ``ACTIVATIONS``. For "swiglu" the first product gives the gate's numbers and then
        as many others that it multiplies (Shazeer, GLU Variants, 2020).
    n_inner : int, default 4 n_embd
        The numbers between the two products.
    """

    def __init__(
        self,
        n_embd: int,
        dropout: float = 0.0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        *,
        kind: str = "gelu",
        n_inner: int | None = None,
    ) -> None:
        super().__init__()
        inner = 4 * n_embd if n_inner is None else n_inner
        self.activation = chosen("MLP", "kind", kind, ACTIVATIONS)
        self.c_fc = Linear(n_embd, inner * (2 if kind == "swiglu" else 1), bias, rng)
        self.c_proj = Linear(inner, n_embd, bias, rng)
        self.dropout = Dropout(dropout)

    def forward(self, x: Any, residual: Any = None) -> Any:
        """With a residual (B, T, C), the result is added to it."""
        return _onto(residual, self.c_proj, self.dropout, self.activation(self.c_fc(x)))


class Block(Module):
    """Attention, then MLP, each added to the stream that runs past it. (B, T, C) -> (B, T, C).

    With ``norm_position="pre"`` the norm stands before each half, on a branch, so the stream itself
    is never rescaled (GPT-2). With ``"post"`` it stands on the stream, after each addition (the
    original transformer). The other settings are those of the halves.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        dropout: float = 0.0,
        bias: bool = True,
        norm_position: str = "pre",
        rng: np.random.Generator | None = None,
        *,
        norm: str = "layernorm",
        norm_eps: float = 1e-5,
        mlp: str = "gelu",
        n_inner: int | None = None,
        attn_dropout: float | None = None,
        n_kv_head: int | None = None,
        qk_norm: bool = False,
        sliding_window: int | None = None,
        rope: Rope | None = None,
    ) -> None:
        super().__init__()
        self.add = chosen("Block", "norm_position", norm_position, NORM_POSITIONS)
        self.ln_1 = make_norm(norm, n_embd, norm_eps, bias)
        self.attn = CausalSelfAttention(
            n_embd,
            n_head,
            dropout if attn_dropout is None else attn_dropout,
            bias,
            rng,
            resid_dropout=dropout,
            n_kv_head=n_kv_head,
            qk_norm=qk_norm,
            norm_eps=norm_eps,
            sliding_window=sliding_window,
            rope=rope,
        )
        self.ln_2 = make_norm(norm, n_embd, norm_eps, bias)
        self.mlp = MLP(n_embd, dropout, bias, rng, kind=mlp, n_inner=n_inner)

    def forward(self, x: Any, cache: KVCache | None = None) -> Any:
        x = self.add(self.ln_1, self.attn, x, cache)
        return self.add(self.ln_2, self.mlp, x)
