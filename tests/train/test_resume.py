"""Same seed, same bits; and a run that was stopped ends as one that never was."""

import json
import os
import re
import shutil

import numpy as np
import pytest

from scratchgrad.errors import CheckpointError, ConfigError, DataError, NonFiniteLossError
from scratchgrad.train.log import read_log
from scratchgrad.train.run import LATER
from scratchgrad.train.session import begin, open_model, resume
from tests.train.runs import SMALL, TEXT, go, remains, start, timeless, write_text

# Dropout and accumulation, so that their state has to be right as well.
HARD = {"dropout": 0.2, "grad_accum": 2}


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, text_file):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert go(start(folder, text_file, **HARD)).finished
    return folder


def test_the_same_seed_gives_the_same_bits(tmp_path, text_file, whole):
    go(start(tmp_path / "run", text_file, **HARD))
    assert remains(tmp_path / "run") == remains(whole)


def test_another_seed_gives_others(tmp_path, text_file, whole):
    go(start(tmp_path / "run", text_file, seed=1, **HARD))
    assert remains(tmp_path / "run")["model"] != remains(whole)["model"]


@pytest.mark.parametrize("stops", [(1,), (3,), (5, 6), (7,)])
def test_resuming_equals_never_having_stopped(tmp_path, text_file, whole, stops):
    run = tmp_path / "run"
    session = start(run, text_file, **HARD)
    for stop in stops:
        outcome = go(session, stop_after=stop)
        assert (outcome.finished, outcome.step) == (False, stop)
        session = resume(run)
        assert session.trainer.step == stop
    assert go(session).finished
    ours, theirs = remains(run), remains(whole)
    # The checkpoint of the stop itself may be among those that were kept.
    assert set(theirs.pop("checkpoints")) - set(ours.pop("checkpoints")) <= {"step-00000006"}
    assert ours == theirs


def test_a_killed_run_loses_what_followed_its_checkpoint_and_makes_it_again(tmp_path, text_file):
    run, whole = tmp_path / "run", tmp_path / "whole"
    go(start(whole, text_file, checkpoint_every=0, **HARD))
    go(start(run, text_file, checkpoint_every=0, **HARD), stop_after=5)
    shutil.rmtree(run / "checkpoints" / "step-00000005")  # as if killed before it was saved
    with open(run / "log.jsonl", "a") as log:
        log.write('{"step": 6, "train_loss": 1.0')  # as if killed while writing
    assert "step 4" in (run / "samples.txt").read_text(encoding="utf-8")
    session = resume(run)
    assert session.trainer.step == 3
    assert [r["step"] for r in read_log(run / "log.jsonl")] == [1, 2, 3]
    go(session)
    assert remains(run) == remains(whole)


def test_more_steps_go_on_from_a_finished_run_as_if_planned(tmp_path, text_file):
    long, short = tmp_path / "long", tmp_path / "short"
    go(start(long, text_file, steps=12, decay_steps=6))
    go(start(short, text_file, steps=6, decay_steps=6))
    session = resume(short, changes={"steps": 12})
    assert any("stays at 0.001" in note for note in session.notes)
    go(session)
    assert remains(short)["model"] == remains(long)["model"]
    assert timeless(read_log(short / "log.jsonl")) == timeless(read_log(long / "log.jsonl"))


def test_a_run_killed_before_its_last_line_gets_it(tmp_path, text_file):
    run = tmp_path / "run"
    go(start(run, text_file))
    before = read_log(run / "log.jsonl")
    lines = (run / "log.jsonl").read_bytes().splitlines(keepends=True)
    (run / "log.jsonl").write_bytes(b"".join(lines[:-1]))
    outcome = go(resume(run))
    assert outcome.finished
    assert timeless(read_log(run / "log.jsonl")) == timeless(before)


def test_a_finished_run_has_nothing_left_to_do(whole):
    with pytest.raises(ConfigError, match=r"has finished its 8 steps; --steps 16"):
        resume(whole)
    with pytest.raises(ConfigError, match=r"at step 8 already, past --steps 4"):
        resume(whole, changes={"steps": 4})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_layer", 2),
        ("n_head", 4),
        ("n_embd", 32),
        ("block_size", 4),
        ("bias", True),
        ("norm_position", "post"),
        ("position", "rope"),
        ("sliding_window", 2),
        ("rope_base", 2.0),
        ("seed", 3),
        ("val_fraction", 0.5),
    ],
)
def test_what_cannot_change_is_refused_and_nothing_is_touched(whole, name, value):
    before = remains(whole), (whole / "config.json").read_bytes()
    with pytest.raises(ConfigError, match=f"{name} cannot change in the middle of a run"):
        resume(whole, changes={name: value, "steps": 20})
    assert (remains(whole), (whole / "config.json").read_bytes()) == before


@pytest.mark.parametrize("part", ["", "embd_", "attn_", "resid_"])
def test_every_dropout_may_change(tmp_path, text_file, part):
    run, name = tmp_path / "run", f"{part}dropout"
    go(start(run, text_file), stop_after=3)
    going_on = resume(run, changes={name: 0.25})
    assert going_on.trainer.model.config.dropout_of(part[:-1] or "attn") == 0.25
    go(going_on)
    assert getattr(open_model(run).model.config, name) == 0.25


def test_what_is_given_again_as_it_was_is_no_change(tmp_path, text_file):
    go(start(tmp_path / "run", text_file), stop_after=2)
    session = resume(tmp_path / "run", changes={"n_layer": 1, "seed": 1337, "lr": 5e-3})
    assert session.config.train.lr == 5e-3
    assert json.loads((tmp_path / "run/config.json").read_text())["train"]["lr"] == 5e-3


