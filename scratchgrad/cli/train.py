"""``scratchgrad train``: raw text in, a trained model and its text out."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.names import no_such
from scratchgrad.cli.threads import add_threads_option, set_threads_of
from scratchgrad.errors import ConfigError
from scratchgrad.train.config import (
    BPE,
    CHARACTERS,
    CHOICES,
    DEFAULT_PRESET,
    DEFAULT_VOCAB_SIZE,
    OPTIONAL,
    PRESETS,
    ModelSettings,
    TokenizerSettings,
    TrainConfig,
    field_names,
)

if TYPE_CHECKING:
    from scratchgrad.train.loop import Outcome
    from scratchgrad.train.session import Session

_DESCRIPTION = """\
Train a GPT on UTF-8 text files, or, where none is given, on the Python language
reference that comes with Python. The run folder receives config.json, tokenizer.json, log.jsonl,
loss.png, samples.txt and the checkpoints."""

_EPILOG = """\
examples:
  scratchgrad train                                  a first taste, under a minute
  scratchgrad train book.txt --preset char           your own text, a few minutes
  scratchgrad train book.txt --tokenizer bpe         byte-pair tokens, not characters
  scratchgrad train --resume runs/book-char          go on after Ctrl-C
  scratchgrad train --resume runs/book-char --steps 4000"""

# Option groups: title, then (setting, help). The defaults are added from the presets.
_GROUPS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "model",
        (
            ("n_layer", "blocks of attention and MLP"),
            ("n_head", "attention heads; must divide --n-embd"),
            ("n_embd", "channels"),
            ("block_size", "context: how many tokens the model sees"),
            ("dropout", "share of activations dropped while training"),
            ("embd_dropout", "of the embeddings, where not as --dropout"),
            ("attn_dropout", "of the attention weights, where not as --dropout"),
            ("resid_dropout", "of what is added to the stream, where not as --dropout"),
            ("bias", "biases in linear layers and norms"),
            ("norm_position", "norm before each sublayer (as GPT-2) or after it"),
            ("norm", "which norm"),
            ("mlp", "what stands between the MLP's two products"),
            ("n_inner", "numbers between them"),
            ("position", "how the model knows where a token stands"),
            ("rope_base", "of the frequencies; with --position rope only"),
            ("n_kv_head", "heads of keys and values; must divide --n-head"),
            ("qk_norm", "an RMS norm over each head of queries and keys"),
            ("sliding_window", "how many tokens each one sees, up to itself"),
            ("tied_head", "the head shares the weight of the token table"),
        ),
    ),
    (
        "training",
        (
            ("steps", "optimiser updates"),
            ("batch_size", "windows of text in a forward pass"),
            ("grad_accum", "forward passes whose mean gradient makes one update"),
            ("seed", "of weights, data order, dropout and samples"),
            ("val_fraction", "share of the text, at its end, held out for validation"),
        ),
    ),
    (
        "optimiser (AdamW, linear warm-up, cosine decay)",
        (
            ("lr", "peak learning rate"),
            ("min_lr", "learning rate at the end of the cosine and after it"),
            ("warmup_steps", "steps of linear rise, at most a tenth of --steps unless given"),
            ("decay_steps", "where the cosine ends; as --steps unless given"),
            ("beta1", "decay of the mean of gradients"),
            ("beta2", "decay of the mean of squared gradients"),
            ("eps", "added to the root in the denominator"),
            ("weight_decay", "decoupled, on matrices only"),
            ("clip", "largest global gradient norm; 0 for no clipping"),
        ),
    ),
    (
        "what to do when (in steps; 0 for only at the end)",
        (
            ("eval_every", "evaluate on fixed windows of the validation split"),
            ("eval_batches", "batches in such an evaluation"),
            ("sample_every", "show a sample of text"),
            ("sample_length", "tokens in it"),
            ("checkpoint_every", "save; a new best and the end are always saved"),
        ),
    ),
)

_METAVARS = {"int": "N", "float": "X", "str": "WORD"}


def add_parser(commands: Any) -> None:
    """Describe the command's options."""
    parser = commands.add_parser(
        "train",
        help="train a GPT from text files",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run, rest="text")
    parser.add_argument(
        "text", nargs="*", metavar="TEXT", help="UTF-8 text files, joined in this order"
    )
    general = parser.add_argument_group("run")
    summaries = "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())
    general.add_argument(
        "--preset", choices=list(PRESETS), help=f"{summaries} (default: {DEFAULT_PRESET})"
    )
    general.add_argument(
        "--out", metavar="RUN", help="run folder to make (default: runs/TEXT-PRESET, numbered)"
    )
    general.add_argument(
        "--resume", metavar="RUN", help="go on with a run from its newest checkpoint"
    )
    general.add_argument(
        "--overwrite", action="store_true", help="replace the run in --out (default: refuse)"
    )
    add_threads_option(general)
    general.add_argument(
        "--quiet", action="store_true", help="print nothing but the result (default: progress)"
    )
    ids = parser.add_argument_group("tokenizer (learned from the text, and kept with the run)")
    ids.add_argument(
        "--tokenizer",
        metavar="WHICH",
        help=f"{CHARACTERS}; {BPE}: byte-pair encoding; or a file that scratchgrad tokenizer "
        f"train made (default: {CHARACTERS})",
    )
    ids.add_argument(
        "--vocab-size",
        type=int,
        metavar="N",
        help=f"tokens to learn with {BPE}; a text of many megabytes bears more "
        f"(default: {DEFAULT_VOCAB_SIZE})",
    )
    ids.add_argument(
        "--allow-special",
        action="store_true",
        default=None,
        help="with a file: its special tokens are what they say where they stand in the text "
        "(default: refuse such a text)",
    )
    kinds = {field.name: str(field.type) for cls in _SETTINGS for field in fields(cls)}
    for title, options in _GROUPS:
        group = parser.add_argument_group(title)
        for name, text in options:
            _add_setting(group, name, kinds[name], f"{text} (default: {_default(name)})")


