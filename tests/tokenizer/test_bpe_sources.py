"""What goes wrong round a tokenizer: folders, pipes, full disks, callbacks, claims of millions."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from scratchgrad.errors import DataError
from scratchgrad.tokenizer import BPETokenizer

WORDS = "hello hello world, it is the best of worlds\n" * 4
END = "<|endoftext|>"
TRAINED = BPETokenizer(special_tokens=[END]).train(WORDS, 275)

links = pytest.mark.skipif(os.name == "nt", reason="links and pipes are made otherwise there")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- a space before the text -------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "hello", " hello", "  hello", "hello<|endoftext|>hello"])
def test_one_space_is_put_before_a_text_and_taken_away_again(tmp_path, text):
    tokenizer = BPETokenizer(replace(TRAINED.vocabulary, prefix_space=True))
    ids = tokenizer.encode(text, allowed_special="all")
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert TRAINED.decode(ids) == (" " + text if text else "")
    plain = tokenizer.encode(text, disallowed_special=()).tolist()
    assert tokenizer.encode_batch([text, "x"], disallowed_special=())[0].tolist() == plain
    (tmp_path / "text").write_text(text)
    found = tokenizer.encode_file(tmp_path / "text", tmp_path / "ids", allowed_special="all")
    assert found.tolist() == ids.tolist()
    stream = tokenizer.stream()
    assert "".join(stream.push(id_) for id_ in ids.tolist()) + stream.flush() == text


def test_a_batch_of_long_and_short_texts_is_each_by_itself():
    long = WORDS * 1000  # longer than what shares a block
    texts = ["a", long, "b", "", long[5:], " hello"]
    found = TRAINED.encode_batch(texts)
    assert [TRAINED.decode(ids) for ids in found] == texts
    assert np.array_equal(found[1], TRAINED.encode(long))
