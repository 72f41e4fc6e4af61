"""``scratchgrad tokenizer encode`` and ``decode``: ids there and bytes back."""

import os
import subprocess
import sys

import numpy as np
import pytest

from scratchgrad.tokenizer import load_tokenizer
from tests.cli.commands import files_below
from tests.cli.tokenizer.words import TEXT, WILD, refused, stdin, tokenizer


def test_encoding_to_stdout(at, capsys, monkeypatch):
    ids = load_tokenizer("bpe.json").encode("the lazy fox").tolist()
    assert tokenizer("encode", "bpe.json", "--text", "the lazy fox") == 0
    assert capsys.readouterr().out == " ".join(map(str, ids)) + "\n"
    stdin(monkeypatch, b"the lazy fox")
    assert tokenizer("encode", "bpe.json", "text.txt", "-") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert len(first.split()) == len(load_tokenizer("bpe.json").encode(TEXT))
    assert second == " ".join(map(str, ids))
    assert tokenizer("encode", "bpe.json", "--text", "") == 0
    assert capsys.readouterr().out == "\n"
    assert tokenizer("encode", "characters.json", "--text", "fox") == 0
    assert len(capsys.readouterr().out.split()) == 3


def test_counting(at, capsys):
    count = len(load_tokenizer("bpe.json").encode(TEXT))
    assert tokenizer("encode", "bpe.json", "text.txt", "text.txt", "--count") == 0
    assert capsys.readouterr().out == f"{count}\n{count}\n"


@pytest.mark.parametrize("name", ["bpe.json", "characters.json"])
@pytest.mark.parametrize("source", ["file", "files", "stdin", "text"])
def test_there_and_back_through_a_file_of_ids(at, capsys, monkeypatch, name, source):
    argv = {
        "file": ["text.txt"],
        "files": ["text.txt", "text.txt"],
        "stdin": ["-"],
        "text": ["--text", TEXT],
    }[source]
    stdin(monkeypatch, TEXT.encode())
    assert tokenizer("encode", name, *argv, "--out", "ids.npy") == 0
    ids = np.load("ids.npy", mmap_mode="r")
    assert capsys.readouterr().out == f"{len(ids):,} ids, written to ids.npy\n"
    assert ids.dtype == np.dtype("uint16" if name == "bpe.json" else "uint8")
    assert tokenizer("decode", name, "ids.npy", "--out", "again.txt") == 0
    expected = TEXT.encode() * (2 if source == "files" else 1)
    assert (at / "again.txt").read_bytes() == expected
    assert not list(at.glob(".*"))


def test_bytes_that_are_no_text_come_back_exactly(at, capsysbinary, monkeypatch):
    assert tokenizer("encode", "bpe.json", "wild.bin") == 0
    ids = capsysbinary.readouterr().out
    stdin(monkeypatch, ids)
    assert tokenizer("decode", "bpe.json", "-") == 0
    assert capsysbinary.readouterr().out == WILD
    (at / "ids.txt").write_bytes(ids)
    assert tokenizer("decode", "bpe.json", "ids.txt") == 0
    assert capsysbinary.readouterr().out == WILD
    assert tokenizer("decode", "bpe.json", *ids.split()[:3]) == 2  # bytes have no number
    words = [word.decode() for word in ids.split()]
    capsysbinary.readouterr()
    assert tokenizer("decode", "bpe.json", *words) == 0
    assert capsysbinary.readouterr().out == WILD


def test_bytes_on_the_command_line_stay_as_they_are(at, capsys):
    hidden = b"\xff\xc3".decode("utf-8", "surrogateescape")
    ids = load_tokenizer("bpe.json").encode(b"\xff\xc3").tolist()
    assert tokenizer("encode", "bpe.json", "--text", hidden) == 0
    assert capsys.readouterr().out == " ".join(map(str, ids)) + "\n"
    assert tokenizer("encode", "bpe.json", "--text", "\ud800") == 0  # as Windows may have it


def test_decoding_in_blocks_is_decoding_at_once(at, monkeypatch):
    from scratchgrad.cli.tokenizer import decode

    monkeypatch.setattr(decode, "_BLOCK", 3)
    for name, source in (("bpe.json", "wild.bin"), ("characters.json", "text.txt")):
        assert tokenizer("encode", name, source, "--out", "ids.npy") == 0
        assert tokenizer("decode", name, "ids.npy", "--out", "again") == 0
        assert (at / "again").read_bytes() == (at / source).read_bytes()


def test_no_ids_are_no_bytes(at, capsysbinary, monkeypatch):
    stdin(monkeypatch, b"")
    assert tokenizer("decode", "bpe.json", "-") == 0
    assert capsysbinary.readouterr().out == b""


def test_special_tokens_are_refused_unless_allowed(at, capsys):
    text = "fox<|end|>fox"
    (at / "special.txt").write_text(text)
    ids = load_tokenizer("bpe.json").special_tokens
    message = refused(capsys, "encode", "bpe.json", "special.txt")
    advice = "--allow-special takes it for one, --special-as-text for its characters\n"
    assert f"'<|end|>' at byte 3; {advice}" in message
    before = files_below(at)
    refused(capsys, "encode", "bpe.json", "special.txt", "--out", "ids.npy")
    assert files_below(at) == before
    for allowed in ("all", "<|end|>"):
        assert tokenizer("encode", "bpe.json", "--text", text, "--allow-special", allowed) == 0
        assert str(ids["<|end|>"]) in capsys.readouterr().out.split()
    refused(capsys, "encode", "bpe.json", "--text", text, "--allow-special", "<|pad|>")
    argv = ["encode", "bpe.json", "special.txt", "--allow-special", "all", "--out", "ids.npy"]
    assert tokenizer(*argv) == 0
    assert ids["<|end|>"] in np.load("ids.npy")


