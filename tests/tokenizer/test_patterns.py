"""Pieces: the scanner against `regex`, the expressions of users, bytes that are no text."""

import functools
import os
import random
import subprocess
import sys
import time
from itertools import pairwise, product

import numpy as np
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.kernels.bpe import kinds, scan
from scratchgrad.kernels.jit import COMPILED
from scratchgrad.kernels.threads import get_threads, set_threads
from scratchgrad.tokenizer.patterns import NAMED, PADDING, Pattern, _kinds, to_buffer

# Written out, as they stand in other projects.
SPELLINGS = {
    "gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
    "gpt2-first": (
        r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    ),
    "gpt2-second": (r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""),
    "cl100k": (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"""
        r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    ),
    "llama3": (
        r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"""
        r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
    ),
    "qwen2": (
        r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"""
        r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
    ),
    "minbpe": (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"""
        r"""| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"""
    ),
    "nanochat": (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"""
        r"""| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"""
    ),
    "o200k": "|".join(
        [
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"""
            r"""[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"""
            r"""[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""\p{N}{1,3}""",
            r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
            r"""\s*[\r\n]+""",
            r"""\s+(?!\S)""",
            r"""\s+""",
        ]
    ),
}
THREE = ["gpt2", "cl100k", "o200k"]
every_spelling = pytest.mark.parametrize("string", SPELLINGS.values(), ids=SPELLINGS)
each_of_three = pytest.mark.parametrize("name", THREE)
compiled_only = pytest.mark.skipif(not COMPILED, reason="too many characters for plain Python")

