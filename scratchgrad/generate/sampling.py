"""Which token comes next: rules on one row of logits, and one draw from what they leave.

Each rule is a function: a row of V logits in, a row out, in which -inf is a token out of play.
`processed` puts those that are switched on in a row, in this order:

1. repetition penalty, presence penalty, frequency penalty
2. temperature
3. top-k, top-p, min-p

It is the order of Hugging Face's transformers, so the same numbers mean the same there. The
penalties come first, as they speak about the model's own logits. The temperature comes before the
cuts, so that top-p keeps a share of the distribution that is drawn from. (llama.cpp puts it last:
its cuts look at the model's own probabilities. At a temperature of 1 there is no difference, and
top-k by itself does not care.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchgrad.errors import ConfigError, NonFiniteLossError, ShapeError

Row = NDArray[np.float64]

# Penalties that are more than a nudge make a text of rare tokens; these ranges are far beyond it.
LARGEST_FACTOR = 100.0
LARGEST_PENALTY = 2.0


@dataclass(frozen=True)
class Sampling:
    """The rules by which a token is chosen; those left at their defaults change nothing.

    Parameters
    ----------
    greedy : bool
        Take the likeliest token, and draw nothing. Penalties count; what shapes a draw would
        change nothing, so it is refused beside it.
    temperature : float
        Above 0. Below 1 sharpens the distribution, above 1 flattens it.
    top_k : int, optional
        Keep the k likeliest tokens, and all that tie with the last of them.
    top_p : float, optional
        In (0, 1]. Keep the fewest likeliest tokens that have this probability together.
    min_p : float, optional
        In [0, 1). Keep the tokens with at least this share of the likeliest one's probability.
    repetition_penalty : float
        From 1/100 to 100. Above 1, tokens of the prompt and of the text so far become less likely.
    presence_penalty, frequency_penalty : float
        From -2 to 2. Taken off the logit of each token generated so far: once, and once for each
        time that it was.

    Raises
    ------
    ConfigError
        A number out of its range, or two settings that contradict each other.

    >>> Sampling(temperature=0.7, top_p=0.9).top_p
    0.9
    """

    greedy: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.greedy, bool | np.bool_):
            raise ConfigError(f"greedy: expected True or False; got {self.greedy!r}")
        if not (_is_real(self.temperature) and 0 < self.temperature < math.inf):
            raise ConfigError(
                f"temperature: expected a finite number above 0; got {self.temperature!r}; for the "
                f"likeliest token each time, take greedy=True"
            )
        if self.top_k is not None and not (_is_whole(self.top_k) and self.top_k >= 1):
            raise ConfigError(
                f"top_k: expected a whole number of at least 1, or None for every token; "
                f"got {self.top_k!r}"
            )
        if self.top_p is not None and not (_is_real(self.top_p) and 0 < self.top_p <= 1):
            raise ConfigError(
                f"top_p: expected a probability above 0 and up to 1, which keeps every token; "
                f"got {self.top_p!r}"
            )
        if self.min_p is not None and not (_is_real(self.min_p) and 0 <= self.min_p < 1):
            raise ConfigError(
                f"min_p: expected a share from 0, which keeps every token, to below 1; "
                f"got {self.min_p!r}"
            )
        factor = self.repetition_penalty
        if not (_is_real(factor) and 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR):
            raise ConfigError(
                f"repetition_penalty: expected a factor from {1 / LARGEST_FACTOR:g} to "
                f"{LARGEST_FACTOR:g}, where 1 changes nothing; got {factor!r}"
            )
        for name in ("presence_penalty", "frequency_penalty"):
            value = getattr(self, name)
            if not (_is_real(value) and -LARGEST_PENALTY <= value <= LARGEST_PENALTY):
                raise ConfigError(
                    f"{name}: expected a number from {-LARGEST_PENALTY:g} to {LARGEST_PENALTY:g}, "
                    f"where 0 changes nothing; got {value!r}"
                )
        if self.greedy and (idle := self._shaping()):
            raise ConfigError(
                f"greedy: takes the likeliest token whatever {' and '.join(idle)} may be; "
                f"leave out one or the other"
            )

    def _shaping(self) -> list[str]:
        """The settings that shape a draw."""
        given = [name for name in ("top_k", "top_p", "min_p") if getattr(self, name) is not None]
        return ["temperature", *given] if self.temperature != 1 else given

    @property
    def penalises(self) -> bool:
        """Whether what was said before makes a difference, beyond what the model makes of it."""
        return self.repetition_penalty != 1 or self._penalises_generated

    @property
    def _penalises_generated(self) -> bool:
        return self.presence_penalty != 0 or self.frequency_penalty != 0


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


PLAIN = Sampling()  # the model's own distribution


class History:
    """What was said before, as the penalties ask for it.

    The repetition penalty counts the prompt too, and the other two do not, as in vLLM: the paper
    of the one speaks of all tokens there are, OpenAI's formula of those that were sampled. All of
    the text counts, also what the model's context no longer holds.

    Attributes
    ----------
    seen : array of bool, shape (V,)
        Tokens of the prompt and the text.
    counts : array of int, shape (V,)
        How often each was generated.

    >>> history = History(4, prompt=[0, 2])
    >>> history.add(3)
    >>> history.seen.tolist(), history.counts.tolist()
    ([True, False, True, True], [0, 0, 0, 1])
    """

    def __init__(self, vocab_size: int, prompt: ArrayLike = ()) -> None:
        self.seen = np.zeros(vocab_size, dtype=bool)
        self.counts = np.zeros(vocab_size, dtype=np.int64)
        self.seen[np.asarray(prompt, dtype=np.int64)] = True

    def add(self, token: int) -> None:
        """Count a token that was generated."""
        self.seen[token] = True
        self.counts[token] += 1


# ------------------------------------------------------------------------------------- the rules


def penalise_repetition(row: Row, seen: NDArray[np.bool_], factor: float) -> Row:
    """Divide the logits of seen tokens by the factor where positive, else multiply.

    x -> x / factor if x > 0 else x * factor. Either way it goes down for a factor above 1.
    Source: Keskar et al., CTRL (2019), section 4.1, whose formula only divides and so would lift
    negative logits; Hugging Face's RepetitionPenaltyLogitsProcessor multiplies those.

    >>> penalise_repetition(np.array([2.0, -2.0, 1.0]), np.array([True, True, False]), 2.0).tolist()
    [1.0, -4.0, 1.0]
    """
    with np.errstate(over="ignore"):
        changed = np.where(row > 0, row / factor, row * factor)
    # A logit near the end of float64 must not become infinite: it would be out of play, or alone.
    changed = np.where(np.isfinite(row), np.nan_to_num(changed), row)
    return np.where(seen, changed, row)


def penalise_presence(row: Row, counts: NDArray[np.int64], penalty: float) -> Row:
    """Take the penalty off every token that was generated: x -> x - penalty * [count > 0].

    Source: OpenAI API reference, frequency and presence penalties.

    >>> penalise_presence(np.array([1.0, 1.0, 1.0]), np.array([0, 1, 3]), 0.5).tolist()
    [1.0, 0.5, 0.5]
    """
    return row - penalty * (counts > 0)


def penalise_frequency(row: Row, counts: NDArray[np.int64], penalty: float) -> Row:
    """Take the penalty off a token each time it was generated: x -> x - penalty * count.

    Source: OpenAI API reference, frequency and presence penalties.

    >>> penalise_frequency(np.array([1.0, 1.0, 1.0]), np.array([0, 1, 3]), 0.5).tolist()
    [1.0, 0.5, -0.5]
    """
    return row - penalty * counts


def heat(row: Row, temperature: float) -> Row:
    """Divide by the temperature: x -> (x - max x) / T, so that p becomes p^(1/T) / sum p^(1/T).

    The maximum goes first: it changes no probability, and a tiny temperature cannot overflow to
    +inf. A token that overflows to -inf has a probability of 0 to begin with.
    Source: Ackley, Hinton and Sejnowski, A Learning Algorithm for Boltzmann Machines (1985).

    >>> heat(np.array([0.0, 1.0, 2.0]), 0.5).tolist()
    [-4.0, -2.0, 0.0]
    """
    with np.errstate(over="ignore"):
        return (row - row.max()) / temperature


def keep_top_k(row: Row, k: int) -> Row:
    """Keep the k largest logits, and all that tie with the smallest of those.

    Source: Fan, Lewis and Dauphin, Hierarchical Neural Story Generation (2018), section 5.4.

    >>> keep_top_k(np.array([3.0, 1.0, 2.0, 2.0]), 2).tolist()
    [3.0, -inf, 2.0, 2.0]
    """
    if k >= len(row):
        return row
    smallest = np.partition(row, -k)[-k]
    return np.where(row < smallest, -np.inf, row)


def keep_top_p(row: Row, p: float) -> Row:
    """Keep the nucleus: the fewest likeliest tokens whose probabilities add up to p or more.

    A token stays where those that are likelier than it add up to less than p, so that tokens of
    one probability stay or go together.
    Source: Holtzman et al., The Curious Case of Neural Text Degeneration (2020), section 3.1.

    >>> keep_top_p(np.log([0.5, 0.3, 0.2]), 0.6).round(2).tolist()
    [-0.69, -1.2, -inf]
    """
    if p == 1:  # rounding must not cut a tail off
        return row
    probability = probabilities(row)
    # Sorting 50,000 takes a third of a small model's time for a token; the nucleus is few, mostly.
    possible, size, reached = probability[probability > 0], 0, np.zeros(1)
    while reached[-1] < p and size < len(possible):
        size = min(max(8 * size, 256), len(possible))
        largest = np.partition(possible, -size)[-size:]
        falling = np.sort(largest)[::-1]
        reached = falling.cumsum()
    # The last token of the nucleus is the first with which p is reached.
    last = min(int(np.searchsorted(reached, p)), size - 1)
    return np.where(probability < falling[last], -np.inf, row)


def keep_min_p(row: Row, share: float) -> Row:
    """Keep the tokens whose probability is at least a share of the likeliest one's.

    p_i >= share * max p, which is x_i >= max x + ln(share): it needs no softmax.
    Source: Nguyen et al., Turning Up the Heat: Min-p Sampling (2024), section 3.

    >>> keep_min_p(np.log([0.6, 0.3, 0.1]), 0.2).round(2).tolist()
    [-0.51, -1.2, -inf]
    """
    if share == 0:
        return row
    return np.where(row < row.max() + math.log(share), -np.inf, row)


# -------------------------------------------------------------------------------- all of them


def processed(row: Row, sampling: Sampling, history: History | None = None) -> Row:
    """Apply the rules that are on, in the order that this module's first lines give.

    >>> processed(np.array([0.0, 1.0, 2.0]), Sampling(temperature=0.5, top_k=2)).tolist()
    [-inf, -2.0, 0.0]
    """
    s = sampling
    if s.penalises and history is not None:
        if s.repetition_penalty != 1:
            row = penalise_repetition(row, history.seen, s.repetition_penalty)
        if s.presence_penalty != 0:
            row = penalise_presence(row, history.counts, s.presence_penalty)
        if s.frequency_penalty != 0:
            row = penalise_frequency(row, history.counts, s.frequency_penalty)
    if s.greedy:
        return row
    row = heat(row, s.temperature)
    if s.top_k is not None:
        row = keep_top_k(row, s.top_k)
    if s.top_p is not None:
        row = keep_top_p(row, s.top_p)
    if s.min_p is not None:
        row = keep_min_p(row, s.min_p)
    return row


def probabilities(row: Row) -> Row:
    """The softmax of a row: exactly 0 for a token out of play.

    >>> probabilities(np.array([0.0, 0.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    with np.errstate(over="ignore"):
        weights = np.exp(row - row.max())
    return weights / weights.sum()


def choose(
    logits: ArrayLike,
    rng: np.random.Generator,
    sampling: Sampling = PLAIN,
    history: History | None = None,
) -> int:
    """Choose one id from a row of logits.

    Parameters
    ----------
    logits : array, shape (V,)
        -inf is a token out of play; of other numbers that are not finite nothing is made.
    rng : numpy.random.Generator
        One uniform number is drawn from it, unless the choice is greedy.
    sampling : Sampling
    history : History, optional
        What penalties count; without it, nothing was said before.

    Raises
    ------
    NonFiniteLossError
        A logit is NaN or inf, or all are -inf.
    ShapeError
        It is no row of one or more logits.

    >>> choose(np.array([0.0, 3.0, 1.0]), np.random.default_rng(0), Sampling(greedy=True))
    1
    """
    row = np.asarray(logits, dtype=np.float64)
    if row.ndim != 1 or not len(row):
        raise ShapeError(f"choose: expected a row of one or more logits (V,); got {row.shape}")
    if not np.isfinite(row.max()):  # NaN if any is, inf if any is, -inf if all are
        raise NonFiniteLossError(
            "generate: the model's logits are not finite, so its weights are damaged; "
            "sample from an older checkpoint"
        )
    row = processed(row, sampling, history)
    if sampling.greedy:
        return int(row.argmax())
    cumulative = probabilities(row).cumsum()
    # Inverse of the distribution function: the first id whose cumulative probability exceeds a
    # uniform number. "right" passes over ids of probability zero.
    place = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return min(place, int(np.searchsorted(cumulative, cumulative[-1])))
