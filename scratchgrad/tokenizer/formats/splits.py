"""The ways to make a token of two others, and the one way that is ever taken.

Some formats hold no merges. There, any two neighbours that are a token together may become it, and
the token's rank or score says how soon. Written out as merges, that is a merge for every split of
every token.

**One merge a token is enough.** Say that the pair of lowest rank merges first, and the leftmost of
equals. Look at a stretch of a text that became the token T, and at the merges inside that stretch
alone. Nothing ever merged across its ends, or it could not have become T. Each time a pair inside
was chosen, it came first among all pairs, hence also among those inside. So the merges inside are,
step by step, those of T's bytes encoded alone. Hence T is always made by the same pair, the last
one of that encoding, and the other splits of T are never used. Where the bytes of T alone do not
become T, T is never made by merging at all.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from scratchgrad.tokenizer.reading import check_lengths
from scratchgrad.tokenizer.vocabulary import Vocabulary


def every_split(ids: Mapping[bytes, int]) -> NDArray[np.int32]:
    """Return left, right and result of every way to cut a token into two tokens.

    Parameters
    ----------
    ids : mapping of bytes to int
        The tokens that may be merged or made.

    Returns
    -------
    array of int32, shape (M, 3)
        By the order of the tokens given, then by the length of the left part.

    Raises
    ------
    DataError
        A token is too long, or all of them together are: see `check_lengths`.
    """
    check_lengths(ids)
    find = ids.get
    rows = array("i")
    for token, id_ in ids.items():
        for cut in range(1, len(token)):
            left = find(token[:cut])
            if left is None:
                continue
            right = find(token[cut:])
            if right is not None:
                rows.extend((left, right, id_))
    return np.frombuffer(rows, dtype=np.int32).reshape(-1, 3).copy()


class Alone:
    """The encoding of single tokens by a vocabulary's merges, for formats to be checked with.

    Parameters
    ----------
    vocabulary : Vocabulary
        Starting out as bytes, not as characters.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._start = vocabulary.byte_ids.tolist()
        self._merges = {
            (left, right): (rank, row, result)
            for row, (left, right, result, rank) in enumerate(vocabulary.merges.tolist())
        }

    def encode(self, token: bytes) -> tuple[list[int], int]:
        """Return the ids that the bytes of a token become, and the row of the last merge or -1.

        Quadratic in the length of the token, but the square is spent in ``min``.
        """
        ids = [self._start[byte] for byte in token]
        ranks = [self._rank(pair) for pair in itertools.pairwise(ids)]
        row = -1
        while ranks and (lowest := min(ranks)) != _NEVER:
            place = ranks.index(lowest)  # the leftmost
            _, row, ids[place] = self._merges[ids[place], ids[place + 1]]
            del ids[place + 1], ranks[place]
            if place > 0:
                ranks[place - 1] = self._rank((ids[place - 1], ids[place]))
            if place < len(ranks):
                ranks[place] = self._rank((ids[place], ids[place + 1]))
        return ids, row

    def _rank(self, pair: tuple[int, int]) -> int:
        found = self._merges.get(pair)
        return _NEVER if found is None else found[0]


_NEVER = 1 << 32  # above every rank


def merges_in_use(vocabulary: Vocabulary) -> NDArray[np.int32]:
    """Return the merges of a vocabulary without those that no text ever uses.

    Only tokens that several merges make are looked at; the module's docstring says why all but one
    of these merges can go.

    Returns
    -------
    array of int32, shape (M, 4)
        At most one merge for each result, in the order they have in the vocabulary.
    """
    merges = vocabulary.merges
    results, counts = np.unique(merges[:, 2], return_counts=True)
    several = results[counts > 1].tolist()
    tokens = _bytes_of(vocabulary, several)
    check_lengths(tokens)
    alone = Alone(vocabulary)
    keep = np.isin(merges[:, 2], results[counts == 1])
    for id_, token in zip(several, tokens, strict=True):
        ids, row = alone.encode(token)
        if ids == [id_]:
            keep[row] = True
    return merges[keep]


def _bytes_of(vocabulary: Vocabulary, ids: Iterable[int]) -> list[bytes]:
    return [token for id_ in ids if (token := vocabulary.tokens[id_]) is not None]
