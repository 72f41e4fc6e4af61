"""``scratchgrad chat``: messages in, answers out, and nothing in between."""

import io
import sys

import pytest

from scratchgrad.cli import main
from tests.interop.gguf_files import tiny_file


@pytest.fixture
def model(tmp_path):
    return str(tiny_file(tmp_path / "tiny.gguf", llama__context_length=512))


def run(capsys, monkeypatch, *words: str, given: str = ""):
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    code = main(["chat", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_one_message(capsys, monkeypatch, model):
    code, out, err = run(
        capsys, monkeypatch, model, "--prompt", "Hi", "--max-tokens", "5", "--greedy"
    )
    assert code == 0
    assert out.endswith("\n")
    assert "note: the answer was cut after 5 tokens" in err
    again = run(capsys, monkeypatch, model, "--prompt", "Hi", "--max-tokens", "5", "--greedy")
    assert again[1] == out


def test_piped_messages(capsys, monkeypatch, model):
    words = [model, "--max-tokens", "4", "--seed", "3", "--system", "s"]
    code, out, err = run(capsys, monkeypatch, *words, given="one\n\n  \ntwo")
    assert code == 0
    assert err.count("cut after 4 tokens") == 2  # empty lines are no messages
    assert ">" not in err
    assert run(capsys, monkeypatch, *words, given="one\ntwo\n")[1] == out
    words[4] = "4"
    assert run(capsys, monkeypatch, *words, given="one\ntwo\n")[1] != out
    assert run(capsys, monkeypatch, *words, given="")[:2] == (0, "")


def test_a_line_that_cannot_be_answered_ends_no_conversation(capsys, monkeypatch, model):
    words = [model, "--max-tokens", "4"]
    code, out, err = run(capsys, monkeypatch, *words, given=f"one\n\n{'x' * 1000}\ntwo\n")
    assert code == 2
    assert err.count("cut after 4 tokens") == 2
    assert "note: line 3 is not answered: the message does not fit" in err
    assert run(capsys, monkeypatch, *words, given="one\ntwo\n") == (
        0, out, "note: the answer was cut after 4 tokens\n" * 2,
    )  # fmt: skip


def test_what_is_wrong_with_the_model_ends_it_at_once(capsys, monkeypatch, tmp_path):
    path = tiny_file(tmp_path / "m.gguf", tokenizer__chat_template=None)
    code, out, err = run(capsys, monkeypatch, str(path), given="one\ntwo\n")
    assert (code, out) == (2, "")
    assert err.count("no chat template") == 1


def test_a_closed_standard_input(capsys, monkeypatch, model):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["chat", model]) == 2
    assert capsys.readouterr() == (
        "", "scratchgrad chat: error: standard input is closed; give one, such as < FILE\n",
    )  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


def at_a_terminal(monkeypatch, capsys, model, *typed):
    """What somebody types, line by line; an exception is what a key makes."""
    lines = iter(typed)

    def type_(prompt):
        line = next(lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr("builtins.input", type_)
    monkeypatch.setattr(sys, "stdin", Terminal())
    code = main(["chat", model, "--max-tokens", "3"])
    return code, *capsys.readouterr()


def test_end_of_input_and_ctrl_c_at_a_terminal(monkeypatch, capsys, model):
    assert at_a_terminal(monkeypatch, capsys, model)[:2] == (0, "\n")
    assert at_a_terminal(monkeypatch, capsys, model, KeyboardInterrupt())[:2] == (130, "\n")


def test_a_mistake_at_a_terminal_does_not_end_the_conversation(monkeypatch, capsys, model):
    code, _, err = at_a_terminal(monkeypatch, capsys, model, "x" * 1000, "short")
    assert code == 0
    assert "the message does not fit" in err
    assert "cut after 3 tokens" in err


def test_ctrl_c_stops_an_answer_only(monkeypatch, capsys, model):
    from scratchgrad.interop.conversation import Conversation

    asked, real = [], Conversation._tokens

    def tokens(self, *rest):
        asked.append(rest)
        for count, token in enumerate(real(self, *rest)):
            if len(asked) == 1 and count == 1:
                raise KeyboardInterrupt
            yield token

    monkeypatch.setattr(Conversation, "_tokens", tokens)
    code, _, err = at_a_terminal(monkeypatch, capsys, model, "one", "two")
    assert code == 0
    assert len(asked) == 2
    assert err.count("cut after") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--temperature", "0"], "--temperature"),
        (["--max-tokens", "0"], "--max-tokens must be at least 1; got 0"),
        (["--seed", "-1"], "--seed must be 0 or more; got -1"),
        (["--prompt", "  "], "--prompt: expected a message"),
        (["--prompt", "x" * 1000], "the message does not fit"),
        (["--threads", "0"], "--threads"),
    ],
)
def test_mistakes_are_one_line(capsys, monkeypatch, model, words, says):
    code, out, err = run(capsys, monkeypatch, model, *words)
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("scratchgrad chat: error: ")
    assert says in last


def test_no_model(capsys, monkeypatch, tmp_path):
    code, _, err = run(capsys, monkeypatch, str(tmp_path / "nothing"))
    assert code == 2
    assert "no such model" in err


def test_a_model_that_cannot_chat(capsys, monkeypatch, tmp_path):
    path = tiny_file(tmp_path / "m.gguf", tokenizer__chat_template=None)
    code, _, err = run(capsys, monkeypatch, str(path), "--prompt", "x")
    assert code == 2
    assert "no chat template" in err


def test_a_hostile_template(capsys, monkeypatch, tmp_path):
    path = tiny_file(tmp_path / "m.gguf", tokenizer__chat_template="{{ 'a' * 10**9 }}")
    code, out, err = run(capsys, monkeypatch, str(path), "--prompt", "x")
    assert (code, out) == (2, "")
    assert "the chat template makes a value" in err
