"""Special tokens: ids that mark something, such as the end of a text, and that no text becomes.

A model is trained to obey them, so somebody who writes ``<|endoftext|>`` into a form must not be
able to end the text. They are therefore found before anything else is done, and a text that has
one is refused, unless the caller says what is meant: the token, or the characters. (The rule is
tiktoken's.)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import ConfigError, DataError
from scratchgrad.tokenizer.vocabulary import Vocabulary

Names: TypeAlias = Collection[str] | Literal["all"]

_CODEC = "utf-8", "surrogatepass"


class SpecialTokens:
    """The special tokens of a vocabulary, and how to find them in a str or in bytes.

    >>> special = SpecialTokens({"<|endoftext|>": 256})
    >>> list(special.split("one<|endoftext|>two", "all"))
    ['one', 256, 'two']
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self.ids = dict(ids)

    def check(
        self, text: Any, allowed: Names, disallowed: Names, name_of_text: str = "the text"
    ) -> None:
        """Refuse a text, a str or bytes, with a special token that is disallowed.

        Raises
        ------
        DataError
            It has one; the message says which and where.
        ConfigError
            A name that is no special token.
        """
        permitted = self._chosen(allowed, "allowed_special")
        refused = self._chosen(disallowed, "disallowed_special")
        if isinstance(disallowed, str):
            refused -= permitted
        found = next(self._find(text, refused), None)
        if found is not None:
            name, begin, _ = found
            unit = "position" if isinstance(text, str) else "byte"
            raise DataError(
                f"{name_of_text} has the special token {name!r} at {unit} {begin}; pass "
                f"allowed_special={{{name!r}}} if it is meant, disallowed_special=() if its "
                f"characters are"
            )

    def split(self, text: Any, allowed: Names) -> Iterator[Any]:
        """Yield the ordinary stretches of a text, and the ids of the allowed tokens in it.

        A stretch of a str is a str; one of bytes, or of a file in memory, is a view of it.
        """
        at, whole = 0, text if isinstance(text, str) else memoryview(text)
        for name, begin, end in self._find(text, self._chosen(allowed, "allowed_special")):
            if begin > at:
                yield whole[at:begin]
            yield self.ids[name]
            at = end
        if at < len(text):
            yield whole[at:] if at else text

    def _chosen(self, names: Names, argument: str) -> set[str]:
        if isinstance(names, str) and names == "all":
            return set(self.ids)
        # An iterator would be used up by the check, and nothing be left for what follows.
        if isinstance(names, str | bytes) or not isinstance(names, Collection):
            raise ConfigError(
                f'{argument}: expected a set of names, or "all"; got {shorten(names)}; () is none'
            )
        unknown = [name for name in names if not isinstance(name, str) or name not in self.ids]
        if unknown:
            known = ", ".join(self.ids) or "none"
            raise ConfigError(
                f"{argument}: {shorten(unknown[0])} is no special token of this tokenizer; "
                f"it has {known}"
            )
        return set(names)

    def _find(self, text: Any, names: set[str]) -> Iterator[tuple[str, int, int]]:
        """Where they stand, from left to right; the longest where several begin."""
        if not names:
            return
        if isinstance(text, str):
            if text.find(_beginning(names)) >= 0:
                for found in re.finditer(_any_of(names), text):
                    yield found[0], found.start(), found.end()
            return
        spelled = {name.encode(*_CODEC): name for name in names}
        if text.find(_beginning(names).encode(*_CODEC)) >= 0:
            for match in re.finditer(_any_of(names).encode(*_CODEC), text):
                yield spelled[match[0]], match.start(), match.end()


def with_special_tokens(vocabulary: Vocabulary, names: Iterable[str]) -> Vocabulary:
    """The vocabulary with special tokens after its last id; `BPETokenizer.add_special_tokens`."""
    tokens, special = list(vocabulary.tokens), dict(vocabulary.special_tokens)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"a special token must be a str, not empty; got {shorten(name)}")
        if len(name) == 1:
            raise ConfigError(
                f"special token {name!r} is one character, and by default a text with it "
                f"would be refused; take a longer one, such as {f'<|{name}|>'!r}"
            )
        if name in special:
            raise ConfigError(f"special token {shorten(name)} is given twice, or there already")
        special[name] = len(tokens)
        tokens.append(name.encode(*_CODEC))
    return replace(vocabulary, tokens=tuple(tokens), special_tokens=special)


def _beginning(names: set[str]) -> str:
    """What all of them begin with: "<|" as a rule, which is sought much faster than a pattern."""
    first, last = min(names), max(names)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((i for i, (a, b) in pairs if a != b), min(len(first), len(last)))]


def _any_of(names: set[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
