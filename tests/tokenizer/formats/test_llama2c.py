"""llama2.c's tokenizer.bin, held to what llama2.c does with it."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import DataError
from scratchgrad.tokenizer.formats import (
    Found,
    detect,
    llama2c,
    own,
)
from tests.tokenizer import plain
from tests.tokenizer.formats.files import llama2c_tokens, write_llama2c
from tests.tokenizer.plain import NASTY, same


def llama2c_encode(tokens: list[tuple[float, bytes]], text: str) -> list[int]:
    """What llama2.c does with a valid text: by spelling, its byte tokens as they are spelled."""
    find = {spelling: id_ for id_, (_, spelling) in enumerate(tokens)}
    ids = [find[b" "]] if text else []
    for character in text:
        raw = character.encode()
        ids += [find[raw]] if raw in find else [byte + 3 for byte in raw]
    while True:
        best, place = -1e10, -1
        for at in range(len(ids) - 1):
            joined = find.get(tokens[ids[at]][1] + tokens[ids[at + 1]][1])
            if joined is not None and tokens[joined][0] > best:
                best, place = tokens[joined][0], at
        if place < 0:
            return ids
        ids[place : place + 2] = [find[tokens[ids[place]][1] + tokens[ids[place + 1]][1]]]


def llama2c_parse(raw: bytes) -> list[tuple[float, bytes]]:
    tokens, place = [], 4
    while place < len(raw):
        score, length = struct.unpack_from("<fi", raw, place)
        tokens.append((score, raw[place + 8 : place + 8 + length]))
        place += 8 + length
    return tokens


def test_tok512(shared_data, tmp_path):
    path = shared_data / "stories260k" / "tok512.bin"
    vocabulary = llama2c.read(path, 512)
    assert vocabulary.size == 512
    assert vocabulary.special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2}
    tokens = llama2c_parse(path.read_bytes())
    story = (shared_data / "tinystories-2mib.txt").read_text(encoding="utf-8")[:3000]
    for text in [*NASTY, story, "Once upon a time, there was a girl. <s> </s> <0x41>\n"]:
        expected = llama2c_encode(tokens, text)
        found = plain.encode(vocabulary, "none", text)
        assert found == expected
        assert plain.decode(vocabulary, found) == ((" " + text) if text else "").encode()
    own.write(tmp_path / "own.json", vocabulary, "none")
    assert same(own.read(tmp_path / "own.json")[0], vocabulary)
    assert detect(path) == Found("llama2c", (path,))
    with pytest.raises(DataError, match="expected 32000 tokens; the file has 512"):
        llama2c.read(path, 32000)


@given(
    st.lists(st.text(" ab", min_size=2, max_size=4), unique=True, max_size=12),
    st.data(),
    st.text(" abcé日", max_size=20),
)
def test_scores_become_ranks(tmp_path_factory, texts, data, text):
    """Equal scores, characters without a token, and scores too low to join anything."""
    path = tmp_path_factory.mktemp("llama2c") / "tokenizer.bin"
    scores = [data.draw(st.sampled_from([-1.0, -2.0, 0.0, 3.5, -2e10])) for _ in texts]
    singles = [(-9.0, single) for single in (" ", "a", "é")]
    tokens = llama2c_tokens(*singles, *zip(scores, texts, strict=True))
    write_llama2c(path, tokens)
    vocabulary = llama2c.read(path)
    assert plain.encode(vocabulary, "none", text) == llama2c_encode(tokens, text)


def test_equal_scores_are_equal_ranks(tmp_path):
    """The leftmost pair goes first, whichever token has the lower id."""
    path = tmp_path / "tokenizer.bin"
    singles = [(-9.0, single) for single in (" ", "a", "b")]
    write_llama2c(path, llama2c_tokens(*singles, (-1.0, "ab"), (-1.0, "ba"), (-0.5, "aa")))
    vocabulary = llama2c.read(path)
    space, a, b, ab, ba, aa = range(259, 265)
    assert vocabulary.merges.tolist() == [[a, b, ab, 1], [b, a, ba, 1], [a, a, aa, 0]]
    assert plain.encode(vocabulary, "none", "aba") == [space, ab, a]
    assert plain.encode(vocabulary, "none", "bab") == [space, ba, b]
    assert vocabulary.byte_ids[[32, 97, 98, 99]].tolist() == [space, a, b, 102]
