"""Our own file: all of it comes back, a person can read it, and a full disk does not harm it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import DataError
from scratchgrad.tokenizer.formats import (
    own,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.tokenizer.formats.files import BYTES
from tests.tokenizer.plain import same, small, vocabularies


@given(vocabularies(), st.text())
def test_own_file_gives_back_the_vocabulary(tmp_path_factory, vocabulary, pattern):
    path = tmp_path_factory.mktemp("own") / "tokenizer.json"
    own.write(path, vocabulary, pattern)
    again, pattern_again = own.read(path)
    assert same(again, vocabulary)
    assert pattern_again == pattern
    path.read_bytes().decode("utf-8")


def test_own_file_is_for_reading(tmp_path):
    vocabulary = Vocabulary(
        (*BYTES, b" h", b"er", b" her", b"\xa9\xc3", b"<|end|>"),
        [(32, 104, 256, 0), (101, 114, 257, 1), (256, 257, 258, 2), (169, 195, 259, 3)],
        {"<|end|>": 260},
        [9, 7, 5, 1],
    )
    path = tmp_path / "t.json"
    own.write(path, vocabulary, r"\s+|\S+")
    assert path.read_text(encoding="utf-8") == (
        r"""{
 "format": "scratchgrad-bpe",
 "version": 1,
 "pattern": "\\s+|\\S+",
 "size": 261,
 "special_tokens": {
  "<|end|>": 260
 },
 "bytes": "in order",
 "columns": ["left", "right", "id", "token", "count"],
 "merges": [
  [32, 104, 256, " h", 9],
  [101, 114, 257, "er", 7],
  [256, 257, 258, " her", 5],
  [169, 195, 259, {"bytes": "a9 c3"}, 1]
 ]
}
"""
    )


@pytest.mark.parametrize(
    ("token", "spelled"),
    [
        (b"\xe2\x80", '{"bytes": "e2 80"}'),
        (b" \xff", '{"bytes": "20 ff"}'),
        (b"\xed\xa0\x80", '{"bytes": "ed a0 80"}'),
        (b"\\xff", r'"\\xff"'),
        (b'{"bytes": "ff"}', r'"{\"bytes\": \"ff\"}"'),
        (b"\n\x00\x7f", r'"\n\u0000\u007f"'),
        ("\u2028\u0085\u202e\u00a0".encode(), r'"\u2028\u0085\u202e\u00a0"'),
        ("\U000e0001".encode(), r'"\udb40\udc01"'),
        ("日本😀".encode(), '"日本😀"'),
    ],
)
def test_a_token_is_spelled_so_that_it_can_be_seen(tmp_path, token, spelled):
    path = tmp_path / "t.json"
    own.write(path, Vocabulary((*BYTES, token), []), "none")
    assert f"  [256, {spelled}]\n" in path.read_text(encoding="utf-8")
    assert own.read(path)[0].tokens[256] == token


def test_own_file_keeps_flags_gaps_and_two_tokens_of_a_byte(tmp_path):
    path = tmp_path / "t.json"
    vocabulary = Vocabulary(
        (None, *BYTES[::-1], b"a", None, b"ba", None, None),
        [(158, 257, 259, 5)],
        characters=True,
        prefix_space=True,
        whole_pieces=True,
    )
    own.write(path, vocabulary, "none")
    assert same(own.read(path)[0], vocabulary)


def test_own_file_refuses_what_json_would_change(tmp_path):
    name = "\ud83d\ude00"  # two halves, which JSON would read as one character
    vocabulary = Vocabulary((*BYTES, name.encode("utf-8", "surrogatepass")), [], {name: 256})
    with pytest.raises(DataError, match=r"t\.json: JSON cannot carry the lone surrogates"):
        own.write(tmp_path / "t.json", vocabulary, "none")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    own.write(path, small(), "gpt2")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space .*t\.json"):
        own.write(path, small(), "none")
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]
    assert path.read_bytes() == before
