"""A run with byte-pair tokens, or with a tokenizer that was saved before."""

import json
import math
import shutil

import pytest

from scratchgrad.data import split, split_text
from scratchgrad.errors import CheckpointError, ConfigError, DataError
from scratchgrad.evaluate import bits_per_byte, evaluate_loss
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer, byte_length, load_tokenizer
from scratchgrad.train.config import TokenizerSettings, resolve_tokenizer
from scratchgrad.train.log import read_log
from scratchgrad.train.progress import describe
from scratchgrad.train.session import begin, open_model, resume
from tests.train.runs import SMALL, TEXT, go, remains, start, write_text

# A line of many letters in two bytes, so that a byte is no character.
MIXED = TEXT + "zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.\n" * 8
BPE = {"tokenizer": "bpe", "vocab_size": 290}


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(MIXED.encode())
    return str(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, text_file):
    """A run over byte pairs that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert go(start(folder, text_file, **BPE)).finished
    return folder


@pytest.fixture
def session(tmp_path, whole):
    """That run taken up again: a copy, for its log is cut back to the checkpoint."""
    shutil.copytree(whole, tmp_path / "whole")
    return resume(tmp_path / "whole", changes={"steps": 9, **BPE})


def test_a_run_learns_its_vocabulary_from_what_is_not_held_out(whole, session):
    tokenizer = load_tokenizer(whole / "tokenizer.json")
    training, held_out = split_text(MIXED, 0.1)
    assert tokenizer.vocab_size == 290
    ours = BPETokenizer().train(training, 290).vocabulary
    assert ours.tokens == tokenizer.vocabulary.tokens
    assert tokenizer.decode(session.trainer.training) == training
    assert tokenizer.decode(session.trainer.validation) == held_out
    assert session.trainer.training.dtype == "uint16"


def test_what_a_run_says_of_its_text(session, text_file, tmp_path):
    training, held_out = session.trainer.training, session.trainer.validation
    tokens = len(training) + len(held_out)
    assert describe(session)[-3] == (
        f"text   text.txt: {len(MIXED):,} characters, {tokens:,} tokens "
        f"({len(MIXED) / tokens:.2f} characters each), vocabulary 290; "
        f"last {len(held_out)} tokens held out"
    )
    characters = start(tmp_path / "run", text_file)
    assert f"{len(MIXED):,} characters, {len(set(MIXED))} distinct" in describe(characters)[-3]


@pytest.mark.parametrize("stops", [(3,), (5, 6)])
def test_resuming_equals_never_having_stopped(tmp_path, text_file, whole, stops):
    run = tmp_path / "run"
    session = start(run, text_file, **BPE)
    for stop in stops:
        assert go(session, stop_after=stop).step == stop
        session = resume(run)
    assert go(session).finished
    ours, theirs = remains(run), remains(whole)
    assert set(theirs.pop("checkpoints")) - set(ours.pop("checkpoints")) <= {"step-00000006"}
    assert ours == theirs


def test_the_vocabulary_is_not_learned_again(tmp_path, text_file, monkeypatch):
    run = tmp_path / "run"
    go(start(run, text_file, **BPE), stop_after=2)
    before = (run / "tokenizer.json").read_bytes()

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(BPETokenizer, "train", never)
    assert go(resume(run)).finished
    assert (run / "tokenizer.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"tokenizer": "characters"}, "tokenizer"),
        ({"vocab_size": 300}, "vocab_size"),
        ({"tokenizer": "other.json"}, "tokenizer"),
        ({"allow_special": True}, "allow_special"),
    ],
)
def test_the_tokenizer_cannot_change_in_the_middle_of_a_run(whole, changes, name):
    before = remains(whole), (whole / "config.json").read_bytes()
    with pytest.raises(ConfigError, match=f"{name} cannot change in the middle of a run"):
        resume(whole, changes={"steps": 20, **changes})
    assert (remains(whole), (whole / "config.json").read_bytes()) == before


def test_what_is_given_again_as_it_was_is_no_change(session):
    assert session.config.tokenizer == TokenizerSettings(**BPE)


@pytest.mark.parametrize("kind", ["characters", "byte pairs"])
def test_a_saved_tokenizer_is_taken_and_kept_with_the_run(tmp_path, text_file, monkeypatch, kind):
    tokenizer = CharTokenizer() if kind == "characters" else BPETokenizer()
    if kind == "characters":
        tokenizer.train(MIXED + "&%$")
    else:
        tokenizer.train(MIXED, 300)
    monkeypatch.chdir(tmp_path)
    tokenizer.save(tmp_path / "mine.json")
    go(start(tmp_path / "run", text_file, tokenizer="mine.json"), stop_after=3)
    (tmp_path / "mine.json").unlink()  # the run has a copy
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["tokenizer"] == {
        "tokenizer": str(tmp_path / "mine.json"),
        "vocab_size": 0,
        "allow_special": False,
    }
    session = resume(tmp_path / "run", changes={"tokenizer": str(tmp_path / "mine.json")})
    assert session.tokenizer.vocab_size == tokenizer.vocab_size
    assert f"vocabulary {tokenizer.vocab_size}; last" in describe(session)[-3]
    assert go(session).finished


def test_special_tokens_in_the_text_are_refused_unless_allowed(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text((TEXT[:85] + "<|end|>") * 20)
    mine = BPETokenizer(special_tokens=["<|end|>"]).train(TEXT, 280)
    mine.save(tmp_path / "mine.json")
    settings = {"tokenizer": str(tmp_path / "mine.json")}
    with pytest.raises(DataError, match=r"special token '<\|end\|>' at position 85"):
        start(tmp_path / "run", str(text), **settings)
    assert not (tmp_path / "run").exists()
    session = start(tmp_path / "run", str(text), **settings, allow_special=True)
    end = mine.special_tokens["<|end|>"]
    assert int((session.trainer.training == end).sum()) == 18
    go(session, stop_after=2)
    assert (resume(tmp_path / "run").trainer.training == session.trainer.training).all()


def test_a_saved_tokenizer_that_does_not_know_the_text_is_refused(tmp_path, text_file):
    CharTokenizer().train(TEXT).save(tmp_path / "mine.json")
    with pytest.raises(DataError, match=r"'z|'ö'"):
        start(tmp_path / "run", text_file, tokenizer=str(tmp_path / "mine.json"))
    known = split_text(MIXED.replace("ß", "ss") + "ß", 0.1)
    (tmp_path / "end.txt").write_bytes("".join(known).encode())
    CharTokenizer().train(known[0]).save(tmp_path / "mine.json")
    with pytest.raises(DataError, match=f"begins at character {len(known[0])}: character 'ß'"):
        start(tmp_path / "run", str(tmp_path / "end.txt"), tokenizer=str(tmp_path / "mine.json"))
    assert not (tmp_path / "run").exists()


def test_a_text_with_fewer_pairs_than_asked_for_says_so(tmp_path):
    session = start(tmp_path / "run", write_text(tmp_path), tokenizer="bpe", vocab_size=5000)
    assert len(session.notes) == 1
    assert 256 < session.tokenizer.vocab_size < 5000
    assert session.config.tokenizer.vocab_size == 5000
    assert go(session, stop_after=1).step == 1
    assert resume(tmp_path / "run", changes={"vocab_size": 5000}).trainer.step == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 300}, "vocab_size goes with the tokenizer bpe"),
        ({"tokenizer": "x.json", "vocab_size": 300}, "vocab_size goes with the tokenizer bpe"),
        ({"tokenizer": "bpe", "vocab_size": 255}, "at least 256.* got 255"),
        ({"tokenizer": "bpe", "allow_special": True}, "allow_special goes with a saved tokenizer"),
        ({"allow_special": True}, "characters has no special tokens"),
        ({"tokenizer": "bpe", "vocab_size": True}, "vocab_size must be a whole number"),
    ],
)
def test_settings_that_contradict_each_other(changes, message):
    with pytest.raises(ConfigError, match=message):
        resolve_tokenizer(changes)


def test_the_default_is_characters():
    assert resolve_tokenizer({}) == TokenizerSettings("characters", 0)


def test_no_such_tokenizer_leaves_no_trace(tmp_path, text_file):
    with pytest.raises(DataError, match="no such"):
        start(tmp_path / "run", text_file, tokenizer=str(tmp_path / "nowhere.json"))
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_older_version_goes_on(tmp_path):
    """Its config.json has no tokenizer section, and no prompt."""
    text = write_text(tmp_path)
    old, new = tmp_path / "old", tmp_path / "new"
    go(start(old, text), stop_after=3)
    config = json.loads((old / "config.json").read_text())
    assert config.pop("tokenizer") == {
        "tokenizer": "characters",
        "vocab_size": 0,
        "allow_special": False,
    }
    assert config.pop("prompt") == "\n"
    (old / "config.json").write_text(json.dumps(config))
    assert open_model(old).prompt == "\n"
    assert go(resume(old)).finished
    go(start(new, text))
    ours, theirs = remains(old), remains(new)
    assert set(theirs.pop("checkpoints")) <= set(ours.pop("checkpoints")) | {"step-00000006"}
    assert ours == theirs


@pytest.mark.parametrize(
    "section", [None, [], {}, {"tokenizer": "bpe"}, {"tokenizer": "bpe", "vocab_size": -1}]
)
def test_a_damaged_tokenizer_section(tmp_path, text_file, section):
    go(start(tmp_path / "run", text_file), stop_after=1)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["tokenizer"] = section
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config.json is damaged"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("changes", [BPE, {}])
def test_samples_start_from_a_new_line_only_if_the_text_has_any(tmp_path, changes):
    path = tmp_path / "one.txt"
    path.write_text("one line without an end " * 40)
    go(begin(tmp_path / "run", [str(path)], "char", SMALL | changes))
    assert open_model(tmp_path / "run").prompt == " "


def test_bits_a_byte_are_the_cost_of_the_whole_text(whole, session):
    """They are what the log says, and do not depend on how the text was cut into tokens."""
    last = read_log(whole / "log.jsonl")[-1]
    held_out = session.trainer.validation
    exact = session.tokenizer.decode_bytes(held_out[1:])
    assert last["val_bytes"] == len(exact) == byte_length(session.tokenizer, held_out[1:])
    evaluation = evaluate_loss(session.trainer.model, held_out)
    bits = evaluation.loss * (len(held_out) - 1) / math.log(2)
    assert last["val_bits_per_byte"] == pytest.approx(bits / len(exact))


def test_bits_per_byte_by_hand():
    # Eight tokens at one bit each, four bytes: two bits a byte.
    assert bits_per_byte(math.log(2), tokens=8, size=4) == pytest.approx(2)


def test_byte_length_counts_cut_characters():
    tokenizer = BPETokenizer()
    ids = tokenizer.encode("aé日\U0001f600")
    assert byte_length(tokenizer, ids) == 1 + 2 + 3 + 4
    assert byte_length(tokenizer, ids[2:]) == 8
    assert byte_length(tokenizer, ids[:0]) == 0
    characters = CharTokenizer("aé日\ud800")
    assert byte_length(characters, characters.encode("\ud800é日")) == 3 + 2 + 3


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_a_text_is_cut_where_its_characters_would_be(fraction):
    ids = CharTokenizer().train(MIXED).encode(MIXED)
    assert list(map(len, split_text(MIXED, fraction))) == list(map(len, split(ids, fraction)))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_text(MIXED, 1.0)
