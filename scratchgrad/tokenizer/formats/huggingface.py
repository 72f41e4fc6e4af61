"""Hugging Face's tokenizer.json, where it describes a byte-level BPE and nothing else.

The file is a list of stages: normalizer, pre-tokenizer, model, post-processor, decoder. Each may
say things that a `Vocabulary` cannot. A file that says one is refused with what it says. What can
be read encodes and decodes as there, with all special tokens allowed and none added.

Two differences need care:

- Its regular expressions are Oniguruma's, so that only some mean the same: see ``oniguruma``.
- A special token is decoded by the byte-level decoder too: one that is named in letters of that
  alphabet, such as "é", comes out as other bytes. Such names are refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from scratchgrad.data.files import to_json
from scratchgrad.data.untrusted import cut, shorten
from scratchgrad.errors import DataError
from scratchgrad.tokenizer.checks import write_file
from scratchgrad.tokenizer.formats import bytelevel
from scratchgrad.tokenizer.formats.oniguruma import (
    ALL_OF_THE_TEXT,
    SPELLINGS,
    check_same,
)
from scratchgrad.tokenizer.formats.splits import merges_in_use
from scratchgrad.tokenizer.reading import PathLike, naming, read_json
from scratchgrad.tokenizer.vocabulary import Vocabulary


def read(path: PathLike) -> tuple[Vocabulary, str]:
    """Read a tokenizer.json.

    Returns
    -------
    Vocabulary
        With all added tokens as special tokens.
    str
        The pattern: "gpt2" for ByteLevel's own, "none", or a regular expression.

    Raises
    ------
    DataError
        The file is missing, no tokenizer.json, contradicts itself, or asks for something that
        cannot be represented exactly; the message names it.

    Warns
    -----
    UserWarning
        The file has tokens to put round each text, such as one at its begin. `encode` of ours never
        adds tokens.
    """
    body = read_json(path)
    with naming(path):
        model = body.get("model")
        if not isinstance(model, dict):
            raise DataError(f"no tokenizer.json: expected an object 'model'; got {shorten(model)}")
        _check_model(model)
        pattern = _pattern(body.get("pre_tokenizer"))
        _check_stages(body, path)
        words = dict(model["vocab"])
        special: dict[str, Any] = {}
        for name, id_ in _added(body.get("added_tokens")):
            if name in special:
                raise DataError(f"the added token {shorten(name)} stands twice")
            if name in words and (type(id_) is not int or words.pop(name) != id_):
                raise DataError(f"the added token {shorten(name)} has another id in the vocabulary")
            _check_name(name)
            special[name] = id_
        whole = model.get("ignore_merges") or False
        pairs = list(_pairs(model["merges"]))
        return bytelevel.vocabulary(words, pairs, special, whole), pattern


def _check_model(model: Mapping[str, Any]) -> None:
    if model.get("type", "BPE") != "BPE":  # the oldest files leave the type out
        raise DataError(f"the model is {shorten(model['type'])}; only byte-level BPE can be read")
    for key, kind in (("vocab", dict), ("merges", list)):
        if not isinstance(model.get(key), kind):
            raise DataError(
                f"no BPE model: expected {'an object' if kind is dict else 'a list'} "
                f"'model.{key}'; got {shorten(model.get(key))}"
            )
    harmless: dict[str, tuple[Any, ...]] = {
        "dropout": (None, 0, 0.0),
        "unk_token": (None,),
        "continuing_subword_prefix": (None, ""),
        "end_of_word_suffix": (None, ""),
        "byte_fallback": (None, False),
        "ignore_merges": (None, False, True),
    }
    for key, values in harmless.items():
        value = model.get(key)
        if not any(type(value) is type(v) and value == v for v in values):
            raise DataError(f"model.{key} is {shorten(value)}, which cannot be represented")


def _check_stages(body: Mapping[str, Any], path: PathLike) -> None:
    """Refuse what happens before the pieces are cut, and after they are encoded."""
    for key in ("normalizer", "truncation", "padding"):
        value = body.get(key)
        if value is not None and value != {"type": "Sequence", "normalizers": []}:
            raise DataError(f"{key} is {_kind(value)}, which cannot be represented; expected null")
    decoders = list(_stages(body.get("decoder"), "decoders"))
    if [_type(stage) for stage in decoders] != ["ByteLevel"]:
        raise DataError(f"decoder is {_kind(body.get('decoder'))}; expected ByteLevel")
    for stage in _stages(body.get("post_processor"), "processors"):
        if _type(stage) == "TemplateProcessing":
            names = stage.get("special_tokens")
            if names:
                shown = _names(names if isinstance(names, dict) else [names])
                warnings.warn(
                    f"{path}: puts {shown} round texts; encode adds no tokens, so put them there "
                    f"yourself",
                    stacklevel=4,
                )
        elif _type(stage) != "ByteLevel":  # which changes offsets only
            raise DataError(
                f"post_processor is {_kind(stage)}; expected null, ByteLevel or TemplateProcessing"
            )


def _pattern(pre_tokenizer: Any) -> str:
    stages = list(_stages(pre_tokenizer, "pretokenizers"))
    kinds = [_type(stage) for stage in stages]
    if kinds not in (["ByteLevel"], ["Split", "ByteLevel"]):
        raise DataError(
            f"pre_tokenizer is {_names(kinds) or shorten(pre_tokenizer)}; expected "
            f"ByteLevel, or one Split and ByteLevel"
        )
    last = stages[-1]
    if last.get("add_prefix_space") is not False:
        # It is put before a text, and after a special token, that has none yet, and stays when
        # decoded: not what Vocabulary.prefix_space says.
        raise DataError(
            f"pre_tokenizer.add_prefix_space is {shorten(last.get('add_prefix_space'))}, which "
            f"cannot be represented; expected false"
        )
    use_regex = last.get("use_regex", True)
    if type(use_regex) is not bool:
        raise DataError(f"pre_tokenizer.use_regex is {shorten(use_regex)}; expected true or false")
    if len(stages) == 1:
        return "gpt2" if use_regex else "none"
    if use_regex:
        raise DataError("pre_tokenizer splits twice, by Split and by ByteLevel's own pattern")
    return _split(stages[0])


def _split(stage: Mapping[str, Any]) -> str:
    """Return the pattern of a Split that keeps all of the text."""
    pattern = stage.get("pattern")
    pair = list(pattern.items()) if isinstance(pattern, dict) else []
    kind, text = pair[0] if len(pair) == 1 else (None, None)
    if kind not in ("Regex", "String") or not isinstance(text, str) or not text:
        raise DataError(f"pre_tokenizer.pattern is {shorten(pattern)}; expected a Regex or String")
    behavior, invert = stage.get("behavior"), stage.get("invert")
    # What is removed by an inverted pattern is what it leaves out, which for these is nothing.
    nothing = behavior == "Removed" and invert is True and text in ALL_OF_THE_TEXT
    if behavior != "Isolated" and not nothing:
        raise DataError(
            f"pre_tokenizer splits with behavior {shorten(behavior)}, invert {shorten(invert)}, "
            f"which cannot be represented; expected 'Isolated'"
        )
    if kind == "String":
        return re.escape(text)
    check_same(text)
    return next((name for name, spelled in SPELLINGS.items() if spelled == text), text)


def _added(tokens: Any) -> Iterator[tuple[str, Any]]:
    if tokens is None:
        return
    if not isinstance(tokens, list):
        raise DataError(f"added_tokens is {shorten(tokens)}; expected a list")
    for token in tokens:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise DataError(f"expected an added token with its content; got {shorten(token)}")
        for flag in ("single_word", "lstrip", "rstrip"):
            if token.get(flag, False) is not False:
                raise DataError(
                    f"the added token {shorten(token['content'])} has {flag}, which cannot be "
                    f"represented"
                )
        yield token["content"], token.get("id")


def _check_name(name: str) -> None:
    """Refuse a special token that Hugging Face's decoder would not give back as it is spelled."""
    try:
        plain = name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"the special token {shorten(name)} is not UTF-8") from None
    if bytelevel.unspell(name) not in (None, plain):
        raise DataError(
            f"the special token {shorten(name)} is spelled in the letters that stand for bytes in "
            f"tokenizer.json, and would be decoded as {shorten(bytelevel.unspell(name))}"
        )


def _pairs(merges: list[Any]) -> Iterator[tuple[str, str]]:
    """Both spellings: "a b", and since 2024 ["a", "b"]."""
    for rank, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(part, str) and part for part in pair)
        ):
            raise DataError(f"merge {rank} is {shorten(merge)}; expected two tokens")
        yield pair[0], pair[1]


def _stages(stage: Any, key: str) -> Iterator[Any]:
    """Yield the stages of a Sequence, and of one inside another, in order."""
    if stage is None:
        return
    if _type(stage) != "Sequence":
        yield stage
        return
    inner = stage.get(key)
    if not isinstance(inner, list):
        raise DataError(f"expected a list {key!r} in a Sequence; got {shorten(inner)}")
    for part in inner:
        yield from _stages(part, key)


def _type(stage: Any) -> Any:
    return stage.get("type") if isinstance(stage, dict) else None


def _kind(stage: Any) -> str:
    return shorten(stage if _type(stage) is None else _type(stage))


def _names(names: Iterable[Any]) -> str:
    """A few names from a file, on one line however many and long they are."""
    return cut(", ".join(n[:60] if isinstance(n, str) else shorten(n) for n in islice(names, 20)))


_UNSAYABLE = {
    "characters": "pieces start out as characters, not as bytes",
    "prefix_space": "a space is put before the text",
}


