"""A bar for work in stages, shown to a person at a terminal and to nobody else."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# What each stage counts.
_UNITS = {"counting": "bytes", "merging": "merges", "encoding": "bytes"}


@contextlib.contextmanager
def stages(*, quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Give a function to be called as (stage, done, total), or None where nobody is watching.

    The bar is on stderr, so that stdout stays the result's.
    """
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from scratchgrad.kernels.jit import on_compile

    bar = _Bar()
    try:
        with on_compile(bar.compiling):
            yield bar
    finally:
        bar.close()


class _Bar:
    """Made at the first call: most work has no stages, and rich takes its time to import."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        progress = self._progress or self._begin()
        if stage not in self._tasks:
            for task in progress.tasks:  # a stage whose length nobody knew is done all the same
                progress.update(task.id, total=task.completed)
            self._tasks[stage] = progress.add_task(stage, total=total, unit=_UNITS.get(stage, ""))
        progress.update(self._tasks[stage], completed=done, total=total, description=stage)

    def compiling(self, kernel: str) -> None:
        """Say why the bar stands still."""
        if self._progress is not None and self._tasks:
            stage, task = list(self._tasks.items())[-1]
            self._progress.update(task, description=f"{stage} (compiling, first time only)")
            self._progress.refresh()  # the compiler holds the lock that the bar's thread waits for

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.stop()

    def _begin(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed:,.0f} {task.fields[unit]}"),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr, highlight=False),
            expand=True,
            transient=True,
        )
        self._progress.start()
        return self._progress
