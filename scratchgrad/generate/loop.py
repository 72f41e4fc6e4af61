"""The loop: a token's logits, a choice, and on from there.

The keys and values of the tokens so far are cached, so a token costs a forward pass over itself
alone, until the text is longer than ``block_size``: then every position moves by one with each
token, nothing computed before holds, and the last ``block_size`` tokens are passed over anew.

The loop knows a model by what it needs of one (`LanguageModel`), and the model knows the loop:
``GPT.generate`` is `complete`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratchgrad.autograd import no_grad
from scratchgrad.errors import ConfigError, DataError, ShapeError
from scratchgrad.generate.sampling import PLAIN, History, Sampling, choose
from scratchgrad.ops.arguments import checked_ids, whole

_LOG = logging.getLogger("scratchgrad")

Ids = NDArray[np.int64]


class Sizes(Protocol):
    """What is asked of a configuration."""

    @property
    def block_size(self) -> int:
        """The context, in tokens."""
        ...

    @property
    def vocab_size(self) -> int:
        """The number of logits in a row."""
        ...


class LayerCache(Protocol):
    """What is asked of what a layer keeps: a copy for each of several texts."""

    def repeat(self, batch: int) -> Any:
        """The one text that it holds, as many times."""
        ...


class LanguageModel(Protocol):
    """What is asked of a model: `GPT` is one."""

    training: bool

    @property
    def config(self) -> Sizes:
        """Its sizes."""
        ...

    def new_cache(self, batch: int = 1) -> Any:
        """An empty cache for so many rows: a list with what each layer keeps (`LayerCache`)."""
        ...

    def next_logits(self, ids: Any, cache: Any) -> Any:
        """Logits (B, V) after ids (B, T) that go on from what the cache has seen."""
        ...

    def train(self) -> Any:
        """Put it in training mode."""
        ...

    def eval(self) -> Any:
        """Put it in evaluation mode."""
        ...


def generate(
    model: LanguageModel,
    ids: ArrayLike,
    max_new_tokens: int,
    *,
    rng: np.random.Generator,
    sampling: Sampling = PLAIN,
    stop_tokens: Collection[int] = (),
    on_slide: Callable[[int], None] | None = None,
) -> Iterator[int]:
    """Continue a prompt, yielding each new id as soon as it is chosen.

    Parameters
    ----------
    model : LanguageModel
        In evaluation mode from the first token to the last; then as it was, also where the
        iterator is closed before its end or raises.
    ids : array of int, shape (T,)
        The prompt: at least one token, at most ``block_size``.
    max_new_tokens : int
    rng : numpy.random.Generator
        One number is drawn from it for each token, unless the choice is greedy.
    sampling : Sampling
    stop_tokens : collection of int
        The first of them is the last id that is yielded.
    on_slide : callable, optional
        Called once, with ``block_size``, where the text outgrows the context; by default, a
        warning of the logger ``scratchgrad`` says so.

    Yields
    ------
    int

    Raises
    ------
    ConfigError
        A setting is out of its range.
    DataError
        The prompt is empty.
    ShapeError
        It is no row, or longer than the context.
    DtypeError, IdRangeError
        Its ids are not whole numbers, or not in the vocabulary.
    """
    prompt = _array(ids)
    if prompt.ndim != 1:
        raise ShapeError(f"generate: expected a prompt of ids (T,); got shape {prompt.shape}")
    rows = generate_rows(
        model,
        prompt[None],
        max_new_tokens,
        rngs=[rng],
        sampling=sampling,
        stop_tokens=stop_tokens,
        on_slide=on_slide,
    )
    return _first_of(rows)


def _first_of(rows: Generator[Ids, None, None]) -> Iterator[int]:
    with closing(rows):  # the model's mode is put back as soon as this iterator is closed
        for tokens in rows:
            yield int(tokens[0])


def generate_rows(
    model: LanguageModel,
    ids: ArrayLike,
    max_new_tokens: int,
    *,
    rngs: Sequence[np.random.Generator],
    sampling: Sampling = PLAIN,
    stop_tokens: Collection[int] = (),
    on_slide: Callable[[int], None] | None = None,
) -> Generator[Ids, None, None]:
    """Continue several prompts of one length at once, yielding a token of each at a time.

    All rows share each pass over the weights, and each draws from its own generator: what a row
    says does not depend on the others. A row that has met a stop token repeats it until the last
    row has.

    Parameters
    ----------
    ids : array of int, shape (B, T)
        For several texts from one prompt, the prompt B times: it is passed over once.
    rngs : sequence of B generators
    model, max_new_tokens, sampling, stop_tokens, on_slide
        See `generate`, which also names the errors.

    Yields
    ------
    array of int64, shape (B,)
    """
    prompts = _checked(model, _array(ids), max_new_tokens)
    if len(rngs) != len(prompts):
        raise ConfigError(
            f"generate: expected a generator for each of {len(prompts)} rows; got {len(rngs)}"
        )
    if not isinstance(stop_tokens, Collection):
        raise ConfigError(f"stop_tokens: expected a collection of ids; got {stop_tokens!r}")
    stops = checked_ids("stop_tokens", list(stop_tokens), model.config.vocab_size)
    say = _warn if on_slide is None else on_slide
    return _rows(model, prompts, max_new_tokens, list(rngs), sampling, stops, say)


def complete(
    model: LanguageModel,
    ids: ArrayLike,
    max_new_tokens: int,
    *,
    sampling: Sampling = PLAIN,
    stop_tokens: Collection[int] = (),
    seed: int = 0,
) -> Ids:
    """Continue one prompt, or several of one length, and return them with what follows.

    Row i draws from ``numpy.random.default_rng([seed, i])``: what it says does not depend on how
    many rows there are.

    Parameters
    ----------
    ids : array of int, shape (T,) or (B, T)
    model, max_new_tokens, sampling, stop_tokens
        See `generate`, which also names the errors. After a stop token, a row is filled with it.
    seed : int

    Returns
    -------
    array of int64, shape (T + max_new_tokens,) or (B, T + max_new_tokens)
    """
    given = _array(ids)
    prompts = _checked(model, given[None] if given.ndim == 1 else given, max_new_tokens)
    whole("generate", "seed", seed)
    if np.ndim(seed) or seed < 0:
        raise ConfigError(f"generate: expected a seed of 0 or more; got {seed!r}")
    rngs = [np.random.default_rng([seed, row]) for row in range(len(prompts))]
    new = list(
        generate_rows(
            model, prompts, max_new_tokens, rngs=rngs, sampling=sampling, stop_tokens=stop_tokens
        )
    )
    # Where every row has stopped, the loop has too: what is missing repeats its last tokens.
    new += new[-1:] * (max_new_tokens - len(new))
    text = np.concatenate([prompts, *(tokens[:, None] for tokens in new)], axis=1)
    return text.reshape(*given.shape[:-1], -1)


def _array(ids: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(ids)
    except ValueError:
        raise ShapeError(
            "generate: expected prompts of one length, a row of ids for each; got rows of several"
        ) from None


def _checked(model: LanguageModel, ids: ArrayLike, max_new_tokens: int) -> Ids:
    """The prompts as int64 (B, T), if all is as it should be."""
    whole("generate", "max_new_tokens", max_new_tokens)
    if np.ndim(max_new_tokens) or max_new_tokens < 0:
        raise ConfigError(f"generate: expected a length of 0 or more tokens; got {max_new_tokens}")
    shape, block_size = np.shape(ids), model.config.block_size
    if len(shape) != 2 or shape[0] == 0:
        raise ShapeError(f"generate: expected prompts of ids (B, T); got shape {shape}")
    if shape[1] == 0:
        raise DataError(
            f"generate: expected a prompt of one or more ids in a row; got shape {shape}"
        )
    if shape[1] > block_size:
        raise ShapeError(
            f"generate: expected a prompt of at most {block_size} tokens, the model's context; "
            f"got {shape[1]}; shorten it, or give its last {block_size}"
        )
    return checked_ids("generate", ids, model.config.vocab_size)


def _warn(block_size: int) -> None:
    _LOG.warning(
        "the text has outgrown the context of %d tokens: from here on the model sees the last %d "
        "only, and each token costs a pass over all of them",
        block_size,
        block_size,
    )


def _rows(
    model: LanguageModel,
    prompts: Ids,
    length: int,
    rngs: list[np.random.Generator],
    sampling: Sampling,
    stops: Ids,
    say: Callable[[int], None],
) -> Generator[Ids, None, None]:
    """Do the work of `generate_rows`, which checks at the call and not at the first token."""
    (batch, start), block_size = prompts.shape, model.config.block_size
    text = prompts.copy()
    histories = [_history(model, sampling, prompt) for prompt in prompts]
    done = np.zeros(batch, dtype=bool)
    # Several texts from one prompt: it is passed over once, and what is kept of it copied.
    alike = batch > 1 and bool((prompts == prompts[0]).all())
    cache, seen, switched = model.new_cache(1 if alike else batch), 0, False
    try:
        for end in range(start, start + length):
            if end == text.shape[1]:  # a length may be a way to say: until I stop reading
                text = np.pad(text, ((0, 0), (0, max(end, 64))))
            if end > block_size:
                if end == block_size + 1:
                    say(block_size)
                cache, seen = model.new_cache(batch), end - block_size
            if model.training:  # at first, and if somebody has trained it between two tokens
                model.eval()
                switched = True
            shown = text[:1, :end] if alike else text[:, seen:end]
            with no_grad():  # around a pass alone: what is done between two tokens is not ours
                logits = np.asarray(model.next_logits(shown, cache).data)  # (B, V) or (1, V)
            if alike:
                logits = np.broadcast_to(logits, (batch, logits.shape[1]))  # (B, V)
                cache, alike = [layer.repeat(batch) for layer in cache], False
            seen = end
            for row in range(batch):
                token = (
                    text[row, end - 1]
                    if done[row]
                    else choose(logits[row], rngs[row], sampling, histories[row])
                )
                text[row, end] = token
                if (history := histories[row]) is not None:
                    history.add(int(token))
            done |= np.isin(text[:, end], stops)
            yield text[:, end].copy()
            if done.all():
                return
    finally:
        if switched:
            model.train()


def _history(model: LanguageModel, sampling: Sampling, prompt: Ids) -> History | None:
    return History(model.config.vocab_size, prompt) if sampling.penalises else None
