"""What a vocabulary is worth: its merges in order, its longest tokens, what each merge saves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ConfigError
from scratchgrad.tokenizer.bpe import BPETokenizer
from scratchgrad.tokenizer.vocabulary import Vocabulary


class Compression(NamedTuple):
    """How short a text becomes with so many tokens to write it in.

    Attributes
    ----------
    vocab_size : int
        Ordinary tokens: those that a text starts out as, and one for each merge.
    tokens : int
        What the text becomes.
    """

    vocab_size: int
    tokens: int


def merge_order(vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the rows of ``vocabulary.merges``, the lowest rank first."""
    return np.argsort(vocabulary.merges[:, 3], kind="stable")


def truncate(vocabulary: Vocabulary, merges: int) -> Vocabulary:
    """Return the vocabulary as it was after its first merges, without gaps between the ids.

    Byte-pair training is greedy, so this is exactly what training for fewer tokens would have
    learned.

    Parameters
    ----------
    vocabulary : Vocabulary
    merges : int
        Tokens made by merging that are kept, in the order of their ranks. Two merges that make
        the same token count once.

    Raises
    ------
    ConfigError
        There are not so many.

    >>> vocabulary = BPETokenizer().train("aaabdaaabac", 259).vocabulary
    >>> [truncate(vocabulary, count).tokens[256:] for count in (0, 1, 2)]
    [(), (b'aa',), (b'aa', b'ab')]
    """
    results = _results(vocabulary)
    if not 0 <= merges <= len(results):
        raise ConfigError(f"expected 0 to {len(results)} merges to keep; got {merges}")
    dropped = set(results[merges:])
    kept = np.array(
        [token is not None and id_ not in dropped for id_, token in enumerate(vocabulary.tokens)]
    )
    renamed = np.cumsum(kept, dtype=np.int32) - 1  # old id -> new id, where it is kept
    rows = kept[vocabulary.merges[:, :3]].all(axis=1)
    shorter = vocabulary.merges[rows]
    shorter[:, :3] = renamed[shorter[:, :3]]
    return Vocabulary(
        tuple(token for token, keep in zip(vocabulary.tokens, kept, strict=True) if keep),
        shorter,
        {text: int(renamed[id_]) for text, id_ in vocabulary.special_tokens.items()},
        None if vocabulary.counts is None else vocabulary.counts[rows],
        whole_pieces=vocabulary.whole_pieces,
        characters=vocabulary.characters,
        prefix_space=vocabulary.prefix_space,
        byte_ids=renamed[vocabulary.byte_ids],
    )


def longest(vocabulary: Vocabulary, count: int) -> list[int]:
    """Return the ids of the longest ordinary tokens, in bytes; of equals, the lowest id first."""
    special = set(vocabulary.special_tokens.values())
    lengths = [
        (-len(token), id_)
        for id_, token in enumerate(vocabulary.tokens)
        if token is not None and id_ not in special
    ]
    return [id_ for _, id_ in sorted(lengths)[:count]]


def compression(tokenizer: BPETokenizer, text: bytes) -> Iterator[Compression]:
    """Yield how short a text becomes with no merges, and with ever more of them.

    The sizes are the powers of the root of two between the vocabulary's beginning and its end,
    and both ends.
    Special tokens in the text are ordinary text here.
    """
    vocabulary = tokenizer.vocabulary
    results = len(_results(vocabulary))
    ordinary = sum(token is not None for token in vocabulary.tokens) - len(
        vocabulary.special_tokens
    )
    first = ordinary - results
    between = [round(2 ** (half / 2)) for half in range(2 * ordinary.bit_length())]
    # Not beside the ends, where they would say the same twice.
    apart = [size for size in between if 1.2 * first < size < ordinary / 1.2]
    for size in sorted({first, *apart, ordinary}):
        smaller = truncate(vocabulary, size - first)
        encoder = BPETokenizer(smaller, tokenizer.pattern.name or tokenizer.pattern.string)
        yield Compression(size, len(encoder.encode(text, disallowed_special=())))


def visible(token: bytes, width: int = 40) -> str:
    r"""Write a token so that a person can see it: quoted, as text if it is whole characters.

    >>> print(visible(b" the"), visible(b"\xc3\xa9"), visible(b"\xc3"), visible(b"-" * 99, 12))
    ' the' 'é' b'\xc3' '-------...
    """
    try:
        shown = repr(token.decode("utf-8"))
    except UnicodeDecodeError:
        shown = repr(token)
    return shown if len(shown) <= width else shown[: width - 4] + "..."


def _results(vocabulary: Vocabulary) -> list[int]:
    """Return the tokens that merges make, in the order in which they come to be."""
    ordered = vocabulary.merges[merge_order(vocabulary), 2].tolist()
    return list(dict.fromkeys(ordered))
