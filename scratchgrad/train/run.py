"""A run is a folder; this is what lies in it and how it is begun, opened and cleared.

config.json      the settings, and which text
tokenizer.json   the vocabulary
log.jsonl        one JSON object a step
loss.png         the loss curves
samples.txt      text as the model learned
checkpoints/     the last two, and the best
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchgrad.data import EMBEDDED_NAME, embedded_text, read_texts
from scratchgrad.data.files import TEMPORARY_SUFFIX, to_json, write_atomically
from scratchgrad.errors import CheckpointError, ConfigError, DataError
from scratchgrad.interop.files import read_json_file
from scratchgrad.tokenizer import CharTokenizer, Tokenizer
from scratchgrad.train.checkpoint import list_checkpoints, remove_checkpoint
from scratchgrad.train.config import (
    ModelSettings,
    TokenizerSettings,
    TrainConfig,
    field_names,
)

FORMAT = "scratchgrad-run"
VERSION = 1


@dataclass(frozen=True)
class TextSource:
    """Which text a run trains on.

    Attributes
    ----------
    files : tuple of str
        Absolute paths; none means the embedded text.
    sha256 : str
        Digest of the joined text, so that a resumed run cannot go on with another one.
    characters : int
    """

    files: tuple[str, ...]
    sha256: str
    characters: int

    @property
    def name(self) -> str:
        """The text, for a person."""
        return ", ".join(Path(file).name for file in self.files) or EMBEDDED_NAME


@dataclass(frozen=True)
class RunConfig:
    """The content of ``config.json``.

    Attributes
    ----------
    model, train, text, preset, tokenizer
    prompt : str
        What samples start from where nobody says. Empty in the runs of older versions.
    """

    model: ModelSettings
    train: TrainConfig
    text: TextSource
    preset: str
    tokenizer: TokenizerSettings
    prompt: str


def load_text(files: Sequence[str | os.PathLike[str]]) -> tuple[str, TextSource]:
    """Read the files, or the embedded text where there are none, and say which text it is."""
    text = read_texts(files) if files else embedded_text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    paths = tuple(str(Path(file).resolve()) for file in files)
    return text, TextSource(paths, digest, len(text))


def default_prompt(text: str, source: TextSource) -> str:
    """Return what samples start from where nobody says: a new line, if the text has any.

    A new line of the embedded text is as often as not the indentation of a table.
    """
    if not source.files:
        return "The "
    return "\n" if "\n" in text else min(text)


def prompt_of(config: RunConfig, tokenizer: Tokenizer) -> str:
    """Return the default prompt of a run; in an older one, its characters have to say it."""
    if not config.prompt and isinstance(tokenizer, CharTokenizer):
        return default_prompt(tokenizer.characters, config.text)
    return config.prompt or "\n"


class RunFolder:
    """The paths of a run, and reading and writing its small files."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.tokenizer = self.path / "tokenizer.json"
        self.log = self.path / "log.jsonl"
        self.picture = self.path / "loss.png"
        self.samples = self.path / "samples.txt"
        self.checkpoints = self.path / "checkpoints"

    def __str__(self) -> str:
        return str(self.path)

    def _files(self) -> tuple[Path, ...]:
        return self.config, self.tokenizer, self.log, self.picture, self.samples

    def holds_a_run(self) -> bool:
        """Whether anything of a run lies here."""
        return any(file.exists() for file in self._files()) or bool(
            list_checkpoints(self.checkpoints)
        )

    def check_free(self, overwrite: bool) -> None:
        """Refuse a folder that cannot take a new run, before any work is done. Changes nothing.

        Raises
        ------
        CheckpointError
            There is a run in it already and ``overwrite`` is false.
        ConfigError
            It is a file, or may not be written.
        """
        try:
            parent = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        except OSError as error:
            raise ConfigError(f"cannot use {self.path} as run folder: {error.strerror}") from None
        if not parent.is_dir():
            raise ConfigError(
                f"cannot make the run folder {self.path}: {parent} is a file; choose another --out"
            )
        if not os.access(parent, os.W_OK | os.X_OK):
            raise ConfigError(
                f"may not write to {parent}, where the run folder {self.path} would be; "
                f"choose another --out"
            )
        if self.holds_a_run() and not overwrite:
            raise CheckpointError(
                f"{self.path} already has a run; go on with it by --resume {self.path}, replace "
                f"it by --overwrite, or choose another --out"
            )

    def begin(self, config: RunConfig, tokenizer: Tokenizer) -> None:
        """Clear away an older run, and write the files that a new one starts with.

        Only the files of a run are removed; whatever else lies in the folder stays.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for _, place in list_checkpoints(self.checkpoints):
            remove_checkpoint(place)
        for file in self._files():
            file.unlink(missing_ok=True)
        self.clear_leftovers()
        tokenizer.save(self.tokenizer)
        self.write_config(config)
        self.log.touch()

    def clear_leftovers(self) -> None:
        """Remove temporary files of a process that was killed as it wrote."""
        with contextlib.suppress(OSError):
            for leftover in self.path.glob("*" + TEMPORARY_SUFFIX):
                if any(leftover.name == file.name + TEMPORARY_SUFFIX for file in self._files()):
                    leftover.unlink()

    def write_config(self, config: RunConfig) -> None:
        """Write ``config.json``."""
        body = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(config)}
        write_atomically(self.config, to_json(body))

    def read_config(self) -> RunConfig:
        """Read ``config.json``, trusting nothing in it.

        Raises
        ------
        CheckpointError
            There is no run here, or the file is damaged.
        """
        if not self.config.exists():
            raise CheckpointError(
                f"{self.path} is no run folder: it has no {self.config.name}; expected a folder "
                f"that `scratchgrad train` made"
            )
        body = read_json_file(self.config)
        if body.get("format") != FORMAT:
            raise CheckpointError(f"{self.config} is damaged: expected the format {FORMAT}")
        if body.get("version") != VERSION:
            raise CheckpointError(
                f"{self.config}: expected version {VERSION}; got {body.get('version')!r}; "
                f"a newer scratchgrad may read it"
            )
        try:
            return RunConfig(
                ModelSettings(**_section(body, "model", field_names(ModelSettings), LATER)),
                TrainConfig(**_section(body, "train", field_names(TrainConfig))),
                _text_source(_section(body, "text", field_names(TextSource))),
                str(body.get("preset")),
                # Older versions knew characters only, and had no word for it.
                TokenizerSettings(**_section(body, "tokenizer", field_names(TokenizerSettings)))
                if "tokenizer" in body
                else TokenizerSettings(),
                str(body.get("prompt", "")),
            )
        except ValueError as error:
            raise CheckpointError(f"{self.config} is damaged: {error}") from None

    def add_sample(self, step: int, text: str) -> None:
        """Append a sample to ``samples.txt``."""
        with open(self.samples, "a", encoding="utf-8", errors="replace", newline="") as file:
            file.write(f"---------- step {step} ----------\n{text}\n\n")

    def samples_size(self) -> int:
        """Bytes in ``samples.txt``, so that a resumed run can cut it to its checkpoint."""
        return self.samples.stat().st_size if self.samples.exists() else 0

    def rewind_samples(self, size: int) -> None:
        """Cut ``samples.txt`` back to the size it had at a checkpoint."""
        if self.samples_size() > size:
            os.truncate(self.samples, size)


def free_run_name(preset: str, files: Sequence[str], root: Path | None = None) -> Path:
    """Return a readable folder name that no run has taken, such as ``runs/shakespeare-char-2``."""
    stem = re.sub(r"[^\w.-]+", "-", Path(files[0]).stem).strip("-.") if files else "python"
    base = (root or Path("runs")) / f"{stem or 'text'}-{preset}"
    return next(path for path in _numbered(base) if not path.exists())


def _numbered(base: Path) -> Iterator[Path]:
    yield base
    number = 2
    while True:
        yield base.with_name(f"{base.name}-{number}")
        number += 1


# Settings of the model that older versions did not know; their models have the defaults.
LATER = frozenset(field_names(ModelSettings)) - {
    "n_layer",
    "n_head",
    "n_embd",
    "block_size",
    "dropout",
    "bias",
    "norm_position",
}


def _section(
    body: Mapping[str, Any], name: str, keys: Sequence[str], later: Collection[str] = ()
) -> dict[str, Any]:
    section = body.get(name)
    if not isinstance(section, dict) or set(section) | set(later) != set(keys):
        found = sorted(section) if isinstance(section, dict) else section
        raise DataError(f"expected {name} to hold {', '.join(sorted(keys))}; got {found!r:.80}")
    return section


def _text_source(section: Mapping[str, Any]) -> TextSource:
    files = section["files"]
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise DataError("expected text.files to be a list of paths")
    return TextSource(tuple(files), str(section["sha256"]), int(section["characters"]))
