"""``scratchgrad tokenizer train``, and what all four actions share."""

import subprocess
import sys

import pytest

from scratchgrad.cli import main
from scratchgrad.cli.tokenizer.train import PATTERNS
from scratchgrad.tokenizer import BPETokenizer, load_tokenizer
from tests.cli.commands import files_below
from tests.cli.tokenizer.words import TEXT, refused, stdin, tokenizer


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
