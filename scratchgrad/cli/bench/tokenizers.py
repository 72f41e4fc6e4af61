"""The tokenizer in turn with those of others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scratchgrad.cli.bench.parts import DIFFER, Printer
from scratchgrad.errors import ConfigError

PARTS = ("train", "encode", "memory")
MOST_TOKENS = 1_000_000  # beyond that it is a slip of the keyboard


def check(arguments: argparse.Namespace) -> None:
    """Refuse a text or a size that cannot be one, before anything is imported."""
    if not arguments.text:
        given = "an empty name" if arguments.text == "" else "nothing"
        raise ConfigError(f"--vs tokenizers: expected --text and a file or folder, got {given}")
    size = arguments.vocab_size
    if size is not None and not 257 <= size <= MOST_TOKENS:
        raise ConfigError(
            f"--vocab-size: expected 257 (the bytes and a merge) to {MOST_TOKENS}, got {size}"
        )


def measure(arguments: argparse.Namespace, report: dict[str, Any], say: Printer) -> int:
    """Measure all programs in turn, print, fill the report; returns the exit code."""
    from scratchgrad.bench import against_tokenizers, machine, tables, tokenizer_memory, versus
    from scratchgrad.kernels.threads import get_threads

    path, parts = Path(arguments.text), arguments.parts or PARTS
    size = arguments.vocab_size or against_tokenizers.VOCAB_SIZE
    rounds = arguments.rounds or (3 if arguments.quick else versus.ROUNDS)
    others, missing = against_tokenizers.rivals(parts)
    corpus = against_tokenizers.Corpus.read(path)
    say(machine.heading(report["machine"]))  # not before all that is needed is there
    found = report["tokenizers"] = {
        "bytes": corpus.size,
        "files": len(corpus.files),
        "vocab_size": size,
        "rivals": [other.about for other in others],
        "left_out": missing,
        "rows": [],
        "memory": [],
    }
    say(f"{corpus.size / 1e6:,.1f} MB in {len(corpus.files)} file(s), {size:,} tokens")
    if {"train", "encode"} & set(parts):
        say(f"{rounds} round(s), in turn, in one process; ratio: time divided by the first line's")
    for line in missing:
        say(line)

    def tell(rows: list[against_tokenizers.Row]) -> None:
        records = [row.record(rows[0], corpus.size) for row in rows]
        found["rows"] += records
        say("\n" + tables.tokenizers(records))

    tokenizer = None
    if "train" in parts:
        rows, tokenizer = against_tokenizers.train(corpus, size, others, rounds, say.doing)
        tell(rows)
    if "encode" in parts:
        tokenizer = tokenizer or against_tokenizers.learn(corpus.texts, size)
        tell(against_tokenizers.encode(corpus, tokenizer, others, rounds, say.doing))
    if "memory" in parts:
        say.doing("memory of training")
        found["memory"] = [
            tokenizer_memory.measure_apart(path, size, times, get_threads()) for times in (1, 2)
        ]
        say("\n" + tables.tokenizer_memory(found["memory"]))
    return 0 if all(row["agree"] for row in found["rows"]) else DIFFER
