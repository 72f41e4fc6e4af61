"""Stop strings: no part of the one that ends the text is shown, wherever the pieces are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import ConfigError
from scratchgrad.generate import StopStrings
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer

# Two letters, so that strings overlap themselves and one another.
texts = st.text("ab", max_size=20)
stops = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def plain(text, stops):
    """What is shown, and which string ended it, if the text comes one character at a time."""
    for end in range(1, len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            longest = max(ended, key=len)
            return text[: end - len(longest)], longest
    return text, None


def in_pieces(text, sizes):
    """The text, cut into pieces of these sizes in turn, empty ones among them."""
    at = 0
    for size in itertools.cycle(sizes):
        yield text[at : at + size]
        at += size
        if at >= len(text):
            return


STOPS = [
    *([stop] for stop in ("a", "ab", "aab", "abab", "bb")),
    ["aabb", "ab"],  # one inside the other: it is whole first, though it begins later
    ["b", "ab"],  # one is the end of the other: the longer counts
    ["aba", "bab"],
    ["abb", "bba", "aaaa"],
    [],
]


@pytest.mark.parametrize("stops", STOPS, ids="|".join)
def test_what_is_shown_does_not_depend_on_the_pieces(stops):
    """Every text of up to seven letters."""
    for text in map("".join, itertools.product("ab", repeat=7)):
        for length, sizes in itertools.product((1, 4, 7), ([1], [2], [3, 1], [0, 5], [7])):
            until, shown = StopStrings(stops), ""
            expected, found = plain(text[:length], stops)
            for piece in in_pieces(text[:length], sizes):
                shown += until.push(piece)
                assert expected.startswith(shown)
            shown += until.flush()
            assert (shown, until.found) == (expected, found), (text[:length], sizes)


@given(texts, stops)
def test_nothing_is_held_back_that_can_be_no_beginning(text, stops):
    """What is held back is the longest end that some string begins with, and no more."""
    until = StopStrings(stops)
    shown = "".join(until.push(character) for character in text)
    if until.found is None:
        beginnings = {stop[:n] for stop in stops for n in range(1, len(stop))}
        ends = [text[len(text) - n :] for n in range(1, len(text) + 1)]
        held = max((end for end in ends if end in beginnings), key=len, default="")
        assert shown == text[: len(text) - len(held)]
        assert until.flush() == held


def test_nothing_comes_after_the_end():
    until = StopStrings(["b"])
    assert until.push("abc") == "a"
    assert until.push("more") == until.flush() == ""
    assert until.found == "b"


def test_what_is_held_back_is_shown_once():
    until = StopStrings(["aab"])
    assert [until.push(c) for c in "aaab"] == ["", "", "a", ""]
    until = StopStrings(["\n\n"])
    assert (until.push("one\n"), until.flush(), until.flush()) == ("one", "\n", "")


def test_without_stop_strings_all_passes():
    until = StopStrings()
    assert until.push("END") == "END"
    assert until.found is None


@pytest.mark.parametrize("bad", ["END", [""], ["a", ""], [b"a"], [None], [3]])
def test_what_is_no_list_of_strings_is_refused(bad):
    with pytest.raises(ConfigError, match="stop strings: expected"):
        StopStrings(bad)


@pytest.mark.parametrize("stop", ["é", "né", "né z", "日本", "👍🏽", "\u0301"])
def test_a_string_that_spans_tokens_and_characters_of_several_bytes(stop):
    """Each byte is a token, so characters and the string come in pieces."""
    tokenizer = BPETokenizer().train("a", 256)
    for text in (f"on{stop} nenén日n👍", f"{stop}", f"日{stop[:-1]}x"):
        stream, until = tokenizer.stream(), StopStrings([stop])
        shown = "".join(until.push(stream.push(id_)) for id_ in tokenizer.encode(text).tolist())
        shown += until.push(stream.flush()) + until.flush()
        expected, found = plain(text, [stop])
        assert (shown, until.found) == (expected, found)


def test_a_token_may_hold_the_string_and_more():
    tokenizer = BPETokenizer().train("one END two " * 50, 260)
    ids = tokenizer.encode("one END two").tolist()
    assert len(ids) < len("one END two")
    stream, until = tokenizer.stream(), StopStrings(["ND t"])
    assert "".join(until.push(stream.push(id_)) for id_ in ids) == "one E"
    stream, until = CharTokenizer("ab").stream(), StopStrings(["ba"])
    assert "".join(until.push(stream.push(id_)) for id_ in (0, 1, 1, 0, 0)) == "ab"
