"""The roofline: how fast each piece of work runs, against how much it computes with each byte.

Source: Williams, Waterman and Patterson, Roofline: An Insightful Visual Performance Model for
Multicore Architectures (2009), section 3.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_INK, _MUTED, _GRID = "#22272e", "#6b7280", "#e5e7eb"
_KERNEL, _STEP = "#3b82f6", "#ea580c"


def points(report: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """(label, operations a byte, GFLOP/s, whether it is of a step) of all that computes.

    Of the sizes of a kernel only the fastest is shown, or the labels would cover each other.
    """
    best: dict[str, tuple[str, float, float, bool]] = {}
    for r in report["kernels"]:
        if r["flops"] and r["bytes"]:
            point = (r["name"], r["flops"] / r["bytes"], r["flops_per_second"] / 1e9, False)
            if r["name"] not in best or best[r["name"]][2] < point[2]:
                best[r["name"]] = point
    found = sorted(best.values(), key=lambda point: point[1])
    for step in report["steps"]:
        for row in step["rows"]:
            if row["flops"] and row["bytes"] and row["share"] > 0.02:
                label = f"{step['preset']}: {row['name']} {row['phase']}"
                rate = row["flops"] / row["seconds"] / 1e9
                found.append((label, row["flops"] / row["bytes"], rate, True))
    return found


def draw(report: dict[str, Any], file: BinaryIO) -> None:
    """Draw a report's roofline, as PNG."""
    peak = report["roofs"]["matmul"]["float32"]["flops"] / 1e9
    registers = report["roofs"]["registers"]["float32"] / 1e9
    bandwidth = report["roofs"]["bandwidth"] / 1e9
    figure = Figure(figsize=(11.0, 6.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    found = points(report)
    intensities = [point[1] for point in found] or [1.0]
    x = np.geomspace(min(0.05, *intensities) / 2, max(500.0, *intensities) * 2, 200)
    axes.plot(x, np.minimum(peak, bandwidth * x), color=_INK, linewidth=1.8)
    axes.axhline(registers, color=_MUTED, linewidth=1, linestyle=":")
    axes.annotate(
        f"registers {registers:.0f} GFLOP/s",
        (x[0], registers),
        color=_MUTED,
        fontsize=8,
        va="bottom",
    )
    axes.annotate(f"matmul peak {peak:.0f}", (x[-1], peak), color=_INK, fontsize=8, ha="right")
    axes.annotate(
        f"memory {bandwidth:.0f} GB/s",
        (x[20], bandwidth * x[20]),
        color=_INK,
        fontsize=8,
        ha="right",
    )
    for number, (label, intensity, rate, of_step) in enumerate(found, 1):
        colour, mark = (_STEP, "s") if of_step else (_KERNEL, "o")
        axes.plot(intensity, rate, mark, color=colour, markersize=5, label=f"{number}  {label}")
        axes.annotate(
            str(number), (intensity, rate), (4, 3), textcoords="offset points", fontsize=7
        )
    if found:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, frameon=False)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("operations for each byte moved (FLOP/B)", color=_MUTED)
    axes.set_ylabel("GFLOP/s", color=_MUTED)
    of = report["machine"]
    title = f"Roofline: {of['cpu']}, {of['threads']} threads"
    axes.set_title(title, loc="left", color=_INK, fontsize=12, weight="bold", parse_math=False)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, format="png", metadata={"Software": None})
