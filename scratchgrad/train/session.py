"""How a run is begun, taken up again, or opened to be sampled."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data import check_length, split_text
from scratchgrad.errors import CheckpointError, ConfigError, DataError
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.interop.layout import check_size
from scratchgrad.tokenizer import Progress, Tokenizer, load_tokenizer
from scratchgrad.train.checkpoint import (
    Checkpoint,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
)
from scratchgrad.train.config import (
    ModelSettings,
    TrainConfig,
    field_names,
    resolve,
    resolve_tokenizer,
    tokenizer_name,
)
from scratchgrad.train.ids import encode_parts, new_tokenizer, saved_tokenizer
from scratchgrad.train.log import read_log, rewind
from scratchgrad.train.memory import check_fits
from scratchgrad.train.run import (
    LATER,
    RunConfig,
    RunFolder,
    TextSource,
    default_prompt,
    load_text,
    prompt_of,
)
from scratchgrad.train.trainer import Trainer

# What cannot change in the middle of a run: what the ids mean, the model but for its dropout,
# and what was held out. The seed is among them because the weights were drawn from it.
_FIXED = (
    "tokenizer",
    "vocab_size",
    "allow_special",
    *(name for name in field_names(ModelSettings) if "dropout" not in name),
    "val_fraction",
    "seed",
)


@dataclass
class Session:
    """A run on the disk and its live parts.

    Attributes
    ----------
    run, config, tokenizer, trainer
    elapsed : float
        Seconds of work in earlier sittings.
    tokens : int
        Tokens trained on in earlier sittings.
    notes : list of str
        What the user should know before it goes on.
    """

    run: RunFolder
    config: RunConfig
    tokenizer: Tokenizer
    trainer: Trainer
    elapsed: float = 0.0
    tokens: int = 0
    notes: list[str] = field(default_factory=list)

    def checkpoint(self, elapsed: float, tokens: int) -> Checkpoint:
        """Return the whole present state, ready to be written."""
        return Checkpoint(
            step=self.trainer.step,
            model=self.trainer.model.state_dict(),
            optimizer=self.trainer.optimizer.state_dict(),
            state={
                "model": dataclasses.asdict(self.config.model),
                "train": dataclasses.asdict(self.config.train),
                "seed": self.config.train.seed,
                "vocab_size": self.tokenizer.vocab_size,
                "tokenizer_sha256": _digest(self.run.tokenizer),
                "trainer": self.trainer.state(),
                "elapsed": elapsed,
                "tokens": tokens,
                "samples_bytes": self.run.samples_size(),
                "versions": {"python": platform.python_version(), "numpy": np.__version__},
            },
        )


def begin(
    out: str | Path,
    files: Sequence[str] = (),
    preset: str = "char",
    changes: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Session:
    """Begin a run. Whatever can be refused is refused before the folder is touched.

    Parameters
    ----------
    out : path
        The run folder to make.
    files : sequence of paths
        UTF-8 texts; none for the embedded text.
    preset, changes
        See `scratchgrad.train.config.resolve` and `resolve_tokenizer`.
    overwrite : bool
        Replace a run that is there already.
    progress : callable, optional
        Called as (stage, done, total) while byte-pair merges are learned.

    Raises
    ------
    ConfigError, DataError, CheckpointError
        A setting, the text or the folder will not do.
    """
    model_settings, train_config = resolve(preset, changes or {})
    tokenizer_settings = resolve_tokenizer(changes or {})
    run = RunFolder(out)
    run.check_free(overwrite)
    # Both raise before a long text is read.
    _gpt_config(model_settings, vocab_size=1)
    saved = saved_tokenizer(tokenizer_settings)
    text, source = load_text(files)
    parts = split_text(text, train_config.val_fraction)
    notes: list[str] = []
    tokenizer = saved or new_tokenizer(tokenizer_settings, text, parts[0], progress, notes)
    encoded = encode_parts(tokenizer_settings, tokenizer, parts)
    gpt = _gpt_config(model_settings, tokenizer.vocab_size)
    _check_room(gpt, train_config, encoded)
    trainer = Trainer(GPT(gpt, seed=train_config.seed), train_config, *encoded)
    prompt = default_prompt(text, source)
    config = RunConfig(model_settings, train_config, source, preset, tokenizer_settings, prompt)
    run.begin(config, tokenizer)
    return Session(run, config, tokenizer, trainer, notes=notes)


def resume(
    path: str | Path,
    files: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Session:
    """Take up a run from its newest whole checkpoint.

    Parameters
    ----------
    path : path
        The run folder.
    files : sequence of paths
        Where the text is now, if it has moved.
    changes : mapping
        New values for settings that may change. With more steps, the cosine keeps its former
        end, and the learning rate stays at its minimum after it.

    Raises
    ------
    CheckpointError
        No run, no whole checkpoint, or one that does not fit the run.
    ConfigError
        A setting that a run in progress cannot change, or nothing is left to do.
    DataError
        The text is not the one that the run was begun with.
    """
    run = RunFolder(path)
    former = run.read_config()
    config = _changed(former, changes or {})
    checkpoint, problems = newest_checkpoint(run.checkpoints)
    notes = [f"{problem}; going on from step {checkpoint.step}" for problem in problems]
    _check_unedited(run, former, checkpoint)
    _check_steps(run, config.train, checkpoint.step)
    tokenizer = _tokenizer_of(run, checkpoint)
    model = _restored(run, _gpt_config(config.model, tokenizer.vocab_size), checkpoint)
    text, source = load_text(files or former.text.files)
    _check_text(former.text, source)
    config = dataclasses.replace(config, text=source, prompt=default_prompt(text, source))
    parts = split_text(text, config.train.val_fraction)
    encoded = encode_parts(config.tokenizer, tokenizer, parts)
    _check_room(model.config, config.train, encoded)
    trainer = Trainer(model, config.train, *encoded)
    state = checkpoint.state
    trainer.restore(checkpoint.step, checkpoint.optimizer, state.get("trainer") or {})
    if config.train.steps > config.train.decay_steps and former.train.steps != config.train.steps:
        notes.append(
            f"past step {config.train.decay_steps} the learning rate stays at "
            f"{config.train.min_lr:g}; --decay-steps moves the end of the cosine"
        )
    elapsed, tokens = float(_number(state, "elapsed")), int(_number(state, "tokens"))
    samples_bytes = int(_number(state, "samples_bytes"))
    # Only from here on is anything in the folder changed.
    rewind(run.log, checkpoint.step)
    run.clear_leftovers()
    run.rewind_samples(samples_bytes)
    run.write_config(config)
    return Session(run, config, tokenizer, trainer, elapsed, tokens, notes)


@dataclass
class OpenedModel:
    """A trained model, ready to be used, its default prompt, and where it came from."""

    model: GPT
    tokenizer: Tokenizer
    step: int
    prompt: str
    notes: list[str]


def open_model(path: str | Path, which: str = "best") -> OpenedModel:
    """Load the model of a run.

    Parameters
    ----------
    path : path
        The run folder.
    which : str
        "best" (lowest validation loss while training), "last", or the number of a step.

    Raises
    ------
    CheckpointError
        No run, or no such checkpoint.
    """
    run = RunFolder(path)
    config = run.read_config()
    checkpoint, notes = newest_checkpoint(run.checkpoints, with_optimizer=False)
    wanted = _wanted_step(run, checkpoint, which)
    if wanted != checkpoint.step:
        place = run.checkpoints / f"step-{wanted:08d}"
        try:
            checkpoint = read_checkpoint(place, with_optimizer=False)
        except CheckpointError as error:
            if which != "best":
                raise
            notes.append(f"the best checkpoint cannot be used ({error}); using the newest")
    _check_unedited(run, config, checkpoint)
    tokenizer = _tokenizer_of(run, checkpoint)
    model = _restored(run, _gpt_config(config.model, tokenizer.vocab_size), checkpoint)
    model.eval()
    prompt = prompt_of(config, tokenizer)
    return OpenedModel(model, tokenizer, checkpoint.step, prompt, notes)


def _wanted_step(run: RunFolder, newest: Checkpoint, which: str) -> int:
    if which == "last":
        return newest.step
    if which == "best":
        trainer = newest.state.get("trainer")
        best = trainer.get("best") if isinstance(trainer, dict) else None
        step = best.get("step") if isinstance(best, dict) else None
        return step if isinstance(step, int) else newest.step
    present = [step for step, _ in list_checkpoints(run.checkpoints)]
    if not which.isdecimal() or int(which) not in present:
        raise CheckpointError(
            f"{run} has no checkpoint {which!r}; expected best, last, or one of "
            f"{', '.join(str(step) for step in sorted(present))}"
        )
    return int(which)


def _gpt_config(settings: ModelSettings, vocab_size: int) -> GPTConfig:
    return GPTConfig(vocab_size=vocab_size, **dataclasses.asdict(settings))


def _check_room(
    config: GPTConfig, train: TrainConfig, encoded: tuple[NDArray[Any], NDArray[Any]]
) -> None:
    """Refuse, before a model is made, a text that is too short or a model that is too large."""
    check_length(*encoded, config.block_size)
    check_fits(config, train.batch_size)


def _restored(run: RunFolder, config: GPTConfig, checkpoint: Checkpoint) -> GPT:
    """The model with the weights of a checkpoint. Draws nothing: a size may be a lie."""
    check_size(config, len(checkpoint.model), str(run.path))
    try:
        weights = {name: array.copy() for name, array in checkpoint.model.items()}
        return GPT.from_state(config, weights)
    except CheckpointError as error:
        raise CheckpointError(f"{run.path}: {error}") from None


def _changed(former: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Lay new settings over a run's own, and refuse those that cannot change."""
    present: dict[str, Any] = {}
    for settings in (former.model, former.train, former.tokenizer):
        present |= dataclasses.asdict(settings)
    if changes.get("tokenizer") is not None:
        changes = {**changes, "tokenizer": tokenizer_name(changes["tokenizer"])}
    new = {
        name: value
        for name, value in changes.items()
        if value is not None and value != present[name]
    }
    if "lr" in new and "min_lr" not in new:  # as in a new run, the end follows a smaller peak
        new["min_lr"] = min(present["min_lr"], new["lr"] / 10)
    for name in _FIXED:
        if name in new:
            raise ConfigError(
                f"{name} cannot change in the middle of a run: {present[name]} in the run, "
                f"{new[name]} now; leave it out, or begin a new run with it"
            )
    model = {name: new[name] for name in field_names(ModelSettings) if name in new}
    train = {name: value for name, value in new.items() if name not in model}
    return dataclasses.replace(
        former,
        model=dataclasses.replace(former.model, **model),
        train=dataclasses.replace(former.train, **train),
    )


