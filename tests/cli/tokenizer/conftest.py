"""A folder with texts and tokenizers, and pipes."""

import os
import threading

import pytest

from scratchgrad.tokenizer import BPETokenizer, CharTokenizer
from tests.cli.tokenizer.words import TEXT, WILD


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A folder to work in, with texts and tokenizers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT, newline="")
    (tmp_path / "wild.bin").write_bytes(WILD)
    special = ["<|end|>", "<|pad|>"]
    BPETokenizer(special_tokens=special).train(TEXT, 300).save(tmp_path / "bpe.json")
    CharTokenizer().train(TEXT).save(tmp_path / "characters.json")
    return tmp_path


@pytest.fixture
def pipe(at):
    """Puts content into a pipe, and names that."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("Windows has no named pipes of this kind")
    writers = []

    def put(content):
        name = f"pipe{len(writers)}"
        os.mkfifo(name)
        writers.append(threading.Thread(target=(at / name).write_bytes, args=[content]))
        writers[-1].start()
        return name

    yield put
    for writer in writers:
        writer.join(timeout=60)
