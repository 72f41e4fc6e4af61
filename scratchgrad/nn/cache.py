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
    """

    def __init__(
        self, batch: int, n_head: int, room: int, head_size: int, dtype: Any = np.float32
    ) -> None:
        self.room, self._length = room, 0
        # The position that is kept at 0, and the first whose window has lost nothing: those before
        # have been dropped, or see what has been.
        self._first, self._whole = 0, 0
        shape = batch, n_head, 0, head_size
        # (B, Hk, S, D), where S is what there is memory for
        self.keys, self.values = np.empty(shape, dtype), np.empty(shape, dtype)

    @property
    def length(self) -> int:
        """The positions seen so far."""
        return self._length

    def rewind(self, length: int) -> int:
        """Forget the positions from ``length`` on; all, where a window needs what was dropped.

        Returns
        -------
        int
            The length that it now has: ``length``, or 0.
        """
        if not 0 <= length <= self._length:
            raise ShapeError(
                f"KVCache.rewind: expected a length from 0 to {self._length}, received {length}"
            )
        if length < self._whole:
            self._first = self._whole = length = 0
        self._length = length
        return length

    def repeat(self, batch: int) -> KVCache:
        """The one text that it holds, as many times: what follows may then differ."""
        one, hk, _, d = self.keys.shape
        if one != 1:
            raise ShapeError(f"KVCache.repeat: expected the cache of one text, received {one}")
        copy, n = KVCache(batch, hk, self.room, d, dtype=self.keys.dtype), self._held
        copy._make_place(n, 0)
        copy.keys[:, :, :n] = self.keys[:, :, :n]  # (1, Hk, n, D) -> (B, Hk, n, D)
        copy.values[:, :, :n] = self.values[:, :, :n]
        copy._length, copy._first, copy._whole = self._length, self._first, self._whole
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
        if self._length + t > self.room:
            raise ShapeError(
                f"KVCache: expected at most {self.room} positions, received {self._length + t}"
            )
        before = self.room if window is None else window - 1  # that a position sees
        heads = qkv.data.reshape(b, t, n_head + 2 * hk, d).swapaxes(1, 2)  # (B, all heads, T, D)
        if self._length == 0:  # they see themselves alone; what is kept is for the next one
            out_of_view = max(0, t - before)
            self._keep(heads[:, n_head:, out_of_view:], 0)
            self._skip(out_of_view)
            return tensor(qkv_attention(qkv.data, n_head, hk, d**-0.5, None, window or 0)[0])
        self._keep(heads[:, n_head:], min(self._held, before))
        args = qkv.data, self.keys, self.values, self._held, n_head, d**-0.5, window or 0
        return tensor(attend_to_cache(*args))

    @property
    def _held(self) -> int:
        return self._length - self._first

    def _keep(self, heads: np.ndarray, needed: int) -> None:
        """Put keys and values (B, 2 Hk, T, D) behind the last ones that are still needed."""
        hk, t = self.keys.shape[1], heads.shape[2]
        self._make_place(t, needed)
        start, stop = self._held, self._held + t
        self.keys[:, :, start:stop], self.values[:, :, start:stop] = heads[:, :hk], heads[:, hk:]
        self._length += t

    def _skip(self, positions: int) -> None:
        """So many positions stand before those that are held, and were never kept."""
        self._length += positions
        self._first += positions
        self._whole = self._length if positions else 0

    def _make_place(self, more: int, needed: int) -> None:
        """Have memory for more positions behind the last ones that are still needed.

        No sooner are the others dropped than as many are held in vain: or all would be copied each
        time.
        """
        held = self._held
        if held + more <= self.keys.shape[2] and held <= 2 * needed + 32:
            return
        batch, hk, _, d = self.keys.shape
        shape = batch, hk, places(needed + more, self.room), d
        for name in ("keys", "values"):
            former, made = getattr(self, name), np.empty(shape, self.keys.dtype)
            made[:, :, :needed] = former[:, :, held - needed : held]
            setattr(self, name, made)
        if needed < held:
            self._first, self._whole = self._length - needed, self._length


def places(positions: int, room: int) -> int:
    """For how many positions a cache takes memory: half as many again as there are.

    Growing by ones would copy all each time.
    """
    return min(room, positions + max(positions // 2, 32))
