"""What goes wrong round a tokenizer: folders, pipes, full disks, callbacks, claims of millions."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

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


# -- what is read ------------------------------------------------------------------------------


@links
def test_what_is_neither_a_file_nor_a_folder_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "text").write_text(WORDS)
    odd = tmp_path / "folder" / "odd"
    for make in (os.mkfifo, lambda path: path.symlink_to(path), lambda path: path.symlink_to("no")):
        make(odd)
        for source in (tmp_path / "folder", [tmp_path / "folder"]):
            with pytest.raises(DataError, match="odd is neither a file nor a folder"):
                BPETokenizer().train(source, 260)
        with pytest.raises(DataError, match="odd is neither a file nor a folder"):
            TRAINED.encode_file(tmp_path / "folder", tmp_path / "ids.npy")
        odd.unlink()
    with pytest.raises(DataError, match="null is neither a file nor a folder"):
        BPETokenizer().train(Path(os.devnull), 260)
    assert names(tmp_path) == ["folder"]


@links
def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path):
    (tmp_path / "text").write_text(WORDS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "text")
    (tmp_path / "folder" / "round").symlink_to(tmp_path)
    counts = BPETokenizer().train(tmp_path / "folder", 270).vocabulary.counts
    assert (counts == BPETokenizer().train(WORDS, 270).vocabulary.counts).all()


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "text").write_text(WORDS)

    def walk(path, onerror=None):
        if onerror is not None:
            onerror(PermissionError(13, "Permission denied", "secret"))
        yield str(path), [], ["text"]

    monkeypatch.setattr("scratchgrad.tokenizer.corpus.os.walk", walk)
    with pytest.raises(DataError, match="Permission denied"):
        BPETokenizer().train(tmp_path, 260)


def test_hidden_files_and_files_in_hidden_folders_are_left_out(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x" * 99)
    (tmp_path / ".swap").write_text("x" * 99)
    (tmp_path / "text").write_text(WORDS)
    counts = BPETokenizer().train(tmp_path, 270).vocabulary.counts
    assert (counts == BPETokenizer().train(WORDS, 270).vocabulary.counts).all()


def test_the_files_of_a_folder_are_encoded_by_name(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in "dbac":
        (tmp_path / "folder" / name).write_text(name)
    ids = TRAINED.encode_file(tmp_path / "folder", tmp_path / "ids.npy", separator=END)
    assert TRAINED.decode(ids) == END.join("abcd") + END


# -- what is written ---------------------------------------------------------------------------


def test_ids_are_never_written_over_what_they_are_made_from(tmp_path):
    text, path = WORDS * 300, tmp_path / "a text"
    path.write_text(text)
    with pytest.raises(DataError, match="is one of the files to be read"):
        TRAINED.encode_file(path, path)
    assert path.read_text() == text
    ids = TRAINED.encode_file(tmp_path, tmp_path / "ids.npy")  # not the one just begun
    assert ids.tolist() == TRAINED.encode(text).tolist()
    with pytest.raises(DataError, match=r"ids\.npy is one of the files to be read"):
        TRAINED.encode_file(tmp_path, tmp_path / "ids.npy")
    assert names(tmp_path) == ["a text", "ids.npy"]


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "text").write_text(WORDS)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="it is there, and is no file"):
        TRAINED.encode_file(tmp_path / "text", tmp_path / "folder")
    with pytest.raises(DataError, match="cannot write"):
        TRAINED.encode_file(tmp_path / "text", tmp_path / "nowhere" / "ids.npy")
    assert names(tmp_path) == ["folder", "text"]


def test_a_full_disk_leaves_nothing_behind_and_is_named(tmp_path):
    resource = pytest.importorskip("resource")
    (tmp_path / "text").write_bytes(b"hello world " * 300_000)  # several blocks
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot write .*ids\.npy: "):
            TRAINED.encode_file(tmp_path / "text", tmp_path / "ids.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["text"]


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_the_header_says_how_many_ids_there_are(tmp_path, size):
    (tmp_path / "text").write_bytes(bytes(range(1, 11)) * size)
    ids = TRAINED.encode_file(tmp_path / "text", tmp_path / "ids.npy")
    assert ids.shape == (10 * size,)
    header = 128
    assert (tmp_path / "ids.npy").stat().st_size == header + ids.nbytes


def test_ordinary_stretches_of_a_mapped_file_are_not_copied():
    data = bytearray(b"one<|endoftext|>two")
    parts = list(TRAINED._special.split(data, "all"))
    assert [bytes(part) for part in parts if not isinstance(part, int)] == [b"one", b"two"]
    assert all(part.obj is data for part in parts if not isinstance(part, int))


# -- what is called ----------------------------------------------------------------------------


class Stop(Exception):
    pass


def test_what_is_raised_in_the_middle_comes_out_and_changes_nothing(tmp_path):
    def texts():
        yield WORDS
        raise Stop

    def progress(stage, done, total):
        if done:
            raise Stop

    tokenizer = BPETokenizer().train(WORDS, 270)
    before = tokenizer.vocabulary
    (tmp_path / "text").write_text(WORDS)
    for call in (
        lambda: tokenizer.train(texts(), 260),
        lambda: tokenizer.train(WORDS, 260, progress=progress),
        lambda: tokenizer.encode_batch(texts()),
        lambda: tokenizer.encode_file(tmp_path / "text", tmp_path / "ids", progress=progress),
    ):
        with pytest.raises(Stop):
            call()
    assert tokenizer.vocabulary is before
    assert names(tmp_path) == ["text"]


# -- how large it may be -----------------------------------------------------------------------


def test_claims_that_no_text_can_meet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fewer merges than asked for
        assert BPETokenizer().train("abc abc", 10**30).vocab_size == 259
        assert BPETokenizer().train("abc abc", 300, min_frequency=10**30).vocab_size == 256


def test_distinct_pieces_of_more_than_an_int32_are_refused(monkeypatch):
    monkeypatch.setattr("scratchgrad.tokenizer.training.MOST", 20)
    with pytest.raises(DataError, match="the distinct pieces are 21 bytes long"):
        BPETokenizer(pattern="none").train("x" * 21, 257)
    BPETokenizer().train("ab " * 100, 257)


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
