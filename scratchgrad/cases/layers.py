"""The table's rows for the layers of nn/ and for GPT: a layer with large weights, and its inputs.

Weights as they are initialised, 0.02 say, would make wrong terms too small to see; and a norm's
gain of exactly 1 and bias of 0 would hide that they are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad import nn
from scratchgrad.cases.call import ATOL, RTOL
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import numbers, shape_of, side
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.gradcheck import GradcheckReport, gradcheck

# Of a whole GPT; the larger parameters beyond it are compared along random directions.
MAX_ENTRIES = 200


@dataclass(frozen=True)
class LayerEntry:
    """How to draw a layer together with its inputs."""

    draws: Callable[[Choices], tuple[nn.Module, list[Any]]]

    def prove(self, choose: Choices) -> GradcheckReport:
        """Draw a layer and check the gradients of its inputs and of every parameter.

        Raises
        ------
        GradcheckError
        """
        layer, inputs = self.draws(choose)
        rng = choose.rng()
        for parameter in layer.parameters():
            (values,) = numbers(rng, parameter.shape, high=0.8)
            parameter.data = values
        return gradcheck(layer, inputs, rtol=RTOL, atol=ATOL, max_entries=MAX_ENTRIES)


class Repeated(nn.Module):
    """A layer with dropout that drops the same at every call: else it is no function."""

    def __init__(self, layer: nn.Module, seed: int) -> None:
        super().__init__()
        self.layer, self.seed = layer, seed

    def forward(self, *inputs: Any) -> Any:
        for i, module in enumerate(self.layer.modules()):
            if isinstance(module, nn.Dropout):
                module.rng = np.random.default_rng([self.seed, i])
        return self.layer(*inputs)


def _stream(choose: Choices, channels: int) -> np.ndarray:
    """(B, T, C)"""
    shape = (side(choose, 1, 2), side(choose, 1), channels)
    return numbers(choose.rng(), shape)[0]


def linear(choose: Choices) -> tuple[nn.Module, list[Any]]:
    n, out = side(choose, 1), side(choose, 1)
    x = numbers(choose.rng(), (*shape_of(choose, max_dims=2), n))
    return nn.Linear(n, out, bias=choose.flag()), [*x]


def embedding(choose: Choices) -> tuple[nn.Module, list[Any]]:
    v = side(choose, 1, 5)
    ids = choose.rng().integers(0, v, shape_of(choose, max_dims=2))
    return nn.Embedding(v, side(choose, 1)), [ids]


def learned_positions(choose: Choices) -> tuple[nn.Module, list[Any]]:
    x = _stream(choose, side(choose, 1))
    return nn.LearnedPositions(x.shape[1] + choose.integer(0, 1), x.shape[2]), [x]


def sinusoidal_positions(choose: Choices) -> tuple[nn.Module, list[Any]]:
    x = _stream(choose, side(choose, 1))
    return nn.SinusoidalPositions(x.shape[1] + choose.integer(0, 1), x.shape[2]), [x]


def layer_norm(choose: Choices) -> tuple[nn.Module, list[Any]]:
    c = side(choose, 2, 5)
    x = numbers(choose.rng(), (*shape_of(choose, max_dims=2), c))
    # A large eps, for a row that is almost constant has differences too steep to measure.
    return nn.LayerNorm(c, eps=0.01, bias=choose.flag()), [*x]


def rms_norm(choose: Choices) -> tuple[nn.Module, list[Any]]:
    c = side(choose, 1, 5)
    x = numbers(choose.rng(), (*shape_of(choose, max_dims=2), c))
    return nn.RMSNorm(c, eps=0.01), [*x]


def dropout(choose: Choices) -> tuple[nn.Module, list[Any]]:
    layer = nn.Dropout(choose.one_of([0.2, 0.5]))
    layer.train(choose.flag())
    x = numbers(choose.rng(), shape_of(choose))
    return Repeated(layer, choose.integer(0, 99)), [*x]


def _width(choose: Choices) -> tuple[int, int]:
    """Channels and heads."""
    heads = choose.integer(1, 2)
    return heads * choose.integer(1, 2), heads


def attention(choose: Choices) -> tuple[nn.Module, list[Any]]:
    c, heads = _width(choose)
    layer = nn.CausalSelfAttention(
        2 * c,
        heads,
        choose.one_of([0.0, 0.3]),
        bias=choose.flag(),
        n_kv_head=choose.one_of([None, 1]),
        qk_norm=choose.flag(),
        norm_eps=0.1,
        sliding_window=choose.one_of([None, 1, 2]),
        rope=choose.one_of([None, nn.Rope(2 * c // heads, interleaved=choose.flag())]),
    )
    return Repeated(layer, choose.integer(0, 99)), [_stream(choose, 2 * c)]


def mlp(choose: Choices) -> tuple[nn.Module, list[Any]]:
    c = side(choose, 1, 3)
    kind = choose.one_of(["gelu", "gelu_tanh", "swiglu"])  # relu has a kink: see variants.py
    layer = nn.MLP(c, choose.one_of([0.0, 0.3]), bias=choose.flag(), kind=kind)
    return Repeated(layer, choose.integer(0, 99)), [_stream(choose, c)]


def block(choose: Choices) -> tuple[nn.Module, list[Any]]:
    c, heads = _width(choose)
    c *= 2  # the norm of a single channel is constant
    position = choose.one_of(["pre", "post"])
    layer = nn.Block(c, heads, choose.one_of([0.0, 0.3]), choose.flag(), position)
    return Repeated(_soft_norms(layer), choose.integer(0, 99)), [_stream(choose, c)]


def gpt(choose: Choices) -> tuple[nn.Module, list[Any]]:
    c, heads = _width(choose)
    v, t = side(choose, 2, 5), side(choose, 1)
    config = GPTConfig(
        vocab_size=v,
        block_size=t + choose.integer(0, 1),
        n_layer=choose.integer(1, 2),
        n_head=heads,
        n_embd=2 * c,
        dropout=choose.one_of([0.0, 0.3]),
        bias=choose.flag(),
        norm_position=choose.one_of(["pre", "post"]),
    )
    rng = choose.rng()
    ids, targets = rng.integers(0, v, (2, 2, t))
    targets[0, 0] = choose.one_of([targets[0, 0], -100])
    return Repeated(_soft_norms(GPT(config)), choose.integer(0, 99)), [ids, targets]


def _soft_norms(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 0.01
    return model


LAYERS: dict[str, LayerEntry] = {
    "Linear": LayerEntry(linear),
    "Embedding": LayerEntry(embedding),
    "LearnedPositions": LayerEntry(learned_positions),
    "SinusoidalPositions": LayerEntry(sinusoidal_positions),
    "LayerNorm": LayerEntry(layer_norm),
    "RMSNorm": LayerEntry(rms_norm),
    "Dropout": LayerEntry(dropout),
    "CausalSelfAttention": LayerEntry(attention),
    "MLP": LayerEntry(mlp),
    "Block": LayerEntry(block),
    "GPT": LayerEntry(gpt),
}
