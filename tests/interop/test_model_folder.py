"""Our own folder of a model: there and back, written over, cut short, damaged."""

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchgrad.errors import CheckpointError, DataError
from scratchgrad.interop import huggingface, pretrained
from scratchgrad.interop.huggingface import write_folder
from scratchgrad.interop.pretrained import Pretrained, read_pretrained, save_pretrained
from scratchgrad.interop.safetensors_file import write_safetensors
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer
from tests.interop.models import (
    cut,
    edit_config,
    folder,
    model,
    put_tensors,
    refused,
    same_state,
)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_there_and_back(tmp_path: Path, kind: str) -> None:
    ours = model(kind, norm_eps=3e-5, attn_dropout=0.5)
    given = Pretrained(ours, CharTokenizer("abcdefghijk"), "{{ x }}", 2, (4, 5), origin="a test")
    save_pretrained(given, tmp_path / "deep" / "model")
    found = read_pretrained(tmp_path / "deep" / "model")
    assert found.model.config == ours.config
    assert not found.model.training
    same_state(found.model, ours)
    assert isinstance(found.tokenizer, CharTokenizer)
    assert found.tokenizer.characters == "abcdefghijk"
    assert (found.begin, found.stop, found.origin) == (2, (4, 5), "a test")
    assert found.chat_template == "{{ x }}"
    assert found.notes == []


def test_where_it_stands_is_not_where_it_came_from(tmp_path: Path) -> None:
    """A message names the folder that was given; the other one may be gone."""
    folder(tmp_path / "theirs")
    save_pretrained(read_pretrained(tmp_path / "theirs"), tmp_path / "ours")
    found = read_pretrained(tmp_path / "ours")
    assert (found.source, found.origin) == (str(tmp_path / "ours"), str(tmp_path / "theirs"))
    save_pretrained(found, tmp_path / "again")
    assert read_pretrained(tmp_path / "again").origin == str(tmp_path / "theirs")
    edit_config(tmp_path / "again", begin=99)
    refused(tmp_path / "again", f"{tmp_path / 'again'}: the id 99 should begin a text")


def test_the_default_prompt_is_kept(tmp_path: Path) -> None:
    save_pretrained(Pretrained(model(), None, prompt="\n\u00e9"), tmp_path)
    assert read_pretrained(tmp_path).prompt == "\n\u00e9"
    for spoiled in (3, ["a"], "\ud800"):
        edit_config(tmp_path, prompt=spoiled)
        refused(tmp_path, "config.json: expected prompt to be a text; got")
    edit_config(tmp_path, drop=("prompt",))
    assert read_pretrained(tmp_path).prompt == ""  # a folder of before it was kept


def test_a_source_whose_name_is_no_text(tmp_path: Path) -> None:
    given = Pretrained(model(), None, source=os.fsdecode(b"a\xff"))
    save_pretrained(given, tmp_path / "ours")
    assert read_pretrained(tmp_path / "ours").origin == "a?"


def test_float64_is_kept_on_demand(tmp_path: Path) -> None:
    save_pretrained(Pretrained(model(), None), tmp_path)
    found = read_pretrained(tmp_path, dtype=np.float64).model
    assert {p.dtype for p in found.parameters()} == {np.dtype(np.float64)}
    assert {p.dtype for p in read_pretrained(tmp_path).model.parameters()} == {np.dtype(np.float32)}


