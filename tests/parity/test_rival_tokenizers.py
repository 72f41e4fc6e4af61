"""The other programs of `scratchgrad bench --vs tokenizers` do the same work as ours, in small."""

import json
from pathlib import Path
from typing import Any

import pytest

from scratchgrad.bench import against_tokenizers
from scratchgrad.cli import main
from scratchgrad.tokenizer import BPETokenizer
from tests.parity.rival_tokenizers import PROGRAMS

TEXTS = [
    "the cat that sat on the mat, and the other cat's hat; they'LL sit 123 times.\n\n So!  \n" * 40,
    "naïve Ünïcödé e\u0301 日本語のテキスト 👩‍👧 ½ ²३\u00a0x\r\n\r\n" * 5,
    "",
    " ",
]


def doing(part: str) -> Any:
    able = [program for program in PROGRAMS if part in program.parts]
    return pytest.mark.parametrize("program", able, ids=lambda program: program.name)


def made(program: Any) -> Any:
    pytest.importorskip(program.name)
    return program()


@doing("train")
def test_training_learns_as_many_tokens(program: Any) -> None:
    other = made(program)
    tokens = other.tokens(other.train(TEXTS, 300))
    ours = BPETokenizer().train(TEXTS, 300).vocabulary.tokens
    assert len(tokens) == len(ours) == 300
    if program.same_ties:
        assert tokens == list(ours)
    else:
        assert set(tokens[:256]) == set(ours[:256])  # in another order, so ties break otherwise


@doing("encode")
def test_encoding_gives_the_same_ids(program: Any, tmp_path: Path) -> None:
    other = made(program)
    tokenizer = BPETokenizer().train(TEXTS, 340)
    tokenizer.save_huggingface(tmp_path / "tokenizer.json")
    encode = other.encoder(tokenizer.vocabulary.tokens, tmp_path / "tokenizer.json")
    for text in [*TEXTS, "What is new: 'tis the other hat's mat  \n\n\t x"]:
        assert encode(text) == tokenizer.encode(text).tolist()


def test_the_command(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in PROGRAMS:
        pytest.importorskip(program.name)
    monkeypatch.setattr(against_tokenizers, "PAUSE", 0)
    for number, text in enumerate(TEXTS):
        (tmp_path / f"{number}.txt").write_bytes(text.encode())
    argv = ["bench", "train", "encode", "--vs", "tokenizers", "--text", str(tmp_path)]
    assert main([*argv, "--vocab-size", "300", "--rounds", "1", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)["tokenizers"]
    assert [about.split()[0] for about in found["rivals"]] == [p.name for p in PROGRAMS]
    assert found["left_out"] == []
    train = {row["program"].split()[0]: row for row in found["rows"] if row["work"] == "train"}
    assert train["rustbpe"]["digest"] == train["scratchgrad"]["digest"]
    encode = [row for row in found["rows"] if row["work"] == "encode"]
    assert {"tokenizers", "tiktoken"} <= {row["program"].split()[0] for row in encode}
    assert len({(row["count"], row["digest"]) for row in encode}) == 1
    assert all(row["agree"] for row in found["rows"])
