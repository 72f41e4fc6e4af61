"""GPT: the model on one screen.

ids -> token embeddings, with positions -> blocks -> norm -> head -> logits, and the loss if there
are targets. GPTConfig says which positions, norms, blocks and head.

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

Source: Radford et al., Language Models are Unsupervised Multitask Learners (2019), section 2.3;
Touvron et al., LLaMA (2023), section 2.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.generate import Sampling, complete
from scratchgrad.gpt.config import GPTConfig
from scratchgrad.nn import (
    Block,
    Dropout,
    Embedding,
    KVCache,
    LearnedPositions,
    Linear,
    Module,
    Rope,
    SinusoidalPositions,
)
from scratchgrad.nn import functional as F
from scratchgrad.nn.module import Place
from scratchgrad.nn.positions import unchanged
from scratchgrad.nn.transformer import make_norm


class GPT(Module):
    """A decoder-only transformer. The same seed gives the same parameters, bit for bit.

    >>> import numpy as np, scratchgrad as sg
    >>> model = sg.GPT(sg.GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
    >>> logits, loss = model(np.array([[0, 1, 2]]), np.array([[1, 2, 3]]))
    >>> logits.shape, loss.shape
    ((1, 3, 5), ())
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        self._build(config, np.random.default_rng(seed))

    @classmethod
    def from_state(cls, config: GPTConfig, state: Mapping[str, NDArray[Any]]) -> GPT:
        """A model with these weights and no others: nothing is drawn, and nothing copied.

        Raises
        ------
        CheckpointError
            Listing every parameter that is missing, left over, or of another shape or dtype.
        """
        model = cls.__new__(cls)
        model._build(config, None)
        model.load_state_dict(state, assign=True)
        return model

    def _build(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        super().__init__()
        self.config = c = config
        draw: Any = _NoNumbers() if rng is None else rng
        self.wte = Embedding(c.vocab_size, c.n_embd, draw)
        self.wpe = self._positions(draw)
        self.drop = Dropout(c.dropout_of("embd"))
        rope = None
        if c.position == "rope":
            rope = Rope(c.head_size, c.rope_base, c.rope_interleaved)
        self.h = [self._block(rope, draw) for _ in range(c.n_layer)]
        self.ln_f = make_norm(c.norm, c.n_embd, c.norm_eps, c.bias)
        self.lm_head = Linear(c.n_embd, c.vocab_size, bias=False, rng=draw)
        if c.tied_head:
            self.lm_head.weight = self.wte.weight
        if rng is not None:
            self._initialise(rng)

    def _positions(self, rng: Any) -> Any:
        """What adds positions to the embeddings, if anything does."""
        c = self.config
        if c.position == "learned":
            return LearnedPositions(c.block_size, c.n_embd, rng)
        if c.position == "sinusoidal":
            return SinusoidalPositions(c.block_size, c.n_embd)
        return unchanged

    def _block(self, rope: Rope | None, rng: Any) -> Block:
        c = self.config
        return Block(
            c.n_embd,
            c.n_head,
            c.dropout_of("resid"),
            c.bias,
            c.norm_position,
            rng,
            norm=c.norm,
            norm_eps=c.norm_eps,
            mlp=c.mlp,
            n_inner=c.inner,
            attn_dropout=c.dropout_of("attn"),
            n_kv_head=c.kv_heads,
            qk_norm=c.qk_norm,
            sliding_window=c.sliding_window,
            rope=rope,
        )

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
        self._check(ids)
        x = self.drop(self.wpe(self.wte(ids)))  # (B, T, C)
        for block in self.h:
            x = block(x)
        return self.ln_f(x)

    def new_cache(self, batch: int = 1) -> list[KVCache]:
        """An empty cache a layer, for `next_logits`."""
        c, dtype = self.config, self.wte.weight.dtype
        size = batch, c.kv_heads, c.block_size, c.head_size
        return [KVCache(*size, dtype=dtype) for _ in self.h]

    def next_logits(self, ids: Any, cache: list[KVCache]) -> Any:
        """Logits for the token after the last one, where the cache has seen all before ``ids``.

        To be called in evaluation mode, for nothing is dropped here, and within ``no_grad()``.

        Parameters
        ----------
        ids : integers (B, T)
            The tokens since the last call; at first, the prompt.
        cache : from `new_cache`, which keeps what the next call needs

        Returns
        -------
        (B, V)

        Raises
        ------
        ShapeError
            If there are more positions than ``block_size``.
        ConfigError
            In training mode, if anything would be dropped.
        """
        if self.training and any(m.p > 0 for m in self.modules() if isinstance(m, Dropout)):
            raise ConfigError("GPT.next_logits: expected evaluation mode; call model.eval() first")
        t, start = self._check(ids), cache[0].length
        if start + t > self.config.block_size:
            raise ShapeError(
                f"GPT: expected at most {self.config.block_size} positions (block_size), received "
                f"{t} after the {start} in the cache; begin a new cache"
            )
        x = self.wpe(self.wte(ids), start)  # (B, T, C)
        for block, layer in zip(self.h, cache, strict=True):
            x = block(x, layer)
        return self.lm_head(self.ln_f(x[:, -1]))

    def generate(
        self,
        ids: Any,
        max_new_tokens: int,
        *,
        greedy: bool = False,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        stop_tokens: Collection[int] = (),
        seed: int = 0,
    ) -> NDArray[np.int64]:
        """Continue a prompt, or several of one length, and return them with what follows.

        `scratchgrad.generate` has the same one token at a time.

        Parameters
        ----------
        ids : integers (T,) or (B, T), T at most ``block_size``
        max_new_tokens : int
        greedy, temperature, top_k, top_p, min_p
            How a token is chosen, and from which.
        repetition_penalty, presence_penalty, frequency_penalty
            Of tokens that were there before. `scratchgrad.generate.Sampling` has all of these.
        stop_tokens : collection of int
            Each ends a text, and fills what is left of its row.
        seed : int
            Row i draws from ``numpy.random.default_rng([seed, i])``.

        Returns
        -------
        integers (T + max_new_tokens,) or (B, T + max_new_tokens)

        >>> model = GPT(GPTConfig(vocab_size=5, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> model.generate([0, 1, 2], 4, top_k=3).shape
        (7,)
        """
        sampling = Sampling(
            greedy=greedy,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
        )
        return complete(
            self, ids, max_new_tokens, sampling=sampling, stop_tokens=stop_tokens, seed=seed
        )

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
        layers = [module for module in self.modules() if isinstance(module, Dropout)]
        for i, layer in enumerate(layers):
            if layer.p > 0:
                layer.rng = np.random.default_rng([seed, step, micro_step, i])


class _NoNumbers:
    """In place of a generator, for weights that come from elsewhere: arrays that take no memory."""

    def standard_normal(self, shape: Any, dtype: Any = np.float32) -> NDArray[Any]:
        return Place.of(shape)

    def uniform(self, low: float, high: float, shape: Any) -> NDArray[Any]:
        return Place.of(shape)
