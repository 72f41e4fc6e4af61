"""GPT-2's own two files: ``vocab.bpe``, the merges in order, and ``encoder.json``, the ids.

The same two under the names ``merges.txt`` and ``vocab.json`` are what Hugging Face used before
tokenizer.json. Both spell bytes as letters (see ``bytelevel``).
"""

from __future__ import annotations

from collections.abc import Iterator

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError
from scratchgrad.tokenizer.formats import bytelevel
from scratchgrad.tokenizer.reading import (
    PathLike,
    naming,
    read_json,
    read_text,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary

END_OF_TEXT = "<|endoftext|>"


def read(vocab_bpe: PathLike, encoder_json: PathLike) -> Vocabulary:
    """Read GPT-2's files.

    Parameters
    ----------
    vocab_bpe : path
        A line ``#version``, then a merge a line: two tokens with a space between.
    encoder_json : path
        One object, from token to id. ``<|endoftext|>`` in it is a special token.

    Returns
    -------
    Vocabulary
        Its bytes have the ids that the file gives them: in GPT-2 these are not the bytes in order.

    Raises
    ------
    DataError
        One of the files is missing or no such file, or they do not fit together.
    """
    words = read_json(encoder_json)
    special = {END_OF_TEXT: words.pop(END_OF_TEXT)} if END_OF_TEXT in words else {}
    lines = read_text(vocab_bpe).split("\n")
    with naming(f"{vocab_bpe} with {encoder_json}"):
        return bytelevel.vocabulary(words, _pairs(lines), special)


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    if lines[-1] == "":
        lines = lines[:-1]
    for number, line in enumerate(lines, 1):
        if number == 1 and line.startswith("#version"):
            continue
        pair = line.removesuffix("\r").split(" ")  # a checkout on Windows may add the \r
        if len(pair) != 2 or not all(pair):
            raise DataError(
                f"line {number} is {shorten(line)}; expected two tokens with a space between"
            )
        yield pair[0], pair[1]