def write(path: PathLike, vocabulary: Vocabulary, pattern: str) -> None:
    """Write a tokenizer.json with which Hugging Face encodes and decodes as we do.

    Where several merges make one token, only the one that is ever used is written: see ``splits``.

    Parameters
    ----------
    path : path
        The file, replaced in one move.
    vocabulary : Vocabulary
        Starting out as bytes.
    pattern : str
        A name, or a regular expression that Oniguruma reads as ``regex`` does.

    Raises
    ------
    DataError
        The vocabulary or the pattern needs what a tokenizer.json cannot say.
    """
    with naming(path):
        body = _body(vocabulary, pattern)
    write_file(path, to_json(body))


def _body(vocabulary: Vocabulary, pattern: str) -> dict[str, Any]:
    for flag, meaning in _UNSAYABLE.items():
        if getattr(vocabulary, flag):
            raise DataError(
                f"a byte-level tokenizer.json has no {flag}, which this vocabulary needs: {meaning}"
            )
    special = vocabulary.special_tokens
    ids = set(special.values())
    words = {
        bytelevel.spell(token): id_
        for id_, token in enumerate(vocabulary.tokens)
        if token is not None and id_ not in ids
    }
    # The special tokens stand among the others too, or the gaps between their ids would be closed.
    for name, id_ in special.items():
        _check_name(name)
        if words.setdefault(name, id_) != id_:
            raise DataError(
                f"the special token {shorten(name)} is spelled as the token of id {words[name]}"
            )
    merges = merges_in_use(vocabulary)
    merges = merges[np.argsort(merges[:, 3], kind="stable")]
    if len(np.unique(merges[:, 3])) < len(merges):
        raise DataError("merges of one rank make several tokens; in a tokenizer.json each has one")
    spelled = ["" if token is None else bytelevel.spell(token) for token in vocabulary.tokens]
    pairs = [f"{spelled[left]} {spelled[right]}" for left, right, _, _ in merges.tolist()]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": id_,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for name, id_ in sorted(special.items(), key=lambda item: item[1])
        ],
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(pattern, byte_level),
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": vocabulary.whole_pieces,
            "vocab": dict(sorted(words.items(), key=lambda item: item[1])),
            "merges": pairs,  # as text, which every version of the library reads
        },
    }


def _pre_tokenizer(pattern: str, byte_level: Mapping[str, Any]) -> dict[str, Any]:
    if pattern in ("gpt2", "none", ""):
        return {**byte_level, "use_regex": pattern == "gpt2"}
    text = SPELLINGS.get(pattern, pattern)
    check_same(text)
    split = {"type": "Split", "pattern": {"Regex": text}, "behavior": "Isolated", "invert": False}
    return {
        "type": "Sequence",
        "pretokenizers": [split, {**byte_level, "use_regex": False}],
    }
