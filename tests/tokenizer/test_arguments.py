"""Tokenizers held wrong: one line that says what was expected, never an error from far inside."""

import re

import numpy as np
import pytest

from scratchgrad.errors import ConfigError, DataError, DtypeError, ScratchgradError
from scratchgrad.tokenizer import CHAT_TOKENS, BPETokenizer, CharTokenizer, load_tokenizer

TOKENIZER = BPETokenizer(special_tokens=CHAT_TOKENS)
SAVERS = [
    TOKENIZER.save,
    TOKENIZER.save_huggingface,
    BPETokenizer().save_tiktoken,
    CharTokenizer("ab").save,
]
LOADERS = [
    load_tokenizer,
    BPETokenizer.load,
    BPETokenizer.from_huggingface,
    BPETokenizer.from_llama2c,
    CharTokenizer.load,
    lambda path: BPETokenizer.from_gpt2(path, path),
    lambda path: BPETokenizer.from_tiktoken(path, "gpt2"),
]
NO_PATHS = [None, 5, True, b"one.txt", ["one.txt"]]
NO_FILES = ["", "a\0b", "x" * 300, "nowhere/file"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "folder").mkdir()


def refused(call, *arguments, error=ScratchgradError, message=None, **options):
    with pytest.raises(error, match=message) as raised:
        call(*arguments, **options)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize("save", SAVERS)
def test_where_a_tokenizer_cannot_be_written(save, tmp_path):
    for path in [*NO_FILES, "/proc/x"]:
        refused(save, path, error=DataError, message="cannot write")
    refused(save, tmp_path / "folder", error=DataError, message="folder': it is a folder; give a")
    for path in NO_PATHS:
        refused(save, path, error=DtypeError, message="expected a path, a str or pathlib.Path")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "one.txt"]


@pytest.mark.parametrize("load", LOADERS)
def test_where_no_tokenizer_can_be_read(load):
    for path in [*NO_FILES, "folder", "one.txt"]:
        refused(load, path, error=DataError)
    for path in NO_PATHS:
        refused(load, path, error=DtypeError, message="expected a path, a str or pathlib.Path")


def test_names_of_special_tokens_that_are_none():
    for names in (None, 5, True, [[1]], [1], b"all", (name for name in ["<|end|>"])):
        for argument in ("allowed_special", "disallowed_special"):
            for call, text in (
                (TOKENIZER.encode, "a"),
                (TOKENIZER.encode_batch, ["a"]),
            ):
                refused(call, text, error=ConfigError, message=argument, **{argument: names})


def test_bytes_are_no_characters():
    for text in (None, b"ab", ["a"]):
        refused(CharTokenizer("ab").encode, text, error=DtypeError, message="expected a str; got")


def test_one_thing_where_several_are_meant_and_a_mapping_that_is_none():
    for wrong in (None, 5, "abc", b"abc", {"a": 1}):
        refused(TOKENIZER.encode_batch, wrong, error=DtypeError, message="expected several texts")
        refused(TOKENIZER.encode_chat, wrong, error=DtypeError, message="expected several messages")
    for wrong in (None, 5, b"abc", {"<|a|>": 300}):
        for call in (BPETokenizer().add_special_tokens, lambda x: BPETokenizer(special_tokens=x)):
            refused(call, wrong, error=DtypeError, message="special_tokens: expected several names")
    message = {"role": ["user"], "content": "x"}
    refused(TOKENIZER.encode_chat, [message], error=DataError, message="message 0")
    refused(BPETokenizer().train, {"a": 1}, 258, error=DataError, message="got dict")


def test_files_and_settings_of_encode_file_that_are_none(tmp_path):
    for paths in (None, 5, [5], [None], b"one.txt", {"one.txt": 1}):
        refused(TOKENIZER.encode_file, paths, "out.npy", error=DtypeError, message="^paths: ")
    for out in NO_PATHS:
        refused(TOKENIZER.encode_file, "one.txt", out, error=DtypeError, message="^out: ")
    for out in NO_FILES:
        refused(TOKENIZER.encode_file, "one.txt", out, error=DataError, message="cannot write")
    for path in NO_FILES[1:]:
        refused(TOKENIZER.encode_file, path, "out.npy", error=DataError)
    for separator in (["a"], 5, b"<|end|>", "nope"):
        refused(
            TOKENIZER.encode_file,
            "one.txt",
            "out.npy",
            separator=separator,
            error=ConfigError,
            message="^separator: ",
        )
    for call, source in ((TOKENIZER.encode_file, "one.txt"), (BPETokenizer().train, "one two")):
        to = "out.npy" if source == "one.txt" else 257
        refused(call, source, to, progress=5, error=DtypeError, message="^progress: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "one.txt"]


def test_a_vocabulary_that_is_none():
    for wrong in ("gpt2", {}, [], "", 0, BPETokenizer()):
        refused(BPETokenizer, wrong, error=DtypeError, message="^vocabulary: .*pattern='gpt2'")


def test_ranks_are_read_with_a_pattern_and_ids_of_special_tokens(tmp_path):
    ranks = tmp_path / "ranks"
    BPETokenizer().save_tiktoken(ranks)
    load = BPETokenizer.from_tiktoken
    for word in ("nope", "cl100k_base", "gpt4", "GPT-2"):
        message = re.escape(f"no pattern '{word}'; expected gpt2")
        refused(load, ranks, word, error=ConfigError, message=message)
    for wrong in (None, 5, b"gpt2"):
        refused(load, ranks, wrong, error=ConfigError, message="^pattern: ")
    for special in (["<|x|>"], {5: 400}, "<|x|>", 5, []):
        refused(load, ranks, "gpt2", special, error=DtypeError, message="^special_tokens: ")
    refused(load, ranks, "gpt2", {"<|x|>": "400"}, error=DataError)
    assert load(ranks, r"\d+|\D", {"<|x|>": 300}).special_tokens == {"<|x|>": 300}
    assert load(ranks, ".").encode("ab").tolist() == [97, 98]


def test_what_is_right_is_taken_in_any_form(tmp_path):
    texts = ["a", "bc"]
    for several in (texts, tuple(texts), iter(texts), np.array(texts)):
        assert [ids.tolist() for ids in TOKENIZER.encode_batch(several)] == [[97], [98, 99]]
    for paths in ("one.txt", tmp_path / "one.txt", ["one.txt"], iter(["one.txt"])):
        assert TOKENIZER.encode_file(paths, "out.npy").tolist() == list(b"one")