# A few characters of each kind, and the ones that some alternative names; \ud800 and the like are
# lone surrogates, \u0378 is unassigned, \x1c is white space to str.isspace but not in Unicode.
CHARACTERS = [
    *"aAsSdDtTlLeErRvVmMzZ'''' \t\n\r/!.,0123\x00\xa0\x85\x1c",
    *"\u2003\u3000\u2028\u1680\u017f\u0301\u0903\u20dd",
    *"\u01c4\u01c5\u01c6\u02b0\u00aa\u4e2d\u05d0\u00b2\u00bd\u2167\u0663éÉßẞİ",
    *"\u200d\U0001f44d\U0001f3fd\u0378\ufffd\U0010ffff\U0001d400\U0001d41a\U00010400\U00011066",
    "\ud800",
    "\udfff",
    "\udc80",
]
FRAGMENTS = [
    *CHARACTERS,
    *("'" + end for end in ["ll", "LL", "lL", "ve", "VE", "re", "Re", *"sSdDmMtT\u017flvrx"]),
    *("\r\n", "  ", " \n", "\n ", "   ", "aB", "AB", "A\u0301", "\u0301A", " \u0301", "AAA\u4e2d"),
    *("1234567", "!\n/", "...", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\ud83d\ude00"),
]
TEXT = st.lists(
    st.sampled_from(FRAGMENTS) | st.characters(codec=None, categories=None), max_size=60
).map("".join)


def to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def wanted(string: str, text: str) -> list[bytes]:
    return [to_bytes(piece) for piece in regex.findall(string, text)]


def pieces(pattern: Pattern, data: bytes) -> list[bytes]:
    """By their ends, which are what promises were made about."""
    ends = pattern.ends(*to_buffer(data))
    assert ends.dtype == np.int64
    places = [0, *ends.tolist()]
    assert places[-1] == len(data)
    assert all(i < j for i, j in pairwise(places))
    found = [data[i:j] for i, j in pairwise(places)]
    assert pattern.split(data) == found
    return found


def assert_same(string: str, text: str) -> None:
    got, found = pieces(Pattern(string), to_bytes(text)), wanted(string, text)
    if got != found:  # pytest's own account of two long lists takes minutes
        place = next((i for i, (g, w) in enumerate(zip(got, found, strict=False)) if g != w), 0)
        nearby = slice(max(place - 2, 0), place + 4)
        pytest.fail(f"piece {place}: got {got[nearby]}, expected {found[nearby]}")


# -- the scanner -------------------------------------------------------------------------------


@every_spelling
@given(text=TEXT)
@example("a  \n  ")
@example("\u0301AB")
@example("AB\u4e2dCD")
@example(" 'S'\u017f'\u017fs")
def test_pieces_equal_regex(string, text):
    assert_same(string, text)


@every_spelling
def test_pieces_of_many_nasty_texts(string):
    draw = random.Random(1)
    for _ in range(2000 if COMPILED else 400):
        few = draw.sample(FRAGMENTS, draw.choice([3, 6, len(FRAGMENTS)]))
        assert_same(string, "".join(draw.choices(few, k=draw.randrange(60))))


@every_spelling
def test_every_short_text_of_one_character_a_kind(string):
    for length in range(5 if COMPILED else 4):
        texts = list(map("".join, product("A\u4e2d\u0301a' \n1!s", repeat=length)))
        for text in texts[:: 1 if COMPILED else 7]:
            assert_same(string, text)


@every_spelling
def test_every_spelling_is_scanned(string):
    pattern = Pattern(string)
    assert pattern.scanned
    assert pattern.string == string


@functools.cache
def everything() -> str:
    return "".join(map(chr, range(0x110000)))


@compiled_only
@each_of_three
@pytest.mark.parametrize("context", ["{}", " {}A", "a{}\n", "!{}a", "1{}1", "'{} "])
def test_every_assigned_character(name, context):
    # All but those for private use, of which some.
    characters = "".join(regex.findall(r"[^\p{Cn}\p{Co}]+", everything()))
    characters += "".join(map(chr, range(0xE000, 0x110000, 997)))
    assert len(characters) > 140_000
    assert_same(SPELLINGS[name], "".join(context.format(c) for c in characters))


def test_the_long_s_is_the_only_stranger_in_a_contraction():
    for letter in "sdmtlvre":
        strangers = set(regex.findall(f"(?i:{letter})", everything())) - {letter, letter.upper()}
        assert strangers == ({"\u017f"} if letter == "s" else set())


def test_every_character_has_one_kind():
    points = _kinds().points
    assert set(np.unique(points).tolist()) == {1 << bit for bit in range(8)}
    for set_of, expression in (
        (kinds.WHITE, r"\s+"),
        (kinds.LETTER, r"\p{L}+"),
        (kinds.UPPER | kinds.OTHER | kinds.MARK, r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"),
        (kinds.LOWER | kinds.OTHER | kinds.MARK, r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"),
        (kinds.SIGN | kinds.MARK, r"[^\s\p{L}\p{N}]+"),
    ):
        member = np.zeros(len(points), bool)
        for found in regex.finditer(expression, everything()):
            member[found.start() : found.end()] = True
        np.testing.assert_array_equal((points & set_of) != 0, member)
    np.testing.assert_array_equal(_kinds().bytes, [*points[:0x80], *[0] * 0x80])


@each_of_three
def test_the_empty_text_has_no_pieces(name):
    assert Pattern(name).ends(*to_buffer(b"")).tolist() == []


# -- slices, threads, cuts ---------------------------------------------------------------------


@each_of_three
def test_slices_and_threads_give_the_same_pieces(name, monkeypatch):
    draw = random.Random(2)
    texts = ["".join(draw.choices(FRAGMENTS, k=3000)), "word " * 500, "\u4e2d" * 2000, "1 " * 99]
    before = get_threads()
    try:
        for text in texts[: None if COMPILED else 1]:
            buffer, stop = to_buffer(to_bytes(text))
            whole = Pattern(name).ends(buffer, stop)
            np.testing.assert_array_equal(
                whole, np.cumsum([len(piece) for piece in wanted(SPELLINGS[name], text)])
            )
            for size, threads in ((1, 1), (7, 2), (100, 1), (1000, 2)):
                monkeypatch.setattr(scan, "SLICE", size)
                set_threads(threads)
                np.testing.assert_array_equal(Pattern(name).ends(buffer, stop), whole)
            monkeypatch.undo()
    finally:
        set_threads(before)


@compiled_only
@each_of_three
def test_a_long_text_on_two_threads(name):
    text = "".join(random.Random(3).choices([*FRAGMENTS, " some", " words", " more"], k=400_000))
    before, ends = get_threads(), []
    try:
        for threads in (1, 2):
            set_threads(threads)
            ends.append(Pattern(name).ends(*to_buffer(to_bytes(text))))
    finally:
        set_threads(before)
    np.testing.assert_array_equal(*ends)
    sizes = [len(piece) for piece in wanted(SPELLINGS[name], text)]
    np.testing.assert_array_equal(ends[0], np.cumsum(sizes))


@every_spelling
@given(text=TEXT, after=TEXT)
@example(" 'l", "l")
@example("a'l", "l")
@example("12", "3")
@example("a b", "")
def test_a_cut_is_safe_whatever_follows(string, text, after):
    pattern, data = Pattern(string), to_bytes(text)
    cut = pattern.cut(*to_buffer(data))
    assert 0 <= cut < max(len(data), 1)
    for following in (data[cut:], data[cut:] + to_bytes(after)):
        # in one go, and in two
        whole = pattern.split(data[:cut] + following)
        assert whole == pattern.split(data[:cut]) + pattern.split(following)
    # the text need not be copied to be scanned as far as the cut
    ends = pattern.ends(to_buffer(data)[0], cut)
    np.testing.assert_array_equal(ends, pattern.ends(*to_buffer(data[:cut])))


def test_where_a_cut_is():
    def cut(text: str | bytes, pattern: str = "cl100k") -> int:
        data = text if isinstance(text, bytes) else to_bytes(text)
        return Pattern(pattern).cut(*to_buffer(data))

    assert cut("one two three") == len("one two")
    assert cut("\u4e00\u4e8c\n" + "!" * 9999) == len("\u4e00\u4e8c".encode())  # far from the end
    assert cut("a " + "\u4e00" * 5000) == 1
    assert cut("x=1;y=2") == len("x=1;y")
    for text in ("", "a", " ", "don't", "word", "\u0301 ", "123", "! ! !", "a\u0301 b"):
        assert cut(text) == 0
    assert cut("one two", "none") == cut("one two", r"\w+") == 0
    # a letter, but not just before the space
    for data in (
        b"\xc3\xa9\x80 ",
        b"\xc3\xa9\x80\x80 ",
        b"\xe4\xb8 ",
        b"\x80 ",
        b"\xa9\xa9\xa9\xa9 ",
    ):
        assert cut(data) == 0
    # at the first byte of the stretch that is searched first
    for size in range(1020, 1030):
        assert cut("a" + " " * size) == 1


@compiled_only
@each_of_three
def test_a_cut_is_found_between_all_pairs_of_characters(name):
    """Whatever stands on both sides of it, and whatever alternative that belongs to."""
    pattern = Pattern(name)
    for pair in product(FRAGMENTS, repeat=2):
        text = "".join(pair)
        data = to_bytes(text)
        cut = pattern.cut(*to_buffer(data))
        if cut:
            places = np.cumsum([0] + [len(piece) for piece in wanted(SPELLINGS[name], text)])
            assert cut in places, text


# -- bytes that are no text --------------------------------------------------------------------


def characters_of(data: bytes) -> list[tuple[str, int]]:
    """Each character, and how many bytes it has. A wrong byte is U+FFFD here, a sign."""
    found = []
    i = 0
    while i < len(data):
        for length in (1, 2, 3, 4):
            try:
                found.append((data[i : i + length].decode("utf-8", "surrogatepass"), length))
                break
            except UnicodeDecodeError:
                continue
        else:
            found.append(("\ufffd", 1))
        i += found[-1][1]
    return found


def pieces_of_bytes(string: str, data: bytes) -> list[bytes]:
    characters = characters_of(data)
    places = np.cumsum([0] + [length for _, length in characters])
    text = "".join(character for character, _ in characters)
    ends = np.cumsum([0] + [len(piece) for piece in regex.findall(string, text)])
    return [data[places[i] : places[j]] for i, j in pairwise(ends)]


WRONG = st.sampled_from(
    b"\xff \x80 \xc0\xaf \xc3 \xe4\xb8 \xe0\x80\x80 \xed\xa0 \xed\xa0\x80 \xed\xb2\x80 "
    b"\xf0\x9f\x91 \xf4\x90\x80\x80 \xf0\x80\x80\xa0".split(b" ")
)
BYTES = st.lists(WRONG | st.sampled_from(FRAGMENTS).map(to_bytes) | st.binary(max_size=4)).map(
    b"".join
)


@every_spelling
@given(data=BYTES)
def test_bytes_that_are_not_utf8(string, data):
    found = pieces_of_bytes(string, data)
    assert pieces(Pattern(string), data) == found
    assert pieces(Pattern(f"(?:{string})"), data) == found  # by `regex`


def test_where_characters_begin_and_end():
    seconds, later = b"a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0", b"a\x7f\x80\xbf\xc0"
    firsts = b"\x7f\x80\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff"
    sequences = list(product(firsts, seconds, later, later))
    data = b" ".join(map(bytes, sequences[:: 1 if COMPILED else 9]))
    string = SPELLINGS["gpt2"]
    found = pieces_of_bytes(string, data)
    assert pieces(Pattern(string), data) == found
    assert pieces(Pattern(f"(?:{string})"), data) == found
    # a cut-off character at the end; what the padding holds is no part of it
    for length in (1, 2, 3):
        for last in ("\u00e9", "\u4e2d", "\U0001d41a"):
            data = b"a " + to_bytes(last)[:length]
            assert pieces(Pattern(string), data) == pieces_of_bytes(string, data)


def test_a_buffer_that_is_none():
    buffer, stop = to_buffer(b"one two")
    ends = Pattern("gpt2").ends
    for wrong in (buffer[:-1], buffer.astype(np.int64), np.repeat(buffer, 2)[::2], buffer[None]):
        with pytest.raises(ShapeError, match="16 longer than the text of 7"):
            ends(wrong, stop)
    fixed = buffer.copy()
    fixed.flags.writeable = False
    for text, end in ((fixed, stop), (buffer, -1), (buffer, stop + 1)):
        with pytest.raises(ShapeError):
            ends(text, end)
    for end in (1, 2, 5):  # the text goes on there
        with pytest.raises(ShapeError, match="16 zeros"):
            ends(buffer, end)
    assert ends(buffer, 3).tolist() == [3]  # and here, but a cut may be there
    assert ends(buffer, 0).tolist() == []
    assert len(buffer) == stop + PADDING


# -- linear time -------------------------------------------------------------------------------

REPEATED = [
    *("a", "A", " ", "\n", "'", "1", "\u0301", "^", "\u4e2d", "\xa0", "\r\n", " \n", "\n ", "'s"),
    *(" \u0301", "A\u0301", "\u0301A", "a'", "A ", "\ud800", "!\n/", "\u02b0A", "\t\u3000"),
]


@compiled_only
@each_of_three
@pytest.mark.parametrize("part", REPEATED, ids=ascii)
def test_time_is_linear(name, part):
    pattern = Pattern(name)

    def seconds(times: int, before: str, after: str) -> float:
        data = to_buffer(to_bytes(before + part * times + after))
        pattern.ends(*data)
        took = []
        for _ in range(3):
            began = time.perf_counter()
            pattern.ends(*data)
            took.append(time.perf_counter() - began)
        return min(took)

    for before, after in (("", ""), ("\n", "x"), ("\u0301", "\u4e2d")):
        short, long = seconds(50_000, before, after), seconds(200_000, before, after)
        assert long < 10 * short + 0.002  # 4 times, but for what else the machine does; not 16
        assert long < 0.4


# -- without the compiler ----------------------------------------------------------------------

SCRIPT = """
from scratchgrad.tokenizer.patterns import Pattern, to_buffer
text = bytes.fromhex({data!r})
for name in ("gpt2", "cl100k", "o200k"):
    pattern = Pattern(name)
    print(pattern.split(text), pattern.cut(*to_buffer(text)))
"""


@compiled_only
def test_plain_python_gives_the_same():
    data = "".join(random.Random(4).choices(FRAGMENTS, k=700)).encode("utf-8", "surrogatepass")
    data += b"\xff\xc3 \xe4\xb8 \xf0\x9f\x91 done"
    script = SCRIPT.format(data=data.hex())
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    patterns = [Pattern(name) for name in THREE]
    expected = [f"{p.split(data)} {p.cut(*to_buffer(data))}" for p in patterns]
    assert result.stdout.splitlines() == expected


# -- expressions of the user's -----------------------------------------------------------------

EXPRESSIONS = [
    r"\w+",
    r"\d",
    r"a*",  # matches the empty text everywhere
    r"\b",  # and nothing else
    r"x{9}",  # never matches
    r"(a)(b)?| +",  # groups are no pieces
    r"(?i)STRASSE|\p{Ll}+",
    """(?x) \\p{L}+  # words, and
          | \\s+     # what is between them""",
    r"(?V1)[\p{L}--[aeiou]]+",
    r"(?r)\w\w",  # from the end
    r"a\K\w",
    r"(?<=a)[^a]+",
    r"(?s).",
    r"\X",
]


@pytest.mark.parametrize("string", EXPRESSIONS)
@given(data=BYTES)
@example("naïve \u4e2d\u6587 stra\u00dfe aab".encode())
@example(b"in 1984 aba")
@example(b"")
def test_an_expression_of_the_users(string, data):
    characters = characters_of(data)
    places = np.cumsum([0] + [length for _, length in characters]).tolist()
    text = "".join(character for character, _ in characters)
    borders = {0, len(text)}
    for match in regex.finditer(string, text):
        if match.end() > match.start():
            borders |= set(match.span())
    found = [data[places[i] : places[j]] for i, j in pairwise(sorted(borders))]
    pattern = Pattern(string)
    assert pieces(pattern, data) == found
    assert pattern.name is None
    assert pattern.string == string
    assert not pattern.scanned


def test_none_is_one_piece():
    pattern = Pattern("none")
    assert pattern.split(b"one two\xff") == [b"one two\xff"]
    assert pattern.split(b"") == []
    assert (pattern.name, pattern.string) == ("none", "")
    assert Pattern("").name == "none"


def test_names():
    assert list(NAMED) == ["gpt2", "cl100k", "o200k", "none"]
    for name in THREE:
        assert Pattern(name).string == NAMED[name] == SPELLINGS[name]
        assert Pattern(SPELLINGS[name]).name == Pattern(name).name == name
    assert Pattern(SPELLINGS["gpt2-first"]).name == "gpt2"  # it means the same
    assert Pattern(SPELLINGS["llama3"]).name is None
    assert repr(Pattern("o200k")) == "Pattern('o200k')"
    assert repr(Pattern("a+")) == "Pattern('a+')"


@pytest.mark.parametrize(
    "string", ["(", "[a", "(?P<x", r"\p{Nonsense}", "a{2,1}", "*", "(?<=a", "(" * 3000, "(?\n"]
)
def test_an_expression_that_does_not_compile(string):
    with pytest.raises(ConfigError) as caught:
        Pattern(string)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    assert f"pattern {string!r}"[:60] in message
    assert "does not compile" in message


@pytest.mark.parametrize(
    "name", ["gpt4", "GPT-2", "cl100k_base", "llama3", "o200k_harmony", "nope", "gpt2."]
)
def test_what_looks_like_a_name(name):
    with pytest.raises(ConfigError, match=f"no pattern '{name}'; expected gpt2, cl100k, o200k"):
        Pattern(name)
    assert Pattern(f"(?:{name})").split(f"a {name}".encode()) == [b"a ", name.encode()]


@pytest.mark.parametrize("pattern", [None, 1, b"a"])
def test_a_pattern_that_is_no_text(pattern):
    with pytest.raises(ConfigError, match="a str; got"):
        Pattern(pattern)


def test_an_error_of_regex_while_it_searches(monkeypatch):
    pattern = Pattern("a+")

    class Tired:
        def finditer(self, text, timeout):
            raise regex.error("too much backtracking")

    monkeypatch.setattr(pattern, "_regex", Tired())
    with pytest.raises(ConfigError, match=r"pattern 'a\+' fails on this text: too much"):
        pattern.split(b"aaa")


def test_an_expression_that_does_not_come_to_an_end(monkeypatch):
    monkeypatch.setattr("scratchgrad.tokenizer.patterns.PATIENCE", 0.2)
    with pytest.raises(ConfigError, match="takes more than 0 s on a text of 41 characters"):
        Pattern(r"(a|a)+b|.").split(b"a" * 40 + b"c")
