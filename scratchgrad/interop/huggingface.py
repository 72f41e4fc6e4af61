"""A folder as transformers' ``save_pretrained`` writes it, in and out.

config.json                   which model: its ``model_type`` chooses the layout
model.safetensors             the weights, or several files and a list of them
tokenizer.json                the vocabulary; other kinds of tokenizers are left, with a note
tokenizer_config.json         whether a text begins with a token; perhaps the chat template
generation_config.json        the ids that end a text, if it has others than config.json
chat_template.jinja           since 2025 the chat template
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scratchgrad.data.files import to_json, write_atomically
from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import CheckpointError, ConfigError, DataError
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.gpt.shapes import parameter_shapes
from scratchgrad.interop import gpt2, llama
from scratchgrad.interop.files import read_json_file
from scratchgrad.interop.layout import (
    Layout,
    check_size,
    check_tied,
    half_split_state,
    read_state,
    split_state,
)
from scratchgrad.interop.model_folder import (
    CONFIG,
    GENERATION,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    VOCABULARIES,
    replacing,
)
from scratchgrad.interop.pretrained import (
    NO_TOKENIZER,
    Pretrained,
    quietly_load_tokenizer,
    read_template,
    text_in,
    write_weights,
)
from scratchgrad.interop.shards import open_weights
from scratchgrad.interop.tensor_file import Tensors
from scratchgrad.tokenizer import BPETokenizer
from scratchgrad.tokenizer.chat import CHAT_TEMPLATE, CHAT_TOKENS, END
from scratchgrad.tokenizer.reading import read_json  # which takes a large vocabulary

_HEAD = "lm_head.weight"


def read_folder(folder: Path, dtype: Any = np.float32) -> Pretrained:
    """Read GPT-2, Llama or Mistral with its tokenizer and chat template.

    Raises
    ------
    CheckpointError
        It is another model, or one that would be computed otherwise here; a tensor is missing,
        left over, or of another shape; a file is damaged.
    """
    body = read_json_file(folder / CONFIG)
    where = str(folder / CONFIG)
    kind = body.get("model_type")
    known = {"gpt2": gpt2.ARCHITECTURES, **llama.ARCHITECTURES}
    if not isinstance(kind, str) or kind not in known:
        raise CheckpointError(
            f"{where}: expected model_type to be {', '.join(known)}; got {shorten(kind)}"
        )
    heads = body.get("architectures") or []
    if not isinstance(heads, list) or not all(name in known[kind] for name in heads):
        raise CheckpointError(
            f"{where}: expected architectures of {', '.join(known[kind])}; got {shorten(heads)}"
        )
    notes: list[str] = []
    if kind == "gpt2":
        config = gpt2.read_config(body, where)
    else:
        config, notes = llama.read_config(body, where)
    ignored = gpt2.IGNORED if kind == "gpt2" else llama.IGNORED
    if config.tied_head:
        ignored += r"|lm_head\.weight"
    with open_weights(folder) as tensors:
        check_size(config, len(tensors.entries), tensors.path)
        state = read_state(
            tensors,
            _layout(body, config, tensors),
            config,
            ignored=ignored,
            dtype=dtype,
        )
        if config.tied_head and _HEAD in tensors.entries:  # some files have the table twice
            check_tied(tensors, _HEAD, state["wte.weight"])
    found = Pretrained(GPT.from_state(config, state), None, notes=notes, source=str(folder))
    found.stop = _stop(folder, body)
    _read_texts(folder, body, found)
    return found


def _layout(body: Mapping[str, Any], config: GPTConfig, tensors: Tensors) -> Layout:
    """With the prefix that the names in the file have, if they have one."""
    if body["model_type"] == "gpt2":
        return gpt2.layout(config, _prefix(tensors, gpt2.PREFIX))
    return llama.layout(
        config,
        _prefix(tensors, llama.PREFIX),
        attention_bias=body.get("attention_bias") is True,
        mlp_bias=body.get("mlp_bias") is True,
    )


def _prefix(tensors: Tensors, prefix: str) -> str:
    return prefix if any(name.startswith(prefix) for name in tensors.entries) else ""


# ---- what goes along with the weights


def _stop(folder: Path, body: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids that end a text: one, several, or none. generation_config.json goes first."""
    ends = body.get("eos_token_id", gpt2.END if body["model_type"] == "gpt2" else llama.END)
    where = folder / CONFIG
    if (folder / GENERATION).exists():
        generation = read_json_file(folder / GENERATION)
        if "eos_token_id" in generation:
            where, ends = folder / GENERATION, generation["eos_token_id"]
    several = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if not all(type(id_) is int for id_ in several):
        raise CheckpointError(f"{where}: expected eos_token_id to be ids; got {shorten(ends)}")
    return tuple(several)


