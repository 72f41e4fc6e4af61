"""Conversations as the text, and the ids, that a model was trained on: its chat template.

**What somebody says is data.** A template writes special tokens, ``<|im_end|>`` say, as text, and
that text is then searched for them. A user who types one must not end a turn with it. So the
template is rendered twice: once as it is, and once with every visible character of the contents in
disguise, as a character of Unicode's private planes that occurs nowhere else. In the second text
only the template's own special tokens are found. The stretches between them are unmasked and
encoded as ordinary text. Where the disguise makes no difference to what the template does, the
unmasked second text is the first, which is checked.

A template may look into the contents (``'</think>' in message.content``), and do something else
with the masks on. Then the first text is taken, if the two have the same special tokens in the same
order and none stands in what somebody else than the model has said; else the conversation is
refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import ConfigError, DataError
from scratchgrad.interop.known import text_of
from scratchgrad.tokenizer import BPETokenizer
from scratchgrad.tokenizer.chat import CHAT_TOKENS
from scratchgrad.tokenizer.checks import check_several
from scratchgrad.tokenizer.special import SpecialTokens

if TYPE_CHECKING:
    from scratchgrad.interop.pretrained import Pretrained

ROLES = ("system", "user", "assistant", "tool")

# The private planes 15 and 16, without the two last places of each, which are no characters.
_MASKS = (range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))

Message = Mapping[str, str]


def render(
    template: str,
    messages: Iterable[Message],
    *,
    begin: str = "",
    end: str = "",
    add_generation_prompt: bool = False,
) -> str:
    """Return the text of a conversation.

    Parameters
    ----------
    template : str
        Jinja, in the dialect of Hugging Face's ``apply_chat_template``.
    messages : iterable of mappings
        Each with a "role", one of `ROLES`, and a "content", a str.
    begin, end : str
        The texts of the tokens that the template knows as ``bos_token`` and ``eos_token``.
    add_generation_prompt : bool
        Put what begins the assistant's next turn at the end.

    Raises
    ------
    DataError
        The template is wrong, goes beyond its bounds, or says that it cannot take these messages;
        or a message is none.

    >>> template = "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}\\n{% endfor %}"
    >>> render(template, [{"role": "user", "content": " Hello "}])
    '[user] Hello\\n'
    """
    from scratchgrad.interop.template_sandbox import TemplateProblem, render_bounded

    values = {
        "messages": [dict(message) for message in _checked(messages)],
        "bos_token": begin,
        "eos_token": end,
        "add_generation_prompt": add_generation_prompt,
        "tools": None,  # which templates ask for, and transformers has where there are none
        "documents": None,
    }
    try:
        return render_bounded(template, values)
    except TemplateProblem as problem:
        raise DataError(f"the chat template {problem}") from None


def encode_chat(
    pretrained: Pretrained, messages: Iterable[Message], *, add_generation_prompt: bool = True
) -> NDArray[np.int64]:
    """Turn a conversation into ids, as the model was trained on.

    The special tokens of the template become their ids, those in the contents never do. A model of
    ours that was trained on the tokens of `scratchgrad.tokenizer.chat` needs no template.

    Parameters
    ----------
    pretrained : Pretrained
    messages, add_generation_prompt
        See `render`.

    Returns
    -------
    array of int64, shape (N,)

    Raises
    ------
    ConfigError
        The model has neither a chat template nor these tokens, or no byte-pair tokenizer.
    DataError
        See `render`; or what the contents hold makes the template write other special tokens; or
        it writes nothing at all.
    """
    tokenizer, template = pretrained.tokenizer, pretrained.chat_template
    if not isinstance(tokenizer, BPETokenizer):
        raise ConfigError(
            "chat: this model has no byte-pair tokenizer, so nothing can mark who speaks; take "
            "sample to continue a text"
        )
    messages = _checked(messages)
    special = tokenizer.special_tokens
    if template is None:
        if any(name not in special for name in CHAT_TOKENS):
            raise ConfigError(
                "chat: this model has no chat template, so it was not trained to answer; take "
                "sample to continue a text"
            )
        ours = tokenizer.encode_chat(messages, add_generation_prompt=add_generation_prompt)
        return ours.astype(np.int64)
    words = {
        "begin": pretrained.bos or _name(tokenizer, pretrained.begin),
        "end": pretrained.eos or _name(tokenizer, *pretrained.stop[:1]),
    }

    def written(messages: Sequence[Message]) -> str:
        return render(template, messages, **words, add_generation_prompt=add_generation_prompt)

    plain = written(messages)
    if not plain:
        raise DataError(
            "the chat template is empty, or writes nothing for these messages; take sample to "
            "continue a text"
        )
    masks = _masks(messages, plain + template)
    masked = written([{**m, "content": m["content"].translate(masks)} for m in messages])
    unmask = {ord(mask): chr(code) for code, mask in masks.items()}
    finder = SpecialTokens(special)
    # A token of spaces alone cannot be told from the spaces of a content, which wear no mask.
    allowed = {name for name in special if not name.isspace()}
    parts = list(finder.split(masked, allowed))
    if masked.translate(unmask) != plain:
        real = list(finder.split(plain, allowed))
        typed = [m["content"] for m in messages if m["role"] != "assistant"]
        if _marks(real) != _marks(parts) or any(_marks(finder.split(t, allowed)) for t in typed):
            raise DataError(
                "the chat template looks into the messages, and one of them holds a special token "
                "of the model; nothing tells the template's from that one, so leave it out"
            )
        parts = real
    ids = [
        np.array([part])
        if isinstance(part, int)
        else tokenizer.encode(part.translate(unmask), disallowed_special=())
        for part in parts
    ]
    return np.concatenate([np.zeros(0, np.int64), *ids]).astype(np.int64)


def _marks(parts: Iterable[Any]) -> list[int]:
    """The special tokens among what a text was split into."""
    return [part for part in parts if isinstance(part, int)]


def _name(tokenizer: BPETokenizer, id_: int | None = None) -> str:
    """The text of a token; none where the model has a row for it, and the tokenizer no token."""
    return "" if id_ is None else text_of(id_, tokenizer.stream())


def _masks(messages: Sequence[Message], rest: str) -> dict[int, str]:
    """A mask for every character of the contents that can be seen; none occurs in the rest."""
    seen = {character for message in messages for character in message["content"]}
    taken = seen | set(rest)
    free = (chr(code) for codes in _MASKS for code in codes if chr(code) not in taken)
    visible = sorted(character for character in seen if not character.isspace())
    masks = {ord(character): mask for character, mask in zip(visible, free, strict=False)}
    if len(masks) < len(visible):
        raise DataError("the conversation has more than a hundred thousand different characters")
    return masks


def _checked(messages: Iterable[Message]) -> list[Message]:
    """The messages, if each is one."""
    found = check_several(messages, "chat", "messages")
    for place, message in enumerate(found):
        known = isinstance(message, Mapping)
        role, content = (message.get("role"), message.get("content")) if known else (None, None)
        # A role is no data: templates write it where it decides what is a special token.
        if role not in ROLES or not isinstance(content, str):
            raise DataError(
                f"chat: message {place} is {shorten(message)}; expected a role, one of "
                f"{', '.join(ROLES)}, and a content that is a str"
            )
    if not found:
        raise DataError("chat: expected at least one message; got none")
    return found
