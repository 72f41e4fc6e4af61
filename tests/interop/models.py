"""Tiny models of each layout, and folders of them to be spoiled."""

import json
from pathlib import Path
from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.interop.huggingface import write_folder
from scratchgrad.interop.pretrained import Pretrained
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
