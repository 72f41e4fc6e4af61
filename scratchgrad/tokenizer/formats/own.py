"""Our own tokenizer file: JSON for a person to read, with a token or a merge on each line.

    {
     "format": "scratchgrad-bpe",
     "version": 1,
     "pattern": "gpt2",
     "size": 259,
     "special_tokens": {
      "<|endoftext|>": 258
     },
     "bytes": "in order",
     "columns": ["left", "right", "id", "token", "count"],
     "merges": [
      [104, 101, 256, "he", 5123],
      [256, 114, 257, "her", 1042]
     ]
    }

- ``bytes``: the id of each of the 256 bytes, or "in order" where byte b has id b.
- ``columns``: what stands in a line of ``merges``. The merges' ranks are their order here, unless
  there is a column ``rank``. A column ``count`` stands where counts are known.
- ``tokens``: lines of id and token, for those that no line above gives.
- ``whole_pieces``, ``characters``, ``prefix_space``: true, or left out.
- A token is its text; or, where its bytes are no UTF-8, an object ``{"bytes": "20 e2 80"}``, so
  that no text can be taken for it. What a terminal does not show stands as a JSON escape.

The token of a merge follows from its two parts. It stands there to be read, and is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError
from scratchgrad.tokenizer.checks import write_file
from scratchgrad.tokenizer.reading import (
    PathLike,
    check_id,
    id_limit,
    naming,
    read_json,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary

FORMAT = "scratchgrad-bpe"
VERSION = 1

_FLAGS = ("whole_pieces", "characters", "prefix_space")
_KEYS = {"format", "version", "pattern", "size", "special_tokens", "bytes", "columns", "merges"}
_KEYS |= {"tokens", *_FLAGS}
_IN_ORDER = list(range(256))
_HEX = re.compile("[0-9a-f]{2}( [0-9a-f]{2})*")


def _columns(ranked: bool, counted: bool) -> list[str]:
    rank, count = ["rank"] if ranked else [], ["count"] if counted else []
    return ["left", "right", "id", *rank, "token", *count]


def write(path: PathLike, vocabulary: Vocabulary, pattern: str) -> None:
    """Write a vocabulary and its pattern; `read` gives back exactly these.

    Parameters
    ----------
    path : path
        The file, replaced in one move.
    vocabulary : Vocabulary
        Any.
    pattern : str
        The name of a pattern, or a regular expression.

    Raises
    ------
    DataError
        It cannot be written there; or a special token or the pattern holds two lone surrogates side
        by side, which JSON cannot tell from the one character that they are halves of.
    """
    texts = [pattern, *vocabulary.special_tokens]
    for text in texts:
        if json.loads(json.dumps(text)) != text:
            raise DataError(f"{path}: JSON cannot carry the lone surrogates in {shorten(text)}")
    write_file(path, "\n".join(_lines(vocabulary, pattern)).encode("utf-8"))


def _lines(vocabulary: Vocabulary, pattern: str) -> Iterable[str]:
    byte_ids = vocabulary.byte_ids.tolist()
    special = vocabulary.special_tokens
    merges, counts = vocabulary.merges, vocabulary.counts
    ranked = not np.array_equal(merges[:, 3], np.arange(len(merges)))
    yield "{"
    yield f' "format": "{FORMAT}",'
    yield f' "version": {VERSION},'
    yield f' "pattern": {_quote(pattern)},'
    yield f' "size": {vocabulary.size},'
    for flag in _FLAGS:
        if getattr(vocabulary, flag):
            yield f' "{flag}": true,'
    yield from _block("special_tokens", "{}", [f"{_quote(t)}: {i}" for t, i in special.items()])
    if byte_ids == _IN_ORDER:
        yield ' "bytes": "in order",'
    else:
        rows = [", ".join(map(str, byte_ids[at : at + 16])) for at in range(0, 256, 16)]
        yield from _block("bytes", "[]", rows)
    given = {*byte_ids, *special.values(), *merges[:, 2].tolist()}
    others = [
        f"[{id_}, {_spell(token)}]"
        for id_, token in enumerate(vocabulary.tokens)
        if token is not None and id_ not in given
    ]
    if others:
        yield from _block("tokens", "[]", others)
    yield f' "columns": {json.dumps(_columns(ranked, counts is not None))},'
    spelled = ["" if token is None else _spell(token) for token in vocabulary.tokens]
    tails = [""] * len(merges) if counts is None else [f", {count}" for count in counts.tolist()]
    yield from _block(
        "merges",
        "[]",
        [
            f"[{left}, {right}, {id_}, {f'{rank}, ' if ranked else ''}{spelled[id_]}{tail}]"
            for (left, right, id_, rank), tail in zip(merges.tolist(), tails, strict=True)
        ],
        comma="",
    )
    yield "}\n"


def _block(key: str, brackets: str, items: Sequence[str], comma: str = ",") -> Iterable[str]:
    """Yield the lines of a list or an object with an item a line."""
    if not items:
        yield f' "{key}": {brackets}{comma}'
        return
    yield f' "{key}": {brackets[0]}'
    yield from (f"  {item}," for item in items[:-1])
    yield f"  {items[-1]}"
    yield f" {brackets[1]}{comma}"


def _spell(token: bytes) -> str:
    try:
        return _quote(token.decode("utf-8"))
    except UnicodeDecodeError:
        return f'{{"bytes": "{token.hex(" ")}"}}'


def _quote(text: str) -> str:
    """Return a JSON string in which everything can be seen, on one line for any reader."""
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(c if c.isprintable() else _escape(c) for c in quoted)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else json.dumps(character)[1:-1]


def read(path: PathLike) -> tuple[Vocabulary, str]:
    """Read what `write` wrote, or a person after it.

    Returns
    -------
    Vocabulary
        Equal to the one that was written.
    str
        The pattern: a name or a regular expression, not checked here.

    Raises
    ------
    DataError
        The file is missing, is no such file, or what it says cannot be a vocabulary.
    """
    body = read_json(path)
    if body.get("format") != FORMAT:
        raise DataError(
            f"{path} is not a byte-pair tokenizer of ours: expected format {FORMAT!r}; got "
            f"{shorten(body.get('format'))}"
        )
    version = body.get("version")
    if type(version) is not int or version != VERSION:
        raise DataError(
            f"{path}: expected version {VERSION} of {FORMAT}; got {shorten(version)}; a newer "
            f"scratchgrad may read it"
        )
    with naming(path):
        unknown = sorted(body.keys() - _KEYS)
        if unknown:
            raise DataError(f"unknown key {shorten(unknown[0])}")
        pattern = _typed(body, "pattern", str)
        return _vocabulary(body), pattern


def _typed(body: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    value = body.get(key, default)
    if type(value) is not kind:
        names = {str: "text", list: "a list", dict: "an object", bool: "true", int: "a number"}
        raise DataError(f"expected {names[kind]} as {key!r}; got {shorten(value)}")
    return value


def _vocabulary(body: Mapping[str, Any]) -> Vocabulary:
    special: dict[str, Any] = _typed(body, "special_tokens", dict)
    byte_ids = _IN_ORDER if body.get("bytes") == "in order" else _typed(body, "bytes", list)
    if len(byte_ids) != 256:
        raise DataError(f"expected 256 ids as 'bytes'; got {len(byte_ids)}")
    merges, counts, tokens = _merges(body)
    others = _typed(body, "tokens", list, [])
    count = 256 + len(special) + len(merges) + len(others)
    size = _typed(body, "size", int)
    if not 0 <= size <= id_limit(count):
        raise DataError(
            f"size {shorten(size)} is out of proportion: {count} lines of tokens; expected at "
            f"most {id_limit(count)}, which leaves room for gaps"
        )
    table: list[bytes | None] = [None] * size

    def put(id_: Any, token: bytes) -> None:
        former = table[check_id(id_, token, size)]
        if former is not None:
            raise DataError(f"id {id_} is given twice, to {shorten(former)} and {shorten(token)}")
        table[id_] = token

    for byte, id_ in enumerate(byte_ids):
        put(id_, bytes([byte]))
    for text, id_ in special.items():
        put(id_, text.encode("utf-8", "surrogatepass"))
    for line in others:
        if type(line) is not list or len(line) != 2:
            raise DataError(f"expected an id and a token a line in 'tokens'; got {shorten(line)}")
        put(line[0], _unspell(line[1]))
    # Several merges may make one token, a byte or special token none.
    made: dict[int, bytes] = {}
    for id_, token in zip(merges[:, 2].tolist(), tokens, strict=True):
        former = made.get(id_)
        if former is None:
            put(id_, token)
            made[id_] = token
        elif former != token:
            raise DataError(f"id {id_} is given twice, to {shorten(former)} and {shorten(token)}")
    return Vocabulary(
        tokens=tuple(table),
        merges=merges,
        special_tokens=special,
        counts=counts,
        byte_ids=np.array(byte_ids, dtype=np.int32),
        **{flag: _typed(body, flag, bool, False) for flag in _FLAGS},
    )


def _merges(body: Mapping[str, Any]) -> tuple[NDArray[np.int32], Any, list[bytes]]:
    """Return the merges, their counts if the file has them, and the tokens that they make."""
    columns = _typed(body, "columns", list)
    ranked, counted = "rank" in columns, "count" in columns
    if columns != _columns(ranked, counted):
        raise DataError(
            f"expected columns {_columns(True, True)}, of which 'rank' and 'count' may be left "
            f"out; got {shorten(columns)}"
        )
    lines = _typed(body, "merges", list)
    for row, line in enumerate(lines):
        if type(line) is not list or len(line) != len(columns):
            raise DataError(f"expected {columns} as merge {row}; got {shorten(line)}")
    by_name = dict(zip(columns, zip(*lines, strict=True), strict=False)) if lines else {}
    tokens = [_unspell(token) for token in by_name.get("token", ())]
    numbers = {
        name: _numbers(by_name.get(name, ()), name, np.int64 if name == "count" else np.int32)
        for name in columns
        if name != "token"
    }
    ranks = numbers["rank"] if ranked else np.arange(len(lines))
    merges = np.stack([numbers["left"], numbers["right"], numbers["id"], ranks], axis=1)
    return merges.astype(np.int32), numbers.get("count"), tokens


def _numbers(values: Sequence[Any], name: str, dtype: type) -> NDArray[np.int64]:
    top = int(np.iinfo(dtype).max)
    if not set(map(type, values)) <= {int} or not all(0 <= value <= top for value in values):
        bad = next(v for v in values if type(v) is not int or not 0 <= v <= top)
        raise DataError(f"expected a number from 0 to {top} as {name!r}; got {shorten(bad)}")
    return np.array(values, dtype=np.int64)


def _unspell(value: Any) -> bytes:
    if type(value) is str:
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(
                f"the token {shorten(value)} holds half of a character; expected its bytes"
            ) from None
    if type(value) is dict and value.keys() == {"bytes"}:
        digits = value["bytes"]
        if type(digits) is str and _HEX.fullmatch(digits):
            return bytes.fromhex(digits)
    raise DataError(f'expected a token, as text or as {{"bytes": "e2 80"}}; got {shorten(value)}')
