"""Folders: ours, Hugging Face's, and what somebody may have done to them."""

import functools
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

import scratchgrad as sg
from scratchgrad.cli.opening import described, open_any
from scratchgrad.errors import CheckpointError, DataError
from scratchgrad.interop import gpt2, huggingface, llama, pretrained
from scratchgrad.interop.huggingface import write_folder
from scratchgrad.interop.layout import read_state
from scratchgrad.interop.pretrained import Pretrained, read_pretrained, save_pretrained
from scratchgrad.interop.safetensors_file import SafetensorsFile, write_safetensors
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.interop.models import edit_config, folder, model, put_tensors, tensors_of


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
    expected = theirs.state_dict()
    found = ours.state_dict()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a/" * 3000])
def test_a_name_that_no_file_can_have(name: str) -> None:
    for read in (read_pretrained, open_any):
        with pytest.raises(CheckpointError) as caught:
            read(name)
        assert "\n" not in str(caught.value)
        assert "\0" not in str(caught.value)
        assert len(str(caught.value)) < 250


# ---- our own folder


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
    for spoiled in (3, None, ["a"], "\ud800"):
        edit_config(tmp_path, prompt=spoiled)
        refused(tmp_path, "config.json is damaged: expected prompt to be a text; got")
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

    def until(real: Any, *words: Any, **more: Any) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(*words, **more)

    for name in ("replace", "unlink", "rmdir"):
        patch.setattr(os, name, functools.partial(until, getattr(os, name)))


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


# ---- what goes along


def test_a_llama_that_does_not_say_what_ends_a_text(tmp_path: Path) -> None:
    folder(tmp_path, "llama")
    assert read_pretrained(tmp_path).stop == ()
    edit_config(tmp_path, drop=("eos_token_id",))
    assert read_pretrained(tmp_path).stop == (2,)


def test_what_begins_and_ends_a_text(tmp_path: Path) -> None:
    tokenizer = BPETokenizer().add_special_tokens(["<s>", "</s>"])
    size = tokenizer.vocab_size
    begin, end = tokenizer.special_tokens.values()
    path = folder(tmp_path, vocab_size=size)
    tokenizer.save_huggingface(path / "tokenizer.json")
    edit_config(path, bos_token_id=begin, eos_token_id=end)
    found = read_pretrained(path)
    assert (found.begin, found.stop, found.notes) == (None, (end,), [])
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [end, 5, end, 9999]}))
    assert read_pretrained(path).stop == (end, 5)
    (path / "generation_config.json").write_text('{"eos_token_id": "x"}')
    refused(path, "generation_config.json: expected eos_token_id to be ids; got 'x'")
    (path / "generation_config.json").write_text("{}")
    assert read_pretrained(path).stop == (end,)
    (path / "generation_config.json").unlink()
    edit_config(path, eos_token_id=None)
    assert read_pretrained(path).stop == ()
    (path / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": "<s>"}')
    assert read_pretrained(path).begin == begin
    (path / "tokenizer_config.json").unlink()
    body = json.loads((path / "tokenizer.json").read_text())
    one = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    named = {"</s>": {"id": "</s>", "ids": [end], "tokens": ["</s>"]}}
    stage = {"type": "TemplateProcessing", "pair": [], "special_tokens": named}
    for single, expected, notes in (
        ([one, text], end, 0),
        ([text], None, 0),
        ([text, one], None, 1),
    ):
        sequence = {"type": "Sequence", "processors": [{**stage, "single": single}]}
        (path / "tokenizer.json").write_text(json.dumps({**body, "post_processor": sequence}))
        found = read_pretrained(path)
        assert (found.begin, len(found.notes)) == (expected, notes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{{ a }}", "{{ a }}"),
        ([{"name": "tool", "template": "no"}, {"name": "default", "template": "yes"}], "yes"),
        ([{"name": ["default"]}, 3], None),
        (None, None),
    ],
)
def test_a_chat_template_in_the_settings(tmp_path: Path, given: Any, expected: Any) -> None:
    folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": given}))
    assert read_pretrained(tmp_path).chat_template == expected
    (tmp_path / "chat_template.jinja").write_text("{{ b }}")
    assert read_pretrained(tmp_path).chat_template == "{{ b }}"