_SETTINGS = (ModelSettings, TrainConfig)


def _add_setting(group: Any, name: str, kind: str, text: str) -> None:
    """Add one option. None means "not given", so that a preset or a run can supply it."""
    flag = "--" + name.replace("_", "-")
    if kind == "bool":
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
    elif name in CHOICES:
        group.add_argument(flag, choices=CHOICES[name], help=text)
    else:
        plain = kind.removesuffix(OPTIONAL)
        convert = {"int": int, "float": float}[plain]
        group.add_argument(flag, type=convert, metavar=_METAVARS[plain], help=text)


def _default(name: str) -> str:
    """Return a setting's default in each preset, or once where all agree."""
    values = {
        preset: getattr(p.model if name in field_names(ModelSettings) else p.train, name)
        for preset, p in PRESETS.items()
    }
    unset = _UNSET.get(name, "as --dropout")
    words = {p: unset if value is None else _word(value) for p, value in values.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{preset} {word}" for preset, word in words.items())


_UNSET = {
    "n_inner": "4 x --n-embd, of swiglu two thirds of it",
    "n_kv_head": "as --n-head",
    "sliding_window": "all",
}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def run(arguments: argparse.Namespace) -> int:
    """Train, and print what came of it."""
    names = [name for cls in (*_SETTINGS, TokenizerSettings) for name in field_names(cls)]
    changes = {name: getattr(arguments, name) for name in names}
    _check_combination(arguments)
    with _naming_options(names):
        session = _open(arguments, changes)
    # Imported once nothing can be refused any more on the options alone.
    from scratchgrad.train.interrupt import stop_at_next_step
    from scratchgrad.train.loop import draw, run_training
    from scratchgrad.train.progress import make_reporter

    if arguments.quiet:  # what went wrong with a checkpoint is no progress
        for note in session.notes:
            print(f"note: {note}", file=sys.stderr)
    reporter = make_reporter(sys.stdout, quiet=arguments.quiet)
    try:
        with stop_at_next_step() as interrupt:
            outcome = run_training(session, reporter, interrupt)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"what was saved can go on: scratchgrad train --resume {_quoted(session)}"
        ) from None
    if outcome.finished:
        _print_result(session, outcome, quiet=arguments.quiet)
        return 0
    print(f"stopped after step {outcome.step} of {session.config.train.steps}, and saved.")
    print(f"go on with:  scratchgrad train --resume {_quoted(session)}", flush=True)
    draw(session)
    return 128 + (interrupt.signal or signal.SIGINT)


