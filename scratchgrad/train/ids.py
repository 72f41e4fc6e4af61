"""The tokenizer of a run, and its text as ids."""

from __future__ import annotations

import warnings
from typing import Any

from numpy.typing import NDArray

from scratchgrad.errors import DataError
from scratchgrad.tokenizer import (
    BPETokenizer,
    CharTokenizer,
    Progress,
    Tokenizer,
    load_tokenizer,
)
from scratchgrad.train.config import BPE, CHARACTERS, TokenizerSettings


def saved_tokenizer(settings: TokenizerSettings) -> Tokenizer | None:
    """Load the tokenizer that the settings name, or return None where one is to be learned."""
    if settings.tokenizer in (CHARACTERS, BPE):
        return None
    return load_tokenizer(settings.tokenizer)


def new_tokenizer(
    settings: TokenizerSettings,
    text: str,
    training: str,
    progress: Progress | None,
    notes: list[str],
) -> Tokenizer:
    """Learn a vocabulary from the text; what there is to know about it goes into ``notes``."""
    if settings.tokenizer == CHARACTERS:
        # A character that is held out must have an id too.
        return CharTokenizer().train(text)
    # Bytes can spell any text, so merges are learned from what may be seen and no more.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        tokenizer = BPETokenizer().train(training, settings.vocab_size, progress=progress)
    notes.extend(str(warning.message) for warning in caught)
    return tokenizer


def encode_parts(
    settings: TokenizerSettings, tokenizer: Tokenizer, parts: tuple[str, str]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Encode what is trained on and what is held out.

    The text was cut, and not its ids: runs with different vocabularies hold out the same text.

    Raises
    ------
    DataError
        The tokenizer does not know a character, or the text holds a special token that is not
        allowed.
    """

    def encode(text: str) -> NDArray[Any]:
        if settings.allow_special and isinstance(tokenizer, BPETokenizer):
            return tokenizer.encode(text, allowed_special="all")
        return tokenizer.encode(text)

    training = encode(parts[0])
    try:
        return training, encode(parts[1])
    except DataError as error:
        raise DataError(
            f"in the held-out text, which begins at character {len(parts[0])}: {error}"
        ) from None
