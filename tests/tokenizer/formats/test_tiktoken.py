"""tiktoken's ranks, held to what tiktoken does with them."""

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import DataError
from scratchgrad.tokenizer.formats import (
    Found,
    detect,
    own,
    tiktoken,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.tokenizer import plain
from tests.tokenizer.formats.files import (
    BYTES,
    CL100K_SPECIAL,
    cl100k_file,
    ranks_in,
)
from tests.tokenizer.plain import TEXTS_OF_ABC, same, small, vocabularies


def tiktoken_encode(ranks: dict[bytes, int], piece: bytes) -> list[int]:
    """What tiktoken does: any two neighbours, the lowest rank, the leftmost of equals."""
    parts = [piece] if piece in ranks else [bytes([byte]) for byte in piece]
    while True:
        joined = [(ranks.get(a + b, 1 << 40), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, place = min(joined, default=(1 << 40, 0))
        if rank == 1 << 40:
            return [ranks[part] for part in parts]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


@given(vocabularies(ordered=True), st.lists(TEXTS_OF_ABC, min_size=5, max_size=5))
def test_tiktoken_reads_what_is_written_as_the_vocabulary_encodes(
    tmp_path_factory, vocabulary, texts
):
    path = tmp_path_factory.mktemp("tiktoken") / "t.tiktoken"
    try:
        tiktoken.write(path, vocabulary)
    except DataError:
        assert not path.exists()
        return
    ranks = ranks_in(path)
    again = tiktoken.read(path, vocabulary.special_tokens)
    tokens = [token.decode() for token in ranks if set(token) <= set(b"abc")]
    for text in [*texts, *tokens]:
        expected = tiktoken_encode(ranks, text.encode()) if text else []
        assert plain.encode(vocabulary, "none", text) == expected
        assert plain.encode(again, "none", text) == expected


@given(vocabularies(ordered=True))
def test_ranks_written_and_read_are_the_same_file(tmp_path_factory, vocabulary):
    """What `read` makes can always be written."""
    folder = tmp_path_factory.mktemp("tiktoken")
    special = set(vocabulary.special_tokens.values())
    lines = [
        b"%s %d" % (base64.b64encode(token), id_)
        for id_, token in enumerate(vocabulary.tokens)
        if token is not None and id_ not in special
    ]
    (folder / "a").write_bytes(b"\n".join(lines) + b"\n")
    tiktoken.write(folder / "b", tiktoken.read(folder / "a", vocabulary.special_tokens))
    assert (folder / "b").read_bytes() == (folder / "a").read_bytes()


def test_a_trained_vocabulary_can_be_written_for_tiktoken(tmp_path):
    vocabulary = small()
    path = tmp_path / "t.tiktoken"
    tiktoken.write(path, vocabulary)
    ranks = ranks_in(path)
    assert len(ranks) == vocabulary.size - 2
    assert path.read_bytes().startswith(b"AA== 0\nAQ== 1\n")
    assert tiktoken.read(path, vocabulary.special_tokens).tokens == vocabulary.tokens


@pytest.mark.parametrize(
    ("tokens", "merges", "flags", "message"),
    [
        # tiktoken would make "ab" first: its id is lower
        ((b"ab", b"bc"), [(98, 99, 257, 0), (97, 98, 256, 1)], {}, "ranks, so they must ascend"),
        ((b"ab", b"bc"), [(98, 99, 257, 0), (97, 98, 256, 0)], {}, "ranks, so they must ascend"),
        # "bc" is in the way of "abc", which tiktoken makes of "ab" and "c"
        (
            (b"bc", b"ab", b"abc"),
            [(98, 99, 256, 0), (97, 98, 257, 1), (257, 99, 258, 2)],
            {},
            "do not make token b'abc'",
        ),
        ((b"ab",), [], {}, "do not make token b'ab'"),
        ((b"ab",), [], {"whole_pieces": True}, "do not make token b'ab'"),
        ((b"ab",), [(97, 98, 256, 0)], {"characters": True}, "no characters"),
        ((b"ab",), [(97, 98, 256, 0)], {"prefix_space": True}, "no prefix_space"),
        ((b"a" * 1025,), [], {}, "has 1,025 bytes"),
    ],
)
def test_what_tiktoken_would_encode_otherwise_is_not_written(
    tmp_path, tokens, merges, flags, message
):
    with pytest.raises(DataError, match=message) as caught:
        tiktoken.write(tmp_path / "t.tiktoken", Vocabulary((*BYTES, *tokens), merges, **flags))
    assert "t.tiktoken: " in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_cl100k(tmp_path):
    ranks = cl100k_file()
    vocabulary = tiktoken.read(ranks, CL100K_SPECIAL)
    assert vocabulary.size == 100277
    assert vocabulary.tokens[100256] is None
    assert vocabulary.whole_pieces
    assert sum(token is not None for token in vocabulary.tokens) == 100256 + 5
    tiktoken.write(tmp_path / "ranks", vocabulary)
    assert (tmp_path / "ranks").read_bytes() == ranks.read_bytes()
    own.write(tmp_path / "own.json", vocabulary, "cl100k")
    assert same(own.read(tmp_path / "own.json")[0], vocabulary)
    assert detect(ranks) == Found("tiktoken", (ranks,))
