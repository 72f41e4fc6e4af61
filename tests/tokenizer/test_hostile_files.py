"""Tokenizer files that are broken, or made to break what reads them: one line, and soon."""

import base64
import bisect
import json
import os
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.errors import DataError
from scratchgrad.tokenizer.formats import (
    bytelevel,
    detect,
    gpt2,
    huggingface,
    llama2c,
    own,
    tiktoken,
)
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.tokenizer.formats.files import llama2c_tokens, write_llama2c
from tests.tokenizer.plain import small

BYTES = tuple(bytes([byte]) for byte in range(256))
GPT2_MERGES = b"#version: 0.2\na b\n"

# name: a function that reads the file as that format
READERS = {
    "own": own.read,
    "huggingface": huggingface.read,
    "tiktoken": lambda path: tiktoken.read(path, {"<|end|>": 300}),
    "llama2c": llama2c.read,
    "encoder.json": lambda path: gpt2.read(_merges_beside(path), path),
    "vocab.bpe": lambda path: gpt2.read(path, _ids_beside(path)),
}


def _merges_beside(path) -> Path:
    file = Path(str(path) + ".bpe")
    if "\0" not in str(path) and file.parent.is_dir():
        file.write_bytes(GPT2_MERGES)
    return file


def _ids_beside(path) -> Path:
    file = Path(str(path) + ".json")
    if "\0" not in str(path) and file.parent.is_dir():
        file.write_bytes(_gpt2_ids())
    return file


def _gpt2_ids(**more: int) -> bytes:
    words = {letter: id_ for id_, letter in enumerate(bytelevel.LETTERS)}
    return json.dumps(words | {"ab": 256, "<|endoftext|>": 257} | more).encode()


def valid(name: str, folder: Path) -> bytes:
    """A small valid file of each format."""
    path = folder / "valid"
    if name == "own":
        own.write(path, small(), "gpt2")
    elif name == "huggingface":
        huggingface.write(path, small(), "gpt2")
    elif name == "tiktoken":
        tiktoken.write(path, Vocabulary((*BYTES, b"ab"), [(97, 98, 256, 0)]))
    elif name == "llama2c":
        write_llama2c(path, llama2c_tokens((-1.0, "ab"), (-2.0, "a"), (-3.0, "b"), (-4.0, " ")))
    elif name == "encoder.json":
        return _gpt2_ids()
    else:
        return GPT2_MERGES
    return path.read_bytes()


