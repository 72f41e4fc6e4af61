"""Hugging Face's folders, what somebody may have done to them, and what is none."""

import json
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgrad.cli.opening import open_any
from scratchgrad.errors import CheckpointError
from scratchgrad.interop import gpt2, llama
from scratchgrad.interop.layout import read_state
from scratchgrad.interop.pretrained import Pretrained, read_pretrained, save_pretrained
from scratchgrad.interop.safetensors_file import SafetensorsFile
from tests.interop.models import (
    cut,
    folder,
    model,
    put_index,
    put_tensors,
    refused,
    same_state,
    tensors_of,
)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a/" * 3000])
def test_a_name_that_no_file_can_have(name: str) -> None:
    for read in (read_pretrained, open_any):
        with pytest.raises(CheckpointError) as caught:
            read(name)
        assert "\n" not in str(caught.value)
        assert "\0" not in str(caught.value)
        assert len(str(caught.value)) < 250


# ---- what lies where a model should


def test_what_is_no_model(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "no such file")
    refused(tmp_path, "has no config.json; expected a folder of scratchgrad, or of Hugging Face")
    (tmp_path / "a.txt").write_text("Once upon a time there was a file")
    refused(tmp_path / "a.txt", "is no model that can be read", "begins with b'Once upo'")
    (tmp_path / "empty").write_bytes(b"")
    refused(tmp_path / "empty", "is no model that can be read")
    put_tensors(tmp_path, {})
    refused(tmp_path / "model.safetensors", "holds weights alone; give the folder")
    (tmp_path / "model.safetensors").rename(tmp_path / "weights")
    refused(tmp_path / "weights", "holds weights alone; give the folder with its config.json too")
    for raw in (b"{", b"[]", b'{"model_type": "gpt2", "model_type": "llama"}', b'"x"', b"\xff"):
        (tmp_path / "config.json").write_bytes(raw)
        refused(tmp_path, "config.json")
    (tmp_path / "config.json").write_bytes(b" " * (17 << 20))
    refused(tmp_path, "a file of settings has at most")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is no ordinary file; expected a file of a model")
    (tmp_path / "config.json").symlink_to(tmp_path / "pipe")
    refused(tmp_path, "is no ordinary file")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"])
def test_a_pickle_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    refused(tmp_path, name, "a pickle, which can run any program", "save_pretrained writes")


@pytest.mark.parametrize(
    "name", ["consolidated.00.pth", "pytorch_model-00001-of-00002.bin", "x.pt"]
)
def test_a_pickle_of_any_name_is_refused_in_a_folder(tmp_path: Path, name: str) -> None:
    folder(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    (tmp_path / "a_training_args.bin").write_bytes(b"small")
    refused(tmp_path, f"{tmp_path / name} is not read: it is a pickle")
    (tmp_path / name).unlink()
    (tmp_path / "a_training_args.bin").unlink()
    refused(tmp_path, "has no weights; expected model.safetensors, or")


@pytest.mark.parametrize("name", ["model.pth", "model.ckpt", "a.pkl"])
def test_a_pickle_is_refused_by_its_suffix(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"(lp0\n.")  # of the oldest kind, which has no mark
    refused(tmp_path / name, "a pickle, which can run any program")


@pytest.mark.parametrize("begin", [b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x80\x04\x95"])
def test_a_pickle_is_refused_by_what_it_is(tmp_path: Path, begin: bytes) -> None:
    (tmp_path / "weights.bin").write_bytes(begin + bytes(100))
    refused(tmp_path / "weights.bin", "a pickle, which can run any program")


# ---- Hugging Face's folder


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_every_tensor_is_needed_in_its_shape(tmp_path: Path, kind: str) -> None:
    ours = model(kind)
    folder(tmp_path, kind)
    same_state(read_pretrained(tmp_path).model, ours)
    whole = tensors_of(tmp_path)
    for name, array in whole.items():
        put_tensors(tmp_path, {k: v for k, v in whole.items() if k != name})
        refused(tmp_path, f"missing: {name}")
        put_tensors(tmp_path, {**whole, name: array.reshape(1, *array.shape)})
        refused(tmp_path, f"{name} has shape {(1, *array.shape)}; expected {array.shape}")
        put_tensors(tmp_path, {**whole, f"{name}.more": array})
        refused(tmp_path, f"left over: {name}.more")


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    folder(tmp_path)
    whole = tensors_of(tmp_path)
    names = list(whole)
    whole[names[5]] = np.zeros(3)
    del whole[names[0]], whole[names[3]]
    put_tensors(tmp_path, {**whole, "x": np.zeros(1)})
    missing = f"missing: {', '.join(sorted([names[0], names[3]]))}"
    refused(tmp_path, missing, "left over: x", f"{names[5]} has shape (3,)")
    put_tensors(tmp_path, {f"x{i}": np.zeros(1) for i in range(500)})
    refused(tmp_path, "and 20 more", "and 492 more")


def test_a_matrix_of_whole_numbers(tmp_path: Path) -> None:
    folder(tmp_path)
    path = tmp_path / "model.safetensors"
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header["transformer.wte.weight"]["dtype"] = "I32"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])
    refused(tmp_path, "transformer.wte.weight holds I32; expected F32, F64, F16, BF16")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("gpt2", "transformer.h.1.attn.bias"),
        ("gpt2", "transformer.h.0.attn.masked_bias"),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
    ],
)
def test_buffers_of_older_files_are_left(tmp_path: Path, kind: str, name: str) -> None:
    folder(tmp_path, kind)
    put_tensors(tmp_path, {**tensors_of(tmp_path), name: np.ones((1, 1, 4, 4))})
    same_state(read_pretrained(tmp_path).model, model(kind))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_head_that_is_said_to_be_tied(tmp_path: Path, kind: str) -> None:
    """Some files have the token table twice. That is fine, if it is twice the same."""
    folder(tmp_path, kind, tied_head=True)
    whole = tensors_of(tmp_path)
    table = whole[{"gpt2": "transformer.wte.weight", "llama": "model.embed_tokens.weight"}[kind]]
    put_tensors(tmp_path, {**whole, "lm_head.weight": table})
    same_state(read_pretrained(tmp_path).model, model(kind, tied_head=True))
    other = table.copy()
    other[-1, -1] += 1e-6
    put_tensors(tmp_path, {**whole, "lm_head.weight": other})
    refused(tmp_path, "the head is tied, but lm_head.weight is not")
    put_tensors(tmp_path, {**whole, "lm_head.weight": table[:-1]})
    refused(tmp_path, "the head is tied, but lm_head.weight is not")


