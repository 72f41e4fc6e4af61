"""Compression against the size of the vocabulary, as a picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scratchgrad.tokenizer.inspect import Compression

_INK, _MUTED, _GRID, _LINE = "#22272e", "#6b7280", "#e5e7eb", "#3b82f6"


def draw_compression(points: Sequence[Compression], size: int, picture: Any, *, title: str) -> None:
    """Draw bytes a token against the size of the vocabulary.

    Parameters
    ----------
    points : sequence of Compression
    size : int
        Bytes of the text.
    picture : path or file
        The PNG to write.
    title : str
        One line, shown as it is.
    """
    figure = Figure(figsize=(7.5, 4.5), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    sizes = [point.vocab_size for point in points]
    worth = [size / point.tokens for point in points]
    axes.plot(sizes, worth, color=_LINE, linewidth=1.8, marker="o", markersize=5)
    for x, y in zip(sizes, worth, strict=True):
        axes.annotate(
            f"{y:.2f}", (x, y), (0, 7), textcoords="offset points", ha="center", color=_MUTED,
            fontsize=9,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=9, rotation=30)
    axes.minorticks_off()
    axes.set_ylim(bottom=0, top=max(worth) * 1.12)
    axes.set_title(title, loc="left", color=_INK, fontsize=12, weight="bold", parse_math=False)
    axes.set_xlabel("tokens in the vocabulary", color=_MUTED)
    axes.set_ylabel("bytes a token", color=_MUTED)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.tick_params(colors=_MUTED, length=0)
    with warnings.catch_warnings():
        # The name of a text may have letters that the font has not: a box will do.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(picture, format="png")
