"""Reading text: what is kept, and how each unusable file is named."""

import builtins
import os

import pytest

from scratchgrad.data import embedded_text, read_text, read_texts
from scratchgrad.errors import DataError


def test_bytes_are_kept_but_for_a_byte_order_mark(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n\xef\xbb\xbf\x00end")
    assert read_text(file) == "one\r\ntwo\rthree\n\ufeff\x00end"


def test_files_are_joined_in_order_with_a_newline_only_where_one_lacks(tmp_path):
    for name, body in (("b", "first"), ("a", "second\n"), ("c", "third")):
        (tmp_path / name).write_text(body)
    assert read_texts([tmp_path / n for n in "bac"]) == "first\nsecond\nthird"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_not_utf8_names_file_and_byte_offset(tmp_path, mark):
    file = tmp_path / "latin.txt"
    file.write_bytes(mark + "é".encode() + b"caf\xe9 noir")
    with pytest.raises(DataError, match=rf"latin\.txt .* 0xe9 at offset {len(mark) + 5} "):
        read_text(file)


def test_a_missing_file_a_folder_and_an_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "mark").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(DataError, match="no such text file"):
        read_text(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"is a folder; expected text files"):
        read_text(tmp_path)
    with pytest.raises(DataError, match="is empty"):
        read_text(tmp_path / "empty")
    with pytest.raises(DataError, match="is empty"):
        read_text(tmp_path / "mark")
    with pytest.raises(DataError, match="cannot read"):
        read_text("nul\0byte")
    with pytest.raises(DataError, match="no text files"):
        read_texts([])


@pytest.mark.skipif(
    os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="needs a user with limits"
)
def test_a_file_that_may_not_be_read(tmp_path):
    file = tmp_path / "secret"
    file.write_text("x")
    file.chmod(0)
    with pytest.raises(DataError, match="may not read"):
        read_text(file)


def test_the_embedded_text_is_long_and_always_the_same():
    text = embedded_text()
    assert len(text) > 200_000
    assert 'The "assert" statement' in text
    assert text == embedded_text()


def test_a_python_without_the_embedded_text(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pydoc_data"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match="scratchgrad train FILE"):
        embedded_text()
