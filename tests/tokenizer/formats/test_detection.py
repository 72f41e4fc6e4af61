"""Which format a file has is told from its content."""

import json

import pytest

from scratchgrad.errors import DataError
from scratchgrad.tokenizer import CharTokenizer
from scratchgrad.tokenizer.formats import (
    Found,
    detect,
    own,
)
from tests.tokenizer.plain import small


def test_detect_our_own(tmp_path):
    CharTokenizer().train("ab").save(tmp_path / "c.json")
    own.write(tmp_path / "tokenizer.json", small(), "gpt2")
    assert detect(tmp_path / "c.json") == Found("characters", (tmp_path / "c.json",))
    expected = Found("own", (tmp_path / "tokenizer.json",))
    assert detect(tmp_path) == detect(tmp_path / "tokenizer.json") == expected
    # by what the file says, wherever it stands in it
    body = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "x").write_text(json.dumps(body, sort_keys=True))
    assert detect(tmp_path / "x").format == "own"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Some text.\n", "no tokenizer that can be read"),
        (b"{}", "no tokenizer that can be read"),
        (b'{"format": "another"}', "no tokenizer that can be read"),
        (b'{"format": ["own"]}', "no tokenizer that can be read"),
        (b'{"a": 1}', "expected vocab.bpe and encoder.json beside"),
        (b"#version: 0.2\na b\n", "expected vocab.bpe and encoder.json beside"),
        (b"\x00" * 100, "no tokenizer that can be read"),
        (b"[1]", "no tokenizer that can be read"),
        (b"{", "no valid JSON"),
        (b"", "is empty"),
    ],
)
def test_detect_refuses_what_it_does_not_know(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        detect(tmp_path / "t")
    assert "\n" not in str(caught.value)


def test_detect_without_a_file(tmp_path):
    with pytest.raises(DataError, match="folder without a tokenizer"):
        detect(tmp_path)
    with pytest.raises(DataError, match="no such tokenizer file"):
        detect(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"null (byte|character)"):
        detect("a\0b")