def _read_texts(folder: Path, body: Mapping[str, Any], found: Pretrained) -> None:
    """The tokenizer, the token that begins a text, and the chat template."""
    path = folder / TOKENIZER_CONFIG
    settings = read_json_file(path) if path.exists() else {}
    found.chat_template = read_template(folder) or _template(settings, path)
    if any((folder / name).exists() for name in (TOKENIZER, *VOCABULARIES)):
        found.tokenizer = quietly_load_tokenizer(folder, found.notes)
    else:
        found.notes.append(f"{NO_TOKENIZER} {folder} has no {TOKENIZER}")
    found.begin = _begin(folder, body, settings, found)
    found.bos, found.eos = (_token_in(settings, name, path) for name in ("bos_token", "eos_token"))


def _begin(
    folder: Path, body: Mapping[str, Any], settings: Mapping[str, Any], found: Pretrained
) -> int | None:
    """The token that is put before a text: the model's habit, whoever makes the tokens."""
    special = getattr(found.tokenizer, "special_tokens", {})
    path = folder / TOKENIZER
    if path.exists():
        try:
            file = read_json(path)
        except DataError:  # of which a note says that it cannot be read
            file = {}
        if found.tokenizer is None:
            special = _added_tokens(file)
        begin = _put_before(file, special, path, found.notes)
        if begin is not None:
            return begin
    if settings.get("add_bos_token") is not True:
        return None
    token = _token_in(settings, "bos_token", folder / TOKENIZER_CONFIG)
    if token in special:
        return int(special[token])
    id_ = body.get("bos_token_id", gpt2.BEGIN if body["model_type"] == "gpt2" else llama.BEGIN)
    if id_ is not None and type(id_) is not int:
        raise CheckpointError(
            f"{folder / CONFIG}: expected bos_token_id to be an id; got {shorten(id_)}"
        )
    return id_


def _token_in(settings: Mapping[str, Any], name: str, path: Path) -> str:
    """A token of tokenizer_config.json, which may be an object with settings of its own."""
    token = settings.get(name)
    return (
        text_in(token, "content", path)
        if isinstance(token, dict)
        else text_in(settings, name, path)
    )


def _added_tokens(file: Mapping[str, Any]) -> dict[str, int]:
    """The special tokens of a tokenizer.json that cannot be read as a whole."""
    rows = file.get("added_tokens")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    named = [(row.get("content"), row.get("id")) for row in rows]
    return {name: id_ for name, id_ in named if isinstance(name, str) and type(id_) is int}


def _put_before(
    file: Mapping[str, Any], special: Mapping[str, int], path: Path, notes: list[str]
) -> int | None:
    """The one special token that tokenizer.json puts before a text, if it puts one."""
    stages = [file.get("post_processor")]
    while stages:
        stage = stages.pop()
        if not isinstance(stage, dict):
            continue
        inner = stage.get("processors")
        stages += inner if isinstance(inner, list) else []
        if stage.get("type") != "TemplateProcessing":
            continue
        single = stage.get("single")
        parts = [p for p in single if isinstance(p, dict)] if isinstance(single, list) else []
        kinds = [next(iter(part), None) for part in parts]
        if kinds == ["Sequence"]:
            continue
        if kinds == ["SpecialToken", "Sequence"]:
            token = parts[0]["SpecialToken"]
            name = token.get("id") if isinstance(token, dict) else None
            if isinstance(name, str) and name in special:
                return special[name]
        notes.append(f"{path} puts tokens round a text other than one before it; none is put here")
    return None


def _template(settings: Mapping[str, Any], path: Path) -> str | None:
    """The chat template of tokenizer_config.json: one, or several of which one is the default."""
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = [t for t in found if isinstance(t, dict) and t.get("name") == "default"]
        found = named[0].get("template") if named else None
    return text_in({"chat_template": found}, "chat_template", path) or None


# ---- out


