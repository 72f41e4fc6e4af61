"""Checkpoints: whole or not at all, and damage is seen."""

import json
import os

import numpy as np
import pytest

from scratchgrad.data import files
from scratchgrad.errors import CheckpointError
from scratchgrad.train import checkpoint as module
from scratchgrad.train.checkpoint import (
    Checkpoint,
    keep_only,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from scratchgrad.train.session import open_model, resume
from tests.train.runs import go, start, write_text


def make(step, value=1.0):
    strided = np.arange(12, dtype=np.float32).reshape(3, 4).T * np.float32(value)
    model = {"w": strided, "scalar": np.array(value), "none": np.zeros((0, 3))}
    optimizer = {"steps": np.array([step]), "m.0": strided * 2, "step": step}
    return Checkpoint(step, model, optimizer, {"elapsed": 1.5})


def test_what_is_written_is_read(tmp_path):
    place = write_checkpoint(tmp_path, make(30))
    found = read_checkpoint(place)
    assert place.name == "step-00000030"
    assert found.step == 30
    assert found.state["elapsed"] == 1.5
    assert found.optimizer["step"] == 30
    for name, array in make(30).model.items():
        assert found.model[name].dtype == array.dtype
        assert found.model[name].shape == array.shape
        assert np.array_equal(found.model[name], array)
    assert np.array_equal(found.optimizer["m.0"], make(30).optimizer["m.0"])
    assert not list(tmp_path.rglob("*.tmp"))


def test_without_the_optimizer_its_file_is_not_even_opened(tmp_path):
    place = write_checkpoint(tmp_path, make(1))
    (place / "optimizer.safetensors").unlink()
    assert read_checkpoint(place, with_optimizer=False).step == 1
    with pytest.raises(CheckpointError, match=r"no such file of weights: .*optimizer\.safetensors"):
        read_checkpoint(place)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def remove(path):
    path.unlink()


TENSORS, SEAL = ("model.safetensors", "optimizer.safetensors"), "state.json"


@pytest.mark.parametrize(
    ("name", "damage"),
    # A changed letter within the seal's own settings is not for it to see.
    [(name, damage) for name in TENSORS for damage in (truncate, flip, remove)]
    + [(SEAL, truncate), (SEAL, remove)],
)
def test_a_damaged_checkpoint_is_refused_and_the_older_one_used(tmp_path, name, damage):
    write_checkpoint(tmp_path, make(1))
    place = write_checkpoint(tmp_path, make(2))
    damage(place / name)
    found, problems = newest_checkpoint(tmp_path)
    assert found.step == 1
    assert len(problems) == 1
    assert "step-00000002" in problems[0]


def test_no_whole_checkpoint_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="before its first one"):
        newest_checkpoint(tmp_path / "nowhere")
    truncate(write_checkpoint(tmp_path, make(2)) / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"is whole: .*step-00000002"):
        newest_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"format": "x"},
        {"files": []},
        {"files": {"model.safetensors": {}}},
        {"step": "2"},
        {"step": True},
        {"step": -1},
        {"optimizer": None},
    ],
)
def test_a_seal_that_lies_is_refused(tmp_path, change):
    place = write_checkpoint(tmp_path, make(2))
    state = json.loads((place / "state.json").read_text())
    (place / "state.json").write_text(json.dumps(state | change))
    with pytest.raises(CheckpointError, match=r"state\.json"):
        read_checkpoint(place)


def test_tensors_that_are_no_safetensors_are_refused_even_with_a_right_seal(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "save", lambda tensors: b"\xff" * 64)
    place = write_checkpoint(tmp_path, make(2))
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(place)


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_disk_that_fills_up_leaves_the_older_checkpoint_and_no_debris(
    tmp_path, monkeypatch, failing
):
    write_checkpoint(tmp_path, make(1))
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        raise OSError(28, "No space left on device")

    real = os.fsync
    countdown = iter(range(1, 100))
    monkeypatch.setattr(
        files.os, "fsync", lambda fd: full(fd) if next(countdown) == 2 * failing - 1 else real(fd)
    )
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(tmp_path, make(2))
    monkeypatch.undo()
    assert calls
    assert not list(tmp_path.rglob("*.tmp"))
    found, problems = newest_checkpoint(tmp_path)
    assert found.step == 1
    assert "never finished" in problems[0]
    write_checkpoint(tmp_path, make(2))
    assert newest_checkpoint(tmp_path)[0].step == 2


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "config.json"
    files.write_atomically(file, b"old")
    monkeypatch.setattr(files.os, "fsync", lambda fd: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.write_atomically(file, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("config.json", b"old")]


def test_a_checkpoint_written_again_has_no_seal_meanwhile(tmp_path, monkeypatch):
    place = write_checkpoint(tmp_path, make(1))
    monkeypatch.setattr(module, "save", lambda tensors: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_checkpoint(tmp_path, make(1, value=2.0))
    assert not (place / "state.json").exists()


def test_only_checkpoints_are_listed_and_removed(tmp_path):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, make(step))
    (tmp_path / "step-00000001" / "mine.txt").touch()
    (tmp_path / "step-x").mkdir()
    (tmp_path / "notes").touch()
    assert [step for step, _ in list_checkpoints(tmp_path)] == [3, 2, 1]
    keep_only(tmp_path, [3])
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == [
        "notes",
        *(os.path.join("step-00000001", "mine.txt"),),
        *(
            os.path.join("step-00000003", name)
            for name in ("model.safetensors", "optimizer.safetensors", "state.json")
        ),
    ]


def test_a_run_goes_on_from_the_older_checkpoint_and_says_so(tmp_path):
    run = tmp_path / "run"
    go(start(run, write_text(tmp_path)), stop_after=4)
    truncate(run / "checkpoints" / "step-00000004" / "optimizer.safetensors")
    session = resume(run)
    assert session.trainer.step == 3
    assert "step-00000004" in session.notes[0]
    assert "going on from step 3" in session.notes[0]
    assert open_model(run, "4").step == 4  # the weights themselves are whole
    go(session)
    assert newest_checkpoint(run / "checkpoints")[0].step == 8


def test_best_last_and_numbered_models(tmp_path):
    run = tmp_path / "run"
    session = start(run, write_text(tmp_path), steps=12, lr=0.5, min_lr=0.5, eval_every=1)
    go(session)
    best = session.trainer.best_step
    assert best != 12  # the rate is far too high, so the last is not the best
    kept = [step for step, _ in list_checkpoints(run / "checkpoints")]
    assert sorted(kept) == sorted({best, *kept[:2]})
    assert open_model(run).step == best
    assert open_model(run, "last").step == 12
    assert open_model(run, str(best)).step == best
    for wrong in ("11111", "worst", "-1"):
        with pytest.raises(CheckpointError, match="expected best, last, or one of"):
            open_model(run, wrong)
    truncate(run / "checkpoints" / f"step-{best:08d}" / "model.safetensors")
    opened = open_model(run)
    assert opened.step == 12
    assert "using the newest" in opened.notes[0]
