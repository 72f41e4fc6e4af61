"""The layers that hold parameters, or a coin to toss.

Fresh parameters are drawn from ``rng``, a NumPy generator; without one the draw cannot be repeated.
Weights of Linear start uniform within 1/sqrt(in_features), tables of Embedding normal with
deviation 1: PyTorch's defaults. A model with an initialisation of its own overwrites them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchgrad.errors import ConfigError
from scratchgrad.nn import functional as F
from scratchgrad.nn.module import Module, Parameter


def _positive(layer: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{layer}: expected {name} of at least 1, received {size}")


class Linear(Module):
    """y = x W^T + b: (..., in_features) -> (..., out_features)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        _positive("Linear", in_features=in_features, out_features=out_features)
        rng = rng or np.random.default_rng()
        bound = in_features**-0.5
        weight = rng.uniform(-bound, bound, (out_features, in_features))
        self.weight = Parameter(weight.astype(np.float32, copy=False))
        self.bias = None
        if bias:
            self.bias = Parameter(rng.uniform(-bound, bound, out_features).astype(np.float32))

    def forward(self, x: Any, residual: Any = None) -> Any:
        """With a residual (..., out_features), that is added in the same pass."""
        return F.linear(x, self.weight, self.bias, residual)

    def _settings(self) -> str:
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table with a row for each id: (...) integers -> (..., embedding_dim)."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        _positive("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        rng = rng or np.random.default_rng()
        table = rng.standard_normal((num_embeddings, embedding_dim), dtype=np.float32)
        self.weight = Parameter(table)

    def forward(self, ids: Any) -> Any:
        return F.embedding(ids, self.weight)

    def _settings(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axis, then a gain and, if wanted, a bias."""

    def __init__(self, normalized_shape: int, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        _positive("LayerNorm", normalized_shape=normalized_shape)
        self.weight = Parameter(np.ones(normalized_shape, dtype=np.float32))
        self.bias = Parameter(np.zeros(normalized_shape, dtype=np.float32)) if bias else None
        self.eps = eps

    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, self.weight, self.bias, eps=self.eps)

    def _settings(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}, bias={self.bias is not None}"


class RMSNorm(Module):
    """Root mean square 1 over the last axis, then a gain."""

    def __init__(self, normalized_shape: int, eps: float = 1e-6) -> None:
        super().__init__()
        _positive("RMSNorm", normalized_shape=normalized_shape)
        self.weight = Parameter(np.ones(normalized_shape, dtype=np.float32))
        self.eps = eps

    def forward(self, x: Any) -> Any:
        return F.rms_norm(x, self.weight, eps=self.eps)

    def _settings(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


class Dropout(Module):
    """Zeroes each element with probability p while training; the rest grow by 1 / (1 - p).

    ``rng`` is the generator that tosses; assign a new one to repeat a draw.
    """

    def __init__(self, p: float = 0.5, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"Dropout: expected a probability from 0 to 1, received {p}")
        self.p = p
        self.rng = rng

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training, self.rng)
