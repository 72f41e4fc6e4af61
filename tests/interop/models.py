"""Tiny models of each layout, folders of them to be spoiled, and what is then expected."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.huggingface import write_folder
from scratchgrad.interop.pretrained import Pretrained, read_pretrained
from scratchgrad.interop.safetensors_file import SafetensorsFile, write_safetensors

SIZE = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 4, "n_embd": 16}
LIKE = {
    "gpt2": {"mlp": "gelu_tanh"},
    "llama": {
        "norm": "rmsnorm",
        "mlp": "swiglu",
        "position": "rope",
        "n_kv_head": 2,
        "bias": False,
        "tied_head": False,
    },
}


def model(kind: str = "gpt2", **changes: Any) -> sg.GPT:
    built = sg.GPT(sg.GPTConfig(**{**SIZE, **LIKE[kind], **changes}))
    rng = np.random.default_rng(3)
    for parameter in built.parameters():
        parameter.data = rng.standard_normal(parameter.shape).astype(np.float32)
    return built.eval()


def folder(path: Path, kind: str = "gpt2", **changes: Any) -> Path:
    """A Hugging Face folder with such a model."""
    write_folder(Pretrained(model(kind, **changes), None), kind, path)
    return path


def edit_config(path: Path, drop: tuple[str, ...] = (), **changes: Any) -> None:
    file = path / "config.json"
    body = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in body.items() if k not in drop}))


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    with SafetensorsFile(path / "model.safetensors") as file:
        return {name: file.read(name) for name in file.entries}


def put_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    write_safetensors(path / "model.safetensors", tensors)


def refused(path: Path, *expected: str) -> None:
    """One line that says all of this, and nothing else is raised."""
    with pytest.raises(CheckpointError) as caught:
        read_pretrained(path)
    message = str(caught.value)
    for part in expected:
        assert part in message
    assert "\n" not in message
    assert len(message) < 1500


def same_state(ours: sg.GPT, theirs: sg.GPT) -> None:
    """The same names, and the same bits under each."""
    expected = theirs.state_dict()
    found = ours.state_dict()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def cut(path: Path) -> dict[str, Any]:
    """The weights in two files with a list; returns the list."""
    whole = list(tensors_of(path).items())
    parts = {"a.safetensors": dict(whole[:5]), "b.safetensors": dict(whole[5:])}
    for name, part in parts.items():
        write_safetensors(path / name, part)
    (path / "model.safetensors").unlink()
    where = {tensor: name for name, part in parts.items() for tensor in part}
    put_index(path, where)
    return where


def put_index(path: Path, where: Any) -> None:
    body = {"metadata": {"total_size": 1}, "weight_map": where}
    (path / "model.safetensors.index.json").write_text(json.dumps(body))