def test_templates_that_are_none(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 3}')
    refused(tmp_path, "expected chat_template to be a text; got 3")
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    refused(tmp_path, "chat_template.jinja is not UTF-8")
    (tmp_path / "chat_template.jinja").write_bytes(bytes((1 << 20) + 1))
    refused(tmp_path, "chat_template.jinja has 1,048,577 bytes")


def test_a_tokenizer_that_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    folder(tmp_path)
    assert read_pretrained(tmp_path).notes == [f"no tokenizer: {tmp_path} has no tokenizer.json"]
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram", "vocab": []}}')
    (note,) = read_pretrained(tmp_path).notes
    assert "only byte-level BPE can be read" in note
    CharTokenizer("ab").save(tmp_path / "own.json")
    found = read_pretrained(tmp_path, tokenizer=tmp_path / "own.json")
    assert isinstance(found.tokenizer, CharTokenizer)
    assert (found.begin, found.notes) == (None, [])


def test_what_begins_a_text_is_kept_where_the_tokenizer_is_not(tmp_path: Path) -> None:
    """It belongs to the model: another tokenizer, given by hand, does not take it away."""
    folder(tmp_path / "a", "llama")
    path = tmp_path / "a"
    CharTokenizer("ab").save(tmp_path / "own.json")

    def begin() -> int | None:
        found = read_pretrained(path, tokenizer=tmp_path / "own.json")
        assert read_pretrained(path).begin == found.begin
        return found.begin

    (path / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": "<s>"}')
    edit_config(path, bos_token_id=4)
    assert begin() == 4  # no tokenizer.json at all
    (path / "tokenizer.json").write_text("{")
    assert begin() == 4
    other = {"model": {"type": "Unigram"}, "added_tokens": [{"content": "<s>", "id": 5}, 3, {}]}
    (path / "tokenizer.json").write_text(json.dumps(other))
    assert begin() == 5
    (path / "tokenizer_config.json").unlink()
    assert begin() is None
    single = [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]
    other["post_processor"] = {"type": "TemplateProcessing", "single": single}
    (path / "tokenizer.json").write_text(json.dumps(other))
    assert begin() == 5
    (path / "tokenizer.json").unlink()
    (path / "tokenizer_config.json").write_text('{"add_bos_token": true}')
    edit_config(path, drop=("bos_token_id",))
    assert begin() == 1  # as LlamaConfig has it
    edit_config(path, bos_token_id=None)
    assert begin() is None
    edit_config(path, bos_token_id="x")
    refused(path, "expected bos_token_id to be an id; got 'x'")


def test_a_tokenizer_of_more_ids_than_the_model_has(tmp_path: Path) -> None:
    folder(tmp_path)
    BPETokenizer().save_huggingface(tmp_path / "tokenizer.json")
    found = read_pretrained(tmp_path)
    assert found.notes == []  # nothing that a user could do about it; what has one is refused
    assert "245 of its tokens have no row in the model, and cannot be used" in described(found)


def test_a_tokenizer_that_huggingface_cannot_have_is_a_note(tmp_path: Path) -> None:
    """Which says why, and nothing of the folder where the files are written at first."""
    tokens = tuple(bytes([byte]) for byte in range(256))
    tokenizer = BPETokenizer(Vocabulary(tokens, [], characters=True), "none")
    given = Pretrained(model(vocab_size=256), tokenizer)
    assert write_folder(given, "gpt2", tmp_path / "out") == [
        "the tokenizer has no Hugging Face form, so none was written: a byte-level tokenizer.json "
        "has no characters, which this vocabulary needs: pieces start out as characters, not as "
        "bytes"
    ]
    assert not (tmp_path / "out" / "tokenizer.json").exists()


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
