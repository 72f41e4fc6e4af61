"""Every number of a training run, checked, and the presets.

This module imports neither NumPy nor anything slow: the command line reads the presets from it
before it knows whether it will train at all.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchgrad.errors import ConfigError

OPTIONAL = " | None"


def _check_types(settings: Any) -> None:
    """Hold every value to the type its field declares: a file may say anything."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        wanted = str(field.type)
        # bool is a subclass of int, and a whole number is as good as a float.
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = {
            "bool": isinstance(value, bool),
            "int": isinstance(value, int) and number,
            "float": number and math.isfinite(value),
            "str": isinstance(value, str),
        }[wanted.removesuffix(OPTIONAL)]
        if not fits and not (value is None and wanted.endswith(OPTIONAL)):
            kind = {"int": "a whole number", "float": "a finite number", "bool": "true or false"}
            expected = kind.get(wanted.removesuffix(OPTIONAL), "text")
            raise ConfigError(f"{field.name} must be {expected}; got {value!r}")


@dataclass(frozen=True)
class ModelSettings:
    """The size and kind of a GPT, before a text has said how large its vocabulary is.

    The names are those of `scratchgrad.GPTConfig`, which explains and also checks them.
    """

    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    block_size: int = 64
    dropout: float = 0.0
    bias: bool = False
    norm_position: str = "pre"
    norm: str = "layernorm"
    mlp: str = "gelu"
    n_inner: int | None = None
    position: str = "learned"
    rope_base: float = 10000.0
    n_kv_head: int | None = None
    qk_norm: bool = False
    sliding_window: int | None = None
    tied_head: bool = True
    embd_dropout: float | None = None
    attn_dropout: float | None = None
    resid_dropout: float | None = None

    def __post_init__(self) -> None:
        _check_types(self)


# What GPTConfig lets one choose by name: said here again, for it is not imported before it is used.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "norm_position": ("pre", "post"),
    "norm": ("layernorm", "rmsnorm"),
    "mlp": ("gelu", "gelu_tanh", "relu", "relu2", "swiglu"),
    "position": ("learned", "sinusoidal", "rope", "none"),
}

CHARACTERS, BPE = "characters", "bpe"

# Bytes, and as many merges as a text of a megabyte repeats often.
DEFAULT_VOCAB_SIZE = 1024


@dataclass(frozen=True)
class TokenizerSettings:
    """Which tokenizer a run begins with.

    Attributes
    ----------
    tokenizer : str
        "characters" or "bpe", learned from the text; else the path of a saved tokenizer.
    vocab_size : int
        Ids that byte-pair encoding is to learn, fewer where the text has not that many pairs to
        merge; 0 for the others, whose size is not chosen.
    allow_special : bool
        Whether the special tokens of a saved tokenizer, where they stand in the text, are meant.
        Otherwise such a text is refused.
    """

    tokenizer: str = CHARACTERS
    vocab_size: int = 0
    allow_special: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        if self.tokenizer == BPE and self.vocab_size < 256:
            raise ConfigError(
                f"vocab_size must be at least 256, for there are as many bytes; "
                f"got {self.vocab_size}"
            )
        if self.tokenizer != BPE and self.vocab_size != 0:
            raise ConfigError(
                f"vocab_size goes with the tokenizer {BPE}; the size of {self.tokenizer} "
                f"is not chosen; leave it out"
            )
        if self.allow_special and self.tokenizer in (CHARACTERS, BPE):
            raise ConfigError(
                f"allow_special goes with a saved tokenizer; {self.tokenizer} has no special tokens"
            )


