"""A conversation with a model: what was said stays in the cache, and only what is new is computed.

The ids of a conversation are what its chat template makes of it. With each message they are made
anew, and begin as before: with a cache of keys and values the model passes over the rest alone.
How far they agree with what the cache has seen is looked at, not assumed, since an answer is not
always encoded again by the tokens that it was sampled in; from where they part, the cache is
written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.autograd import no_grad
from scratchgrad.errors import ConfigError, DataError
from scratchgrad.generate import Sampling, choose
from scratchgrad.generate.sampling import History
from scratchgrad.interop.chat_template import encode_chat
from scratchgrad.interop.known import check_known, text_of
from scratchgrad.interop.pretrained import Pretrained
from scratchgrad.tokenizer.chat import END

Ids = NDArray[np.int64]


def _silent(message: str) -> None:
    """Nothing is said of it."""


class Conversation:
    """Messages, and a model that answers them.

    Parameters
    ----------
    pretrained : Pretrained
        With a byte-pair tokenizer, and a chat template or the tokens of our own.
    system : str, optional
        What stands before the first message, for as long as the conversation goes.
    tell : callable, optional
        Called with a line for the user: that turns were dropped, that an answer was cut.

    Attributes
    ----------
    messages : list of dict
        What has been said, but for what had to be dropped.
    computed : int
        The ids that the model has passed over, in all: for tests of the cache.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        system: str | None = None,
        tell: Callable[[str], None] = _silent,
    ) -> None:
        self._pretrained, self._model, self._tell = pretrained, pretrained.model, tell
        first = [] if system is None else [{"role": "system", "content": system}]
        self._fixed = len(first)
        self.messages: list[dict[str, str]] = first
        self._cache: list[Any] = []
        self._seen: Ids = np.zeros(0, np.int64)  # what the cache holds
        self.computed = 0
        special: dict[str, int] = getattr(pretrained.tokenizer, "special_tokens", {})
        own = (special[END],) if pretrained.chat_template is None and END in special else ()
        self._stop = frozenset((*pretrained.stop, *own))
        if not self._stop:
            raise ConfigError("chat: this model has no token that ends an answer; take sample")

    def answer(
        self,
        text: str,
        *,
        rng: np.random.Generator,
        sampling: Sampling = Sampling(),  # noqa: B008 - it is frozen
        max_new_tokens: int = 1024,
    ) -> Generator[str, None, None]:
        """Say something, and yield the answer in pieces, as it comes.

        What was yielded is the answer in `messages`, also where the iterator is closed before its
        end.

        Parameters
        ----------
        text : str
        rng, sampling
            As for `scratchgrad.generate.generate`.
        max_new_tokens : int
            At least 1. Where the context has no room for so many, or for a quarter of itself, the
            oldest turns are dropped, until what is left takes half of it at most.

        Raises
        ------
        DataError
            The message does not fit into the context, or has a byte that the model has no token
            for; it is not in `messages` then.
        """
        if max_new_tokens < 1:
            raise ConfigError(f"chat: expected an answer of at least 1 token; got {max_new_tokens}")
        asked = [*self.messages, {"role": "user", "content": text}]
        messages, ids = self._fitting(asked, max_new_tokens)
        return self._answer(messages, ids, rng, sampling, max_new_tokens)

    def _answer(
        self,
        messages: list[dict[str, str]],
        ids: Ids,
        rng: np.random.Generator,
        sampling: Sampling,
        length: int,
    ) -> Generator[str, None, None]:
        tokenizer: Any = self._pretrained.tokenizer  # encode_chat has refused a model without one
        self.messages = messages
        stream, pieces = tokenizer.stream(), [""]
        try:
            for token in self._tokens(ids, rng, sampling, length):
                pieces.append(text_of(token, stream))
                yield pieces[-1]
            pieces.append(stream.flush())
            yield pieces[-1]
        finally:
            self.messages.append({"role": "assistant", "content": "".join(pieces)})

    def _fitting(
        self, messages: list[dict[str, str]], length: int
    ) -> tuple[list[dict[str, str]], Ids]:
        """What of the messages leaves room for an answer, and its ids: the oldest turns go.

        Whatever is dropped, the cache is written anew. So it is not as little as will do, which
        would have to be done again for each message after, but all that is beyond half.
        """
        block_size = self._model.config.block_size
        room = block_size - min(length, block_size // 4)
        ids, dropped = encode_chat(self._pretrained, messages), 0
        check_known(self._pretrained, ids, "the message")
        full = len(ids) > room
        # The new message, and an older turn of two.
        while full and len(ids) > block_size // 2 and len(messages) >= self._fixed + 3:
            messages = messages[: self._fixed] + messages[self._fixed + 2 :]
            dropped += 1
            ids = encode_chat(self._pretrained, messages)
        if len(ids) > room:
            raise DataError(
                f"the message does not fit: it makes {len(ids):,} tokens with what belongs to it, "
                f"and the context of {block_size:,} has room for {room:,} before an answer; "
                f"shorten it"
            )
        if dropped:
            self._tell(
                f"the context of {block_size:,} tokens is full: the oldest "
                f"{f'{dropped} turns are' if dropped > 1 else 'turn is'} forgotten"
            )
        return messages, ids

    def _tokens(
        self, ids: Ids, rng: np.random.Generator, sampling: Sampling, length: int
    ) -> Iterator[int]:
        """The answer's tokens, without the one that ends it."""
        config = self._model.config
        history = History(config.vocab_size, ids) if sampling.penalises else None
        self._rewind(ids)
        for count in range(length):
            new = ids[len(self._seen) :]
            token = choose(self._logits(new), rng, sampling, history)
            self._seen = ids
            if token in self._stop:
                return
            if history is not None:
                history.add(token)
            ids = np.append(ids, token)
            yield token
            if len(ids) > config.block_size and count + 1 < length:
                self._tell(f"the context of {config.block_size:,} tokens is full: cut here")
                return
        self._tell(f"the answer was cut after {length:,} tokens")

    def _rewind(self, ids: Ids) -> None:
        """Keep of the cache what these ids begin with, but for the last: its logits are wanted.

        Behind a sliding window it may no longer have what that needs; then nothing is kept.
        """
        if not self._cache:
            self._cache = self._model.new_cache()
        both = min(len(ids) - 1, len(self._seen))
        differ = np.flatnonzero(ids[:both] != self._seen[:both])
        same = int(differ[0]) if len(differ) else both
        for layer in self._cache:  # all do the same, for they have seen the same
            same = layer.rewind(same)
        self._seen = self._seen[:same]

    def _logits(self, new: Ids) -> NDArray[Any]:
        """Pass over new ids; the row of logits after the last."""
        training = self._model.training
        self._model.eval()
        try:
            with no_grad():
                logits = self._model.next_logits(new[None], self._cache)
        except BaseException:
            self._cache = []  # some of its layers may have seen them, and others not
            self._seen = np.zeros(0, np.int64)
            raise
        finally:
            if training:
                self._model.train()
        self.computed += len(new)
        return np.asarray(logits.data)[0]