@contextlib.contextmanager
def _naming_options(settings: list[str]) -> Iterator[None]:
    """Within the block, let a refusal that begins with a setting begin with its option."""
    try:
        yield
    except ConfigError as error:
        name = re.split(r"\W", str(error), maxsplit=1)[0]
        if name not in settings:
            raise
        raise ConfigError(f"--{name.replace('_', '-')}{str(error)[len(name) :]}") from None


def _check_combination(arguments: argparse.Namespace) -> None:
    if arguments.resume is None:
        position = arguments.position or PRESETS[arguments.preset or DEFAULT_PRESET].model.position
        if arguments.rope_base is not None and position != "rope":
            raise ConfigError(
                f"--rope-base goes with --position rope; the position is {position}, which has no "
                f"such number; leave it out, or give both"
            )
        return
    for option in ("out", "preset", "overwrite"):
        if getattr(arguments, option):
            raise ConfigError(
                f"--resume goes on with a run as it is; leave out --{option}, or leave out "
                f"--resume to begin a new run"
            )


def _open(arguments: argparse.Namespace, changes: dict[str, Any]) -> Session:
    from scratchgrad.cli.special import advising
    from scratchgrad.cli.stages import stages
    from scratchgrad.train import session
    from scratchgrad.train.run import free_run_name

    set_threads_of(arguments)
    if arguments.resume is not None:
        return session.resume(arguments.resume, arguments.text, changes)
    _check_tokenizer(arguments.tokenizer)
    preset = arguments.preset or DEFAULT_PRESET
    out = arguments.out or free_run_name(preset, arguments.text)
    advice = (
        "--allow-special takes it for one; if its characters are meant, train a tokenizer without "
        "this special token"
    )
    with stages(quiet=arguments.quiet) as progress, advising(advice):
        return session.begin(
            out,
            arguments.text,
            preset,
            changes,
            overwrite=arguments.overwrite,
            progress=progress,
        )


def _check_tokenizer(given: str | None) -> None:
    """Refuse a word that is neither a kind of tokenizer nor a file."""
    kinds = (CHARACTERS, BPE)
    if given is None or given in kinds or not re.fullmatch(r"\w*", given):
        return
    if not given or not Path(given).exists():
        known = f"there are {CHARACTERS} and {BPE}, and no file has that name"
        raise no_such("tokenizer", given, kinds, known)


def _print_result(session: Session, outcome: Outcome, *, quiet: bool) -> None:
    from scratchgrad.train.progress import clock, printable

    if not quiet:
        text = printable(outcome.sample) if sys.stdout.isatty() else outcome.sample
        print(f"\n---- a sample of the trained model ----\n{text}\n----\n")
    train_loss = "" if outcome.train_loss is None else f"last batch {outcome.train_loss:.4f}, "
    print(
        f"loss after step {outcome.step}: {train_loss}validation {outcome.val_loss:.4f} nats a "
        f"token, {outcome.val_bits_per_byte:.4f} bits a byte, over the whole validation split "
        f"({clock(outcome.elapsed)} of work)"
    )
    best = session.trainer.best_step
    if best is not None and best != outcome.step:
        print(f"lowest while training: {session.trainer.best_loss:.4f} at step {best}")
    print(f"run folder: {session.run} (loss curves in {session.run.picture.name})")
    print(f"next:  scratchgrad sample {_quoted(session)}")


def _quoted(session: Session) -> str:
    return shlex.quote(str(session.run))
