"""``scratchgrad tokenizer``: results, mistakes, exit codes."""

import io
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from scratchgrad.cli import main
from scratchgrad.cli.tokenizer.train import PATTERNS
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer, load_tokenizer
from scratchgrad.tokenizer.inspect import (
    Compression,
    compression,
    longest,
    merge_order,
    truncate,
    visible,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.cli.test_commands import files_below

TEXT = "the quick brown fox jumps over the lazy dog.\npack my box with five dozen jugs!\n" * 12
# Not UTF-8, in the middle of a character, with a lone surrogate and NUL.
WILD = b"zw\xc3\xb6lf \xff\xfe\x00 \xed\xa0\x80 \xf0\x9f\x98 the end\r\n"


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A folder to work in, with texts and tokenizers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT, newline="")
    (tmp_path / "wild.bin").write_bytes(WILD)
    special = ["<|end|>", "<|pad|>"]
    BPETokenizer(special_tokens=special).train(TEXT, 300).save(tmp_path / "bpe.json")
    CharTokenizer().train(TEXT).save(tmp_path / "characters.json")
    return tmp_path


def stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def tokenizer(*argv):
    return main(["tokenizer", *map(str, argv)])


def refused(capsys, *argv):
    """Run what must fail, and return its one line of complaint."""
    code = tokenizer(*argv)
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith(f"scratchgrad tokenizer {argv[0]}: error: ")
    assert captured.out == ""
    return captured.err


# --- train


def test_training_equals_the_library(at, capsys):
    argv = ["--vocab-size", 300, "--special", "<|end|>", "--special", "<|pad|>"]
    assert tokenizer("train", "text.txt", "--out", "new.json", *argv) == 0
    assert (at / "new.json").read_bytes() == (at / "bpe.json").read_bytes()
    captured = capsys.readouterr()
    assert captured.err == ""
    first, text, *rest = captured.out.splitlines()
    assert first.startswith("300 tokens: 256 bytes, 42 merges, 2 special; ")
    count = load_tokenizer("new.json").vocabulary.counts[-1]
    assert text == f"text   {len(TEXT)} bytes; the last merge occurs {count} times"
    assert rest == [
        "wrote  new.json",
        "next:  scratchgrad tokenizer show new.json",
        "       scratchgrad train TEXT --tokenizer new.json",
    ]


