"""Tokenizer files that we write, in the programs they are written for; and theirs in ours."""

import json
import random
import sys
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import DataError
from scratchgrad.tokenizer.formats import gpt2, huggingface, oniguruma
from scratchgrad.tokenizer.formats import tiktoken as ranks_file
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.tokenizer import plain
from tests.tokenizer.formats.files import CL100K_SPECIAL, cl100k_file, ranks_in
from tests.tokenizer.plain import NASTY, PATTERNS, TEXTS_OF_ABC, small, vocabularies

tokenizers = pytest.importorskip("tokenizers")
tiktoken = pytest.importorskip("tiktoken")

CHARACTERS = "".join(NASTY) + "aaabbc  \n\n'stTsSdDlLvVeErRmM0123456789"


def nasty(count: int, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    return NASTY + ["".join(draw.choices(CHARACTERS, k=draw.randint(1, 40))) for _ in range(count)]


def theirs(path) -> "tokenizers.Tokenizer":
    return tokenizers.Tokenizer.from_file(str(path))


def ids_of(tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    "pattern",
    ["gpt2", "cl100k", "o200k", "none", oniguruma.OLD_CL100K, r"\p{N}+|\P{N}", "[a-c]+|."],
)
def test_hugging_face_encodes_and_decodes_our_file_as_we_do(tmp_path, pattern):
    vocabulary = small()
    huggingface.write(tmp_path / "tokenizer.json", vocabulary, pattern)
    other = theirs(tmp_path / "tokenizer.json")
    assert other.get_vocab_size() == vocabulary.size
    for text in nasty(300):
        if pattern == "[a-c]+|.":
            text = text.replace("\n", "")  # what it leaves out is a piece, not so for findall
        expected = plain.encode(vocabulary, pattern, text)
        assert ids_of(other, text) == expected, text
        assert other.decode(expected, skip_special_tokens=False) == text


@given(vocabularies(), st.lists(TEXTS_OF_ABC, min_size=5, max_size=5))
def test_hugging_face_agrees_on_any_vocabulary(tmp_path_factory, vocabulary, texts):
    """Also with gaps between the ids, several merges to a token, and whole pieces."""
    path = tmp_path_factory.mktemp("hf") / "tokenizer.json"
    try:
        huggingface.write(path, vocabulary, "none")
    except DataError:
        return
    other = theirs(path)
    for text in texts:
        assert ids_of(other, text) == plain.encode(vocabulary, "none", text)
    for name, id_ in vocabulary.special_tokens.items():
        assert ids_of(other, f"a{name}b")[1] == id_
        assert other.decode([id_], skip_special_tokens=False) == name


@pytest.mark.parametrize("text", ["a b", ".", "the", "+*", "日本"])
def test_a_string_that_splits_is_read_as_it_splits(tmp_path, text):
    """What it leaves between is a piece too."""
    path = tmp_path / "tokenizer.json"
    huggingface.write(path, small(), r"a|b")
    body = json.loads(path.read_text(encoding="utf-8"))
    body["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"String": text}
    path.write_text(json.dumps(body), encoding="utf-8")
    vocabulary, pattern = huggingface.read(path)
    other = theirs(path)
    for sample in [*nasty(100), f"the {text} the{text}{text} then"]:
        pieces = regex.split(f"({pattern})", sample)
        expected = [i for piece in pieces for i in plain.encode(vocabulary, "none", piece)]
        assert ids_of(other, sample) == expected


@pytest.mark.parametrize("name", ["<|end|>", "<|é 日|>", "<s p a c e>", "Ā b", "日本"])
def test_special_tokens_are_theirs_too(tmp_path, name):
    """With a gap before it, which they would close."""
    tokens = (*small().tokens[:-2], None, None, name.encode())
    vocabulary = Vocabulary(tokens, small().merges, {name: len(tokens) - 1})
    huggingface.write(tmp_path / "tokenizer.json", vocabulary, "gpt2")
    other = theirs(tmp_path / "tokenizer.json")
    ids = [*plain.encode(vocabulary, "gpt2", "the "), len(tokens) - 1]
    assert ids_of(other, f"the {name}") == ids
    assert other.decode(ids, skip_special_tokens=False) == f"the {name}"


def test_cl100k_in_hugging_face_is_tiktokens(tmp_path):
    ranks = cl100k_file()
    vocabulary = ranks_file.read(ranks, CL100K_SPECIAL)
    huggingface.write(tmp_path / "tokenizer.json", vocabulary, "cl100k")
    other = theirs(tmp_path / "tokenizer.json")
    real = tiktoken.Encoding("cl100k", pat_str=PATTERNS["cl100k"], mergeable_ranks=ranks_in(ranks),
                             special_tokens=CL100K_SPECIAL)  # fmt: skip
    for text in nasty(2000):
        ids = real.encode(text, allowed_special="all")
        assert ids_of(other, text) == ids, text
        assert other.decode(ids, skip_special_tokens=False) == text
    assert ids_of(other, "a<|endofprompt|>") == [64, 100276]


def test_gpt2_in_hugging_face_and_tiktoken(shared_data, tmp_path):
    files = (shared_data / "gpt2" / "vocab.bpe", shared_data / "gpt2" / "encoder.json")
    vocabulary = gpt2.read(*files)
    huggingface.write(tmp_path / "tokenizer.json", vocabulary, "gpt2")
    ranks_file.write(tmp_path / "ranks", vocabulary)
    other = theirs(tmp_path / "tokenizer.json")
    real = tiktoken.Encoding("gpt2", pat_str=PATTERNS["gpt2"],
                             mergeable_ranks=ranks_in(tmp_path / "ranks"),
                             special_tokens=vocabulary.special_tokens)  # fmt: skip
    words = (shared_data / "tinyshakespeare.txt").read_text(encoding="utf-8")[:20_000]
    for text in [*nasty(1000), words]:
        ids = real.encode(text, allowed_special="all")
        assert ids_of(other, text) == ids, text
        assert real.decode(ids) == text


@pytest.mark.parametrize("style", ["strings", "pairs"])
def test_we_read_what_hugging_face_trained(tmp_path, style):
    other = tokenizers.Tokenizer(tokenizers.models.BPE())
    other.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    other.decoder = tokenizers.decoders.ByteLevel()
    other.train_from_iterator(
        ["the then they them hug pug hugs 日本語 naïve " * 5, "aaab \n\n"],
        tokenizers.trainers.BpeTrainer(
            vocab_size=330,
            special_tokens=["<|end|>", "<|pad|>"],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    path = tmp_path / "tokenizer.json"
    other.save(str(path))
    body = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(body["model"]["merges"][0], list)
    if style == "strings":
        body["model"]["merges"] = [" ".join(pair) for pair in body["model"]["merges"]]
        path.write_text(json.dumps(body), encoding="utf-8")
    vocabulary, pattern = huggingface.read(path)
    assert pattern == "gpt2"
    assert vocabulary.special_tokens == {"<|end|>": 0, "<|pad|>": 1}
    for text in nasty(300):
        assert plain.encode(vocabulary, pattern, text) == ids_of(other, text), text


def test_tiktoken_encodes_our_file_as_we_do(tmp_path):
    vocabulary = small()
    ranks_file.write(tmp_path / "ranks", vocabulary)
    real = tiktoken.Encoding("small", pat_str=PATTERNS["gpt2"],
                             mergeable_ranks=ranks_in(tmp_path / "ranks"),
                             special_tokens=vocabulary.special_tokens)  # fmt: skip
    for text in nasty(300):
        assert real.encode_ordinary(text) == plain.encode(vocabulary, "gpt2", text)


@pytest.mark.slow
@pytest.mark.parametrize("part", [r"\p{L}", r"\p{N}", r"\s", r"\p{Lu}", r"\p{M}", r"\d", "(?i:'s)"])
def test_what_is_taken_over_means_the_same(part):
    """Character by character, of the old ones: each library has its own version of Unicode."""
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(part), "removed")
    ours = regex.compile(part)
    differ = []
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.ucd_3_2_0.category(character) in ("Cn", "Cs"):
            continue
        text = f"'{character}" if part.startswith("(") else character
        if bool(ours.fullmatch(text)) != (not split.pre_tokenize_str(text)):
            differ.append(hex(ord(character)))
    assert differ == []
