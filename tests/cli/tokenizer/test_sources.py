"""What may be named as a text: folders, pipes, devices; and where options may stand."""

import os

import numpy as np
import pytest

from scratchgrad.tokenizer import load_tokenizer
from tests.cli.commands import files_below
from tests.cli.tokenizer.words import TEXT, WILD, refused, stdin, tokenizer


@pytest.mark.parametrize("name", ["bpe.json", "characters.json"])
def test_a_folder_is_its_files_in_order(at, capsys, name):
    (at / "books" / "deeper").mkdir(parents=True)
    (at / "books" / "b.txt").write_text("the fox ")
    (at / "books" / "deeper" / "c.txt").write_text("the dog")
    loaded = load_tokenizer(name)
    ids = [*loaded.encode("the fox ").tolist(), *loaded.encode("the dog").tolist()]
    assert tokenizer("encode", name, "books") == 0
    assert capsys.readouterr().out == " ".join(map(str, ids)) + "\n"
    assert tokenizer("encode", name, "books", "text.txt", "--count") == 0
    assert capsys.readouterr().out == f"{len(ids)}\n{len(loaded.encode(TEXT))}\n"
    assert tokenizer("encode", name, "books", "--out", "ids.npy") == 0
    assert np.load("ids.npy").tolist() == ids


def test_a_pipe_is_read_as_stdin_is(at, capsysbinary, pipe):
    argv = ["--vocab-size", 280, "--quiet", "--out"]
    assert tokenizer("train", "text.txt", *argv, "a.json") == 0
    assert tokenizer("train", pipe(TEXT.encode()), *argv, "b.json") == 0
    assert (at / "a.json").read_bytes() == (at / "b.json").read_bytes()
    ids = load_tokenizer("bpe.json").encode(WILD)
    assert tokenizer("encode", "bpe.json", pipe(WILD)) == 0
    words = capsysbinary.readouterr().out
    assert list(map(int, words.split())) == ids.tolist()
    assert tokenizer("encode", "bpe.json", pipe(WILD), "--out", "ids.npy") == 0
    assert np.load("ids.npy").tolist() == ids.tolist()
    capsysbinary.readouterr()
    for content in (words, (at / "ids.npy").read_bytes()):
        assert tokenizer("decode", "bpe.json", pipe(content)) == 0
        assert capsysbinary.readouterr().out == WILD
    assert tokenizer("show", "bpe.json", "--text", pipe(WILD)) == 0
    assert f"{len(WILD)} bytes, {len(ids)} tokens".encode() in capsysbinary.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_device_is_no_text(at, capsys):
    for argv in (["train", "/dev/null", "--out", "a.json"], ["encode", "bpe.json", "/dev/null"]):
        assert "/dev/null is a device, and may never end; pipe its" in refused(capsys, *argv)


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        (["encode", "bpe.json", "--count", "text.txt"], "count\n"),
        (["encode", "--count", "bpe.json", "text.txt", "text.txt"], "count\ncount\n"),
        (["encode", "bpe.json", "text.txt", "--count", "text.txt"], "count\ncount\n"),
        (["encode", "bpe.json", "--allow-special", "all", "-", "--count"], "count\n"),
        (["encode", "bpe.json", "--count", "--", "-odd.txt"], "count\n"),
        (["encode", "bpe.json", "text.txt", "--count", "--", "-odd.txt"], "count\ncount\n"),
        (["encode", "bpe.json", "--out", "i.npy", "text.txt"], "count ids, written to i.npy\n"),
    ],
)
def test_options_may_stand_before_the_texts_and_between(at, capsys, monkeypatch, argv, out):
    stdin(monkeypatch, TEXT.encode())
    (at / "-odd.txt").write_text(TEXT, newline="")
    assert tokenizer(*argv) == 0
    count = len(load_tokenizer("bpe.json").encode(TEXT))
    assert capsys.readouterr().out == out.replace("count", str(count))


def test_options_between_texts_and_ids(at, capsys):
    argv = ["--vocab-size", 280, "--quiet", "--out"]
    assert tokenizer("train", "text.txt", "wild.bin", *argv, "a.json") == 0
    assert tokenizer("train", "text.txt", *argv, "b.json", "wild.bin") == 0
    assert (at / "a.json").read_bytes() == (at / "b.json").read_bytes()
    assert tokenizer("decode", "bpe.json", 72, "--out", "text", 105) == 0
    assert (at / "text").read_bytes() == b"Hi"
    message = refused(capsys, "decode", "bpe.json", 72, "--out", "text", -1)
    assert "id -1 at position 1 is outside" in message


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["encode", "bpe.json", "--text", "hi", "text.txt"], "--text, and not both"),
        (["encode", "bpe.json", "--count", "nowhere.txt"], "no such text file or folder: nowhere"),
        (["encode", "bpe.json", "--count", "text.txt", "--fast"], "no such option: --fast;"),
        (["train", "text.txt", "--out", "a.json", "a.json"], "--out: a.json is read too"),
        (["show", "bpe.json", "text.txt"], "one word too many: text.txt; see scratchgrad tok"),
    ],
)
def test_mistakes_among_words_and_options(at, capsys, argv, message):
    before = files_below(at)
    assert message in refused(capsys, *argv)
    assert files_below(at) == before
