"""`load_tokenizer`: any saved tokenizer, by what its file holds."""

import os
import shutil
from pathlib import Path

import pytest

from scratchgrad.errors import DataError
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer, load_tokenizer

DATA = Path(
    os.environ.get("SCRATCHGRAD_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
)
TEXT = "the quick brown fox jumps over the lazy dog. " * 5


def needs(name):
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not there")
    return DATA / name


def test_our_own_two(tmp_path):
    CharTokenizer().train(TEXT).save(tmp_path / "characters")
    pairs = BPETokenizer(special_tokens=["<|end|>"], pattern="cl100k").train(TEXT, 280)
    pairs.save(tmp_path / "pairs")
    characters = load_tokenizer(tmp_path / "characters")
    assert isinstance(characters, CharTokenizer)
    assert characters.characters == "".join(sorted(set(TEXT)))
    loaded = load_tokenizer(str(tmp_path / "pairs"))
    assert isinstance(loaded, BPETokenizer)
    assert loaded.vocabulary.tokens == pairs.vocabulary.tokens
    assert loaded.pattern.name == "cl100k"


def test_hugging_face(tmp_path):
    pairs = BPETokenizer(special_tokens=["<|end|>"]).train(TEXT, 280)
    pairs.save_huggingface(tmp_path / "tokenizer.json")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        loaded = load_tokenizer(path)
        assert loaded.encode(TEXT).tolist() == pairs.encode(TEXT).tolist()
        assert loaded.special_tokens == {"<|end|>": 279}


def test_gpt2(tmp_path):
    folder = needs("gpt2")
    for name in ("vocab.bpe", "encoder.json"):
        shutil.copy(folder / name, tmp_path / name)
    for path in (tmp_path, tmp_path / "vocab.bpe", tmp_path / "encoder.json"):
        assert load_tokenizer(path).encode("hello world").tolist() == [31373, 995]
    (tmp_path / "encoder.json").unlink()
    with pytest.raises(DataError, match="beside"):
        load_tokenizer(tmp_path / "vocab.bpe")


def test_llama2c():
    loaded = load_tokenizer(needs("stories260k/tok512.bin"))
    assert loaded.decode(loaded.encode("Once upon a time")) == "Once upon a time"


@pytest.mark.slow
def test_the_ranks_of_openai_are_known_by_their_number(tmp_path):
    folder = needs("gpt2")
    gpt2 = load_tokenizer(folder)
    gpt2.save_tiktoken(tmp_path / "ranks")
    loaded = load_tokenizer(tmp_path / "ranks")
    assert (loaded.pattern.name, loaded.special_tokens) == ("gpt2", {"<|endoftext|>": 50256})
    assert loaded.encode(TEXT).tolist() == gpt2.encode(TEXT).tolist()


def test_other_ranks_say_what_is_missing(tmp_path):
    BPETokenizer().train(TEXT, 270).save_tiktoken(tmp_path / "ranks")
    with pytest.raises(DataError, match=r"has 270 ranks of tiktoken, .*from_tiktoken"):
        load_tokenizer(tmp_path / "ranks")


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b'{"format": "other"}', b"\x00" * 30])
def test_what_is_no_tokenizer(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match="file"):
        load_tokenizer(tmp_path / "file")


def test_what_is_not_there(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            load_tokenizer(path)