def _check_steps(run: RunFolder, train: TrainConfig, step: int) -> None:
    if train.steps < step:
        raise ConfigError(
            f"the run is at step {step} already, past --steps {train.steps}; give a larger number"
        )
    records = read_log(run.log) if run.log.exists() else []
    if train.steps == step and any("final" in record for record in records):
        raise ConfigError(
            f"{run} has finished its {step} steps; --steps {2 * step} would train it further"
        )


def _check_unedited(run: RunFolder, config: RunConfig, checkpoint: Checkpoint) -> None:
    """Hold config.json to the checkpoint: with other heads the weights fit, and mean nothing."""
    then, now = checkpoint.state.get("model"), dataclasses.asdict(config.model)
    # What an older version did not know it did not write, and its model has the defaults.
    later = {f.name: f.default for f in dataclasses.fields(ModelSettings) if f.name in LATER}
    then = {**later, **then} if isinstance(then, dict) else {}
    then["seed"], now["seed"] = checkpoint.state.get("seed"), config.train.seed
    for name in now:
        if "dropout" not in name and then.get(name) != now[name]:
            raise CheckpointError(
                f"{run.config} says {name} is {now[name]}, but the checkpoint of step "
                f"{checkpoint.step} was made with {then.get(name)}; put the former value back"
            )


def _check_text(former: TextSource, found: TextSource) -> None:
    if found.sha256 == former.sha256:
        return
    if not former.files and not found.files:
        raise DataError(
            "the embedded text is another one in this version of Python, so the run cannot go "
            "on; use the Python that it was begun with"
        )
    raise DataError(
        f"the text ({found.name}) is not the one that the run was begun with: expected "
        f"{former.characters} characters, SHA-256 {former.sha256[:12]}; got {found.characters}, "
        f"{found.sha256[:12]}; give the former text, or begin a new run"
    )


def _tokenizer_of(run: RunFolder, checkpoint: Checkpoint) -> Tokenizer:
    tokenizer = load_tokenizer(run.tokenizer)
    if checkpoint.state.get("tokenizer_sha256") != _digest(run.tokenizer):
        raise CheckpointError(
            f"{run.tokenizer} is not the tokenizer that the checkpoint of step {checkpoint.step} "
            f"was trained with; put back the former file"
        )
    return tokenizer


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _number(state: Mapping[str, Any], name: str) -> float:
    value = state.get(name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or not number or not math.isfinite(value) or value < 0:
        raise CheckpointError(f"the checkpoint is damaged: {name} is {value!r}")
    return value
