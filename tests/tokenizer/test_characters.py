"""CharTokenizer: there and back, unknown characters, and files that are not what they say."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.data import split
from scratchgrad.errors import DataError, DtypeError, IdRangeError
from scratchgrad.tokenizer import CharTokenizer

# Every code point, lone surrogates too.
ANY_TEXT = st.text(st.characters(codec=None, categories=None), min_size=1)


@given(ANY_TEXT)
def test_encode_then_decode_is_the_text(text):
    tokenizer = CharTokenizer().train(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert ids.shape == (len(text),)
    assert tokenizer.vocab_size == len(set(text))
    assert ids.max() < tokenizer.vocab_size


@given(ANY_TEXT)
def test_a_saved_tokenizer_is_the_same_one(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer = CharTokenizer().train(text)
    tokenizer.save(path)
    assert CharTokenizer.load(path).characters == tokenizer.characters
    path.read_bytes().decode("utf-8")  # valid, whatever the text


def test_ids_follow_code_points_and_take_the_smallest_dtype():
    assert CharTokenizer().train("cab\n").characters == "\nabc"
    many = "".join(map(chr, range(1000, 1300)))
    assert CharTokenizer().train(many).encode("ϩ").dtype == np.uint16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abxa", r"'x' \(U\+0078\) at position 2"),
        ("ab\u00a0", r"'\\xa0' \(U\+00A0\) at position 2"),
        ("\U0001f600", r"'😀' \(U\+1F600\) at position 0"),
        ("a\ud800", r"'\\ud800' \(U\+D800\) at position 1"),
    ],
)
def test_an_unknown_character_is_named_with_its_position(text, message):
    with pytest.raises(DataError, match=message):
        CharTokenizer().train("ab").encode(text)


def test_empty_text():
    with pytest.raises(DataError, match="empty"):
        CharTokenizer().train("")
    tokenizer = CharTokenizer().train("ab")
    assert len(tokenizer.encode("")) == 0
    assert tokenizer.decode([]) == ""
    with pytest.raises(DataError, match="not among the 0 characters"):
        CharTokenizer().encode("a")


def test_ids_out_of_range_are_named():
    tokenizer = CharTokenizer().train("ab")
    for bad in (2, -1):
        with pytest.raises(IdRangeError, match=rf"id {bad} at position 1 .* expected 0 to 1"):
            tokenizer.decode([0, bad])
    with pytest.raises(DtypeError, match="whole numbers"):
        tokenizer.decode([0.0])
    with pytest.raises(DtypeError, match="shape"):
        tokenizer.decode([[0, 1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"characters": ["a", "b", "a"]}, "'a' .* stands twice .* at 0 and 2"),
        ({"characters": ["a", "bc"]}, "entry 1 .* one character; got 'bc'"),
        ({"characters": ["a", ""]}, "entry 1 .* one character; got ''"),
        ({"characters": ["a", 7]}, "entry 1 .* one character; got 7"),
        ({"characters": ["a", None]}, "entry 1"),
        ({"characters": ["a", ["b"]]}, "entry 1"),
        ({"characters": "ab"}, "a list of characters"),
        ({"characters": []}, "not empty"),
        ({"characters": {"a": 0}}, "a list of characters"),
        ({"format": "another"}, "expected format"),
        ({"version": 2}, "expected version 1"),
        ({"version": True}, "expected version 1"),
        ({"version": 1.0}, "expected version 1"),
        ({"version": "1"}, "expected version 1"),
    ],
)
def test_a_file_that_lies_is_refused(tmp_path, change, message):
    path = tmp_path / "t.json"
    CharTokenizer().train("ab").save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message) as caught:
        CharTokenizer.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"3", b"null", b"[" * 100_000, b'{"format": NaN}'],
)
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.json is (not a|not UTF-8|empty)"):
        CharTokenizer.load(path)


def test_a_tokenizer_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no such tokenizer"):
        CharTokenizer.load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a folder"):
        CharTokenizer.load(tmp_path)


def test_tinyshakespeare(shared_data):
    """The counts that figures on this text are quoted with: 65 characters, split 9 to 1."""
    text = (shared_data / "tinyshakespeare.txt").read_bytes().decode()
    tokenizer = CharTokenizer().train(text)
    ids = tokenizer.encode(text)
    assert tokenizer.vocab_size == 65
    assert tokenizer.decode(ids) == text
    training, validation = split(ids, 0.1)
    assert (len(training), len(validation)) == (1_003_854, 111_540)
