"""Ids to batches: the split, the seeded training order, and the windows that evaluation reads.

The training order is a pure function of (seed, step, micro step). Nothing is kept between two
steps, so a run that was stopped and resumed reads exactly what it would have read, and nobody
has to save the state of a generator.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ConfigError, DataError

Ids = NDArray[Any]

# The bits of a Philox word that a float64 can hold exactly.
_DOUBLE_BITS = 53


def smallest_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest unsigned dtype that holds every id below ``vocab_size``.

    >>> smallest_dtype(65), smallest_dtype(257), smallest_dtype(100_000)
    (dtype('uint8'), dtype('uint16'), dtype('uint32'))
    """
    return np.min_scalar_type(max(vocab_size - 1, 0))


def split(ids: Ids, validation_fraction: float = 0.1) -> tuple[Ids, Ids]:
    """Cut a text in two: its beginning to train on, its end to validate on.

    The end is held out, not random pieces: neighbouring pieces of a text share words, and a
    model would then be examined on what it had half seen.

    Parameters
    ----------
    ids : array, shape (N,)
    validation_fraction : float
        Share of the ids at the end, strictly between 0 and 1.

    Returns
    -------
    training, validation : arrays
        Views of `ids`, of length int(N * (1 - fraction)) and the rest.

    >>> training, validation = split(np.arange(100), 0.1)
    >>> len(training), validation[0]
    (90, np.int64(90))
    """
    count = _training_share(len(ids), validation_fraction)
    return ids[:count], ids[count:]


def split_text(text: str, validation_fraction: float = 0.1) -> tuple[str, str]:
    """Cut a text in two as `split` cuts its ids, where each of its characters is one id.

    Cut before it is encoded, a text has the same end held out whatever the vocabulary.

    >>> split_text("0123456789", 0.2)
    ('01234567', '89')
    """
    count = _training_share(len(text), validation_fraction)
    return text[:count], text[count:]


def _training_share(length: int, validation_fraction: float) -> int:
    if not 0.0 < validation_fraction < 1.0:
        raise ConfigError(
            f"the validation fraction must lie between 0 and 1, both excluded; "
            f"got {validation_fraction}"
        )
    # Rounding first: 1 - 0.1 is a hair off 0.9 in binary, and that hair must not cost a token.
    return int(round(length * (1.0 - validation_fraction), 6))


def check_length(training: Ids, validation: Ids, block_size: int) -> None:
    """Refuse a text that is too short to train a model of this context on.

    Raises
    ------
    DataError
        The training part has no window of ``block_size`` tokens with a next one, or the
        validation part no token to predict.
    """
    total = len(training) + len(validation)
    if len(training) < block_size + 1:
        raise DataError(
            f"the text is too short: {total} tokens, {len(training)} of them for training, where "
            f"a context of {block_size} needs at least {block_size + 1}; give more text or a "
            f"smaller --block-size"
        )
    if len(validation) < 2:
        raise DataError(
            f"the text is too short: {total} tokens leave {len(validation)} for validation, which "
            f"needs at least 2; give more text or a larger --val-fraction"
        )


def batch(
    ids: Ids, seed: int, step: int, batch_size: int, block_size: int, micro_step: int = 0
) -> tuple[Ids, Ids]:
    """Draw one training batch: a pure function of (seed, step, micro_step).

    Philox is a counter-based generator: its output is a function of a key and a counter, with no
    state in between. The seed is the key; step and micro step stand in the upper words of the
    counter, so no two batches ever share a word. The raw words are used, because NumPy promises
    them to be the same in every version, which it does not of its distributions.

    Parameters
    ----------
    ids : array, shape (N,)
        The training ids, more than ``block_size`` of them.
    seed, step, micro_step : int
        Not negative.
    batch_size, block_size : int
        B and T.

    Returns
    -------
    inputs, targets : arrays of int64, shape (B, T)
        B windows at random places; targets are the inputs shifted by one.

    >>> inputs, targets = batch(np.arange(50, dtype=np.uint8), 1, 0, batch_size=2, block_size=4)
    >>> inputs.shape, bool((targets == inputs + 1).all())
    ((2, 4), True)
    """
    if len(ids) < block_size + 1:
        raise DataError(
            f"batch: {len(ids)} ids hold no window of {block_size} and a next one; "
            f"expected at least {block_size + 1}"
        )
    generator = np.random.Philox(key=seed, counter=[0, 0, micro_step, step])
    words = generator.random_raw(batch_size)
    uniform = (words >> np.uint64(64 - _DOUBLE_BITS)) * 2.0**-_DOUBLE_BITS  # [0, 1)
    starts = (uniform * (len(ids) - block_size)).astype(np.int64)
    places = starts[:, None] + np.arange(block_size)  # (B, T)
    return ids[places].astype(np.int64), ids[places + 1].astype(np.int64)


class Windows(NamedTuple):
    """Windows of a text laid end to end, or some of them: what an evaluation reads.

    Attributes
    ----------
    starts : array, shape (W,)
        Where each window begins.
    length : int
        Tokens in each window, but for a last one that the end of the text cuts short.
    complete : bool
        Whether the windows cover the whole text.
    """

    starts: NDArray[np.int64]
    length: int
    complete: bool


def windows(count: int, block_size: int, limit: int | None = None) -> Windows:
    """Lay windows of ``block_size`` end to end over ``count`` ids.

    Every id but the first is the target of exactly one window; the last window may be short.
    With a limit, that many full windows are chosen, spread evenly: no chance in it, so every
    evaluation of every seed is the same examination.

    >>> windows(10, 4)
    Windows(starts=array([0, 4, 8]), length=4, complete=True)
    >>> windows(1000, 4, limit=3).starts
    array([  0, 496, 992])
    """
    if count < 2:
        raise DataError(f"windows: {count} ids hold nothing to predict; expected at least 2")
    starts = np.arange(0, count - 1, block_size, dtype=np.int64)
    if limit is None or len(starts) <= limit:
        return Windows(starts, block_size, complete=True)
    full = (count - 1) // block_size  # at least `limit`, as at most one window is short
    chosen = np.linspace(0, full - 1, limit).astype(np.int64)
    return Windows(starts[chosen], block_size, complete=False)