def test_several_files(tmp_path: Path) -> None:
    folder(tmp_path, "llama")
    where = cut(tmp_path)
    same_state(read_pretrained(tmp_path).model, model("llama"))
    first = next(iter(where))
    for name in ("../a.safetensors", "/etc/passwd", "c:a.safetensors", "a\0.safetensors", "a.bin"):
        put_index(tmp_path, {**where, first: name})
        refused(tmp_path, f"tensor '{first}' is said to be in", "in the same folder")
    for spoiled in (None, {}, [1], {first: 3}):
        put_index(tmp_path, spoiled)
        refused(tmp_path, "index.json")
    put_index(tmp_path, {k: v for k, v in where.items() if k != first})
    refused(tmp_path, "a.safetensors has more than", f"left over: {first}")
    put_index(tmp_path, {**where, first: "b.safetensors"})
    refused(tmp_path, "has not all that", f"missing: {first}")
    put_index(tmp_path, {**where, "more": "b.safetensors"})
    refused(tmp_path, "b.safetensors has not all that", "missing: more")
    put_index(tmp_path, {**where, first: "c.safetensors"})
    refused(tmp_path, "no such file", "c.safetensors")
    put_index(tmp_path, {f"t{i}": f"{i}.safetensors" for i in range(1001)})
    refused(tmp_path, "expected at most 1000 files")
    (tmp_path / "a.safetensors").unlink()
    put_index(tmp_path, where)
    refused(tmp_path, "no such file", "a.safetensors")


# ---- anything at all


@given(data=st.data())
def test_one_byte_of_a_configuration(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Refused, or read: never another error."""
    path = folder(tmp_path_factory.mktemp("flip"), data.draw(st.sampled_from(["gpt2", "llama"])))
    raw = bytearray((path / "config.json").read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (path / "config.json").write_bytes(bytes(raw))
    try:
        read_pretrained(path)
    except CheckpointError as error:
        assert len(str(error)) < 1000  # noqa: PT017


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "own"])
@given(data=st.data())
def test_any_value_in_a_configuration(
    tmp_path_factory: Any, kind: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("value")
    if kind == "own":
        save_pretrained(Pretrained(model(), None), path)
    else:
        folder(path, kind)
    body = json.loads((path / "config.json").read_text())
    inner = data.draw(st.sampled_from([body, body.get("model", body)]))
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
    (path / "config.json").write_text(json.dumps(body))
    try:
        read_pretrained(path)
    except CheckpointError as error:
        assert len(str(error)) < 1500  # noqa: PT017


# ---- memory


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_memory_is_the_model_and_a_tensor(tmp_path: Path, kind: str) -> None:
    """Not twice the model: what is read goes where it stays, and what is turned is one tensor."""
    size = {"vocab_size": 4096, "n_layer": 4, "n_embd": 128}
    config = model(kind, **size).config
    folder(tmp_path, kind, **size)
    table = gpt2.layout(config) if kind == "gpt2" else llama.layout(config)
    tracemalloc.start()
    with SafetensorsFile(tmp_path / "model.safetensors") as file:
        state = read_state(file, table, config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    weights = sum(array.nbytes for array in state.values())
    assert weights == 4 * config.num_parameters
    assert peak < weights + 4 * 4 * 128 * 128 + (1 << 19)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "own"])
def test_a_whole_model_takes_no_more(tmp_path: Path, kind: str) -> None:
    """Nothing is drawn for what is read, and no second model stands beside it."""
    size = {"vocab_size": 4096, "n_layer": 4, "n_embd": 128}
    if kind == "own":
        save_pretrained(Pretrained(model(**size), None), tmp_path)
    else:
        folder(tmp_path, kind, **size)
    read_pretrained(tmp_path)
    tracemalloc.start()
    found = read_pretrained(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * found.model.config.num_parameters + 4 * 4 * 128 * 128 + (1 << 19)


def test_a_header_of_gigabytes_in_a_folder(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 4 << 30) + b"{}")
    refused(tmp_path, "its header would have 4,294,967,296 bytes")