@pytest.mark.parametrize("out", [[], ["--out", "ids.npy"]])
def test_special_tokens_as_their_characters(at, capsys, out):
    def encoded(*argv):
        assert tokenizer("encode", "bpe.json", *argv, *out) == 0
        printed = capsys.readouterr().out.split()
        return np.load("ids.npy").tolist() if out else [int(word) for word in printed]

    text = "fox<|end|><|pad|>"
    (at / "special.txt").write_text(text)
    bpe = load_tokenizer("bpe.json")
    plain = bpe.encode(text, disallowed_special=()).tolist()
    assert encoded("special.txt", "--special-as-text") == plain
    assert encoded("--text", text, "--special-as-text") == plain
    mixed = bpe.encode(text, allowed_special={"<|end|>"}, disallowed_special=()).tolist()
    assert encoded("special.txt", "--special-as-text", "--allow-special", "<|end|>") == mixed
    assert (bpe.special_tokens["<|end|>"] in mixed, mixed == plain) == (True, False)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["bpe.json"], "either text files or --text"),
        (["bpe.json", "text.txt", "--text", "x"], "either text files or --text"),
        (["bpe.json", "text.txt", "--count", "--out", "i.npy"], "leave out one of them"),
        (["bpe.json", "nowhere.txt"], "no such text file or folder: nowhere.txt"),
        (["bpe.json", "-", "-"], "stdin can be read once"),
        (["nowhere.json", "text.txt"], "nowhere.json"),
        (["text.txt", "text.txt"], "text.txt"),
        (["broken.json", "text.txt"], "broken.json"),
        (["empty", "text.txt"], "empty"),
        (["bpe.json", "empty"], "empty is a folder without files"),
        (["bpe.json", "text.txt", "--out", "text.txt"], "text.txt is read too"),
        (["bpe.json", "text.txt", "--out", "bpe.json"], "bpe.json is read too"),
        (["bpe.json", "text.txt", "--out", "no/ids.npy"], "its folder does not exist"),
        (["bpe.json", "--text", "x", "--allow-special", "<|edn|>"], "did you mean <|end|>"),
        (["bpe.json", "--text", "x", "--allow-special", "zz"], "has <|end|>, <|pad|>"),
        (["characters.json", "--text", "x", "--allow-special", "zz"], "tokenizer has none"),
        (["characters.json", "--text", "xéx"], "'é' (U+00E9) at position 1"),
        (["characters.json", "wild.bin"], "byte 0xff at offset 7"),
    ],
)
def test_mistakes_in_encoding(at, capsys, argv, message):
    (at / "empty").mkdir()
    (at / "broken.json").write_text('{"format": "scratchgrad-bpe"}')
    before = files_below(at)
    assert message in refused(capsys, "encode", *argv)
    assert files_below(at) == before


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["72", "300"], "id 300 at position 1 is outside the vocabulary; expected 0 to 299"),
        (["72", "105", "-1"], "id -1 at position 2 is outside"),
        (["9" * 40], "at position 0 is no id"),
        (["72", "x"], "'x' at position 1 is no id"),
        (["72", "1.5"], "'1.5' at position 1 is no id"),
        (["nowhere.npy"], "nowhere.npy is neither a number nor a file"),
        (["text.txt"], "text.txt: 'the' at position 0 is no id"),
        (["floats.npy"], "expected a row of whole numbers; got dtype float64, shape (3,)"),
        (["square.npy"], "shape (2, 2)"),
        (["objects.npy"], "objects.npy: it is cut short or damaged, or holds Python objects"),
        (["cut.npy"], "cannot read ids from cut.npy: it is cut short or damaged"),
        (["large.npy"], "id 70000 at position 1 is outside"),
        (["empty"], "empty is a folder; expected a .npy file, or a text file of numbers"),
        (["ids.npy", "--out", "ids.npy"], "ids.npy is read too"),
        (["ids.npy", "--out", "no/text"], "its folder does not exist"),
    ],
)
def test_mistakes_in_decoding(at, capsys, argv, message):
    (at / "empty").mkdir()
    np.save("ids.npy", np.array([1, 2]))
    np.save("floats.npy", np.ones(3))
    np.save("square.npy", np.ones((2, 2), int))
    np.save("objects.npy", np.array([{}, []], object), allow_pickle=True)
    np.save("large.npy", np.array([1, 70000], np.uint32))
    (at / "cut.npy").write_bytes((at / "large.npy").read_bytes()[:-4])
    before = files_below(at)
    assert message in refused(capsys, "decode", "bpe.json", *argv)
    assert files_below(at) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no closed pipes of this kind")
def test_a_reader_that_leaves_ends_it_in_silence(at):
    # More than a pipe holds.
    (at / "long.txt").write_text(TEXT * 2000)
    np.save("ids.npy", np.tile(load_tokenizer("bpe.json").encode(TEXT), 2000))
    for argv in (["encode", "bpe.json", "long.txt"], ["decode", "bpe.json", "ids.npy"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "scratchgrad", "tokenizer", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdout.read(1)
        process.stdout.close()
        err = process.stderr.read().decode()
        process.stderr.close()
        assert (process.wait(timeout=60), err) == (141, "")
