"""tiktoken's ranks: a line for each token, its bytes in base64, a space, its rank, which is its id.

Such a file holds no special tokens and no pattern: tiktoken keeps both in its program. It holds no
merges either. tiktoken takes a piece that is a token as that token; in any other piece it joins,
again and again, the two neighbours that together are the token of the lowest rank, the leftmost
of equals.

**What can be written.** Let V be a vocabulary whose merges are ordered as their results' ids are,
and call a token good if every split of it into two tokens is a merge of V, or if its bytes,
encoded alone by V's merges, become that one id. If all tokens are good, tiktoken's rule and V's
merges take the same steps on every text. For take the first step where they differ. Every merge of
V is also open to tiktoken, in the same order, so tiktoken chose a pair (x, y) that makes a token T
and is no merge of V. Then not every split of T is a merge of V, so the bytes of T alone become T.
But up to here the steps inside this stretch of the text were those of T's bytes alone (``splits``
says why), so V, with T's bytes alone, arrives at (x, y) as well, where it can merge no more: it
does not arrive at T. Contradiction.

That leaves pieces that are a token. There V must give the token too: because it also takes whole
pieces, or because every token's bytes alone become that token.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

import numpy as np

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError, DtypeError
from scratchgrad.tokenizer.checks import write_file
from scratchgrad.tokenizer.formats.splits import Alone, every_split
from scratchgrad.tokenizer.reading import (
    PathLike,
    by_id,
    check_id,
    check_lengths,
    id_limit,
    naming,
    read_bytes,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary

LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,10})\r?")


def read(path: PathLike, special_tokens: Mapping[str, int] | None) -> Vocabulary:
    """Read a file of ranks.

    Parameters
    ----------
    path : path
        The file.
    special_tokens : mapping of str to int, or None
        What the file does not hold. There may be gaps between the ids.

    Returns
    -------
    Vocabulary
        With a merge for every split of a token into two, ranked by the token's id, and
        ``whole_pieces``.

    Raises
    ------
    DataError
        The file is missing or no such file, a byte has no rank, a rank or token stands twice, a
        special token has the id of another token.
    DtypeError
        ``special_tokens`` is no mapping from names.
    """
    special_tokens = {} if special_tokens is None else special_tokens
    named = isinstance(special_tokens, Mapping)
    if not named or not all(isinstance(name, str) for name in special_tokens):
        raise DtypeError(
            f"special_tokens: expected a mapping from names to ids; got {shorten(special_tokens)}"
        )
    lines = read_bytes(path).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    with naming(path):
        ranks = _ranks(lines)
        tokens = by_id(ranks.items(), special_tokens, len(ranks))
        splits = every_split(ranks)
        merges = np.concatenate([splits, splits[:, 2:]], axis=1)
        return Vocabulary(tuple(tokens), merges, special_tokens, whole_pieces=True)


def _ranks(lines: list[bytes]) -> dict[bytes, int]:
    limit = id_limit(len(lines))
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line)
        try:
            if match is None:
                raise ValueError
            token = base64.b64decode(match[1], validate=True)
        except (ValueError, binascii.Error):
            raise DataError(
                f"line {number} is {shorten(line)}; expected a token in base64, a space and "
                f"its rank"
            ) from None
        if token in ranks:
            raise DataError(f"line {number}: the token {shorten(token)} has a rank already")
        ranks[token] = check_id(int(match[2]), token, limit)
    return ranks


def write(path: PathLike, vocabulary: Vocabulary) -> None:
    """Write a file of ranks, if tiktoken would encode with it exactly as the vocabulary says.

    Special tokens are not written, for the format has no place for them: give them to tiktoken, or
    to `read`, with their ids.

    Raises
    ------
    DataError
        The vocabulary needs what a file of ranks cannot say. The module's docstring derives what
        it can.
    """
    with naming(path):
        ordinary = _ordinary(vocabulary)
        _check(vocabulary, ordinary)
    lines = [
        b"%s %d\n" % (base64.b64encode(token), id_)
        for token, id_ in sorted(ordinary.items(), key=lambda item: item[1])
    ]
    write_file(path, b"".join(lines))


def _ordinary(vocabulary: Vocabulary) -> dict[bytes, int]:
    special = set(vocabulary.special_tokens.values())
    return {
        token: id_
        for id_, token in enumerate(vocabulary.tokens)
        if token is not None and id_ not in special
    }


def _check(vocabulary: Vocabulary, ordinary: Mapping[bytes, int]) -> None:
    for flag in ("characters", "prefix_space"):
        if getattr(vocabulary, flag):
            raise DataError(f"tiktoken has no {flag}; this vocabulary needs it")
    check_lengths(ordinary)
    merges = vocabulary.merges[np.argsort(vocabulary.merges[:, 3], kind="stable")]
    same_rank, same_result = np.diff(merges[:, 3]) == 0, np.diff(merges[:, 2]) == 0
    wrong = (np.diff(merges[:, 2]) < 0) | (same_rank != same_result)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"merges of rank {merges[row, 3]} and {merges[row + 1, 3]} make ids {merges[row, 2]} "
            f"and {merges[row + 1, 2]}; in tiktoken ids are ranks, so they must ascend together"
        )
    known = {(left, right) for left, right in vocabulary.merges[:, :2].tolist()}
    missing = {
        result
        for left, right, result in every_split(ordinary).tolist()
        if (left, right) not in known
    }
    alone = Alone(vocabulary)
    for token, id_ in ordinary.items():
        if vocabulary.whole_pieces and id_ not in missing:
            continue
        ids, _ = alone.encode(token)
        if ids != [id_]:
            raise DataError(
                f"the merges do not make token {shorten(token)} (id {id_}) of its bytes, but "
                f"tiktoken would"
            )
