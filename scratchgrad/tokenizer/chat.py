"""Conversations as ids: special tokens say who speaks, and nothing that is said becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ConfigError, DataError
from scratchgrad.tokenizer.checks import check_several

if TYPE_CHECKING:
    from scratchgrad.tokenizer.bpe import BPETokenizer

# A role begins a turn, and END ends it.
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
END = "<|end|>"
CHAT_TOKENS = (*ROLES.values(), END)

# The same for programs that take a conversation's form as a Jinja template.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def conversation(
    messages: Iterable[Mapping[str, str]], tokenizer: BPETokenizer, add_generation_prompt: bool
) -> Iterator[NDArray[Any]]:
    """Yield the ids of a conversation in parts; see `BPETokenizer.encode_chat`."""
    ids = tokenizer.special_tokens
    missing = [name for name in CHAT_TOKENS if name not in ids]
    if missing:
        raise ConfigError(
            f"encode_chat: this tokenizer has no {' '.join(missing)}; "
            f"add_special_tokens(CHAT_TOKENS) adds them, for a model yet to be trained on them"
        )
    for place, message in enumerate(check_several(messages, "encode_chat", "messages")):
        known = isinstance(message, Mapping)
        role, content = (message.get("role"), message.get("content")) if known else (None, None)
        if not isinstance(role, str) or role not in ROLES or not isinstance(content, str):
            raise DataError(
                f"encode_chat: message {place} is {message!r:.80}; expected a role, one of "
                f"{', '.join(ROLES)}, and a content that is a str"
            )
        yield np.array([ids[ROLES[role]]])
        yield tokenizer.encode(content, disallowed_special=())
        yield np.array([ids[END]])
    if add_generation_prompt:
        yield np.array([ids[ROLES["assistant"]]])
