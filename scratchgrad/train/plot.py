"""``loss.png``: the loss curves of a run.

Drawn with Matplotlib's objects and not with ``pyplot``, which keeps figures and a backend in
global state that belongs to the user's own program.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scratchgrad.train.log import Record, read_log

_INK, _MUTED, _GRID = "#22272e", "#6b7280", "#e5e7eb"
_TRAIN, _VALIDATION = "#3b82f6", "#ea580c"


def smooth(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Mean of each value and up to ``reach`` neighbours on either side.

    At the beginning the window narrows on both sides, so that the curve does not lag behind the
    steep fall; at the end, where losses are flat and noisy, only on the right.

    >>> smooth(np.array([9.0, 3.0, 3.0, 0.0]), 1).tolist()
    [9.0, 5.0, 2.0, 1.5]
    """
    places = np.arange(len(values))
    before = np.minimum(places, reach)
    after = np.minimum(before, places[::-1])
    sums = np.concatenate([[0.0], values.cumsum()])
    return (sums[places + after + 1] - sums[places - before]) / (before + after + 1)


def draw_losses(
    log: str | os.PathLike[str], picture: str | os.PathLike[str], *, title: str
) -> None:
    """Draw the curves of a log into a PNG file.

    Parameters
    ----------
    log : path
        A ``log.jsonl``.
    picture : path
        The PNG to write; it appears whole or not at all.
    title : str
        One line, shown as it is.
    """
    records = read_log(log)
    figure = Figure(figsize=(9.0, 5.2), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_training(axes, records)
    _draw_validation(axes, records)
    axes.set_title(title, loc="left", color=_INK, fontsize=13, weight="bold", parse_math=False)
    axes.set_xlabel("step", color=_MUTED)
    axes.set_ylabel("loss (nats per token)", color=_MUTED)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.tick_params(colors=_MUTED, length=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(edgecolor="none", framealpha=0.9, labelcolor=_INK, loc="upper right")
    place = Path(picture)
    temporary = place.with_name(place.name + ".tmp")
    with warnings.catch_warnings():
        # The name of a text may have letters that the font has not: a box will do.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(temporary, format="png")
    os.replace(temporary, place)


def _draw_training(axes: Any, records: list[Record]) -> None:
    points = [(r["step"], r["train_loss"]) for r in records if "train_loss" in r]
    if not points:
        return
    steps, losses = np.array(points, dtype=np.float64).T
    axes.plot(steps, losses, color=_TRAIN, alpha=0.3, linewidth=0.8, label="training, each step")
    if len(points) > 20:
        smoothed = smooth(losses, len(points) // 60 + 2)
        axes.plot(steps, smoothed, color=_TRAIN, linewidth=1.8, label="training, smoothed")
    axes.set_xlim(0, steps[-1] * 1.02)


def _draw_validation(axes: Any, records: list[Record]) -> None:
    points = [(r["step"], r["val_loss"]) for r in records if "val_loss" in r and "final" not in r]
    final = [r for r in records if "final" in r and "val_loss" in r]
    if points:
        steps, losses = np.array(points, dtype=np.float64).T
        axes.plot(
            steps,
            losses,
            color=_VALIDATION,
            linewidth=1.6,
            marker="o",
            markersize=4.5,
            label="validation",
        )
        best = int(losses.argmin())
        axes.plot(
            steps[best],
            losses[best],
            marker="*",
            markersize=15,
            color=_VALIDATION,
            markeredgecolor="white",
            linestyle="none",
            label=f"best: {losses[best]:.3f} at step {steps[best]:.0f}",
            zorder=5,
        )
    if final:
        loss = final[-1]["val_loss"]
        axes.axhline(
            loss,
            color=_VALIDATION,
            linewidth=1.0,
            linestyle=(0, (4, 4)),
            alpha=0.7,
            label=f"final, whole validation split: {loss:.3f}",
        )