def write_folder(
    pretrained: Pretrained, to: str, folder: Path, *, overwrite: bool = False
) -> list[str]:
    """Write a folder that transformers loads; returns what a user should know.

    Parameters
    ----------
    pretrained : Pretrained
    to : "gpt2" or "llama"
        With a sliding window, Llama is Mistral.
    folder : Path
        New or empty, or with ``overwrite`` one that holds a model.

    Raises
    ------
    ConfigError
        The model has a part that the other has not; all are named.
    CheckpointError
        There is something in the folder.
    """
    pretrained = _with_template(pretrained)
    config = pretrained.model.config
    state: Mapping[str, Any] = {n: p.data for n, p in pretrained.model.named_parameters()}
    if to == "llama" and config.position == "rope" and config.rope_interleaved:
        state = half_split_state(config, state)
        config = dataclasses.replace(config, rope_interleaved=False)
    if to == "gpt2":
        body, notes = gpt2.write_config(config)
        if not config.bias:
            config = dataclasses.replace(config, bias=True)
            state = _with_zeros(config, state)
        layout = gpt2.layout(config)
    elif to == "llama":
        body, notes = llama.write_config(config)
        layout = llama.layout(config)
    else:
        raise ConfigError(f"expected gpt2 or llama as the layout to write; got {to!r}")
    stop = list(pretrained.stop)
    body |= {
        "bos_token_id": pretrained.begin,
        "eos_token_id": stop[0] if len(stop) == 1 else stop or None,
        "dtype": "float32",
    }
    with replacing(folder, overwrite) as place:
        write_weights(place, split_state(state, layout))
        notes += _write_tokenizer(pretrained, place)
        write_atomically(place / CONFIG, to_json(body))
    return notes


def _with_template(pretrained: Pretrained) -> Pretrained:
    """Put our own form of a conversation, which needs no template here, into words."""
    special = getattr(pretrained.tokenizer, "special_tokens", {})
    if pretrained.chat_template is not None or any(name not in special for name in CHAT_TOKENS):
        return pretrained
    stop = pretrained.stop if special[END] in pretrained.stop else (special[END], *pretrained.stop)
    return dataclasses.replace(pretrained, chat_template=CHAT_TEMPLATE, stop=stop, eos=END)


def _with_zeros(config: GPTConfig, state: Mapping[str, Any]) -> dict[str, Any]:
    shapes = parameter_shapes(config)
    return {n: state[n] if n in state else np.zeros(s, np.float32) for n, s in shapes.items()}


def _write_tokenizer(pretrained: Pretrained, folder: Path) -> list[str]:
    """tokenizer.json and what transformers wants to know of it, where it can be said there."""
    tokenizer, template = pretrained.tokenizer, pretrained.chat_template
    if template is not None:
        write_atomically(folder / TEMPLATE, template.encode())
    if tokenizer is None:
        return ["the model has no tokenizer, so none was written"]
    if not isinstance(tokenizer, BPETokenizer):
        return ["a tokenizer of characters has no Hugging Face form, so none was written"]
    try:
        tokenizer.save_huggingface(folder / TOKENIZER)
    except DataError as error:
        # Without the file's name: it was to stand in a folder that is gone when the note is read.
        why = str(error).removeprefix(f"{folder / TOKENIZER}: ")
        return [f"the tokenizer has no Hugging Face form, so none was written: {why}"]
    names = {id_: name for name, id_ in tokenizer.special_tokens.items()}
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": pretrained.model.config.block_size,
    }
    bos = pretrained.bos or names.get(-1 if pretrained.begin is None else pretrained.begin)
    eos = pretrained.eos or names.get(next(iter(pretrained.stop), -1))
    settings |= {name: text for name, text in (("bos_token", bos), ("eos_token", eos)) if text}
    if pretrained.begin in names:
        settings["add_bos_token"] = True
        _put_first(folder / TOKENIZER, names[pretrained.begin], pretrained.begin)
    write_atomically(folder / TOKENIZER_CONFIG, to_json(settings))
    return []


def _put_first(path: Path, name: str, id_: int) -> None:
    """Have transformers put a special token before every text."""
    body = read_json(path)
    body["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": name, "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [
            {"SpecialToken": {"id": name, "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}},
        ],
        "special_tokens": {name: {"id": name, "ids": [id_], "tokens": [name]}},
    }
    write_atomically(path, to_json(body))
