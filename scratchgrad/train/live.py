"""The live bar of a terminal."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from scratchgrad.train.log import Record
from scratchgrad.train.progress import Pace, Reporter, clock, describe, printable
from scratchgrad.train.session import Session


class LiveReporter(Reporter):
    """One line that moves, and above it the samples."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            expand=True,
            refresh_per_second=8,
        )
        self._task: TaskID | None = None
        self._pace = Pace(0, 1)
        self._value = self._figures = ""

    def begin(self, session: Session) -> None:
        for line in describe(session):
            # Text, not str: rich would read the brackets of a file name as markup.
            self._console.print(Text(line, style="yellow" if line.startswith("note") else "dim"))
        step, steps = session.trainer.step, session.config.train.steps
        self._pace = Pace(step, steps)
        self._task = self._progress.add_task(
            "training", total=steps, completed=step, figures="starting"
        )
        self._progress.start()

    def _show(self, description: str, figures: str, completed: int | None = None) -> None:
        if self._task is not None:
            self._progress.update(
                self._task, description=description, figures=figures, completed=completed
            )

    def compiling(self, done: int, total: int) -> None:
        self._show("compiling kernels (first time only)", f"{done}/{total} kernels")
        self._progress.refresh()  # the compiler holds the lock that the bar's thread waits for

    def step(self, record: Record) -> None:
        self._pace.add(record)
        if "val_loss" in record:
            self._value = f" [bold]val {record['val_loss']:.3f}[/]"
        left = self._pace.left(record["step"])
        self._figures = (
            f"loss {self._pace.loss:.3f}{self._value} lr {record['lr']:.1e} "
            f"{self._pace.tokens_per_second / 1000:.1f}k tokens/s"
            + ("" if left is None else f" {clock(left)} left")
        )
        self._show("training", self._figures, record["step"])

    def evaluating(self, done: int, total: int) -> None:
        if done < total:
            self._show("evaluating", f"{done}/{total} windows")
        else:
            self._show("training", self._figures)

    def sample(self, step: int, text: str) -> None:
        self._console.print(
            Panel(Text(printable(text)), title=f"sample at step {step}", border_style="cyan")
        )

    def close(self) -> None:
        if self._task is not None:
            self._progress.stop()
