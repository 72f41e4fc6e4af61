"""``scratchgrad tokenizer show``, and what it is made of."""

import json
import shutil

import numpy as np
import pytest

from scratchgrad.tokenizer import BPETokenizer, load_tokenizer
from scratchgrad.tokenizer.inspect import (
    Compression,
    compression,
    longest,
    merge_order,
    truncate,
    visible,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.cli.commands import files_below
from tests.cli.tokenizer.words import TEXT, refused, tokenizer


def test_showing_the_merges_in_order_with_their_counts(at, capsys):
    assert tokenizer("show", "bpe.json", "--merges", 3, "--longest", 2, "--text", "text.txt") == 0
    out = capsys.readouterr().out
    vocabulary = load_tokenizer("bpe.json").vocabulary
    lines = out.splitlines()
    assert lines[0] == "bpe.json: 300 tokens, 42 merges, 2 special"
    assert lines[1].startswith("pattern  gpt2: ")
    assert lines[2:4] == ["special  '<|end|>' 298", "special  '<|pad|>' 299"]
    assert lines[5] == "merges: the first 3 of 42"
    assert lines[6].split() == ["rank", "left", "right", "becomes", "id", "count"]
    rows = [line.split() for line in lines[7:10]]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        (str(rank), str(256 + rank), str(vocabulary.counts[rank])) for rank in range(3)
    ]
    count = len(load_tokenizer("bpe.json").encode(TEXT))
    assert f"text text.txt: {len(TEXT)} bytes, {count} tokens, " in lines[-1]


def test_showing_for_a_machine(at, capsys):
    assert tokenizer("show", "bpe.json", "--merges", 99, "--longest", 1, "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    vocabulary = load_tokenizer("bpe.json").vocabulary
    assert report["kind"] == "byte pairs"
    assert report["special_tokens"] == {"<|end|>": 298, "<|pad|>": 299}
    assert [merge["rank"] for merge in report["merges"]] == list(range(42))
    assert [merge["count"] for merge in report["merges"]] == vocabulary.counts.tolist()
    for merge in report["merges"]:
        assert merge["left"]["hex"] + merge["right"]["hex"] == merge["result"]["hex"]
    (token,) = report["longest"]
    lengths = [len(t) for t in vocabulary.tokens[:298]]
    assert len(bytes.fromhex(token["hex"])) == max(lengths)
    assert tokenizer("show", "bpe.json", "--json", "report.json") == 0
    assert json.loads((at / "report.json").read_text())["merge_count"] == 42


def test_showing_characters(at, capsys):
    assert tokenizer("show", "characters.json", "--text", "text.txt") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"characters.json: {len(set(TEXT))} characters\n\n\\n   ! . a b c d")
    assert "1.00 bytes a token" in out


def test_the_picture_of_compression(at, capsys):
    argv = ["--text", "text.txt", "--picture", "c.png", "--json", "report.json"]
    assert tokenizer("show", "bpe.json", *argv) == 0
    assert (at / "c.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "picture: c.png" in capsys.readouterr().out
    report = json.loads((at / "report.json").read_text())
    points = report["compression"]
    assert points[0] == {"vocab_size": 256, "tokens": len(TEXT), "per_token": 1.0}
    assert points[-1]["vocab_size"] == 298
    assert points[-1]["tokens"] == report["text"]["tokens"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere.json"], "nowhere.json"),
        (["text.txt"], "text.txt"),
        (["bpe.json", "--merges", "-1"], "--merges must be 0 or more; got -1"),
        (["bpe.json", "--longest", "x"], "invalid int value"),
        (["bpe.json", "--text", "nowhere.txt"], "nowhere.txt"),
        (["bpe.json", "--text", "empty.txt"], "empty.txt is empty"),
        (["bpe.json", "--text", "empty"], "empty is a folder; --text takes one file"),
        (["bpe.json", "--picture", "c.png"], "--picture: needs a --text"),
        (["bpe.json", "--text", "text.txt", "--picture", "c.jpg"], "ends in .png, got c.jpg"),
        (["bpe.json", "--text", "text.txt", "--picture", "no/c.png"], "does not exist"),
        (["bpe.json", "--json", "no/r.json"], "--json: expected a file in a folder"),
        (["bpe.json", "--json", "bpe.json"], "--json: bpe.json is read too, and would be lost"),
        (["bpe.json", "--text", "text.txt", "--json", "./text.txt"], "./text.txt is read too"),
        (["bpe.png", "--text", "text.txt", "--picture", "bpe.png"], "--picture: bpe.png is read"),
        (["bpe.json", "--text", "t.png", "--picture", "t.png"], "--picture: t.png is read too"),
        (["bpe.json", "--text", "t.png", "--json", "c.png", "--picture", "c.png"], "both name c"),
        (["characters.json", "--text", "text.txt", "--picture", "c.png"], "no merges to draw"),
        (["characters.json", "--text", "wild.bin"], "is not UTF-8 at offset 7"),
    ],
)
def test_mistakes_in_showing(at, capsys, argv, message):
    (at / "empty").mkdir()
    (at / "empty.txt").touch()
    shutil.copy("bpe.json", "bpe.png")
    shutil.copy("text.txt", "t.png")
    before = files_below(at)
    assert message in refused(capsys, "show", *argv)
    assert files_below(at) == before


