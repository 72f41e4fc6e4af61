"""GPTConfig: which decoder, and how large.

One class for GPT-2, Llama and what lies between, for they differ in a handful of choices.
"""

from __future__ import annotations

import difflib
import operator
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError
from scratchgrad.gpt import cost
from scratchgrad.gpt.presets import PRESETS

# What may be chosen, by name, and what each is called; the first is GPT-2's.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "norm_position": ("pre", "post"),
    "norm": ("layernorm", "rmsnorm"),
    "mlp": ("gelu", "gelu_tanh", "relu", "relu2", "swiglu"),
    "position": ("learned", "sinusoidal", "rope", "none"),
}


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. What is not given is as in GPT-2, but for the exact GELU.

    Attributes
    ----------
    vocab_size : int
    block_size : int
        The context, in tokens.
    n_layer, n_head, n_embd : int
        Blocks; heads of queries; channels of the stream, a multiple of ``n_head``.
    dropout : float
        Of embeddings, attention weights and what is added to the stream, where
        ``embd_dropout``, ``attn_dropout`` and ``resid_dropout`` do not say otherwise.
    bias : bool
        Whether Linear and LayerNorm have one; the head never has.
    norm_position : "pre" or "post"
        Before each half of a block, on its branch, or after it, on the stream.
    norm : "layernorm" or "rmsnorm"
    norm_eps : float
        What is added to the variance, or to the mean square, of all norms.
    mlp : "gelu", "gelu_tanh", "relu", "relu2" or "swiglu"
        What stands between the MLP's two products.
    n_inner : int, optional
        Numbers between them. By default 4 n_embd; for "swiglu", which has a third matrix, two
        thirds of it, rounded up to a multiple of 8, so that all have about as many parameters.
    position : "learned", "sinusoidal", "rope" or "none"
    rope_base : float
    rope_interleaved : bool
        Whether RoPE turns pairs of neighbours (llama2.c); else the numbers i and i + D / 2
        (Hugging Face).
    n_kv_head : int, default n_head
        Heads of keys and of values: n_head (multi-head attention), a divisor of it
        (grouped-query), 1 (multi-query).
    qk_norm : bool
        An RMS norm over each head of queries and keys.
    sliding_window : int, optional
        Each position sees so many, up to itself; by default all.
    tied_head : bool
        Whether the head's weight is the token table.

    >>> config = GPTConfig.preset("gpt2")
    >>> config.num_parameters
    124439808
    """

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float = 0.0
    bias: bool = True
    norm_position: str = "pre"
    norm: str = "layernorm"
    norm_eps: float = 1e-5
    mlp: str = "gelu"
    n_inner: int | None = None
    position: str = "learned"
    rope_base: float = 10000.0
    rope_interleaved: bool = False
    n_kv_head: int | None = None
    qk_norm: bool = False
    sliding_window: int | None = None
    tied_head: bool = True
    embd_dropout: float | None = None
    attn_dropout: float | None = None
    resid_dropout: float | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            self._take_whole(name)
        for name in ("n_inner", "n_kv_head", "sliding_window"):
            if getattr(self, name) is not None:
                self._take_whole(name)
        for name in ("bias", "rope_interleaved", "qk_norm", "tied_head"):
            self._require(name, isinstance(getattr(self, name), bool), "True or False")
        for name in ("dropout", "embd_dropout", "attn_dropout", "resid_dropout"):
            value = getattr(self, name)
            fits = value is None if value is None else _real(value) and 0 <= value < 1
            self._require(name, fits and (value is not None or name != "dropout"), _CHANCE)
        for name in ("norm_eps", "rope_base"):
            value = getattr(self, name)
            self._require(name, _real(value) and 0 < value <= _LARGEST, "a number above 0")
        for name, options in CHOICES.items():
            value = getattr(self, name)
            known = isinstance(value, str) and value in options
            self._require(name, known, " or ".join(map(repr, options)))
        if self.n_embd % self.n_head:
            raise ConfigError(
                f"GPTConfig: expected n_embd to be a multiple of n_head, received "
                f"n_embd={self.n_embd}, n_head={self.n_head}; take another n_head or n_embd"
            )
        if self.n_head % self.kv_heads:
            raise ConfigError(
                f"GPTConfig: expected n_head to be a multiple of n_kv_head, received "
                f"n_head={self.n_head}, n_kv_head={self.n_kv_head}; take a divisor of n_head"
            )
        if self.position == "rope" and self.head_size % 2:
            raise ConfigError(
                f"GPTConfig: expected an even head size for position 'rope', which turns pairs, "
                f"received n_embd / n_head = {self.head_size}; take another n_head or n_embd"
            )

    def _take_whole(self, name: str) -> None:
        """Keep a size as an int. NumPy's are welcome: a vocabulary is often ids.max() + 1."""
        size = _whole(getattr(self, name))
        self._require(name, size >= 1, "a whole number of at least 1")
        object.__setattr__(self, name, size)

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(
                f"GPTConfig: expected {name} to be {expected}, received {getattr(self, name)!r}"
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> GPTConfig:
        """A model of the literature by its name, with changes.

        Raises
        ------
        ConfigError
            If there is none of that name; the message lists them.

        >>> GPTConfig.preset("stories15M", block_size=128).n_embd
        288
        """
        if not isinstance(name, str) or name not in PRESETS:
            close = difflib.get_close_matches(str(name), PRESETS, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"GPTConfig.preset: expected one of {', '.join(PRESETS)}, received {name!r}{hint}"
            )
        known = [field.name for field in fields(cls)]
        if unknown := sorted(changes.keys() - set(known)):
            raise ConfigError(
                f"GPTConfig.preset: expected changes of {', '.join(known)}, received {unknown[0]!r}"
            )
        return cls(**{**PRESETS[name], **changes})

    # ---- what follows from it

    @property
    def head_size(self) -> int:
        """D: the numbers of a query, a key or a value."""
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Hk: the heads of keys, and of values."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def inner(self) -> int:
        """The numbers between the two products of an MLP."""
        if self.n_inner is not None:
            return self.n_inner
        return -(-8 * self.n_embd // 24) * 8 if self.mlp == "swiglu" else 4 * self.n_embd

    def dropout_of(self, part: str) -> float:
        """The probability for "embd", "attn" or "resid"."""
        own: float | None = getattr(self, f"{part}_dropout")
        return self.dropout if own is None else own

    @property
    def num_parameters(self) -> int:
        """How many numbers the model learns; a tied head counts once."""
        return sum(self.parameters().values())

    def parameters(self) -> dict[str, int]:
        """How many numbers each part learns: see `scratchgrad.gpt.cost`."""
        return cost.parameters(self)

    def flops_per_token(self, length: int | None = None, training: bool = False) -> float:
        """Multiplications and additions of the products that a token of a text costs.

        Parameters
        ----------
        length : int, default block_size
            Of the text; the mean over its positions is returned.
        training : bool
            With the backward pass: three times as many.

        Raises
        ------
        ConfigError
            If the length is not from 1 to block_size.
        """
        if length is not None and not 1 <= _whole(length) <= self.block_size:
            raise ConfigError(
                f"GPTConfig.flops_per_token: expected a length from 1 to block_size = "
                f"{self.block_size}, received {length!r}"
            )
        return cost.flops_per_token(self, length, training)

    def memory(self, batch_size: int = 1, itemsize: int = 4) -> dict[str, int]:
        """Bytes by part: weights, gradients, AdamW's moments, activations of a step, KV cache.

        Raises
        ------
        ConfigError
            If batch_size or itemsize is not 1 or more.
        """
        for name, size in (("a batch_size", batch_size), ("an itemsize", itemsize)):
            if _whole(size) < 1:
                raise ConfigError(
                    f"GPTConfig.memory: expected {name} of at least 1, received {size!r}"
                )
        return cost.memory(self, batch_size, itemsize)


_LARGEST = sys.float_info.max
_CHANCE = "a probability from 0 up to, not including, 1"


def _whole(value: Any) -> int:
    """A whole number as an int; 0, which is no size, for anything else."""
    try:
        return 0 if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        return 0


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
