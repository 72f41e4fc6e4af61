"""Byte-pair encoding twice: by the definition, in twenty lines, and as the package does it.

The first part is all there is to understand: count neighbours, merge the most frequent, begin
anew. The second trains on a real text and must make the same merges, then shows what the tokens
look like and how a model's ids become text as they come.

Run it:  python examples/07_byte_pairs.py
"""

from collections import Counter
from itertools import pairwise

from scratchgrad.data import embedded_text
from scratchgrad.tokenizer import BPETokenizer, Pattern

# ------------------------------------------------------------------------------ the definition


def merge(ids, pair, new):
    """Replace a pair wherever it stands, from left to right."""
    out = []
    for id_ in ids:
        if out and (out[-1], id_) == pair:
            out[-1] = new
        else:
            out.append(id_)
    return out


def learn(words, number):
    """The pairs that become ids 256, 257, …; words is a Counter of lists of ids."""
    pairs = []
    for new in range(256, 256 + number):
        counts = Counter()
        for word, times in words:
            for pair in pairwise(word):
                counts[pair] += times
        # the most frequent; of several, the smallest
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        pairs.append(best)
        words = [(merge(word, best, new), times) for word, times in words]
    return pairs


text = "aaabdaaabac"
pairs = learn([(list(text.encode()), 1)], 3)
print(f"{text}: merge {pairs}")

ids = list(text.encode())
for new, pair in enumerate(pairs, 256):
    ids = merge(ids, pair, new)
    print(f"  {pair} -> {new}: {ids}")

# --------------------------------------------------------------------------------- a real text

text = embedded_text()[:60_000]
print(f"\n{len(text):,} characters of the Python language reference")

# nothing is merged across pieces, so it is enough to know each piece and how often it occurs
pieces = Counter(Pattern("gpt2").split(text.encode()))
by_definition = learn([(list(piece), times) for piece, times in pieces.items()], 100)

tokenizer = BPETokenizer(pattern="gpt2").train(text, vocab_size=256 + 100)
merges = [(left, right) for left, right, *_ in tokenizer.vocabulary.merges.tolist()]
print(f"the same {len(merges)} merges by the definition: {merges == by_definition}")

tokenizer.train(embedded_text(), vocab_size=1024)
for token, count in zip(
    tokenizer.vocabulary.tokens[256:264], tokenizer.vocabulary.counts, strict=False
):
    print(f"  {token.decode()!r:8} {count:,} times")

sentence = "The naïve statement raises an exception."
ids = tokenizer.encode(sentence)
print(f"{len(sentence.encode())} bytes are {len(ids)} tokens:")
print("  " + " | ".join(tokenizer.decode([id_], errors="backslashreplace") for id_ in ids))

# ---------------------------------------------------------- ids of a model, as they come along

stream = tokenizer.stream()  # never half a character, though ï is two tokens here
shown = "".join(stream.push(id_) for id_ in ids) + stream.flush()
print(f"and come back as they were: {shown == sentence}")
