"""SmolLM2's tokenizer and chat template against Hugging Face's tokenizers and transformers."""

import random
from types import SimpleNamespace

import pytest

from scratchgrad.interop.chat_template import encode_chat, render
from scratchgrad.interop.gguf.reading import GGUF
from scratchgrad.interop.gguf.tokenizer import CUTS, read_tokenizer
from scratchgrad.tokenizer.formats.bytelevel import LETTERS
from scratchgrad.tokenizer.patterns import Pattern
from tests.interop.smollm2 import smollm2_or_skip

tokenizers = pytest.importorskip("tokenizers")

NASTY = list(" \t\n\r  aZé中ا1٣½Ⅷ²'sdmtlvre’!?.🙂\u200d\u0301\u00a0\u3000\x85\u2028ſ<|_>0123")


@pytest.fixture(scope="module")
def smollm2():
    with GGUF(smollm2_or_skip()) as file:
        tokens = list(file.strings("tokenizer.ggml.tokens"))
        merges = [tuple(merge.split(" ")) for merge in file.strings("tokenizer.ggml.merges")]
        kinds = file.numbers("tokenizer.ggml.token_type").tolist()
        read = read_tokenizer(file)
    bpe = tokenizers.models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges)
    theirs = tokenizers.Tokenizer(bpe)
    theirs.pre_tokenizer = cut_as_theirs()
    theirs.decoder = tokenizers.decoders.ByteLevel()
    theirs.add_special_tokens([t for t, kind in zip(tokens, kinds, strict=True) if kind == 3])
    known = ("tokenizer", "chat_template", "begin", "stop", "bos", "eos")
    pretrained = SimpleNamespace(**{name: getattr(read, name) for name in known})
    return SimpleNamespace(read=read, theirs=theirs, pretrained=pretrained)


def cut_as_theirs():
    """What tokenizer.json of SmolLM2 says."""
    kinds = tokenizers.pre_tokenizers
    return kinds.Sequence(
        [kinds.Digits(individual_digits=True), kinds.ByteLevel(add_prefix_space=False)]
    )


def nasty(count: int) -> list[str]:
    draw = random.Random(1)
    return ["".join(draw.choices(NASTY, k=draw.randint(1, 25))) for _ in range(count)]


def test_the_pieces_of_smollm():
    """Without a vocabulary: two cuts of theirs are one expression of ours."""
    ours, theirs = Pattern(CUTS["smollm"].pattern), cut_as_theirs()
    spelling = {letter: bytes([byte]) for byte, letter in enumerate(LETTERS)}
    for text in nasty(5000):
        pieces = [piece for piece, _ in theirs.pre_tokenize_str(text)]
        expected = [b"".join(spelling[letter] for letter in piece) for piece in pieces]
        assert ours.split(text.encode()) == expected, text


def test_the_ids_of_texts(smollm2, shared_data):
    texts = [(shared_data / "tinyshakespeare.txt").read_text(encoding="utf-8")]
    texts.append((shared_data / "tinystories-2mib.txt").read_text(encoding="utf-8")[:300_000])
    books = sorted((shared_data / "books").glob("*.md"))[::20]
    texts += [book.read_text(encoding="utf-8")[:100_000] for book in books]
    for text in [*texts, *nasty(3000)]:
        expected = smollm2.theirs.encode(text, add_special_tokens=False).ids
        ours = smollm2.read.tokenizer.encode(text, allowed_special="all")
        assert ours.tolist() == expected, text[:80]


CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "Be brief."), ("user", "What is 12 + 30?")],
    [("user", "a"), ("assistant", " b \n"), ("user", "\tc ")],
    [("user", ""), ("assistant", "é中🙂"), ("user", "it's 1984")],
    [("system", "x\ny"), ("user", "{{ messages }}{% if %}"), ("assistant", "<|im|>")],
]


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_the_chat_template(smollm2, conversation, prompt):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=smollm2.theirs, eos_token="<|im_end|>", bos_token="<|im_start|>"
    )
    theirs.chat_template = smollm2.read.chat_template
    messages = [{"role": role, "content": content} for role, content in conversation]
    text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    assert render(smollm2.read.chat_template, messages, add_generation_prompt=prompt) == text
    ids = theirs.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=prompt, return_dict=False
    )
    ours = encode_chat(smollm2.pretrained, messages, add_generation_prompt=prompt)
    assert ours.tolist() == list(ids)