def test_truncating_is_having_trained_for_less(at):
    whole = load_tokenizer("bpe.json").vocabulary
    for size in (258, 259, 270, 300):
        less = BPETokenizer(special_tokens=["<|end|>", "<|pad|>"]).train(TEXT, size).vocabulary
        shorter = truncate(whole, size - 258)
        assert shorter.tokens == less.tokens
        assert shorter.merges.tolist() == less.merges.tolist()
        assert shorter.special_tokens == less.special_tokens
        assert shorter.counts.tolist() == less.counts.tolist()
        assert shorter.byte_ids.tolist() == less.byte_ids.tolist()


@pytest.mark.parametrize("count", [-1, 43])
def test_truncating_to_more_than_there_are(at, count):
    with pytest.raises(ValueError, match=f"expected 0 to 42 merges to keep; got {count}"):
        truncate(load_tokenizer("bpe.json").vocabulary, count)


def test_truncating_where_ids_are_in_another_order_and_some_are_missing():
    """The bytes backwards, a special token in front, a gap, two ways to make one token."""
    tokens = [b"<s>", *(bytes([b]) for b in range(255, -1, -1)), b"abc", None, b"bc", b"ab"]
    a, b, c = (256 - ord(letter) for letter in "abc")
    merges = np.array([[a, b, 260, 0], [260, c, 257, 2], [b, c, 259, 1], [a, 259, 257, 2]])
    flags = {"whole_pieces": True, "prefix_space": True}
    whole = Vocabulary(tokens, merges, {"<s>": 0}, np.array([4, 3, 2, 1]), **flags)
    assert merge_order(whole).tolist() == [0, 2, 1, 3]
    assert truncate(whole, 3).tokens == (*tokens[:257], b"abc", b"bc", b"ab")
    shorter = truncate(whole, 2)
    assert shorter.tokens == (*tokens[:257], b"bc", b"ab")
    assert shorter.merges.tolist() == [[a, b, 258, 0], [b, c, 257, 1]]
    assert shorter.counts.tolist() == [4, 2]
    assert (shorter.whole_pieces, shorter.prefix_space, shorter.characters) == (True, True, False)
    assert truncate(whole, 0).tokens == tuple(tokens[:257])
    assert longest(whole, 2) == [257, 259]


def test_compression_is_that_of_the_truncated_vocabularies(at):
    tok = load_tokenizer("bpe.json")
    points = list(compression(tok, TEXT.encode()))
    assert points[0] == Compression(256, len(TEXT))
    assert points[-1] == Compression(298, len(tok.encode(TEXT)))
    tokens = [point.tokens for point in points]
    assert tokens == sorted(tokens, reverse=True)
    # Special tokens are text here.
    assert next(compression(tok, b"<|end|>")).tokens == 7


def test_visible():
    assert visible(b"\n") == r"'\n'"
    assert visible(b"\xff") == r"b'\xff'"
    assert visible(b"x" * 50, 20) == "'" + "x" * 15 + "..."
