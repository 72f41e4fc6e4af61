"""What a person sees while a run goes on: a live bar in a terminal, plain lines elsewhere.

The loop speaks to a `Reporter` in events and knows nothing of screens. Each reporter writes to
one stream; if that stream is closed (``| head``), it falls silent and the training goes on.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TextIO

from scratchgrad.train.config import CHARACTERS
from scratchgrad.train.log import Record

if TYPE_CHECKING:
    from scratchgrad.train.session import Session

# Seconds after which a plain report writes a line, whatever else happens.
_PATIENCE = 10.0
# The same while kernels compile.
_COMPILE_PATIENCE = 3.0


class Reporter:
    """The events of a run. This one ignores them all, and so is the quiet reporter."""

    def begin(self, session: Session) -> None:
        """Before the first step."""

    def compiling(self, done: int, total: int) -> None:
        """Before a kernel is compiled, which happens once on a machine."""

    def step(self, record: Record) -> None:
        """After each step, with its line of the log."""

    def evaluating(self, done: int, total: int) -> None:
        """While an evaluation goes on, in windows."""

    def sample(self, step: int, text: str) -> None:
        """A sample of text, but for the last one."""

    def saved(self, step: int) -> None:
        """After a checkpoint is on the disk."""

    def close(self) -> None:
        """At the end of the sitting, however it came."""


def make_reporter(stream: TextIO, *, quiet: bool = False) -> Reporter:
    """Choose the reporter that suits a stream."""
    if quiet:
        return Reporter()
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        from scratchgrad.train.live import LiveReporter  # rich takes its time to import

        return LiveReporter(stream)
    return PlainReporter(stream)


class Pace:
    """Running means that a report shows: the loss, the speed, and the time that is left."""

    def __init__(self, first_step: int, steps: int) -> None:
        self._first = first_step
        self._steps = steps
        self._weight = 0.0
        self._loss = 0.0
        self._began = time.monotonic()
        self._tokens_at_start = 0
        self.tokens_per_second = 0.0

    def add(self, record: Record) -> None:
        """Take in a step. The first of a sitting holds compilation, and starts the clock."""
        self._loss = 0.95 * self._loss + 0.05 * record["train_loss"]
        self._weight = 0.95 * self._weight + 0.05
        now = time.monotonic()
        if record["step"] <= self._first + 1:
            self._began, self._tokens_at_start = now, record["tokens"]
            self.tokens_per_second = record["tokens_per_second"]
        else:
            # From the log's own figures, so that evaluations do not count as slow training.
            self.tokens_per_second += 0.1 * (record["tokens_per_second"] - self.tokens_per_second)

    @property
    def loss(self) -> float:
        """Mean of the recent losses, the latest weighing most."""
        return self._loss / self._weight if self._weight else float("nan")

    def left(self, step: int) -> float | None:
        """Seconds to go, evaluations and samples included, or None while nobody knows."""
        done = step - self._first - 1
        if done < 1:
            return None
        return (time.monotonic() - self._began) / done * (self._steps - step)


class PlainReporter(Reporter):
    """Lines without colour or movement, for files and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._open = True
        self._compiling = False
        self._spoke = 0.0
        self._steps = self._every = 1
        self._pace = Pace(0, 1)

    def _write(self, line: str) -> None:
        if not self._open:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):  # closed by the reader, or by the program
            self._open = False
        self._spoke = time.monotonic()

    def begin(self, session: Session) -> None:
        for line in describe(session):
            self._write(line)
        config, step = session.config.train, session.trainer.step
        self._steps = config.steps
        self._every = max(1, config.steps // 40)
        self._pace = Pace(step, config.steps)

    def compiling(self, done: int, total: int) -> None:
        if not self._compiling or time.monotonic() - self._spoke > _COMPILE_PATIENCE:
            self._write(f"compiling kernels (first time only): {done}/{total}")
        self._compiling = True

    def step(self, record: Record) -> None:
        self._pace.add(record)
        step = record["step"]
        due = step == 1 or step % self._every == 0 or step == self._steps
        if not (due or "val_loss" in record or time.monotonic() - self._spoke > _PATIENCE):
            return
        value = f"  val {record['val_loss']:.4f}" if "val_loss" in record else " " * 12
        left = self._pace.left(step)
        self._write(
            f"step {step:>{len(str(self._steps))}}/{self._steps}"
            f"  loss {record['train_loss']:.4f}{value}  lr {record['lr']:.2e}"
            f"  {self._pace.tokens_per_second:,.0f} tokens/s"
            + ("" if left is None else f"  {clock(left)} left")
        )

    def sample(self, step: int, text: str) -> None:
        self._write(f"---- sample at step {step} ----\n{printable(text)}\n----")


def describe(session: Session) -> list[str]:
    """Say in a few lines what will be trained, on what, and where."""
    config, trainer = session.config, session.trainer
    model, train = config.model, config.train
    start = f", from step {trainer.step}" if trainer.step else ""
    lines = [f"note: {note}" for note in session.notes]
    lines.append(f"text   {config.text.name}: {_text(session)}")
    lines.append(
        f"model  {model.n_layer} layers, {model.n_head} heads, {model.n_embd} channels, context "
        f"{model.block_size}: {trainer.model.num_parameters():,} parameters"
    )
    lines.append(
        f"train  {train.steps} steps of {trainer.tokens_per_step:,} tokens{start}, into "
        f"{session.run}"
    )
    return lines


def _text(session: Session) -> str:
    """Say how long the text is, and in which vocabulary."""
    characters, held_out = session.config.text.characters, len(session.trainer.validation)
    if session.config.tokenizer.tokenizer == CHARACTERS:
        known = f"{session.tokenizer.vocab_size} distinct"
        return f"{characters:,} characters, {known}; last {held_out:,} held out"
    tokens = len(session.trainer.training) + held_out
    return (
        f"{characters:,} characters, {tokens:,} tokens ({characters / tokens:.2f} characters "
        f"each), vocabulary {session.tokenizer.vocab_size:,}; last {held_out:,} tokens held out"
    )


def clock(seconds: float) -> str:
    """Write a span of time as 1:02 or 1:02:03.

    >>> clock(62), clock(3723)
    ('1:02', '1:02:03')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def printable(text: str) -> str:
    r"""Make control characters visible: a text may hold sequences that drive a terminal.

    >>> printable("a\x1b[2J\n")
    'a\\x1b[2J\n'
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )
