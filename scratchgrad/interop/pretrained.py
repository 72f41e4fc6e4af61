"""A model with what it takes to talk to it; and the folder that keeps all of it.

config.json           which model: GPTConfig's fields, the ids that begin and end a text, and what
                      a text starts from where nobody says
model.safetensors     the weights in float32, under our names
tokenizer.json        the vocabulary, if there is one
chat_template.jinja   how a conversation becomes a text, if the model has learned any
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchgrad.data.files import to_json, write_atomically
from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import CheckpointError, ConfigError, DataError
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.interop.files import PICKLE_ADVICE, first_bytes, open_file, read_json_file
from scratchgrad.interop.layout import check_size, own_layout, read_state
from scratchgrad.interop.model_folder import CONFIG, FORMAT, TEMPLATE, TOKENIZER, replacing
from scratchgrad.interop.safetensors_file import (
    SafetensorsFile,
    looks_like_safetensors,
    write_safetensors,
)
from scratchgrad.interop.shards import INDEX, PICKLES, WEIGHTS
from scratchgrad.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from scratchgrad.tokenizer import Tokenizer

VERSION = 1
MAX_TEMPLATE_BYTES = 1 << 20
NO_TOKENIZER = "no tokenizer:"  # how the note on it begins


@dataclass
class Pretrained:
    """A model that is ready to be used.

    Attributes
    ----------
    model : GPT
    tokenizer : Tokenizer, optional
    chat_template : str, optional
        Jinja text, as the files carry it.
    begin : int, optional
        The id that is put before every text, if one is.
    stop : tuple of int
        Ids that end a text.
    bos, eos : str
        What the chat template knows as ``bos_token`` and ``eos_token``. A template may put the one
        before a conversation though no other text has it, and the other is one of several that end
        a text. Empty where nobody says: then they are those of ``begin`` and the first of ``stop``.
    notes : list of str
        What a user should know.
    source : str
        Where it stands, for messages.
    origin : str
        Where it first came from, if that is another place.
    prompt : str
        What a text starts from where nobody says; empty where nobody does.
    """

    model: GPT
    tokenizer: Tokenizer | None
    chat_template: str | None = None
    begin: int | None = None
    stop: tuple[int, ...] = ()
    notes: list[str] = field(default_factory=list)
    source: str = ""
    prompt: str = ""
    origin: str = ""
    bos: str = ""
    eos: str = ""


def read_pretrained(
    path: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
    dtype: Any = np.float32,
) -> Pretrained:
    """Read a model, whatever it is kept in.

    Parameters
    ----------
    path : path
        A folder that `save_pretrained` made, a folder of Hugging Face with GPT-2, Llama or Mistral
        in it, a .bin of llama2.c, or a .gguf.
    tokenizer : path, optional
        A tokenizer file, where the model brings none, or in its place.
    dtype : float32 or float64

    Raises
    ------
    CheckpointError
        It is none of these, is damaged, or asks for what is computed otherwise here.
    """
    place = Path(path)
    if os.path.isdir(place):  # which takes any name, as `Path.is_dir` does not
        found = _reader_of_folder(place)(place, dtype)
    else:
        found = _read_file(place, tokenizer, dtype)
    if tokenizer is not None:
        found.tokenizer = load_tokenizer(tokenizer)
        found.notes = [note for note in found.notes if not note.startswith(NO_TOKENIZER)]
    found.source = str(path)
    found.model.eval()
    _check_ids(found)
    return found


def _reader_of_folder(folder: Path) -> Callable[[Path, Any], Pretrained]:
    from scratchgrad.interop.huggingface import read_folder  # which needs Pretrained

    if not (folder / CONFIG).exists():
        raise CheckpointError(
            f"{folder} has no {CONFIG}; expected a folder of scratchgrad, or of Hugging Face with "
            f"GPT-2, Llama or Mistral in it"
        )
    body = read_json_file(folder / CONFIG)
    if body.get("format") == FORMAT:
        return _read_own
    if str(body.get("format", "")).startswith("scratchgrad-"):
        raise CheckpointError(
            f"{folder / CONFIG} has the format {shorten(body['format'])}; expected {FORMAT}"
        )
    return read_folder


def _read_file(path: Path, tokenizer: Any, dtype: Any) -> Pretrained:
    from scratchgrad.interop.llama2c import looks_like_it, read_llama2c

    head = first_bytes(path)
    if head[:4] == b"GGUF":
        from scratchgrad.interop.gguf.model import read_gguf

        return read_gguf(path, dtype)
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05") or path.suffix in PICKLES:
        raise CheckpointError(f"{path} is not read: {PICKLE_ADVICE}")
    if path.name == INDEX or path.suffix == ".safetensors" or looks_like_safetensors(head):
        raise CheckpointError(f"{path} holds weights alone; give the folder with its {CONFIG} too")
    if looks_like_it(path):
        return read_llama2c(path, tokenizer, dtype)
    raise CheckpointError(
        f"{path} is no model that can be read; expected a folder of scratchgrad or of Hugging "
        f"Face, a .gguf, or a .bin of llama2.c; it begins with {head[:8]!r}"
    )


def _check_ids(found: Pretrained) -> None:
    """Ids that the model has no row for are of no use to it."""
    size = found.model.config.vocab_size
    found.stop = tuple(dict.fromkeys(id_ for id_ in found.stop if 0 <= id_ < size))
    if found.begin is not None and not 0 <= found.begin < size:
        raise CheckpointError(
            f"{found.source}: the id {found.begin} should begin a text; the model has {size} ids"
        )


# ---- our own folder


def _read_own(folder: Path, dtype: Any) -> Pretrained:
    body = read_json_file(folder / CONFIG)
    where = folder / CONFIG
    if body.get("version") != VERSION:
        raise CheckpointError(
            f"{where}: expected version {VERSION}; got {shorten(body.get('version'))}; a newer "
            f"scratchgrad may read it"
        )
    settings = body.get("model")
    names = {field.name for field in dataclasses.fields(GPTConfig)}
    if not isinstance(settings, dict) or settings.keys() != names:
        found = sorted(settings.keys() ^ names) if isinstance(settings, dict) else settings
        raise CheckpointError(
            f"{where} is damaged: expected model to hold the fields of GPTConfig; got others: "
            f"{shorten(found)}"
        )
    try:
        config = GPTConfig(**settings)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{where} is damaged: {str(error)[:400]}") from None
    with SafetensorsFile(folder / WEIGHTS) as tensors:
        check_size(config, len(tensors.entries), tensors.path)
        state = read_state(tensors, own_layout(config), config, dtype=dtype)
    begin, stop = body.get("begin"), body.get("stop", [])
    known = (begin is None or _is_id(begin)) and isinstance(stop, list) and all(map(_is_id, stop))
    if not known:
        raise CheckpointError(
            f"{where} is damaged: begin is {shorten(begin)} and stop {shorten(stop)}; expected an "
            f"id or null, and a list of ids"
        )
    present = (folder / TOKENIZER).exists()
    return Pretrained(
        GPT.from_state(config, state),
        load_tokenizer(folder / TOKENIZER) if present else None,
        read_template(folder),
        begin,
        tuple(stop),
        # Folders of before these were kept do not say.
        prompt=text_in(body, "prompt", where),
        bos=text_in(body, "bos_token", where),
        eos=text_in(body, "eos_token", where),
        origin=str(body.get("source", "")),
    )


def text_in(body: Mapping[str, Any], name: str, where: Path) -> str:
    """A text of a configuration; empty where it has none of that name, or null.

    Raises
    ------
    CheckpointError
        It is something else, or has half of a UTF-16 pair, which JSON can spell and no file hold.
    """
    text = body.get(name)
    text = "" if text is None else text
    if not isinstance(text, str) or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise CheckpointError(f"{where}: expected {name} to be a text; got {shorten(text)}")
    return text


def _is_id(value: Any) -> bool:
    return type(value) is int and value >= 0


def read_template(folder: Path) -> str | None:
    """The text of chat_template.jinja, if it is there. It is not run here."""
    path = folder / TEMPLATE
    if not path.exists():
        return None
    file, size = open_file(path, "file of a chat template")
    with file:
        if size > MAX_TEMPLATE_BYTES:
            raise CheckpointError(f"{path} has {size:,} bytes; expected {MAX_TEMPLATE_BYTES:,}")
        try:
            return file.read(size).decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"{path} is not UTF-8") from None


def save_pretrained(
    pretrained: Pretrained, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Write a model folder. A former model in it is replaced when all of the new one is written.

    Parameters
    ----------
    pretrained : Pretrained
    folder : path
        New or empty, or with ``overwrite`` one that holds a model.
    overwrite : bool

    Raises
    ------
    CheckpointError
        There is something in the folder.
    OSError
        The disk is full, or may not be written.
    """
    config = pretrained.model.config
    origin = pretrained.origin or pretrained.source
    body = {
        "format": FORMAT,
        "version": VERSION,
        "model": dataclasses.asdict(config),
        "begin": pretrained.begin,
        "stop": list(pretrained.stop),
        "prompt": pretrained.prompt,
        "bos_token": pretrained.bos,
        "eos_token": pretrained.eos,
        "source": origin.encode("utf-8", "replace").decode(),  # a path may be no text
    }
    with replacing(Path(folder), overwrite) as place:
        write_weights(place, ((name, p.data) for name, p in pretrained.model.named_parameters()))
        if pretrained.tokenizer is not None:
            pretrained.tokenizer.save(place / TOKENIZER)
        if pretrained.chat_template is not None:
            write_atomically(place / TEMPLATE, pretrained.chat_template.encode())
        write_atomically(place / CONFIG, to_json(body))


def write_weights(folder: Path, tensors: Iterable[tuple[str, Any]]) -> None:
    """Write model.safetensors in float32."""
    single = [(name, np.asarray(array, dtype=np.float32)) for name, array in tensors]
    write_safetensors(folder / WEIGHTS, single, {"format": "pt"})


def quietly_load_tokenizer(path: Path, notes: list[str]) -> Tokenizer | None:
    """The tokenizer of a folder; where it cannot be read, a note says why, and there is none."""
    import warnings

    try:
        with warnings.catch_warnings():
            # That a token is put before each text is what `begin` says.
            warnings.simplefilter("ignore", UserWarning)
            return load_tokenizer(path)
    except DataError as error:
        notes.append(f"{NO_TOKENIZER} {error}")
        return None
