"""Which format a tokenizer file has, by what stands in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from scratchgrad.errors import DataError
from scratchgrad.tokenizer import characters
from scratchgrad.tokenizer.checks import check_path
from scratchgrad.tokenizer.formats import own, tiktoken
from scratchgrad.tokenizer.reading import PathLike, beside, read_bytes, read_json

OWN_FORMATS = {own.FORMAT: "own", characters.FORMAT: "characters"}

_FIRST_KEY = re.compile(rb'\s*\{\s*"format"\s*:\s*"([a-z0-9-]+)"')
_MERGES, _IDS = ("vocab.bpe", "merges.txt"), ("encoder.json", "vocab.json")


class Found(NamedTuple):
    """What `detect` found.

    Attributes
    ----------
    format : str
        "characters", "own", "huggingface", "tiktoken", "llama2c" or "gpt2".
    files : tuple of Path
        The file to read; for "gpt2" the merges and the ids.
    """

    format: str
    files: tuple[Path, ...]


def detect(path: PathLike) -> Found:
    """Tell which format a tokenizer file, or a folder with one in it, has.

    A folder is searched for tokenizer.json first, then for vocab.bpe with encoder.json, or the same
    two under their other names, merges.txt and vocab.json. Either of the two finds the other beside
    it.

    Raises
    ------
    DataError
        There is no such file, or it is none of these.
    """
    place = check_path(path, "path")
    try:
        is_folder = place.is_dir()
    except (OSError, ValueError):  # a name that is too long, or has a NUL: reading it says so
        is_folder = False
    if is_folder:
        file = beside(place, "tokenizer.json")
        pair = _gpt2(place)
        if file is None and pair is None:
            raise DataError(
                f"{path} is a folder without a tokenizer; expected tokenizer.json in it, or "
                f"vocab.bpe with encoder.json"
            )
        if file is None:
            return Found("gpt2", pair or ())
        place = file
    found = _by_content(place)
    if found == "gpt2":
        pair = _gpt2(place)
        if pair is None:
            raise DataError(
                f"{place} is one of GPT-2's two files; expected vocab.bpe and encoder.json beside "
                f"each other"
            )
        return Found("gpt2", pair)
    return Found(found, (place,))


def _by_content(path: Path) -> str:
    raw = read_bytes(path)
    head = raw[:4096]
    if head.lstrip()[:1] == b"{":
        first = _FIRST_KEY.match(head)
        if first and first[1].decode() in OWN_FORMATS:
            return OWN_FORMATS[first[1].decode()]
        body = read_json(path)  # a file of ours in another order, or somebody else's
        name = body.get("format")
        if isinstance(name, str) and name in OWN_FORMATS:
            return OWN_FORMATS[name]
        if isinstance(body.get("model"), dict):
            return "huggingface"
        if body and all(type(value) is int for value in body.values()):
            return "gpt2"
    elif raw[12:17] == b"<unk>" and 0 < int.from_bytes(raw[:4], "little") <= 1024:
        return "llama2c"
    elif tiktoken.LINE.fullmatch(head.split(b"\n", 1)[0]):
        return "tiktoken"
    elif path.name in _MERGES or head.startswith(b"#version"):
        return "gpt2"
    raise DataError(
        f"{path} is no tokenizer that can be read; expected one of ours, a tokenizer.json of "
        f"Hugging Face, ranks of tiktoken, vocab.bpe with encoder.json, or a tokenizer.bin of "
        f"llama2.c"
    )


def _gpt2(path: str | os.PathLike[str]) -> tuple[Path, ...] | None:
    merges, ids = beside(path, *_MERGES), beside(path, *_IDS)
    return None if merges is None or ids is None else (merges, ids)