@dataclass(frozen=True)
class TrainConfig:
    """How to train: the optimiser, its schedule, the data order, and what to do when.

    Attributes
    ----------
    steps : int
        Optimiser updates in the whole run.
    batch_size, grad_accum : int
        Windows in a forward pass, and forward passes whose mean gradient makes one update.
    lr, min_lr : float
        Peak and final learning rate.
    warmup_steps, decay_steps : int
        Linear rise to the peak, then a cosine down that ends at ``decay_steps``; ``min_lr`` after.
    beta1, beta2, eps, weight_decay : float
        AdamW. The decay is on matrices only.
    clip : float
        Largest global gradient norm; 0 leaves gradients as they are.
    seed : int
        Of the weights, the data order, dropout and the samples.
    val_fraction : float
        Share of the text, at its end, that is held out.
    eval_every, eval_batches : int
        Steps between evaluations (0: only at the end), and batches of windows in each.
    sample_every, sample_length : int
        Steps between samples of text (0: only at the end), and tokens in each.
    checkpoint_every : int
        Steps between checkpoints (0: only at a new best, and at the end).

    Raises
    ------
    ConfigError
        A number is out of its range.

    >>> TrainConfig(steps=0)
    Traceback (most recent call last):
        ...
    scratchgrad.errors.ConfigError: steps must be at least 1; got 0
    """

    steps: int = 2000
    batch_size: int = 12
    grad_accum: int = 1
    lr: float = 1e-3
    min_lr: float = 1e-4
    warmup_steps: int = 100
    decay_steps: int = 2000
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 1337
    val_fraction: float = 0.1
    eval_every: int = 250
    eval_batches: int = 20
    sample_every: int = 500
    sample_length: int = 200
    checkpoint_every: int = 250

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("steps", "batch_size", "grad_accum", "decay_steps", "eval_batches"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("sample_length", self.sample_length >= 1, "at least 1")
        for name in ("warmup_steps", "eval_every", "sample_every", "checkpoint_every"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("min_lr", "weight_decay", "clip"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("lr", self.lr > 0, "above 0")
        self._require("min_lr", self.min_lr <= self.lr, f"at most lr, which is {self.lr:g}")
        self._require("eps", self.eps > 0, "above 0")
        for name in ("beta1", "beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        self._require("val_fraction", 0 < self.val_fraction < 1, "between 0 and 1")
        self._require("seed", 0 <= self.seed < 2**63, "from 0 to 2**63 - 1")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"{name} must be {expected}; got {getattr(self, name):g}")

    @property
    def betas(self) -> tuple[float, float]:
        """Both decay rates of AdamW's moments."""
        return self.beta1, self.beta2


@dataclass(frozen=True)
class Preset:
    """A named set of settings, with a phrase that says what it is good for."""

    summary: str
    model: ModelSettings
    train: TrainConfig


DEFAULT_PRESET = "tiny"

PRESETS: Mapping[str, Preset] = {
    "tiny": Preset(
        "a first taste, under a minute on two cores",
        ModelSettings(n_layer=2, n_head=4, n_embd=64, block_size=32),
        TrainConfig(
            steps=1200,
            decay_steps=1200,
            batch_size=16,
            lr=4e-3,
            min_lr=4e-4,
            eval_every=200,
            sample_every=400,
            checkpoint_every=200,
        ),
    ),
    "char": Preset(
        "nanoGPT's CPU setting: a few minutes, words and lines",
        ModelSettings(n_layer=4, n_head=4, n_embd=128, block_size=64),
        TrainConfig(),
    ),
    "llama": Preset(
        "Llama's kind of model at the size of char: a few minutes",
        ModelSettings(
            n_layer=4,
            n_head=4,
            n_kv_head=2,
            n_embd=128,
            block_size=64,
            norm="rmsnorm",
            mlp="swiglu",
            position="rope",
        ),
        TrainConfig(),
    ),
    "baby": Preset(
        "nanoGPT's baby GPT: hours on a laptop, the best text",
        ModelSettings(n_layer=6, n_head=6, n_embd=384, block_size=256, dropout=0.2),
        TrainConfig(steps=5000, decay_steps=5000, batch_size=64),
    ),
}


def resolve(preset: str, changes: Mapping[str, Any]) -> tuple[ModelSettings, TrainConfig]:
    """Lay explicit settings over a preset.

    Three numbers follow others where they are not given themselves: the cosine ends with the run,
    the warm-up takes no more than a tenth of it, and min_lr no more than a tenth of lr.

    Parameters
    ----------
    preset : str
        A key of `PRESETS`.
    changes : mapping
        Names of `ModelSettings` and `TrainConfig` to values; None means "not given".

    >>> model, train = resolve("char", {"steps": 50, "n_layer": 2})
    >>> model.n_layer, train.steps, train.decay_steps, train.warmup_steps
    (2, 50, 50, 5)
    """
    if preset not in PRESETS:
        raise ConfigError(f"no preset is called {preset!r}; expected one of {', '.join(PRESETS)}")
    given = {name: value for name, value in changes.items() if value is not None}
    chosen = PRESETS[preset]
    steps = given.get("steps", chosen.train.steps)
    given.setdefault("decay_steps", max(steps, 1))
    given.setdefault("warmup_steps", max(min(chosen.train.warmup_steps, steps // 10), 0))
    if isinstance(given.get("lr"), float | int):
        given.setdefault("min_lr", min(chosen.train.min_lr, given["lr"] / 10))
    return _replace(chosen.model, given), _replace(chosen.train, given)


def resolve_tokenizer(changes: Mapping[str, Any]) -> TokenizerSettings:
    """Choose the tokenizer of a new run.

    Parameters
    ----------
    changes : mapping
        As for `resolve`: the names of `TokenizerSettings` count, the rest is passed over.

    >>> resolve_tokenizer({"tokenizer": "bpe", "vocab_size": None})
    TokenizerSettings(tokenizer='bpe', vocab_size=1024, allow_special=False)
    """
    given = {name: value for name, value in changes.items() if value is not None}
    tokenizer = tokenizer_name(given.get("tokenizer", CHARACTERS))
    given["tokenizer"] = tokenizer
    given.setdefault("vocab_size", DEFAULT_VOCAB_SIZE if tokenizer == BPE else 0)
    return _replace(TokenizerSettings(), given)


def tokenizer_name(given: str) -> str:
    """Return a tokenizer as a run remembers it: a file by its absolute path."""
    return given if given in (CHARACTERS, BPE) else str(Path(given).resolve())


def field_names(settings: type[Any]) -> tuple[str, ...]:
    """Return the names of the settings, in order."""
    return tuple(field.name for field in dataclasses.fields(settings))


def _replace(settings: Any, given: Mapping[str, Any]) -> Any:
    names = field_names(type(settings))
    return dataclasses.replace(settings, **{n: v for n, v in given.items() if n in names})
