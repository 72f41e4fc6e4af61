"""GPT: the model on one screen.

ids -> token and position embeddings -> blocks -> norm -> head -> logits, and the loss if there are
targets. As in GPT-2: learned positions, GELU (the exact one; GPT-2 took its tanh form), a norm
before each half-block, and a head that shares its weight with the token embedding.

Initialisation
--------------
=========================================  ===========================================
Linear weights, token and position tables  normal, mean 0, deviation 0.02
c_proj weights (they write to the stream)  normal, deviation 0.02 / sqrt(2 n_layer): 2
                                           n_layer of them add up, and their sum should
                                           not grow with depth
biases                                     0
norm gains, norm biases                    1, 0
=========================================  ===========================================

Source: Radford et al., Language Models are Unsupervised Multitask Learners (2019), section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.nn import Block, Dropout, Embedding, KVCache, LayerNorm, Linear, Module
from scratchgrad.nn import functional as F


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT.

    ``block_size`` is the context, in tokens; ``n_embd`` the channels of the stream, a multiple of
    ``n_head``; ``bias`` is whether Linear and LayerNorm have one; ``norm_position`` is "pre" or
    "post".
    """

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float = 0.0
    bias: bool = True
    norm_position: str = "pre"

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(
                    f"GPTConfig: expected {name} to be a whole number of at least 1, "
                    f"received {value!r}"
                )
        if self.n_embd % self.n_head:
            raise ConfigError(
                f"GPTConfig: expected n_embd to be a multiple of n_head, received "
                f"n_embd={self.n_embd}, n_head={self.n_head}; take another n_head or n_embd"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(
                f"GPTConfig: expected dropout from 0 up to, not including, 1, "
                f"received {self.dropout!r}"
            )
        if self.norm_position not in ("pre", "post"):
            raise ConfigError(
                f"GPTConfig: expected norm_position 'pre' or 'post', received "
                f"{self.norm_position!r}"
            )


class GPT(Module):
    """A decoder-only transformer. The same seed gives the same parameters, bit for bit.

    >>> import numpy as np, scratchgrad as sg
    >>> model = sg.GPT(sg.GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
    >>> logits, loss = model(np.array([[0, 1, 2]]), np.array([[1, 2, 3]]))
    >>> logits.shape, loss.shape
    ((1, 3, 5), ())
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.config = config
        c = config
        self.wte = Embedding(c.vocab_size, c.n_embd, rng)
        self.wpe = Embedding(c.block_size, c.n_embd, rng)
        self.drop = Dropout(c.dropout)
        self.h = [
            Block(c.n_embd, c.n_head, c.dropout, c.bias, c.norm_position, rng)
            for _ in range(c.n_layer)
        ]
        self.ln_f = LayerNorm(c.n_embd, bias=c.bias)
        self.lm_head = Linear(c.n_embd, c.vocab_size, bias=False, rng=rng)
        self.lm_head.weight = self.wte.weight  # tied
        self._initialise(rng)

    def _initialise(self, rng: np.random.Generator) -> None:
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                on_stream = name.endswith("c_proj.weight")
                deviation = 0.02 / np.sqrt(2 * self.config.n_layer) if on_stream else 0.02
                parameter.data[...] = deviation * rng.standard_normal(parameter.shape)
            elif name.endswith("bias"):
                parameter.data[...] = 0

    def forward(self, ids: Any, targets: Any = None) -> tuple[Any, Any]:
        """Logits for the token after each position, and the mean loss if there are targets.

        Parameters
        ----------
        ids : integers (B, T), T at most ``block_size``
        targets : integers (B, T), optional
            The token that follows each; -100 where none counts.

        Returns
        -------
        logits (B, T, V), loss () or None
        """
        logits = self.lm_head(self._stream(ids))  # (B, T, V)
        loss = None if targets is None else F.cross_entropy(logits, targets)
        return logits, loss

    def loss(self, ids: Any, targets: Any) -> Any:
        """The same loss, without the logits: for training.

        They are made and used up some rows at a time, so that with a vocabulary of 50,000 they
        never exist whole.
        """
        return F.linear_cross_entropy(self._stream(ids), self.lm_head.weight, targets)

    def _stream(self, ids: Any) -> Any:
        """All but the head: ids (B, T) -> (B, T, C)."""
        t = self._check(ids)
        x = self.wte(ids) + self.wpe.weight[:t]  # (B, T, C) + (T, C)
        x = self.drop(x)
        for block in self.h:
            x = block(x)
        return self.ln_f(x)

    def new_cache(self, batch: int = 1) -> list[KVCache]:
        """An empty cache a layer, for `next_logits`."""
        c, dtype = self.config, self.wte.weight.dtype
        size = batch, c.n_head, c.block_size, c.n_embd // c.n_head
        return [KVCache(*size, dtype=dtype) for _ in self.h]

    def next_logits(self, ids: Any, cache: list[KVCache]) -> Any:
        """Logits for the token after the last one, where the cache has seen all before ``ids``.

        To be called in evaluation mode and within ``no_grad()``.

        Parameters
        ----------
        ids : integers (B, T)
            The tokens since the last call; at first, the prompt.
        cache : from `new_cache`, which keeps what the next call needs

        Returns
        -------
        (B, V)
        """
        t, start = self._check(ids), cache[0].length
        if start + t > self.config.block_size:
            raise ShapeError(
                f"GPT: expected at most {self.config.block_size} positions (block_size), received "
                f"{t} after the {start} in the cache; begin a new cache"
            )
        x = self.wte(ids) + self.wpe.weight[start : start + t]  # (B, T, C)
        for block, layer in zip(self.h, cache, strict=True):
            x = block(x, layer)
        return self.lm_head(self.ln_f(x[:, -1]))

    def _check(self, ids: Any) -> int:
        shape = np.shape(ids)
        if len(shape) != 2 or not 1 <= shape[1] <= self.config.block_size:
            raise ShapeError(
                f"GPT: expected ids of shape (B, T) with T from 1 to {self.config.block_size} "
                f"(block_size), received {shape}"
            )
        return shape[1]

    def seed_dropout(self, seed: int, step: int, micro_step: int = 0) -> None:
        """Make what the next forward pass drops a pure function of these numbers.

        So a run that was stopped and resumed drops what it would have dropped.
        """
        if self.config.dropout == 0:
            return
        layers = [module for module in self.modules() if isinstance(module, Dropout)]
        for i, layer in enumerate(layers):
            layer.rng = np.random.default_rng([seed, step, micro_step, i])
