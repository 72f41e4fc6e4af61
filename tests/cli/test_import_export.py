"""``scratchgrad import`` and ``scratchgrad export``: what they print, write and refuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchgrad.cli import main
from scratchgrad.cli.opening import open_any
from scratchgrad.interop.pretrained import Pretrained, read_pretrained, save_pretrained
from scratchgrad.tokenizer import CharTokenizer
from tests.interop.models import folder, model


def said(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    code = main([str(word) for word in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_in_and_out_again(tmp_path: Path, capsys: Any) -> None:
    theirs, ours, again = tmp_path / "theirs", tmp_path / "ours", tmp_path / "again"
    folder(theirs, "llama")
    code, out, err = said(capsys, "import", theirs, "--out", ours)
    assert code == 0
    assert out.splitlines()[0] == (
        "6,576 parameters: 2 layers, 4 heads (2 of keys), 16 channels, context 8, 11 ids"
    )
    assert out.splitlines()[-1] == f"written to {ours}"
    assert err == f"note: no tokenizer: {theirs} has no tokenizer.json\n"
    code, out, err = said(capsys, "export", ours, "--to", "llama", "--out", again)
    assert (code, err) == (0, "note: the model has no tokenizer, so none was written\n")
    assert (again / "model.safetensors").read_bytes() == (theirs / "model.safetensors").read_bytes()
    assert (again / "config.json").read_bytes() == (theirs / "config.json").read_bytes()


def test_a_message_names_the_folder_that_was_given(tmp_path: Path, capsys: Any) -> None:
    """Not the one that the model was once imported from."""
    folder(tmp_path / "theirs")
    assert said(capsys, "import", tmp_path / "theirs", "--out", tmp_path / "ours")[0] == 0
    code, out, err = said(capsys, "sample", tmp_path / "ours")
    assert (code, out) == (2, "")
    assert err.endswith(
        f"error: {tmp_path / 'ours'} has no tokenizer; give one with --tokenizer FILE\n"
    )


def test_the_default_place(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "some model")
    assert said(capsys, "import", "some model")[0] == 0
    assert (tmp_path / "models" / "some-model" / "config.json").exists()
    code, _, err = said(capsys, "import", "some model")
    assert code == 2
    assert "already has a model; replace it by --overwrite" in err
    assert said(capsys, "import", "some model", "--overwrite")[0] == 0


def test_a_tokenizer_goes_with_it(tmp_path: Path, capsys: Any) -> None:
    CharTokenizer("abc").save(tmp_path / "abc.json")
    folder(tmp_path / "theirs")
    out = tmp_path / "ours"
    given = ("--tokenizer", tmp_path / "abc.json", "--out", out)
    code, text, _ = said(capsys, "import", tmp_path / "theirs", *given)
    assert code == 0
    assert "tokenizer: CharTokenizer" in text
    opened = open_any(out)
    assert isinstance(opened.tokenizer, CharTokenizer)


def test_a_run_goes_out(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question. " * 40)
    run = tmp_path / "run"
    small = ("--n-layer", 1, "--n-embd", 16, "--n-head", 2, "--block-size", 16, "--steps", 2)
    train = ("train", tmp_path / "text.txt", "--out", run, "--batch-size", 2, *small)
    assert said(capsys, *train)[0] == 0
    out = tmp_path / "out"
    code, _, err = said(capsys, "export", run, "--to", "gpt2", "--out", out)
    assert code == 0
    assert "a tokenizer of characters has no Hugging Face form" in err
    ours, back = open_any(run), read_pretrained(out)
    assert ours.prompt
    ids = np.arange(10)[None]
    np.testing.assert_allclose(back.model(ids)[0].numpy(), ours.model(ids)[0].numpy(), atol=1e-6)
    code, _, err = said(capsys, "export", run, "--to", "gpt2", "--out", out, "--checkpoint", "7")
    assert code == 2
    assert said(capsys, "import", run, "--out", tmp_path / "kept")[0] == 0
    assert open_any(tmp_path / "kept").prompt == ours.prompt
    # A run is never replaced, nor taken for a model.
    code, _, err = said(capsys, "import", out, "--out", run, "--overwrite")
    assert (code, "what is in it is no model" in err) == (2, True)
    assert said(capsys, "export", run, "--to", "llama", "--out", tmp_path / "l")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("import", "nothing"), "no such model: nothing; expected a run folder"),
        (("export", "nothing", "--to", "gpt2", "--out", "x"), "no such model: nothing"),
        (
            ("export", "ours", "--to", "gpt2", "--out", "x", "--checkpoint", "last"),
            "is no run folder, so it has no checkpoint 'last'",
        ),
        (("import", "a" * 300), "no such model: 'aaaa"),
        (("import", ""), "the name of the model is empty; expected a run folder"),
        (("import", "ours", "--out", "nowhere"), "nowhere: it is a link to what is not there"),
        (("import", "smollm2"), "SCRATCHGRAD_SMOLLM2 is gone.gguf; expected the path"),
        (("export", "ours", "--to", "llama", "--out", "x"), "Llama cannot say what this model is"),
        (("export", "ours", "--to", "gguf", "--out", "x"), "invalid choice"),
        (("export", "ours", "--to", "gpt2", "--out", "a.txt"), "it is a file; choose another"),
        (("import", "a.txt"), "is no model that can be read"),
        (("import", "ours", "--out", "."), "is not empty, and what is in it is no model"),
        (
            ("import", "ours", "--out", "./ours", "--overwrite"),
            "ours is the model that is read; expected another folder to write to",
        ),
        pytest.param(
            ("export", "ours", "--to", "gpt2", "--out", "link", "--overwrite"),
            "link is the model that is read; expected another folder to write to",
            id="over itself",
        ),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: Any, monkeypatch: Any, arguments: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCHGRAD_SMOLLM2", "gone.gguf")
    (tmp_path / "a.txt").write_text("a text of some length, which is no model at all")
    save_pretrained(Pretrained(model(), None), "ours")
    (tmp_path / "link").symlink_to("ours")
    (tmp_path / "nowhere").symlink_to("gone")
    before = {path.name: path.read_bytes() for path in (tmp_path / "ours").iterdir()}
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "x").exists()
    assert {path.name: path.read_bytes() for path in (tmp_path / "ours").iterdir()} == before


def test_nothing_is_executed(tmp_path: Path, capsys: Any) -> None:
    """Names of code in a configuration are a reason to refuse it."""
    path = folder(tmp_path / "theirs")
    body = json.loads((path / "config.json").read_text())
    body["auto_map"] = {"AutoModelForCausalLM": "modeling.Model"}
    (path / "config.json").write_text(json.dumps(body))
    (path / "modeling.py").write_text("raise SystemExit(7)")
    code, _, err = said(capsys, "import", path, "--out", tmp_path / "out")
    assert code == 2
    assert "auto_map is not known here" in err


def test_checkpoints_beside_somebody_elses_model(tmp_path: Path, capsys: Any) -> None:
    """Transformers' Trainer puts them there; ours are told by what config.json says."""
    folder(tmp_path / "hf")
    (tmp_path / "hf" / "checkpoints").mkdir()
    code, _, err = said(capsys, "import", tmp_path / "hf", "--out", tmp_path / "out")
    assert code == 0, err
    (tmp_path / "hf" / "config.json").write_text("{")  # ours, as far as can be told: damaged
    code, _, err = said(capsys, "import", tmp_path / "hf", "--out", tmp_path / "more")
    assert code == 2
    assert "config.json" in err
