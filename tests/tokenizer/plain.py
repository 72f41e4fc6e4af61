"""Byte-pair encoding as its definition reads, and vocabularies to try formats with."""

from collections import Counter
from itertools import pairwise

import numpy as np
import regex
from hypothesis import strategies as st

from scratchgrad.tokenizer.vocabulary import Vocabulary

PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++"
        r"[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "none": r"(?s:.+)",
}

NASTY = [
    "",
    "a",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ababababa abab aba",
    "Hello world, it's I'Ll they'RE '' 's",
    " \n \n\n\t\r\n   x  y   ",
    "x\n  ",
    "x \n\n \n   \t",
    "x\n",
    "1234567 12 3 ½ ²३४५",
    "naïve Ünïcödé e\u0301\u0302 ﬁ ſ K İ ı",
    "日本語のテキスト 한국어 ไทย हिन्दी",
    "\u00a0\u2003\u2028\u2029\u3000\u0085\u200b x",
    "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "\x00\x01\x1c\x1d\x1e\x1f\x7f\u0080\u00ad",
    "<|endoftext|",
    "ĠtheĊ Ā",
    "{}[]()^$.*+?|\\ \"quoted\" 'single' `tick`",
    "\U0010ffff\ufffd\uffff\u0378",
]


def encode(vocabulary: Vocabulary, pattern: str, text: str) -> list[int]:
    """Every piece by itself; in it, the merge of lowest rank first, the leftmost of equals."""
    text = (" " if vocabulary.prefix_space and text else "") + text
    pieces = regex.findall(PATTERNS.get(pattern, pattern), text)
    return [id_ for piece in pieces for id_ in encode_piece(vocabulary, piece.encode())]


def encode_piece(vocabulary: Vocabulary, piece: bytes) -> list[int]:
    special = set(vocabulary.special_tokens.values())
    known: dict[bytes, int] = {}
    for id_, token in enumerate(vocabulary.tokens):
        if token is not None and id_ not in special:
            known.setdefault(token, id_)
    if vocabulary.whole_pieces and piece in known:
        return [known[piece]]
    if vocabulary.characters:
        ids = []
        for character in piece.decode():
            raw = character.encode()
            whole = len(raw) > 1 and raw in known
            ids += [known[raw]] if whole else vocabulary.byte_ids[[*raw]].tolist()
    else:
        ids = vocabulary.byte_ids[[*piece]].tolist()
    rules = {(a, b): (rank, made) for a, b, made, rank in vocabulary.merges.tolist()}
    while True:
        open_ = [
            (rules[pair][0], place) for place, pair in enumerate(pairwise(ids)) if pair in rules
        ]
        if not open_:
            return ids
        _, place = min(open_)
        ids[place : place + 2] = [rules[ids[place], ids[place + 1]][1]]


def decode(vocabulary: Vocabulary, ids: list[int]) -> bytes:
    return b"".join(vocabulary.tokens[id_] or b"" for id_ in ids)


def train(
    text: str, merges: int, pattern: str = "gpt2", special_tokens: tuple[str, ...] = ()
) -> Vocabulary:
    """Merge the most frequent pair, the smaller ids of equals, until there are enough merges."""
    counts = Counter(regex.findall(PATTERNS[pattern], text))
    pieces = [([*piece.encode()], count) for piece, count in counts.items()]
    tokens: list[bytes] = [bytes([byte]) for byte in range(256)]
    rows, applied = [], []
    while len(rows) < merges:
        pairs: Counter[tuple[int, int]] = Counter()
        for ids, count in pieces:
            for pair in pairwise(ids):
                pairs[pair] += count
        if not pairs:
            break
        (left, right), most = min(pairs.items(), key=lambda item: (-item[1], item[0]))
        made = len(tokens)
        rows.append((left, right, made, len(rows)))
        applied.append(most)
        tokens.append(tokens[left] + tokens[right])
        for ids, _ in pieces:
            place = 0
            while place < len(ids) - 1:
                if (ids[place], ids[place + 1]) == (left, right):
                    ids[place : place + 2] = [made]
                place += 1
    special = {name: len(tokens) + place for place, name in enumerate(special_tokens)}
    tokens += [name.encode() for name in special_tokens]
    return Vocabulary(
        tuple(tokens), np.array(rows, np.int32).reshape(-1, 4), special, np.array(applied, np.int64)
    )


def small() -> Vocabulary:
    """A trained vocabulary of some 300 tokens."""
    words = "the then they them there hug pug pun bun hugs aaabdaaabac naïve naïf 日本 日本語 "
    return train(
        words * 3 + "\\ \"q\" 'it's' \n\n  \t x", 60, special_tokens=("<|end|>", "<|é 日|>")
    )


def same(one: Vocabulary, other: Vocabulary) -> bool:
    """Equal in everything that a vocabulary knows."""
    flags = ("whole_pieces", "characters", "prefix_space")
    return (
        one.tokens == other.tokens
        and np.array_equal(one.merges, other.merges)
        and list(one.special_tokens.items()) == list(other.special_tokens.items())
        and (one.counts is None) == (other.counts is None)
        and (one.counts is None or np.array_equal(one.counts, other.counts))
        and np.array_equal(one.byte_ids, other.byte_ids)
        and all(getattr(one, flag) == getattr(other, flag) for flag in flags)
    )


@st.composite
def vocabularies(draw: st.DrawFn, ordered: bool = False) -> Vocabulary:
    """Some merges of a, b and c, in any order, with ties, several to a token, gaps between ids.

    With ``ordered``, ranks are ids, as tiktoken has them.
    """
    made: list[bytes] = [b"a", b"b", b"c"]
    rows: list[tuple[bytes, bytes]] = []
    for _ in range(draw(st.integers(0, 12))):
        pair = (draw(st.sampled_from(made)), draw(st.sampled_from(made)))
        if pair not in rows and len(b"".join(pair)) <= 8:
            rows.append(pair)
            if b"".join(pair) not in made:
                made.append(b"".join(pair))
    if draw(st.booleans()):  # more ways to make what there is
        for token in made:
            for cut in range(1, len(token)):
                pair = (token[:cut], token[cut:])
                if {*pair} <= {*made} and pair not in rows and draw(st.booleans()):
                    rows.append(pair)
    special = ("<|end|>", "é", "\ud800")[: draw(st.integers(0, 3))]
    tokens = [bytes([byte]) for byte in range(256)] + made[3:]
    names = [name.encode("utf-8", "surrogatepass") for name in special]
    gaps: list[bytes | None] = [None] * draw(st.integers(0, 3))
    table = [*tokens, *gaps, *names]
    if draw(st.booleans()):
        table = draw(st.permutations(table))
    ids = {token: id_ for id_, token in enumerate(table) if token is not None}
    ranks = [
        ids[b"".join(pair)] if ordered else draw(st.integers(0, max(1, len(rows)))) for pair in rows
    ]
    return Vocabulary(
        tuple(table),
        np.array(
            [(ids[a], ids[b], ids[a + b], rank) for (a, b), rank in zip(rows, ranks, strict=True)],
            np.int32,
        ).reshape(-1, 4),
        {name: ids[raw] for name, raw in zip(special, names, strict=True)},
        np.arange(len(rows)) if draw(st.booleans()) else None,
        whole_pieces=draw(st.booleans()),
    )


TEXTS_OF_ABC = st.text("abc", max_size=24)
