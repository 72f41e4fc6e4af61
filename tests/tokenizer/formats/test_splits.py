"""One merge a token is enough, and which it is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.tokenizer.formats import (
    splits,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.tokenizer import plain
from tests.tokenizer.plain import TEXTS_OF_ABC, vocabularies


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
