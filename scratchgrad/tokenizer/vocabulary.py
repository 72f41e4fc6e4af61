"""What a byte-pair tokenizer knows: the bytes of every id, and which two neighbours become one.

Every file format is read into a `Vocabulary` and written from one; training makes one; the
encoder's tables are built from one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchgrad.errors import DataError

_ROWS = 65_536  # as Python lists, all merges of a large vocabulary would take much memory


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens and the merges of a byte-pair tokenizer. Checked when made; then never changed.

    Attributes
    ----------
    tokens : tuple of bytes or None
        The bytes of each id. None is an id that nothing has, as there are between the special
        tokens of some vocabularies.
    merges : array of int32, shape (M, 4)
        A row for each merge: left id, right id, the id they become, and the rank. The lowest rank
        goes first; of equal ranks, the leftmost in the text.
    special_tokens : mapping of str to int
        Tokens that ordinary text never becomes, and their ids.
    counts : array of int64, shape (M,), or None
        How often the pair occurred in the text when its turn came, where that is known. Pairs that
        overlap all count: "aaa" has two.
    whole_pieces : bool
        A piece that is a token becomes that token, whatever the merges would make of it:
        tiktoken's rule, and ``ignore_merges`` in tokenizer.json.
    characters : bool
        A piece starts out as characters where the vocabulary has them, and as bytes where it has
        not: SentencePiece's rule. Without it, a piece starts out as bytes.
    prefix_space : bool
        A space is put before the text, and taken away again from the decoded text.
    byte_ids : array of int32, shape (256,)
        The id that each byte starts out as. Left out, the first token of that one byte.

    Raises
    ------
    DataError
        A byte without a token, a merge of ids that do not exist or whose bytes do not add up to
        those of its result, a pair that merges twice, a special token on another token's id,
        numbers that are not whole or too large.
    """

    tokens: tuple[bytes | None, ...]
    merges: NDArray[np.int32]
    special_tokens: Mapping[str, int] = field(default_factory=dict)
    counts: NDArray[np.int64] | None = None
    whole_pieces: bool = False
    characters: bool = False
    prefix_space: bool = False

    byte_ids: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    def __post_init__(self) -> None:
        # frozen for everybody else
        object.__setattr__(self, "tokens", tuple(self.tokens))
        object.__setattr__(self, "special_tokens", dict(self.special_tokens))
        object.__setattr__(self, "merges", _merge_rows(self.merges))
        object.__setattr__(self, "counts", _checked_counts(self.counts, len(self.merges)))
        self._check_tokens()
        # NumPy's whole numbers count as such, but JSON and a dict's repr know only Python's.
        special = {text: int(id_) for text, id_ in self.special_tokens.items()}
        object.__setattr__(self, "special_tokens", special)
        object.__setattr__(self, "byte_ids", self._checked_byte_ids())
        self._check_merges()

    @classmethod
    def of_bytes(cls) -> Vocabulary:
        """The 256 bytes, and nothing learned."""
        return cls(tuple(bytes([byte]) for byte in range(256)), np.zeros((0, 4), np.int32))

    @property
    def size(self) -> int:
        """One more than the highest id: the rows that an embedding of these ids needs."""
        return len(self.tokens)

    def _check_tokens(self) -> None:
        for id_, token in enumerate(self.tokens):
            if token is not None and not isinstance(token, bytes):
                raise DataError(f"the token of id {id_} is {_cut(repr(token))}; expected bytes")
        for text, id_ in self.special_tokens.items():
            if not isinstance(text, str):
                raise DataError(f"a special token must be a str; got {_cut(repr(text))}")
            if not text:
                raise DataError("a special token is the empty text; expected at least a character")
            if isinstance(id_, bool) or not isinstance(id_, (int, np.integer)):
                raise DataError(
                    f"special token {_cut(repr(text))} has id {_cut(repr(id_))}; "
                    f"expected a whole number"
                )
            token = self.tokens[id_] if 0 <= id_ < self.size else None
            if token != text.encode("utf-8", "surrogatepass"):
                raise DataError(
                    f"special token {_cut(repr(text))} has id {id_}, which belongs to "
                    f"{_show(token)}; every special token must have an id of its own"
                )
        special = set(self.special_tokens.values())
        if len(special) < len(self.special_tokens):
            raise DataError("two special tokens have one id; every one must have an id of its own")
        seen: dict[bytes, int] = {}
        for id_, token in enumerate(self.tokens):
            if token is None or id_ in special:
                continue
            if not token:
                raise DataError(f"the token of id {id_} is empty; expected at least one byte")
            former = seen.setdefault(token, id_)
            if former != id_ and not (self.characters and len(token) == 1):
                raise DataError(
                    f"ids {former} and {id_} are both the token {_show(token)}; "
                    f"every token must have one id"
                )

    def _checked_byte_ids(self) -> NDArray[np.int32]:
        special = set(self.special_tokens.values())
        if len(self.byte_ids) == 0:
            found: dict[int, int] = {}
            for id_, token in enumerate(self.tokens):
                if token is not None and len(token) == 1 and id_ not in special:
                    found.setdefault(token[0], id_)
            byte_ids = np.array([found.get(byte, -1) for byte in range(256)], dtype=np.int32)
        else:
            byte_ids = _whole_numbers(self.byte_ids, np.int32, "the ids of the bytes")
        if byte_ids.shape != (256,):
            raise DataError(f"expected an id for each of 256 bytes; got shape {byte_ids.shape}")
        for byte, id_ in enumerate(byte_ids.tolist()):
            if not 0 <= id_ < self.size or id_ in special or self.tokens[id_] != bytes([byte]):
                raise DataError(
                    f"byte 0x{byte:02x} has no token; a byte-level vocabulary must have one for "
                    f"each of the 256 bytes, or it could not encode every text"
                )
        return byte_ids

    def _check_merges(self) -> None:
        outside = (self.merges[:, :3] < 0) | (self.merges[:, :3] >= self.size)
        if outside.any():
            row = int(outside.any(axis=1).argmax())
            raise DataError(
                f"merge {row} is {self.merges[row, :3].tolist()}; expected ids from 0 to "
                f"{self.size - 1}"
            )
        # Before the bytes are added up: a file could name one pair of long tokens a million times.
        keys = self.merges[:, 0].astype(np.int64) << 32 | self.merges[:, 1]
        order = np.argsort(keys, kind="stable")
        again = np.diff(keys[order]) == 0
        if again.any():
            row = int(order[1:][again].min())
            raise DataError(
                f"merge {row} joins {_show(self.tokens[self.merges[row, 0]])} and "
                f"{_show(self.tokens[self.merges[row, 1]])}, which an earlier merge does already"
            )
        ordinary = list(self.tokens)
        for id_ in self.special_tokens.values():
            ordinary[id_] = None
        for start in range(0, len(self.merges), _ROWS):  # a few rows as Python lists at a time
            rows = self.merges[start : start + _ROWS, :3].tolist()
            for row, (left, right, result) in enumerate(rows, start):
                a, b = ordinary[left], ordinary[right]
                # Bytes that add up also rule out a token that is made of itself.
                if a is None or b is None or a + b != ordinary[result]:
                    raise DataError(
                        f"merge {row} makes {_show(self.tokens[result])} (id {result}) of "
                        f"{_show(self.tokens[left])} and {_show(self.tokens[right])}; expected "
                        f"the bytes to add up, of ordinary tokens"
                    )