def test_another_model_takes_nothing_of_the_former(tmp_path: Path) -> None:
    save_pretrained(Pretrained(model(), CharTokenizer("ab"), "{{ x }}"), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="already has a model; replace it by --overwrite"):
        save_pretrained(Pretrained(model("llama"), None), tmp_path)
    save_pretrained(Pretrained(model("llama"), None), tmp_path, overwrite=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["config.json", "model.safetensors", "notes.txt"]
    assert read_pretrained(tmp_path).tokenizer is None


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_stays(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="is not empty, and what is in it is no model"):
        save_pretrained(Pretrained(model(), None), tmp_path, overwrite=overwrite)
    (tmp_path / "config.json").write_text('{"format": "scratchgrad-run"}')
    with pytest.raises(CheckpointError, match="no model"):
        save_pretrained(Pretrained(model(), None), tmp_path, overwrite=overwrite)
    with pytest.raises(CheckpointError, match="is a file"):
        save_pretrained(Pretrained(model(), None), tmp_path / "thesis.txt", overwrite=overwrite)
    (tmp_path / "config.json").unlink()
    put_tensors(tmp_path, {"mine": np.ones(3)})  # weights alone are no model
    with pytest.raises(CheckpointError, match="no model"):
        save_pretrained(Pretrained(model(), None), tmp_path, overwrite=overwrite)
    assert len(list(tmp_path.iterdir())) == 2


def everything(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("to", ["own", "gpt2"])
@pytest.mark.parametrize("when", ["the weights", "the tokenizer", "the settings"])
def test_a_full_disk_leaves_the_former_model(
    tmp_path: Path, monkeypatch: Any, to: str, when: str
) -> None:
    """Whatever cannot be written: nothing of what is there has been touched by then."""
    former = Pretrained(model("llama"), BPETokenizer(), "{{ x }}", stop=(3,))
    save_pretrained(former, tmp_path / "old")
    (tmp_path / "old" / "notes.txt").write_text("mine")
    before = everything(tmp_path)
    place, name, expected = {
        "the weights": (os, "fsync", "model.safetensors"),
        "the tokenizer": (BPETokenizer, "save" if to == "own" else "save_huggingface", ""),
        "the settings": (pretrained if to == "own" else huggingface, "write_atomically", ""),
    }[when]
    write: Any = save_pretrained
    if to != "own":
        write = lambda given, out, **more: write_folder(given, to, out, **more)  # noqa: E731
    for folder_name in ("old", "new"):
        out = tmp_path / folder_name
        with monkeypatch.context() as patch:
            patch.setattr(place, name, full)
            with pytest.raises(OSError, match="No space") as caught:
                write(Pretrained(model(), BPETokenizer()), out, overwrite=True)
        assert caught.value.filename == str(out / expected)
        assert everything(tmp_path) == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]
    same_state(read_pretrained(tmp_path / "old").model, former.model)


def stop_after(patch: Any, moves: int) -> None:
    """Let so many files be moved or removed, and no more."""
    left = [moves]

    def until(real: Any) -> Any:
        def move(*words: Any, **more: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(*words, **more)

        return move

    # Not those of os: the Path of Python 3.10 has taken them when it was imported.
    for home, name in ((os, "replace"), (Path, "unlink"), (Path, "rmdir")):
        patch.setattr(home, name, until(getattr(home, name)))


def test_whenever_it_is_killed(tmp_path: Path, monkeypatch: Any) -> None:
    """The former model, the new one or none: never one's settings with the other's weights."""
    former = Pretrained(model(), CharTokenizer("ab"), "{{ x }}")
    new = Pretrained(model("llama"), None)
    found = []
    for moment in range(20):
        out = tmp_path / str(moment)
        save_pretrained(former, out)
        with monkeypatch.context() as patch:
            stop_after(patch, moment)
            try:
                save_pretrained(new, out, overwrite=True)
            except KeyboardInterrupt:
                pass
            else:
                break
        if (out / "config.json").exists():
            read = read_pretrained(out)
            which = former if read.tokenizer is not None else new
            same_state(read.model, which.model)
            assert read.chat_template == which.chat_template
            found.append("former" if which is former else "new")
        else:
            refused(out, "has no config.json")
            found.append("none")
        save_pretrained(new, out, overwrite=True)
        assert sorted(p.name for p in out.iterdir()) == ["config.json", "model.safetensors"]
    assert list(dict.fromkeys(found)) == ["former", "none", "new"]
    assert moment < 19


def test_what_a_process_that_was_killed_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".model.tmp").mkdir()
    (tmp_path / ".model.tmp" / "model.safetensors").write_bytes(b"half")
    save_pretrained(Pretrained(model(), None), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_all_that_was_the_former_models_goes(tmp_path: Path) -> None:
    """Shards too, and a vocabulary, which would be taken for the new model's."""
    folder(tmp_path, "llama")
    cut(tmp_path)
    for name in ("vocab.json", "merges.txt", "generation_config.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    write_safetensors(tmp_path / "mine.safetensors", {})
    write_folder(Pretrained(model(), None), "gpt2", tmp_path, overwrite=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["config.json", "mine.safetensors", "model.safetensors"]
    same_state(read_pretrained(tmp_path).model, model())


OWN = [
    ({"version": 2}, "expected version 1; got 2"),
    ({"format": "scratchgrad-run"}, "has the format 'scratchgrad-run'; expected scratchgrad-model"),
    ({"model": None}, "expected model to hold the fields of GPTConfig"),
    ({"model": {"vocab_size": 11}}, "expected model to hold the fields of GPTConfig"),
    ({"begin": "x"}, "begin is 'x'"),
    ({"begin": ""}, "begin is ''"),
    ({"begin": 11}, "the id 11 should begin a text; the model has 11 ids"),
    ({"stop": 3}, "stop 3; expected"),
    ({"stop": [True]}, "expected an id or null, and a list of ids"),
]


@pytest.mark.parametrize(("changes", "expected"), OWN)
def test_a_damaged_configuration(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    save_pretrained(Pretrained(model(), None), tmp_path)
    edit_config(tmp_path, **changes)
    refused(tmp_path, str(tmp_path), expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_head": 3}, "expected n_embd to be a multiple of n_head"),
        ({"n_layer": "two"}, "expected n_layer to be a whole number"),
        ({"n_layer": 10**9}, "too few for the 1,000,000,000 layers"),
        ({"vocab_size": 10**12}, "wte.weight has shape (11, 16); expected (1000000000000, 16)"),
        ({"n_layer": 1}, "left over: h.1."),
        ({"n_layer": 3}, "missing: h.2."),
        ({"n_inner": 31}, "expected (31, 16)"),
        ({"position": "rope", "block_size": 2**40}, "says a context of 1,099,511,627,776"),
        ({"position": "sinusoidal", "block_size": 2**22 + 1}, "says a context of 4,194,305"),
        ({"position": "sinusoidal", "block_size": 2**22, "n_embd": 64}, "sinusoidal positions"),
        ({"mlp": "x" * 10_000}, "expected mlp to be"),
    ],
)
def test_settings_that_are_not_the_weights(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    save_pretrained(Pretrained(model(), None), tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())["model"]
    edit_config(tmp_path, model=settings | changes)
    tracemalloc.start()
    refused(tmp_path, str(tmp_path), expected)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_tokenizer_of_ours_that_is_damaged(tmp_path: Path) -> None:
    save_pretrained(Pretrained(model(), CharTokenizer("ab")), tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match="no valid JSON"):
        read_pretrained(tmp_path)
