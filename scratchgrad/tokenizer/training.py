"""From a text to a vocabulary: pieces counted, merges learned, ids given out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ConfigError, DataError
from scratchgrad.kernels.bpe.count import PieceCounts
from scratchgrad.kernels.bpe.table import PADDING, padded
from scratchgrad.kernels.bpe.train import MOST, MergeTrainer
from scratchgrad.tokenizer.checks import check_progress
from scratchgrad.tokenizer.corpus import Source, blocks, documents, groups, to_bytes, total_bytes
from scratchgrad.tokenizer.patterns import Pattern
from scratchgrad.tokenizer.vocabulary import Vocabulary

Progress: TypeAlias = Callable[[str, int, int | None], None]

TIE_BREAKS = ("smallest", "greatest")

_STEP = 256  # merges between two reports of progress


def learn_vocabulary(
    source: Source,
    pattern: Pattern,
    special_tokens: Sequence[str],
    vocab_size: int,
    *,
    min_frequency: int,
    tie_break: str,
    progress: Progress | None,
) -> Vocabulary:
    """Learn merges from a text: the 256 bytes, the merges in order, the special tokens.

    The arguments, the errors and the warning are those of `BPETokenizer.train`.
    """
    lowest = 256 + len(special_tokens)
    _check("vocab_size", vocab_size, lowest, f"256 bytes and {len(special_tokens)} special tokens")
    _check("min_frequency", min_frequency, 1, "a pair that occurs")
    if tie_break not in TIE_BREAKS:
        raise ConfigError(f"tie_break: expected smallest or greatest; got {tie_break!r}")
    report = check_progress(progress)
    text, ends, counts = _count(source, pattern, report)
    if (size := len(text) - PADDING) + len(ends) > MOST:
        raise DataError(
            f"BPETokenizer.train: the distinct pieces are {size} bytes long, and at most "
            f"{MOST} can be held; a pattern that cuts the text into words has fewer"
        )
    trainer = MergeTrainer(
        text,
        ends,
        counts,
        vocab_size - len(special_tokens),
        least=min(min_frequency, 2**63 - 1),
        greatest=tie_break == "greatest",
    )
    learned, wanted = 0, vocab_size - lowest
    report("merging", learned, wanted)
    while step := trainer.learn(min(_STEP, wanted - learned)):
        learned += step
        report("merging", learned, wanted)
    if learned < wanted:
        warnings.warn(
            f"the text has {learned} merges, not {wanted}: no pair is left that occurs "
            f"{'at all' if min_frequency == 1 else f'{min_frequency} times'}; the vocabulary has "
            f"{lowest + learned} ids instead of {vocab_size}",
            stacklevel=3,
        )
    tokens = [*trainer.tokens(), *(bytes(to_bytes(name)) for name in special_tokens)]
    ranks = np.arange(learned)
    merges = np.column_stack([trainer.merges(), 256 + ranks, ranks]).astype(np.int32)
    ids = {name: 256 + learned + k for k, name in enumerate(special_tokens)}
    return Vocabulary(tuple(tokens), merges, ids, trainer.counts())


def _count(
    source: Source, pattern: Pattern, report: Progress
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct pieces of a source, in one pass over it."""
    counts, total, done = PieceCounts(), total_bytes(source), 0
    report("counting", done, total)
    for group in groups(documents(source)):
        if isinstance(group, list):
            text = padded(b"".join(group))
            counts.add(text, pattern.ends_of_texts(group)[0])
            done += len(text) - PADDING
            report("counting", done, total)
        else:
            for block in blocks(group, pattern):
                counts.add(block.text, pattern.ends(block.text, block.stop))
                done += block.stop
                report("counting", done, total)
    if not done:
        raise DataError("BPETokenizer.train: the source is empty; expected some text")
    return counts.pieces()


def _check(name: str, value: Any, least: int, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(
            f"{name} must be a whole number, at least {least} ({what}); got {value!r}"
        )
