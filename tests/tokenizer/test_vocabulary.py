"""Vocabulary: what cannot be one is refused when it is made, with one line that says why."""

import numpy as np
import pytest

from scratchgrad.errors import DataError
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.tokenizer.plain import small

BYTES = tuple(bytes([byte]) for byte in range(256))
AB = (97, 98, 256, 0)


def test_a_vocabulary_is_what_it_was_made_of():
    vocabulary = Vocabulary([*BYTES, b"ab", None, b"<e>"], [AB], {"<e>": np.int64(258)}, [7])
    assert vocabulary.size == 259
    assert vocabulary.tokens[256:] == (b"ab", None, b"<e>")
    assert vocabulary.merges.dtype == np.int32
    assert vocabulary.merges.tolist() == [list(AB)]
    assert vocabulary.counts.dtype == np.int64
    assert vocabulary.byte_ids.tolist() == list(range(256))
    assert type(vocabulary.special_tokens["<e>"]) is int


def test_it_does_not_change_with_what_it_was_made_of():
    merges, special, counts = np.array([AB], np.int32), {"<e>": 257}, np.array([7])
    vocabulary = Vocabulary((*BYTES, b"ab", b"<e>"), merges, special, counts)
    merges[0, 0], counts[0] = 98, 8
    special.clear()
    assert vocabulary.merges[0, 0] == 97
    assert vocabulary.counts[0] == 7
    assert vocabulary.special_tokens == {"<e>": 257}
    with pytest.raises(AttributeError):
        vocabulary.tokens = ()


def test_the_bare_bytes_are_a_vocabulary():
    vocabulary = Vocabulary(BYTES, np.empty((0, 4), np.int32))
    assert vocabulary.size == 256
    assert vocabulary.merges.shape == (0, 4)
    assert Vocabulary(BYTES, []).merges.shape == (0, 4)


def test_permuted_bytes_find_their_ids():
    vocabulary = Vocabulary((None, *BYTES[::-1]), [])
    assert vocabulary.byte_ids.tolist() == list(range(256, 0, -1))


def test_with_characters_a_byte_may_have_two_tokens():
    with pytest.raises(DataError, match="ids 97 and 256 are both the token 'a'"):
        Vocabulary((*BYTES, b"a"), [])
    assert Vocabulary((*BYTES, b"a"), [], characters=True).byte_ids[97] == 97
    ids = [*range(97), 256, *range(98, 256)]
    assert Vocabulary((*BYTES, b"a"), [], characters=True, byte_ids=ids).byte_ids[97] == 256
    with pytest.raises(DataError, match="both the token 'é'"):
        Vocabulary((*BYTES, "é".encode(), "é".encode()), [], characters=True)


@pytest.mark.parametrize(
    ("tokens", "rest", "message"),
    [
        (BYTES[1:], {}, "byte 0x00 has no token"),
        ((*BYTES[:97], None, *BYTES[98:]), {}, "byte 0x61 has no token"),
        ((*BYTES, b""), {}, "id 256 is empty"),
        ((*BYTES, "ab"), {}, "id 256 is 'ab'; expected bytes"),
        ((*BYTES, b"ab", b"ab"), {}, "ids 256 and 257 are both"),
        ((*BYTES, b"ab"), {"byte_ids": [1, *range(1, 256)]}, "byte 0x00 has no token"),
        ((*BYTES, b"ab"), {"byte_ids": [-1, *range(1, 256)]}, "byte 0x00 has no token"),
        ((*BYTES, b"ab"), {"byte_ids": [300, *range(1, 256)]}, "byte 0x00 has no token"),
        ((*BYTES, b"ab"), {"byte_ids": [2**32, *range(1, 256)]}, "too large for int32"),
        ((*BYTES, b"ab"), {"byte_ids": range(255)}, "each of 256 bytes"),
    ],
)
def test_tokens_that_cannot_be(tokens, rest, message):
    with pytest.raises(DataError, match=message):
        Vocabulary(tokens, [], **rest)


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ([(97, 98, 257, 0)], "merge 0 is .* expected ids from 0 to 256"),
        ([AB, (-1, 98, 256, 0)], "merge 1 is .* expected ids from 0 to 256"),
        ([(98, 97, 256, 0)], "merge 0 makes 'ab' .* of 'b' and 'a'; expected the bytes to add up"),
        ([(97, 256, 256, 0)], "expected the bytes to add up"),
        ([AB, (97, 98, 256, 1)], "merge 1 joins 'a' and 'b', which an earlier merge"),
        ([AB[:3]], "got shape"),
        ([(97, 98, 256, -1)], "lowest rank .* is -1"),
        ([(97, 98, 256, 2**31)], "2147483648 in the merges is too large for int32"),
        (np.array([(97, 98 + 2**32, 256, 0)]), "too large for int32"),
        (np.array([(97, 98, 256, 2**63)], np.uint64), "too large for int32"),
        ([(97.0, 98, 256, 0)], "whole numbers in the merges"),
    ],
)
def test_merges_that_cannot_be(merges, message):
    with pytest.raises(DataError, match=message) as caught:
        Vocabulary((*BYTES, b"ab"), merges)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("special", "message"),
    [
        ({"": 256}, "empty text"),
        ({"<e>": 255}, r"'<e>' has id 255, which belongs to b'\\xff'"),
        ({"<e>": 256}, "belongs to 'ab'"),
        ({"<e>": 258}, "belongs to no token"),
        ({"<e>": -2}, "belongs to no token"),
        ({"<e>": 999}, "belongs to no token"),
        ({"<e>": 257.0}, "expected a whole number"),
        ({"<e>": True}, "expected a whole number"),
        ({"<e>": None}, "expected a whole number"),
        ({"ab": 256}, "merge 0 .* of ordinary tokens"),
    ],
)
def test_special_tokens_that_cannot_be(special, message):
    with pytest.raises(DataError, match=message):
        Vocabulary((*BYTES, b"ab", b"<e>", None), [AB], special)


@pytest.mark.parametrize("counts", [[], [1, 2], [-1], [1.5], [[1]], [2**63]])
def test_counts_that_cannot_be(counts):
    with pytest.raises(DataError, match="count"):
        Vocabulary((*BYTES, b"ab"), [AB], counts=counts)


def test_a_merge_wrong_far_down_is_named_by_its_row(monkeypatch):
    monkeypatch.setattr("scratchgrad.tokenizer.vocabulary._ROWS", 7)
    vocabulary = small()
    merges = vocabulary.merges.copy()
    merges[40, 2] += 1
    with pytest.raises(DataError, match="merge 40 makes"):
        Vocabulary(vocabulary.tokens, merges, vocabulary.special_tokens)


def test_a_message_about_a_long_token_stays_short():
    with pytest.raises(DataError) as caught:
        Vocabulary((*BYTES, b"a" * 10_000, b"a" * 10_000), [])
    assert len(str(caught.value)) < 200
