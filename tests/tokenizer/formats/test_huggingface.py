"""tokenizer.json: what is read, what is written, and what is refused by name."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import DataError
from scratchgrad.tokenizer.formats import (
    Found,
    detect,
    huggingface,
    oniguruma,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.tokenizer import plain
from tests.tokenizer.formats.files import BYTES
from tests.tokenizer.plain import TEXTS_OF_ABC, same, small, vocabularies


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
