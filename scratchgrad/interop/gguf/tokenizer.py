r"""The tokenizer in a GGUF, where it is a byte-level BPE.

=================================  =============================================================
value                              meaning
=================================  =============================================================
``tokenizer.ggml.model``           "gpt2": byte-level BPE. Others, such as "llama" (SentencePiece),
                                   are refused by name
``tokenizer.ggml.pre``             how a text is cut into pieces, by a name: see `CUTS`
``tokenizer.ggml.tokens``          ordinary ones spelled in GPT-2's letters, special ones as text
``tokenizer.ggml.token_type``      1 ordinary, 3 control, 4 added by the user; 5 unused
``tokenizer.ggml.merges``          "left right", the one that goes first at the head
``tokenizer.ggml.bos_token_id``    begins a text, if ``add_bos_token`` says so
``tokenizer.ggml.eos_token_id``    ends a text; ``eot_token_id`` and ``eom_token_id`` end a turn
``tokenizer.chat_template``        how a conversation becomes a text
=================================  =============================================================

The names of ``pre`` stand for expressions that are not in the file but in llama.cpp's program,
src/llama-vocab.cpp. Only those are here that can be stated exactly as one expression. "default" is
not: llama.cpp takes it where it does not know the model's own, and warns of the result.

Some vocabularies, SmolLM2's among them, were learned from text that never had certain bytes, and
have no token for them. Hugging Face and llama.cpp leave such bytes out of a text, in silence. Here
they get the ids after the last one, which the model has no row for, and refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import ConfigError, DataError
from scratchgrad.interop.gguf.reading import GGUF, shown
from scratchgrad.tokenizer import BPETokenizer
from scratchgrad.tokenizer.formats import bytelevel
from scratchgrad.tokenizer.formats.oniguruma import OLD_CL100K

_KEY = "tokenizer.ggml."
_ORDINARY, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5

# These cut twice: each number is a piece of its own, and what is between them is cut as by GPT-2.
# In one expression, spaces before a number are as spaces before the end of the text: GPT-2's
# \s+(?!\S) leaves the last space to the word that follows, but a number takes none.
_DIGITS = (
    r"\p{N}|'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?[^\s\p{L}\p{N}]++"
    r"|\s+(?![^\s\p{N}])|\s+"
)
_QWEN2 = OLD_CL100K.replace(r"\p{N}{1,3}", r"\p{N}")


class Cut(NamedTuple):
    """What a name of ``pre`` says.

    Attributes
    ----------
    pattern : str
        As `BPETokenizer` takes it.
    whole_pieces : bool
        As in `Vocabulary`.
    begin : bool
        Whether a text begins with the begin token, where the file does not say.
    """

    pattern: str
    whole_pieces: bool = False
    begin: bool = False


_GPT2, _SINGLE, _LLAMA3 = Cut("gpt2"), Cut(_DIGITS), Cut(OLD_CL100K, True, True)
CUTS = {
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "smollm": _SINGLE,
    "starcoder": _SINGLE,
    "refact": _SINGLE,
    "command-r": _SINGLE,
    "codeshell": _SINGLE,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": Cut(_QWEN2),
}

# Names that end a text wherever they are special tokens: a model may know two, and write either.
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>")


class Tokens(NamedTuple):
    """What `read_tokenizer` found; the names are those of `Pretrained`."""

    tokenizer: BPETokenizer
    begin: int | None
    stop: tuple[int, ...]
    chat_template: str | None
    bos: str
    eos: str
    notes: list[str]
    missing: list[int]  # bytes without a token


def read_tokenizer(file: GGUF) -> Tokens:
    """Read the tokenizer of an open file.

    Raises
    ------
    CheckpointError
        There is none, it contradicts itself, or it is of a kind that is not read; the message
        says which.
    """
    cut = _cut(file)
    try:
        words, special, count = _words(file)
        missing = [byte for byte, letter in enumerate(bytelevel.LETTERS) if letter not in words]
        words |= {bytelevel.LETTERS[byte]: count + place for place, byte in enumerate(missing)}
        vocabulary = bytelevel.vocabulary(words, _pairs(file), special, cut.whole_pieces)
        tokenizer = BPETokenizer(vocabulary, cut.pattern)
    except (DataError, ConfigError) as error:
        raise file.refuse(f"its tokenizer: {error}") from None
    begin = _id(file, "bos_token_id", count)
    add = file.values.get(_KEY + "add_bos_token", cut.begin)
    if type(add) is not bool:
        raise file.refuse(f"{_KEY}add_bos_token is {shown(add)}; expected true or false")
    if add and begin is None:
        raise file.refuse(f"{_KEY}add_bos_token is true; expected a {_KEY}bos_token_id with it")
    ends = [_id(file, name, count) for name in ("eos_token_id", "eot_token_id", "eom_token_id")]
    bos, eos = (_text(tokenizer, id_) for id_ in (begin, ends[0]))
    ends += [special[name] for name in _ENDS if name in special]
    notes = []
    if file.values.get(_KEY + "add_eos_token", False) is not False:
        notes.append(f"{file.path} puts a token after every text; none is put here")
    template = file.values.get("tokenizer.chat_template")
    if not isinstance(template, str | None):
        raise file.refuse(f"tokenizer.chat_template is {shown(template)}; expected a text")
    stop = tuple(dict.fromkeys(id_ for id_ in ends if id_ is not None))
    return Tokens(tokenizer, begin if add else None, stop, template, bos, eos, notes, missing)


def _text(tokenizer: BPETokenizer, id_: int | None) -> str:
    """A token as the chat template writes it."""
    token = None if id_ is None else tokenizer.vocabulary.tokens[id_]
    return "" if token is None else token.decode("utf-8", "replace")


def _cut(file: GGUF) -> Cut:
    kind, name = file.values.get(_KEY + "model"), file.values.get(_KEY + "pre")
    if kind != "gpt2":
        which = "missing" if kind is None else shown(kind)
        advice = " (it is SentencePiece's)" if kind == "llama" else ""
        raise file.refuse(f"{_KEY}model is {which}{advice}; expected 'gpt2', a byte-level BPE")
    if not isinstance(name, str) or name not in CUTS:
        which = "missing" if name is None else shown(name)
        raise file.refuse(
            f"{_KEY}pre is {which}, and how it cuts a text cannot be stated exactly here; "
            f"expected one of {', '.join(CUTS)}"
        )
    if file.values.get(_KEY + "add_space_prefix", False) is not False:
        raise file.refuse(f"{_KEY}add_space_prefix is not false, which cannot be represented")
    return CUTS[name]


def _words(file: GGUF) -> tuple[dict[str, int], dict[str, int], int]:
    """The ordinary tokens, the special ones, and how many ids there are."""
    tokens = list(file.strings(_KEY + "tokens"))
    kinds = [_ORDINARY] * len(tokens)
    if _KEY + "token_type" in file.values:
        kinds = file.numbers(_KEY + "token_type").tolist()
    if len(kinds) != len(tokens):
        raise file.refuse(
            f"{_KEY}token_type: expected one for each of {len(tokens):,} tokens; got {len(kinds):,}"
        )
    words: dict[str, int] = {}
    special: dict[str, int] = {}
    for id_, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind == _UNUSED:  # fills the vocabulary up to a round number
            continue
        if kind not in (_ORDINARY, _CONTROL, _USER_DEFINED):
            raise file.refuse(
                f"token {id_}, {shorten(token)}, is of type {shorten(kind)}; expected 1, 3, 4 or 5"
            )
        into = words if kind == _ORDINARY else special
        if token in into:
            raise file.refuse(f"ids {into[token]} and {id_} are both the token {shorten(token)}")
        into[token] = id_
    return words, special, len(tokens)


def _pairs(file: GGUF) -> Iterator[tuple[str, str]]:
    for rank, merge in enumerate(file.strings(_KEY + "merges")):
        left, space, right = merge.partition(" ")
        if not left or not space or not right or " " in right:
            raise file.refuse(f"merge {rank} is {shorten(merge)}; expected two tokens")
        yield left, right


def _id(file: GGUF, name: str, count: int) -> int | None:
    id_: Any = file.values.get(_KEY + name)
    if id_ is not None and (type(id_) is not int or not 0 <= id_ < count):
        raise file.refuse(f"{_KEY}{name} is {shown(id_)}; expected an id below {count:,}")
    return id_
