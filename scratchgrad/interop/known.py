"""Ids that a model has a row for: the tokenizer that comes with it may know more, or fewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError, IdRangeError
from scratchgrad.interop.pretrained import Pretrained


def check_known(pretrained: Pretrained, ids: Any, name: str) -> NDArray[np.int64]:
    """Return the ids of a text, if the model has a row for each.

    Byte-pair encoding needs a token for every byte, and a vocabulary may lack those that its text
    never had: SmolLM2's lacks 21. They get ids beyond the model's.

    Parameters
    ----------
    pretrained : Pretrained
    ids : sequence of int, shape (N,)
        Of its tokenizer.
    name : str
        What the user calls the text: "the message", "--prompt".

    Returns
    -------
    array of int64, shape (N,)

    Raises
    ------
    DataError
        The model has no row for one; the message shows its bytes.
    """
    given = np.asarray(ids, np.int64)
    unknown = given[given >= pretrained.model.config.vocab_size]
    if len(unknown):
        tokenizer: Any = pretrained.tokenizer  # it has made the ids
        text = shorten(tokenizer.token_bytes(int(unknown[0])))
        raise DataError(
            f"{name} has {text}, which this model was never shown and has no token for; leave it "
            f"out"
        )
    return given


def text_of(token: int, stream: Any) -> str:
    """What a token that a model has chosen adds to a streamed text.

    The rows of a model may be more than its tokens, to make a round number; what has none is no
    text.

    Parameters
    ----------
    token : int
    stream : TokenStream or CharStream
    """
    try:
        text: str = stream.push(token)
    except IdRangeError:
        return ""
    return text