def refused(read, path, match: str, seconds: float = 2.0, megabytes: float = 40) -> str:
    """The one line with which a file is refused; with its name in it, soon, in little memory."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(DataError, match=match) as caught:
            read(path)
        took, memory = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    assert Path(path).name.split("\0")[0] in line
    assert took < seconds
    assert memory < megabytes * 2**20
    return line


@pytest.mark.parametrize("name", [*READERS, "detect"])
def test_files_that_are_none(name, tmp_path):
    read = READERS.get(name, detect)
    refused(read, tmp_path / "nowhere", "no such tokenizer file")
    (tmp_path / "empty").write_bytes(b"")
    refused(read, tmp_path / "empty", "is empty")
    (tmp_path / "folder").mkdir()
    refused(read, tmp_path / "folder", "is a folder")
    refused(read, str(tmp_path / "a") + "\0b", "null")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
        refused(read, tmp_path / "pipe", "no ordinary file")
    refused(read, tmp_path / "empty" / "below", "cannot read|no such")


@pytest.mark.parametrize("name", [*READERS, "detect"])
def test_200_megabytes_of_nothing(name, tmp_path):
    path = tmp_path / "big"
    with open(path, "wb") as file:
        file.truncate(200 << 20)
    refused(READERS.get(name, detect), path, "200 MiB or more", seconds=0.5, megabytes=1)


@pytest.mark.parametrize("name", [*READERS, "detect"])
@pytest.mark.parametrize(
    "content",
    [b"\x00" * 5000, b" " * 5000, b"\n" * 5000, b"\xff\xfe" * 5000, b"{" * 5000, b"A" * 5000],
    ids=["nul", "space", "newline", "no-utf-8", "braces", "letters"],
)
def test_noise(name, content, tmp_path):
    (tmp_path / "noise").write_bytes(content)
    refused(READERS.get(name, detect), tmp_path / "noise", ".")


@pytest.mark.parametrize("name", ["own", "huggingface", "encoder.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "no valid JSON"),
        (b"\xff\xfe{}", "not UTF-8: byte 0xff at offset 0"),
        (b'{"a": "\xc3"}', "not UTF-8: byte 0xc3 at offset 7"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"vocab": 1, "vocab": 2}', "'vocab' stands twice"),
        (b'{"a": {"b": [{"c": 1, "c": 1}]}}', "'c' stands twice"),
        (b'{"format": NaN}', "NaN is no number of JSON"),
        (b'{"a": Infinity}', "Infinity is no number of JSON"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "no valid JSON"),
        (b"[]", "expected a JSON object"),
        (b"3", "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b'"text"', "expected a JSON object"),
        (b"[" + b"[]," * 4_000_000 + b"[]]", "more than 4,000,000 values"),
    ],
)
def test_json_that_is_none(name, content, message, tmp_path):
    (tmp_path / "t.json").write_bytes(content)
    # what is read is held twice, as bytes and as text
    refused(READERS[name], tmp_path / "t.json", message, megabytes=60)


@pytest.mark.parametrize("name", ["own", "huggingface", "encoder.json", "detect"])
@pytest.mark.parametrize(
    ("before", "inner", "after"),
    [
        (b'{"format": ', (b"[", b"]"), b"}"),
        (b'{"model": ', (b'{"a":', b"}"), b"}"),
        (
            b'{"model": {"vocab": {}, "merges": []}, "pre_tokenizer": ',
            (b'{"type": "Sequence", "pretokenizers": [', b"]}"),
            b"}",
        ),
    ],
)
def test_json_nested_as_deeply_as_it_can_be_parsed(name, before, inner, after, tmp_path):
    """What is parsed at the limit of recursion must not break what shows it in a message."""
    path = tmp_path / "t.json"
    deepest = bisect.bisect_left(range(20_000), True, key=lambda n: not parses(inner, n))
    for depth in [deepest // 2, *range(deepest - 25, deepest + 3)]:
        path.write_bytes(before + inner[0] * depth + b"1" + inner[1] * depth + after)
        line = refusal(READERS.get(name, detect), path)
        if line is None:
            assert name == "detect"
        else:
            assert "\n" not in line
            assert "t.json" in line


def parses(inner: tuple[bytes, bytes], depth: int) -> bool:
    try:
        json.loads(inner[0] * depth + b"1" + inner[1] * depth)
    except RecursionError:
        return False
    return True


OWN = {
    "format": "scratchgrad-bpe",
    "version": 1,
    "pattern": "gpt2",
    "size": 259,
    "special_tokens": {"<e>": 258},
    "bytes": "in order",
    "columns": ["left", "right", "id", "rank", "token", "count"],
    "merges": [[97, 98, 256, 0, "ab", 5], [256, 99, 257, 1, "abc", 3]],
}
FIRST, SECOND = OWN["merges"]


def test_the_file_that_the_next_test_damages_is_sound(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(OWN))
    vocabulary, pattern = own.read(tmp_path / "t.json")
    assert vocabulary.tokens[256:] == (b"ab", b"abc", b"<e>")
    assert vocabulary.counts.tolist() == [5, 3]
    assert pattern == "gpt2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "another"}, "expected format 'scratchgrad-bpe'; got 'another'"),
        ({"format": ["scratchgrad-bpe"]}, "expected format"),
        ({"version": 2}, "expected version 1 .* got 2; a newer"),
        ({"version": True}, "expected version 1"),
        ({"version": 1.0}, "expected version 1"),
        ({"version": None}, "expected version 1"),
        ({"pattern": 5}, "expected text as 'pattern'; got 5"),
        ({"pattern": None}, "expected text as 'pattern'"),
        ({"size": 10**12}, "size 1000000000000 is out of proportion"),
        ({"size": 10**100}, "a number of 101 digits"),
        ({"size": -1}, "size -1"),
        ({"size": 256}, "expected 0 to 255"),
        ({"size": True}, "expected a number as 'size'; got True"),
        ({"special_tokens": []}, "expected an object as 'special_tokens'"),
        ({"special_tokens": {"<e>": 10**12}}, "has id 1000000000000; expected 0 to 258"),
        ({"special_tokens": {"<e>": -1}}, "has id -1"),
        ({"special_tokens": {"<e>": 258.0}}, "has id 258.0; expected a whole number"),
        ({"special_tokens": {"<e>": True}}, "has id True; expected a whole number"),
        ({"special_tokens": {"<e>": 97}}, "id 97 is given twice"),
        ({"special_tokens": {"<e>": 256}}, "id 256 is given twice"),
        ({"special_tokens": {"": 258}}, "empty text"),
        ({"bytes": "any order"}, "expected a list as 'bytes'"),
        ({"bytes": list(range(255))}, "expected 256 ids as 'bytes'; got 255"),
        ({"bytes": [0] * 256}, "id 0 is given twice"),
        ({"bytes": [None] * 256}, "expected a whole number"),
        ({"tokens": [[258, "x y"]]}, "id 258 is given twice"),
        ({"tokens": [[258]]}, "expected an id and a token a line"),
        ({"tokens": {"x": 1}}, "expected a list as 'tokens'"),
        ({"columns": ["left"]}, "expected columns"),
        ({"columns": [[]]}, "expected columns"),
        ({"merges": {}}, "expected a list as 'merges'"),
        ({"merges": [FIRST, 5]}, "as merge 1; got 5"),
        ({"merges": [FIRST, SECOND[:5]]}, "as merge 1"),
        ({"merges": [FIRST, FIRST]}, "merge 1 joins 'a' and 'b', which an earlier"),
        ({"merges": [FIRST, [256, 99, 256, 1, "abc", 3]]}, "id 256 is given twice"),
        ({"merges": [FIRST, [256, 99, 257, 1, "abd", 3]]}, "merge 1 makes 'abd' .* add up"),
        ({"merges": [FIRST, [10**9, 99, 257, 1, "abc", 3]]}, "expected ids from 0 to 258"),
        ({"merges": [FIRST, [10**12, 99, 257, 1, "abc", 3]]}, "as 'left'; got 1000000000000"),
        ({"merges": [FIRST, [-1, 99, 257, 1, "abc", 3]]}, "as 'left'; got -1"),
        ({"merges": [FIRST, [256.0, 99, 257, 1, "abc", 3]]}, "as 'left'; got 256.0"),
        ({"merges": [FIRST, [True, 99, 257, 1, "abc", 3]]}, "as 'left'; got True"),
        ({"merges": [FIRST, [256, 99, 257, -1, "abc", 3]]}, "as 'rank'; got -1"),
        ({"merges": [FIRST, [256, 99, 257, 1, "abc", 2**63]]}, "as 'count'"),
        ({"merges": [FIRST, [256, 99, 257, 1, {"bytes": "zz"}, 3]]}, "expected a token"),
        ({"merges": [FIRST, [256, 99, 257, 1, "\ud800", 3]]}, "half of a character"),
        ({"merges": [FIRST, [256, 99, 257, 1, None, 3]]}, "expected a token"),
        ({"merges": [FIRST, [256, 258, 257, 1, "ab<e>", 3]]}, "of ordinary tokens"),
        # made of itself, and two that are made of each other
        ({"merges": [[256, 98, 256, 0, "ab", 5]]}, "add up"),
        ({"merges": [[257, 98, 256, 0, "ab", 5], [256, 98, 257, 1, "abb", 5]]}, "add up"),
        ({"whole_pieces": 1}, "expected true as 'whole_pieces'; got 1"),
        ({"surprise": 1}, "unknown key 'surprise'"),
    ],
)
def test_our_own_file_damaged(change, message, tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(OWN | change))
    refused(own.read, tmp_path / "t.json", message, seconds=0.5, megabytes=2)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"ab": 97}, "id 97 belongs to both"),
        ({"ab": 10**12}, "has id 1000000000000; expected 0 to"),
        ({"ab": -1}, "has id -1"),
        ({"ab": 256.0}, "whole number"),
        ({"ab": True}, "whole number"),
        ({"ab": None}, "whole number"),
        ({"<|endoftext|>": 97}, "id 97 belongs to both"),
        ({"<|endoftext|>": "257"}, "whole number"),
        ({"a b": 258}, "letters that stand for no byte"),
        ({"\ud800": 258}, "letters that stand for no byte"),
        ({"": 258}, "id 258 is empty"),
    ],
)
def test_gpt2_ids_damaged(ids, message, tmp_path):
    (tmp_path / "encoder.json").write_bytes(_gpt2_ids(**ids))
    read = READERS["encoder.json"]
    refused(read, tmp_path / "encoder.json", message, seconds=0.5, megabytes=2)


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        (b"a b\na c\n", "merge 1 joins 'a' and 'c', but 'ac' is no token"),
        (b"a zz\n", "'zz' is no token"),
        (b"a b\na b\n", "which an earlier merge does already"),
        (b"a b\n\na b\n", "line 2 is ''; expected two tokens"),
        (b"a b c\n", "line 1 is 'a b c'"),
        (b"ab\n", "line 1 is 'ab'"),
        (b"a  b\n", "line 1"),
        (b"a \xff\n", "not UTF-8: byte 0xff at offset 2"),
        (b"x" * 10_000_000, "line 1 is 'xxx"),
    ],
)
def test_gpt2_merges_damaged(merges, message, tmp_path):
    (tmp_path / "vocab.bpe").write_bytes(merges)
    refused(READERS["vocab.bpe"], tmp_path / "vocab.bpe", message, megabytes=60)


def ranks(*more: bytes, bytes_: range = range(256)) -> bytes:
    lines = [b"%s %d" % (base64.b64encode(bytes([byte])), byte) for byte in bytes_]
    return b"\n".join([*lines, *more]) + b"\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ranks(bytes_=range(255)), "byte 0xff has no token"),
        (ranks(b"YWI= 97"), "id 97 belongs to both"),
        (ranks(b"YWI= 300"), "id 300 belongs to both b'ab' and b'<|end|>'"),
        (ranks(b"YWI= 256", b"YWI= 257"), "line 258: the token b'ab' has a rank already"),
        (ranks(b"YWI= 999999999"), "has id 999999999; expected 0 to"),
        (ranks(b"YWI= 1000000000000"), "line 257 is b'YWI= 1000000000000'"),
        (ranks(b"YWI= -1"), "line 257"),
        (ranks(b"YWI= 1.0"), "line 257"),
        (ranks("YWI= ٣".encode()), "line 257"),
        (ranks(b"YWI 256"), "line 257"),
        (ranks(b"Y=WI 256"), "line 257"),
        (ranks(b"YW*= 256"), "line 257"),
        (ranks(b"YWI="), "line 257"),
        (ranks(b"YWI= 256 1"), "line 257"),
        (ranks(b"= 256"), "line 257"),
        (ranks(b" 256"), "line 257"),
        (ranks(b""), "line 257 is b''"),
        (ranks(base64.b64encode(b"a" * 1025) + b" 256"), "has 1,025 bytes; expected at most"),
        (b"A" * 10_000_000, "line 1 is"),
    ],
)
def test_ranks_damaged(content, message, tmp_path):
    (tmp_path / "t.tiktoken").write_bytes(content)
    refused(READERS["tiktoken"], tmp_path / "t.tiktoken", message)


def test_ranks_with_every_split_of_long_tokens(tmp_path):
    """The work of one letter repeated 1 to 1,000 times is the worst of its size; and too much."""
    runs = [
        b"%s %d" % (base64.b64encode(b"%c" % letter * n), 400 + 999 * i + n)
        for i, letter in enumerate(b"abcdefghi")
        for n in range(2, 1001)
    ]
    (tmp_path / "t.tiktoken").write_bytes(ranks(*runs))
    refused(READERS["tiktoken"], tmp_path / "t.tiktoken", "more than 4 MiB together", seconds=4)


@pytest.mark.parametrize("special", [{"<e>": 97}, {"<e>": -1}, {"<e>": 10**12}, {"<e>": 1.5}])
def test_special_tokens_on_ids_that_are_taken_or_none(special, tmp_path):
    (tmp_path / "t.tiktoken").write_bytes(ranks())
    refused(lambda path: tiktoken.read(path, special), tmp_path / "t.tiktoken", "id")


TOK = llama2c_tokens((-1.0, "ab"), (-2.0, "a"))


def packed(tokens, longest=None) -> bytes:
    longest = max(len(t) for _, t in tokens) if longest is None else longest
    return struct.pack("<i", longest) + b"".join(
        struct.pack("<fi", score, len(t)) + t for score, t in tokens
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(TOK)[:-1], "inside token 260; it is cut short"),
        (packed(TOK)[:-10], "inside token 259|inside token 260"),
        (packed(TOK)[:3], "3 bytes, expected 4 or more"),
        (packed(TOK[:100]), "100 tokens; expected 259 or more"),
        (packed(TOK, 2**31 - 1), "longest token has 2147483647 bytes"),
        (packed(TOK, -1), "longest token has -1 bytes"),
        (packed(TOK, 0), "longest token has 0 bytes"),
        (packed(TOK, 5), "token 1 has 5 bytes|token 2 has 6 bytes|has 6 bytes; expected 1 to 5"),
        (packed(TOK) + struct.pack("<fi", 0, 2**31 - 1), "token 261 has 2147483647 bytes"),
        (packed(TOK) + struct.pack("<fi", 0, -1), "token 261 has -1 bytes"),
        (packed(TOK) + struct.pack("<fi", 0, 0), "token 261 has 0 bytes"),
        (packed(TOK) + struct.pack("<fi", 0, 5) + b"abc", "it is cut short"),
        (packed([*TOK, (float("nan"), b"x")]), "token 261 has score nan"),
        (packed([*TOK, (float("inf"), b"x")]), "token 261 has score inf"),
        (packed([*TOK, (0.0, b"ab")]), "ids 259 and 261 are both the token b'ab'"),
        (packed([*TOK, (0.0, b"<0x41>")]), "ids 68 and 261 are both"),
        (packed([(0.0, b"<pad>"), *TOK[1:]]), "token 0 is b'<pad>'; expected <unk>"),
        (packed([*TOK[:3], (0.0, b"<0x01>"), *TOK[4:]]), "token 3 is .*; expected <0x00>"),
    ],
)
def test_llama2c_damaged(content, message, tmp_path):
    (tmp_path / "tok.bin").write_bytes(content)
    refused(llama2c.read, tmp_path / "tok.bin", message, seconds=0.5, megabytes=2)


# Every reader, on files a few bytes away from valid ones

EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut", "double"]),
        st.floats(0, 1, exclude_max=True),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from([b"-", b"9" * 12, b"1e5", b"null", b"true", b'"', b"[", b"\\ud800"]),
        ),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", READERS)
@given(edits=EDITS)
def test_a_damaged_file_is_refused_or_read_and_nothing_else(tmp_path_factory, name, edits):
    folder = tmp_path_factory.mktemp("fuzz")
    raw = valid(name, folder)
    for what, where, new in edits:
        at = int(where * len(raw))
        if what == "set":
            raw = raw[:at] + new + raw[at + len(new) :]
        elif what == "insert":
            raw = raw[:at] + new + raw[at:]
        elif what == "delete":
            raw = raw[:at] + raw[at + len(new) :]
        elif what == "cut":
            raw = raw[:at]
        else:
            raw = raw[: at + 40] + raw[at:]
    path = folder / "t"
    path.write_bytes(raw)
    for read in (READERS[name], detect):
        line = refusal(read, path)
        assert line is None or ("\n" not in line and "/t" in line)


def refusal(read, path) -> str | None:
    try:
        read(path)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_are_damaged_are_valid(name, tmp_path):
    (tmp_path / "t").write_bytes(valid(name, tmp_path))
    READERS[name](tmp_path / "t")
