"""What the tests of ``scratchgrad tokenizer`` say, and read."""

import io
import sys

from scratchgrad.cli import main

TEXT = "the quick brown fox jumps over the lazy dog.\npack my box with five dozen jugs!\n" * 12
# Not UTF-8, in the middle of a character, with a lone surrogate and NUL.
WILD = b"zw\xc3\xb6lf \xff\xfe\x00 \xed\xa0\x80 \xf0\x9f\x98 the end\r\n"


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
