"""A saved tokenizer of any kind, by what its file holds."""

from __future__ import annotations

import os

from scratchgrad.errors import DataError
from scratchgrad.tokenizer.bpe import BPETokenizer
from scratchgrad.tokenizer.characters import CharTokenizer
from scratchgrad.tokenizer.formats import detect, tiktoken

# Ranks hold neither a pattern nor special tokens. OpenAI's own are known by how many they are.
_END = "<|endoftext|>"
_RANKS = {
    50_256: ("gpt2", {_END: 50_256}),
    50_280: ("gpt2", {_END: 50_256}),  # p50k: runs of spaces after the special token
    100_256: (
        "cl100k",
        {
            _END: 100_257,
            "<|fim_prefix|>": 100_258,
            "<|fim_middle|>": 100_259,
            "<|fim_suffix|>": 100_260,
            "<|endofprompt|>": 100_276,
        },
    ),
    199_998: ("o200k", {_END: 199_999, "<|endofprompt|>": 200_018}),
}


def load_tokenizer(path: str | os.PathLike[str]) -> CharTokenizer | BPETokenizer:
    """Load a tokenizer: one of ours, a tokenizer.json, GPT-2's two files, tok512.bin, or ranks.

    Parameters
    ----------
    path : path
        The file, or a folder with it. For GPT-2 either of its two files, beside the other.

    Raises
    ------
    DataError
        It is none of these, is damaged, or says something that cannot be done exactly here.
    """
    found = detect(path)
    file = found.files[0]
    if found.format == "characters":
        return CharTokenizer.load(file)
    if found.format == "own":
        return BPETokenizer.load(file)
    if found.format == "huggingface":
        return BPETokenizer.from_huggingface(file)
    if found.format == "gpt2":
        return BPETokenizer.from_gpt2(*found.files)
    if found.format == "llama2c":
        return BPETokenizer.from_llama2c(file)
    return _ranks(file)


def _ranks(path: str | os.PathLike[str]) -> BPETokenizer:
    with open(path, "rb") as file:
        count = sum(1 for line in file if line.strip())
    if count not in _RANKS:
        raise DataError(
            f"{path} has {count} ranks of tiktoken, which do not say the pattern that goes with "
            f"them; BPETokenizer.from_tiktoken(path, pattern, special_tokens) reads them, and save "
            f"makes a file that says it all"
        )
    pattern, special_tokens = _RANKS[count]
    return BPETokenizer(tiktoken.read(path, special_tokens), pattern)
