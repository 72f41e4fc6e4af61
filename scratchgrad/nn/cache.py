"""Keys and values kept while a text is generated, so that none is computed twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchgrad.errors import DtypeError, GraphError, ShapeError
from scratchgrad.kernels.attention import qkv_attention
from scratchgrad.kernels.attention_cache import attend_to_cache
from scratchgrad.tensor import Tensor, tensor


class KVCache:
    """The keys and values of one attention layer, for as many positions as there is room.

    A later position changes nothing for an earlier one, so each is computed once: a new token
    costs its own attention, not that of the whole text. For generating only: it knows no gradient.

    Parameters
    ----------
    batch : int
    n_head : int
        Heads of keys, and of values.
    room : int
        The most positions. Memory is taken for those that come, and half as many again.
    head_size : int

    Attributes
    ----------
    length : int
        The positions seen so far.
    """

    def __init__(
        self, batch: int, n_head: int, room: int, head_size: int, dtype: Any = np.float32
    ) -> None:
        self.room, self.length = room, 0
        shape = batch, n_head, 0, head_size
        # (B, Hk, S, D), where S is what there is memory for
        self.keys, self.values = np.empty(shape, dtype), np.empty(shape, dtype)

    def repeat(self, batch: int) -> KVCache:
        """The one text that it holds, as many times: what follows may then differ."""
        one, hk, _, d = self.keys.shape
        if one != 1:
            raise ShapeError(f"KVCache.repeat: expected the cache of one text, received {one}")
        copy, n = KVCache(batch, hk, self.room, d, dtype=self.keys.dtype), self.length
        copy._hold(n)
        copy.keys[:, :, :n] = self.keys[:, :, :n]  # (1, Hk, n, D) -> (B, Hk, n, D)
        copy.values[:, :, :n] = self.values[:, :, :n]
        copy.length = n
        return copy

    def attend(self, qkv: Tensor, n_head: int, window: int | None = None) -> Tensor:
        """Keep the keys and values of T new positions, and attend from them to all so far.

        Parameters
        ----------
        qkv : (B, T, (H + 2 Hk) D)
            As for ``causal_self_attention``.
        n_head : int
            Heads of queries.
        window : int, optional
            As for ``causal_self_attention``.

        Returns
        -------
        (B, T, H D)

        Raises
        ------
        GraphError
            If a gradient is wanted: generate within ``no_grad()``.
        ShapeError
            If the sizes are not those of the cache, or there is no room.
        DtypeError
            If its dtype is not that of the cache.
        """
        if qkv.requires_grad:
            raise GraphError("KVCache: has no gradient; generate within sg.no_grad()")
        (batch, hk, _, d), (b, t, width) = self.keys.shape, qkv.shape
        if (b, width) != (batch, (n_head + 2 * hk) * d):
            raise ShapeError(
                f"KVCache: expected qkv ({batch}, T, {(n_head + 2 * hk) * d}), received {qkv.shape}"
            )
        if qkv.dtype != self.keys.dtype:
            raise DtypeError(f"KVCache: expected qkv of {self.keys.dtype}, received {qkv.dtype}")
        start, stop = self.length, self.length + t
        if stop > self.room:
            raise ShapeError(f"KVCache: expected at most {self.room} positions, received {stop}")
        self._hold(stop)
        heads = qkv.data.reshape(b, t, n_head + 2 * hk, d).swapaxes(1, 2)  # (B, all heads, T, D)
        self.keys[:, :, start:stop] = heads[:, n_head : n_head + hk]
        self.values[:, :, start:stop] = heads[:, n_head + hk :]
        self.length = stop
        if start == 0:
            return tensor(qkv_attention(qkv.data, n_head, hk, d**-0.5, None, window or 0)[0])
        args = qkv.data, self.keys, self.values, stop, n_head, d**-0.5, window or 0
        return tensor(attend_to_cache(*args))

    def _hold(self, positions: int) -> None:
        """Have memory for so many, and for half as many again: growing by ones would copy all."""
        if positions > self.keys.shape[2]:
            batch, hk, _, d = self.keys.shape
            shape = batch, hk, min(self.room, positions + max(positions // 2, 32)), d
            for name in ("keys", "values"):
                former, grown = getattr(self, name), np.empty(shape, self.keys.dtype)
                grown[:, :, : self.length] = former[:, :, : self.length]
                setattr(self, name, grown)