def test_training_from_folders_and_stdin(at, capsys, monkeypatch):
    (at / "folder" / "deeper").mkdir(parents=True)
    (at / "folder" / "a.txt").write_text(TEXT[: len(TEXT) // 2], newline="")
    (at / "folder" / "deeper" / "b.txt").write_text(TEXT[len(TEXT) // 2 :], newline="")
    assert tokenizer("train", "folder", "--vocab-size", 290, "--out", "a.json", "--quiet") == 0
    stdin(monkeypatch, TEXT.encode())
    assert tokenizer("train", "-", "--vocab-size", 290, "--out", "b.json", "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert (at / "a.json").read_bytes() == (at / "b.json").read_bytes()


def test_training_on_what_is_no_text(at):
    assert tokenizer("train", "wild.bin", "--vocab-size", 257, "--out", "a.json") == 0
    assert load_tokenizer("a.json").vocab_size == 257


def test_every_option_of_training_arrives(at, capsys, monkeypatch):
    seen = {}

    def train(self, source, vocab_size, **options):
        seen.update(options, source=source, vocab_size=vocab_size, pattern=self.pattern)
        return self

    monkeypatch.setattr(BPETokenizer, "train", train)
    argv = ["--min-frequency", 3, "--tie-break", "greatest", "--pattern", "[a-z]+ ?"]
    assert tokenizer("train", "text.txt", "--out", "a.json", *argv, "--quiet") == 0
    assert seen.pop("pattern").string == "[a-z]+ ?"
    assert callable(seen.pop("progress"))
    assert list(map(str, seen.pop("source"))) == ["text.txt"]
    assert seen == {"min_frequency": 3, "tie_break": "greatest", "vocab_size": 4096}


def test_one_is_no_plural(at, capsys):
    (at / "one.txt").write_text("ab")
    assert tokenizer("train", "one.txt", "--vocab-size", 257, "--out", "a.json") == 0
    out = capsys.readouterr().out
    assert "256 bytes, 1 merge; " in out
    assert "2 bytes; the last merge occurs 1 time\n" in out
    assert tokenizer("show", "a.json", "--text", "one.txt") == 0
    out = capsys.readouterr().out
    assert "257 tokens, 1 merge, 0 special\n" in out
    assert "2 bytes, 1 token, 2.00 bytes a token\n" in out


def test_fewer_merges_than_asked_for_is_a_note(at, capsys):
    assert tokenizer("train", "text.txt", "--vocab-size", 5000, "--out", "a.json", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("note: ")
    assert captured.err.count("\n") == 1


def test_the_patterns_that_are_named_are_there():
    for name in PATTERNS:
        assert BPETokenizer(pattern=name).pattern.name == name


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere.txt"], "no such text file or folder: nowhere.txt"),
        (["empty"], "empty"),
        (["-", "-"], "stdin can be read once"),
        (["text.txt", "--pattern", "gpt3"], "no pattern is called 'gpt3'; did you mean gpt2?"),
        (["text.txt", "--pattern", "words"], "there are gpt2, cl100k, o200k, none"),
        (["text.txt", "--pattern", "(a"], "(a"),
        (["text.txt", "--vocab-size", "255"], "error: --vocab-size must be at least 256"),
        (["text.txt", "--vocab-size", "256", "--special", "<|a|>"], "and 1 special token; got 256"),
        (["text.txt", "--vocab-size", "-1"], "256 bytes and 0 special tokens; got -1"),
        (["empty.txt"], "error: the source is empty; expected some text"),
        (["text.txt", "--vocab-size", "many"], "invalid int value"),
        (["text.txt", "--special", "<|a|>", "--special", "<|a|>"], "'<|a|>' is given twice"),
        (["text.txt", "--special", ""], "special token"),
        (["text.txt", "--special", "x\udcffy"], r"--special: expected UTF-8; got b'x\xffy'"),
        (["text.txt", "--special", "x\ud800y"], r"--special: expected UTF-8; got 'x\ud800y'"),
        (["text.txt", "--min-frequency", "0"], "--min-frequency must be at least 1; got 0"),
        (["text.txt", "--tie-break", "last"], "invalid choice"),
        (["text.txt", "--threads", "0"], "--threads: expected a number of threads from 1"),
        (["text.txt", "--out", "empty"], "--out: expected the name of a file, got the folder"),
        (["text.txt", "--out", "no/a.json"], "its folder does not exist"),
        (["text.txt", "--out", "text.txt"], "text.txt is read too, and would be lost"),
        (["text.txt", "--vocab", "300"], "no such option: --vocab"),
        ([], "the following arguments are required: TEXT"),
    ],
)
def test_mistakes_in_training_leave_no_trace(at, capsys, argv, message):
    (at / "empty").mkdir()
    (at / "empty.txt").touch()
    before = files_below(at)
    out = [] if "--out" in argv else ["--out", "new.json"]
    assert message in refused(capsys, "train", *argv, *out)
    assert files_below(at) == before


def test_a_failure_to_write_keeps_the_old_file(at, capsys, monkeypatch):
    def full(self, path):
        path.write_text("half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(BPETokenizer, "save", full)
    before = files_below(at)
    argv = ["--vocab-size", "270", "--out", "bpe.json", "--quiet"]
    assert "No space left on device: bpe.json" in refused(capsys, "train", "text.txt", *argv)
    assert files_below(at) == before


# --- encode and decode


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


# --- folders and pipes


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


@pytest.fixture
def pipe(at):
    """Puts content into a pipe, and names that."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("Windows has no named pipes of this kind")
    writers = []

    def put(content):
        name = f"pipe{len(writers)}"
        os.mkfifo(name)
        writers.append(threading.Thread(target=(at / name).write_bytes, args=[content]))
        writers[-1].start()
        return name

    yield put
    for writer in writers:
        writer.join(timeout=60)


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


# --- where options stand


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


# --- show


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


def test_an_action_is_needed(capsys):
    assert main(["tokenizer"]) == 2
    assert "required: ACTION; see scratchgrad tokenizer --help" in capsys.readouterr().err
    assert main(["tokenizer", "polish"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from scratchgrad.cli import main; main(['tokenizer', 'train', '--help']); "
        "print({'numpy', 'numba', 'rich', 'matplotlib', 'regex'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.rstrip().endswith("set()")


# --- what show is made of


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
