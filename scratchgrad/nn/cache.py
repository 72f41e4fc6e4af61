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
        The most positions. Memory is taken for those that come, and half as many again; with a
        sliding window, for those that it still shows.
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
        self._first = 0  # the position that is kept at 0: those before it are out of every window
        shape = batch, n_head, 0, head_size
        # (B, Hk, S, D), where S is what there is memory for
        self.keys, self.values = np.empty(shape, dtype), np.empty(shape, dtype)

    def repeat(self, batch: int) -> KVCache:
        """The one text that it holds, as many times: what follows may then differ."""
        one, hk, _, d = self.keys.shape
        if one != 1:
            raise ShapeError(f"KVCache.repeat: expected the cache of one text, received {one}")
        copy, n = KVCache(batch, hk, self.room, d, dtype=self.keys.dtype), self._held
        copy._make_place(n, 0)
        copy.keys[:, :, :n] = self.keys[:, :, :n]  # (1, Hk, n, D) -> (B, Hk, n, D)
        copy.values[:, :, :n] = self.values[:, :, :n]
        copy.length, copy._first = self.length, self._first
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
        if self.length + t > self.room:
            raise ShapeError(
                f"KVCache: expected at most {self.room} positions, received {self.length + t}"
            )
        # The first new position sees the window - 1 before it
        self._make_place(t, self._held if window is None else min(self._held, window - 1))
        start, stop = self._held, self._held + t
        heads = qkv.data.reshape(b, t, n_head + 2 * hk, d).swapaxes(1, 2)  # (B, all heads, T, D)
        self.keys[:, :, start:stop] = heads[:, n_head : n_head + hk]
        self.values[:, :, start:stop] = heads[:, n_head + hk :]
        self.length += t
        if start == 0:
            return tensor(qkv_attention(qkv.data, n_head, hk, d**-0.5, None, window or 0)[0])
        args = qkv.data, self.keys, self.values, stop, n_head, d**-0.5, window or 0
        return tensor(attend_to_cache(*args))

    @property
    def _held(self) -> int:
        return self.length - self._first

    def _make_place(self, more: int, needed: int) -> None:
        """Have memory for more positions behind the last ones that are still needed.

        For half as many again: growing by ones would copy all each time. And no sooner are the
        others dropped than as many are held in vain, for the same reason.
        """
        held = self._held
        if held + more <= self.keys.shape[2] and held <= 2 * needed + 32:
            return
        batch, hk, _, d = self.keys.shape
        positions = needed + more
        shape = batch, hk, min(self.room, positions + max(positions // 2, 32)), d
        for name in ("keys", "values"):
            former, made = getattr(self, name), np.empty(shape, self.keys.dtype)
            made[:, :, :needed] = former[:, :, held - needed : held]
            setattr(self, name, made)
        self._first = self.length - needed
