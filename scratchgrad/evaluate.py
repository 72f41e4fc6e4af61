"""The loss of a model over held-out text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.autograd import no_grad
from scratchgrad.data import Windows, windows
from scratchgrad.gpt import GPT


class Evaluation(NamedTuple):
    """The result of `evaluate_loss`.

    Attributes
    ----------
    loss : float
        Mean cross-entropy in nats a token.
    tokens : int
        Tokens that were predicted.
    complete : bool
        Whether every token of the text was, but for its first.
    """

    loss: float
    tokens: int
    complete: bool


def evaluate_loss(
    model: GPT,
    ids: NDArray[Any],
    *,
    batch_size: int = 16,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Mean loss over a text, read in windows of the model's context laid end to end.

    Every token but the first is predicted exactly once, those of a shorter last window too, and
    each counts the same: the sum is kept in float64 and divided by the number of tokens.

    Parameters
    ----------
    model : GPT
        Put in evaluation mode, and back as it was.
    ids : array of int, shape (N,)
    batch_size : int
        Windows in one forward pass.
    limit : int, optional
        Read only this many windows, spread evenly over the text.
    progress : callable, optional
        Called with (windows done, windows in all) after each forward pass.

    Raises
    ------
    DataError
        Fewer than two ids.
    """
    plan = windows(len(ids), model.config.block_size, limit)
    training = model.training
    model.eval()
    total, tokens = 0.0, 0
    try:
        for first, rows in _batches(plan, len(ids), batch_size):
            length = min(plan.length, len(ids) - 1 - int(rows[-1]))
            places = rows[:, None] + np.arange(length)  # (B, T)
            with no_grad():
                loss = model.loss(ids[places].astype(np.int64), ids[places + 1].astype(np.int64))
            total += float(loss.item()) * places.size
            tokens += places.size
            if progress is not None:
                progress(first + len(rows), len(plan.starts))
    finally:
        if training:
            model.train()
    return Evaluation(total / tokens, tokens, plan.complete)


def bits_per_byte(loss: float, tokens: int, size: int) -> float:
    """Turn a loss into one that runs with different vocabularies can be compared by.

    A token of a large vocabulary stands for more text, so a loss per token is higher without
    being worse. The bits that the whole text costs do not depend on how it was cut into tokens.

    Parameters
    ----------
    loss : float
        Mean in nats a token.
    tokens : int
        Tokens that were predicted.
    size : int
        Bytes of UTF-8 that they stand for.

    >>> round(bits_per_byte(math.log(256), tokens=10, size=10), 6)
    8.0
    >>> round(bits_per_byte(math.log(256), tokens=10, size=40), 6)
    2.0
    """
    return loss * tokens / (size * math.log(2))


def _batches(plan: Windows, count: int, batch_size: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Cut the starts into batches of windows of one length: a short last one stands alone."""
    full = int((plan.starts + plan.length < count).sum())
    edges = [*range(0, full, batch_size), full]
    pairs = list(itertools.pairwise(edges))
    if full < len(plan.starts):
        pairs.append((full, len(plan.starts)))
    return [(start, plan.starts[start:stop]) for start, stop in pairs]
