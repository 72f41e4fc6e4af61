"""Text from a model, one token at a time.

The keys and values of the tokens so far are cached, so a token costs a forward pass over itself
alone, until the text is longer than ``block_size``: then every position moves by one with each
token, nothing computed before holds, and the last ``block_size`` tokens are passed over anew. The
sampling rule is a function of one row of logits and a generator, apart from where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchgrad.autograd import no_grad
from scratchgrad.errors import ConfigError, DataError, NonFiniteLossError
from scratchgrad.gpt import GPT
from scratchgrad.nn import KVCache
from scratchgrad.ops.arguments import whole


def check_sampling(max_new_tokens: int, temperature: float, top_k: int | None) -> None:
    """Raise ConfigError where a number that rules the sampling is out of its range."""
    if max_new_tokens < 0:
        raise ConfigError(f"the length must be 0 or more tokens; got {max_new_tokens}")
    if not (0.0 <= temperature < float("inf")):
        raise ConfigError(
            f"temperature must be 0 (always the likeliest token) or a finite number above it; "
            f"got {temperature}"
        )
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top-k must be at least 1; got {top_k}")


def choose(
    logits: NDArray[Any],
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> int:
    """Choose one id from a row of logits.

    Parameters
    ----------
    logits : array, shape (V,)
    rng : numpy.random.Generator
        One number is drawn from it, unless the temperature is 0.
    temperature : float
        Below 1 sharpens the distribution, above 1 flattens it, 0 takes the likeliest id.
    top_k : int, optional
        Only the ``top_k`` likeliest ids stay in play, with all that tie with the last of them.

    >>> choose(np.array([0.0, 3.0, 1.0]), np.random.default_rng(0), temperature=0)
    1
    """
    row = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(row).all():
        raise NonFiniteLossError(
            "generate: the model's logits are not finite, so its weights are damaged; "
            "sample from an older checkpoint"
        )
    if temperature == 0.0:
        return int(row.argmax())
    if top_k is not None and top_k < len(row):
        smallest = np.partition(row, -top_k)[-top_k]
        row = np.where(row < smallest, -np.inf, row)
    # The maximum goes before the division, so that a tiny temperature cannot overflow.
    weights = np.exp((row - row.max()) / temperature)
    cumulative = weights.cumsum()
    # Inverse of the distribution function: the first id whose cumulative weight exceeds a
    # uniform number. "right" passes over ids of weight zero.
    place = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return min(place, int(np.flatnonzero(weights)[-1]))


def generate(
    model: GPT,
    ids: ArrayLike,
    max_new_tokens: int,
    *,
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Iterator[int]:
    """Continue a prompt, yielding each new id as soon as it is chosen.

    Parameters
    ----------
    model : GPT
        Put in evaluation mode for each forward pass, and back after it.
    ids : array of int, shape (T,)
        The prompt, at least one token; only its last ``block_size`` are seen.
    max_new_tokens : int
    rng, temperature, top_k
        See `choose`.

    Yields
    ------
    int

    Raises
    ------
    ConfigError
        A setting is out of its range.
    DataError
        The prompt is empty.
    DtypeError
        Its ids are not whole numbers.
    """
    check_sampling(max_new_tokens, temperature, top_k)
    context = np.asarray(ids)
    if context.ndim != 1 or len(context) == 0:
        raise DataError(
            f"generate: expected a prompt of one or more ids in a row; got shape {context.shape}"
        )
    whole("generate", "ids", ids)
    return _continue(model, context.astype(np.int64), max_new_tokens, rng, temperature, top_k)


def _continue(
    model: GPT,
    context: NDArray[np.int64],
    max_new_tokens: int,
    rng: np.random.Generator,
    temperature: float,
    top_k: int | None,
) -> Iterator[int]:
    """Do the work of `generate`, which checks at the call and not at the first token."""
    block_size = model.config.block_size
    cache, seen = model.new_cache(), 0
    for _ in range(max_new_tokens):
        if len(context) > block_size:
            context, cache, seen = context[-block_size:], model.new_cache(), 0
        token = choose(last_logits(model, context[seen:], cache), rng, temperature, top_k)
        seen = len(context)
        context = np.append(context, token)
        yield token


def last_logits(
    model: GPT, ids: NDArray[np.int64], cache: list[KVCache] | None = None
) -> NDArray[Any]:
    """Return the logits of the token after ``ids``, which go on from the cache: (T,) in, (V,) out.

    Without a cache they begin the text.
    """
    training = model.training
    model.eval()
    try:
        with no_grad():
            logits = model.next_logits(ids[None, :], cache or model.new_cache())
    finally:
        if training:
            model.train()
    return np.asarray(logits.data)[0]