def test_another_text_is_refused(tmp_path):
    text_file = write_text(tmp_path)
    go(start(tmp_path / "run", text_file), stop_after=2)
    write_text(tmp_path, TEXT.replace("fox", "cat"))
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    with pytest.raises(DataError, match="not the one that the run was begun with"):
        resume(tmp_path / "run")
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log
    moved = tmp_path / "moved.txt"
    moved.write_text(TEXT, newline="")
    session = resume(tmp_path / "run", [str(moved)])
    assert session.config.text.files == (str(moved.resolve()),)


def test_the_text_is_found_from_another_folder(tmp_path, monkeypatch):
    write_text(tmp_path)
    monkeypatch.chdir(tmp_path)
    go(begin("run", ["text.txt"], "char", SMALL), stop_after=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resume("../run").trainer.step == 1


def test_another_tokenizer_is_refused(tmp_path, text_file):
    run = tmp_path / "run"
    go(start(run, text_file), stop_after=2)
    body = json.loads((run / "tokenizer.json").read_text())
    body["characters"].reverse()
    (run / "tokenizer.json").write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match="not the tokenizer"):
        resume(run)


def test_a_run_of_an_older_version_has_the_defaults_of_what_came_later(tmp_path, text_file):
    run = tmp_path / "run"
    go(start(run, text_file), stop_after=3)
    body = json.loads((run / "config.json").read_text())
    for name in LATER:
        del body["model"][name]
    (run / "config.json").write_text(json.dumps(body))
    for path in (run / "checkpoints").glob("*/state.json"):
        state = json.loads(path.read_text())
        for name in LATER:
            del state["model"][name]
        path.write_text(json.dumps(state))
    assert open_model(run).step == 3
    assert resume(run).trainer.step == 3
    del body["model"]["bias"]
    (run / "config.json").write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match="expected model to hold"):
        resume(run)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("model", "n_head", 4), ("model", "norm_position", "post"), ("train", "seed", 7)],
)
def test_an_edited_config_is_refused(tmp_path, text_file, section, name, value):
    """The weights would still fit, and mean nothing."""
    run = tmp_path / "run"
    go(start(run, text_file), stop_after=3)
    body = json.loads((run / "config.json").read_text())
    body[section][name] = value
    (run / "config.json").write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match=f"says {name} is {value}"):
        resume(run)
    with pytest.raises(CheckpointError, match=f"says {name} is {value}"):
        open_model(run)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("elapsed", float("nan"), "NaN is no number of JSON"),
        ("tokens", float("inf"), "Infinity is no number of JSON"),
        ("trainer", "x", "damaged"),
    ],
)
def test_an_edited_state_is_refused(tmp_path, text_file, name, value, says):
    run = tmp_path / "run"
    go(start(run, text_file), stop_after=3)
    for path in (run / "checkpoints").glob("*/state.json"):
        body = json.loads(path.read_text())
        body[name] = value
        path.write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match=says):
        resume(run)


FILES = ("config.json", "checkpoints/*/state.json", "checkpoints/*/model.safetensors", "log.jsonl")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("device", [False, True])
def test_what_is_no_file_is_not_waited_for_nor_read_without_end(tmp_path, text_file, file, device):
    """A pipe that nobody writes into, and a device that never ends."""
    run = tmp_path / "run"
    go(start(run, text_file), stop_after=3)
    for path in run.glob(file):
        path.unlink()
        if device:
            path.symlink_to("/dev/zero")
        else:
            os.mkfifo(path)
    with pytest.raises(CheckpointError, match="is no ordinary file"):
        resume(run)
    if file != "log.jsonl":
        with pytest.raises(CheckpointError, match="is no ordinary file"):
            open_model(run)


def test_a_name_that_stands_twice_in_the_configuration(tmp_path, text_file):
    run = tmp_path / "run"
    go(start(run, text_file), stop_after=3)
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"seed":', '"seed": 1, "seed":', 1))
    with pytest.raises(CheckpointError, match="the name 'seed' stands twice"):
        open_model(run)


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ("n_embd", r"run: .*wte\.weight should have shape \(30, 160000\)"),
        ("n_layer", "too few for"),
    ],
)
@pytest.mark.parametrize("use", [open_model, resume])
def test_no_weights_are_drawn_because_a_number_says_so(
    tmp_path, text_file, size, says, use, monkeypatch
):
    run = tmp_path / "run"
    go(start(run, text_file), stop_after=3)
    for path in (run / "config.json", *(run / "checkpoints").glob("*/state.json")):
        text, count = re.subn(f'"{size}": [0-9]+', f'"{size}": 160000', path.read_text())
        assert count == 1
        path.write_text(text)
    monkeypatch.setattr(np.random, "default_rng", lambda *seed: pytest.fail("weights are drawn"))
    with pytest.raises(CheckpointError, match=says):
        use(run)


def test_after_a_ruined_step_the_last_good_checkpoint_is_named(tmp_path, text_file, monkeypatch):
    session = start(tmp_path / "run", text_file, checkpoint_every=2, eval_every=0)
    real = session.trainer.train_step

    def ruined():
        if session.trainer.step == 3:
            raise NonFiniteLossError("step 4: the loss is nan")
        return real()

    monkeypatch.setattr(session.trainer, "train_step", ruined)
    with pytest.raises(
        NonFiniteLossError, match=r"last good checkpoint is step 2: .*--resume .*--lr"
    ):
        go(session)


def test_a_smaller_rate_takes_its_end_down_with_it(tmp_path, text_file):
    go(start(tmp_path / "run", text_file), stop_after=3)
    train = resume(tmp_path / "run", changes={"lr": 1e-4}).config.train
    assert (train.lr, train.min_lr) == (1e-4, pytest.approx(1e-5))
