"""The others' side of `scratchgrad bench --vs tokenizers`, which loads it; no import says so.

Each program is used as its authors show it, with the threads that it takes by itself. One that is
not installed raises ImportError when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scratchgrad.tokenizer.formats.bytelevel import unspell
from scratchgrad.tokenizer.patterns import NAMED


class HuggingFace:
    """Byte-level BPE with its own GPT-2 pattern."""

    name, parts = "tokenizers", ("train", "encode")
    same_ties = False  # it gives the bytes ids in the order of the characters that stand for them

    def __init__(self) -> None:
        import tokenizers

        self._module = tokenizers
        self.about = f"tokenizers {version('tokenizers')}"

    def train(self, texts: list[str], vocab_size: int) -> Any:
        made = self._module.Tokenizer(self._module.models.BPE())
        byte_level = self._module.pre_tokenizers.ByteLevel
        made.pre_tokenizer = byte_level(add_prefix_space=False)
        trainer = self._module.trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=0,
            initial_alphabet=byte_level.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(texts, trainer)
        return made

    def tokens(self, made: Any) -> list[bytes]:
        ids = made.get_vocab()
        return [unspell(word) or b"" for word in sorted(ids, key=ids.__getitem__)]

    def encoder(self, tokens: Sequence[bytes], path: Path) -> Callable[[str], list[int]]:
        made = self._module.Tokenizer.from_file(str(path))
        # Half as fast again as `encode`, for it does not say where in the text each id stands
        return lambda text: made.encode_batch_fast([text], add_special_tokens=False)[0].ids


class RustBPE:
    """nanochat's trainer; it encodes too, but for real use hands over to tiktoken."""

    name, parts = "rustbpe", ("train",)
    same_ties = True

    def __init__(self) -> None:
        import rustbpe

        self._module = rustbpe
        self.about = f"rustbpe {version('rustbpe')}"

    def train(self, texts: list[str], vocab_size: int) -> Any:
        made = self._module.Tokenizer()
        made.train_from_iterator(iter(texts), vocab_size=vocab_size, pattern=NAMED["gpt2"])
        return made

    def tokens(self, made: Any) -> list[bytes]:
        ranks = sorted(made.get_mergeable_ranks(), key=lambda pair: pair[1])
        return [bytes(token) for token, _ in ranks]


class Tiktoken:
    """With its fastest spelling of GPT-2's pattern."""

    name, parts = "tiktoken", ("encode",)

    def __init__(self) -> None:
        import tiktoken
        from tiktoken_ext.openai_public import r50k_pat_str

        self._module, self._pattern = tiktoken, r50k_pat_str
        self.about = f"tiktoken {version('tiktoken')}"

    def encoder(self, tokens: Sequence[bytes], path: Path) -> Callable[[str], list[int]]:
        made = self._module.Encoding(
            "ours",
            pat_str=self._pattern,
            mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
            special_tokens={},
        )
        return made.encode_ordinary


PROGRAMS = (HuggingFace, RustBPE, Tiktoken)