def _whole_numbers(values: ArrayLike, dtype: type[np.integer[Any]], what: str) -> NDArray[Any]:
    """Copy to an integer dtype. A number that does not fit is refused, where NumPy may wrap it."""
    array = np.asarray(values)
    if array.size == 0:
        return np.empty(array.shape, dtype)
    if array.dtype.kind not in "iu":
        raise DataError(f"expected whole numbers in {what}; got dtype {array.dtype}")
    low, high = int(array.min()), int(array.max())
    limits = np.iinfo(dtype)
    if low < limits.min or high > limits.max:
        raise DataError(f"{low if low < 0 else high} in {what} is too large for {limits.dtype}")
    return array.astype(dtype)


def _merge_rows(merges: ArrayLike) -> NDArray[np.int32]:
    rows = _whole_numbers(merges, np.int32, "the merges")
    if rows.size == 0:
        rows = rows.reshape(0, 4)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise DataError(
            f"expected a row of left, right, result and rank for each merge; got shape {rows.shape}"
        )
    if len(rows) and rows[:, 3].min() < 0:
        raise DataError(f"the lowest rank of a merge is {rows[:, 3].min()}; expected 0 or more")
    return rows


def _checked_counts(counts: ArrayLike | None, merges: int) -> NDArray[np.int64] | None:
    if counts is None:
        return None
    checked = _whole_numbers(counts, np.int64, "the counts")
    if checked.shape != (merges,):
        raise DataError(f"expected a count for each of {merges} merges; got shape {checked.shape}")
    if merges and checked.min() < 0:
        raise DataError(f"the lowest count of a merge is {checked.min()}; expected 0 or more")
    return checked


def _show(token: bytes | None) -> str:
    """A token for an error message, cut to a length that fits one line."""
    if token is None:
        return "no token"
    start = token[:240]
    try:
        return _cut(repr(start.decode("utf-8")))
    except UnicodeDecodeError:
        return _cut(repr(start))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
