"""GPT-2's two files."""

import json

import numpy as np

from scratchgrad.tokenizer.formats import (
    Found,
    bytelevel,
    detect,
    gpt2,
    huggingface,
    own,
    tiktoken,
)
from tests.tokenizer import plain
from tests.tokenizer.plain import same, small


def test_gpt2_files(shared_data, tmp_path):
    files = (shared_data / "gpt2" / "vocab.bpe", shared_data / "gpt2" / "encoder.json")
    vocabulary = gpt2.read(*files)
    assert vocabulary.size == 50257
    assert len(vocabulary.merges) == 50000
    assert vocabulary.special_tokens == {"<|endoftext|>": 50256}
    assert vocabulary.byte_ids[ord("!")] == 0
    assert vocabulary.byte_ids[ord(" ")] == 220
    assert vocabulary.tokens[262] == b" the"
    assert vocabulary.merges[0].tolist() == [220, 83, 256, 0]  # " t"
    assert [vocabulary.tokens[i] for i in plain.encode(vocabulary, "gpt2", "Hello world")] == [
        b"Hello",
        b" world",
    ]
    own.write(tmp_path / "own.json", vocabulary, "gpt2")
    assert same(own.read(tmp_path / "own.json")[0], vocabulary)
    huggingface.write(tmp_path / "hf.json", vocabulary, "gpt2")
    again, pattern = huggingface.read(tmp_path / "hf.json")
    assert same(again, vocabulary)
    assert pattern == "gpt2"
    tiktoken.write(tmp_path / "ranks", vocabulary)
    assert tiktoken.read(tmp_path / "ranks", {"<|endoftext|>": 50256}).tokens == vocabulary.tokens
    for path in (*files, shared_data / "gpt2"):
        assert detect(path) == Found("gpt2", files)


def test_gpt2_files_of_windows_and_of_hugging_face(tmp_path):
    vocabulary = small()
    words = {bytelevel.spell(token): id_ for id_, token in enumerate(vocabulary.tokens[:-2])}
    (tmp_path / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    lines = [
        f"{bytelevel.spell(vocabulary.tokens[a])} {bytelevel.spell(vocabulary.tokens[b])}"
        for a, b, _, _ in vocabulary.merges.tolist()
    ]
    for first, end in (("#version: 0.2", "\r\n"), (lines[0], "\n")):
        body = [first, *lines[first == lines[0] :]]
        (tmp_path / "merges.txt").write_bytes((end.join(body) + end).encode())
        files = (tmp_path / "merges.txt", tmp_path / "vocab.json")
        again = gpt2.read(*files)
        assert again.tokens == vocabulary.tokens[:-2]
        assert np.array_equal(again.merges, vocabulary.merges)
        assert again.special_tokens == {}
        assert detect(tmp_path) == detect(files[0]) == detect(files[1]) == Found("gpt2", files)


def test_the_letters_of_bytes():
    assert len(set(bytelevel.LETTERS)) == 256
    assert bytelevel.spell(b" the\n\xad\xff") == "ĠtheĊŃÿ"
    assert bytelevel.unspell("ĠtheĊŃÿ") == b" the\n\xad\xff"
    assert bytelevel.unspell("the ") is None
    assert bytelevel.unspell("日") is None
    assert bytelevel.unspell(bytelevel.LETTERS) == bytes(range(256))
