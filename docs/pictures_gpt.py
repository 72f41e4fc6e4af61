"""Draws the pictures of heads.md and rope.md into docs/images; see pictures.py.

Run it:  python docs/pictures_gpt.py
"""

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from pictures import BLUE, GREEN, GRID, INK, MUTED, ORANGE, axes_of, save

import scratchgrad as sg
from scratchgrad.nn import Rope

PALE_ORANGE, PALE_BLUE = "#fed7aa", "#93c5fd"


# -------------------------------------------------------------------------------------- heads


def box(axes, x, y, text, colour, width=0.74):
    """A head, with its name."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.3),
            width,
            0.6,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor="white",
            edgecolor=colour,
            linewidth=1.6,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color=INK)


def draw_heads():
    """Eight heads of queries over eight, two and one of keys and values."""
    figure = Figure(figsize=(9, 2.9), dpi=110, layout="constrained")
    titles = {8: "multi-head", 2: "grouped-query", 1: "multi-query"}
    for place, (kv_heads, title) in enumerate(titles.items()):
        axes = figure.add_subplot(131 + place)
        axes.set(xlim=(-0.6, 7.6), ylim=(-0.75, 3.6))
        axes.axis("off")
        axes.text(-0.4, 3.2, title, color=INK, weight="bold")
        axes.text(7.4, 3.2, f"H = 8, Hk = {kv_heads}", color=MUTED, ha="right")
        group = 8 // kv_heads
        for g in range(kv_heads):
            middle = g * group + (group - 1) / 2
            for h in range(g * group, (g + 1) * group):
                axes.plot([h, middle], [1.9, 0.4], color=ORANGE, linewidth=1.2)
                box(axes, h, 2.2, f"q{h}", BLUE)
            wide = 0.74 if kv_heads == 8 else 1.7
            names = f"k{g}\nv{g}" if kv_heads == 8 else f"k{g}, v{g}"
            box(axes, middle, 0.1, names, GREEN, wide)
        axes.text(3.5, -0.6, f"{8 + 2 * kv_heads} D numbers a position", color=MUTED, ha="center")
    save(figure, "heads.png", colours=32)


def draw_window():
    """Which keys a query sees with a window, and how far two layers of it reach."""
    time, window, block = 16, 5, 4
    row, column = np.mgrid[:time, :time]
    sees = (column <= row) & (column > row - window)
    twice = (sees.astype(int) @ sees.astype(int)) > 0

    figure = Figure(figsize=(9, 3.5), dpi=110, layout="constrained")
    panels = (
        (np.where(sees, 2, 0), f"one layer, window {window}"),
        (np.where(sees, 2, np.where(twice, 1, 0)), "two layers: orange by way of another"),
        (None, "blocks that the kernel visits"),
    )
    # As the kernel counts them: from the block of the oldest key to the diagonal.
    first = np.maximum(0, row // block * block - window + 1) // block
    visited = (column // block >= first) & (column // block <= row // block)
    for place, (kind, title) in enumerate(panels):
        axes = figure.add_subplot(131 + place)
        shown = np.where(sees, 2, np.where(visited, 1, 0)) if kind is None else kind
        axes.imshow(shown, cmap=ListedColormap(["white", PALE_ORANGE, PALE_BLUE]), vmin=0, vmax=2)
        axes.set_title(title, loc="left", color=INK, weight="bold", fontsize=10)
        if kind is None:
            for edge in np.arange(0, time, block) - 0.5:
                axes.axhline(edge, color=GRID, linewidth=1.5)
                axes.axvline(edge, color=GRID, linewidth=1.5)
        axes.set_xlabel("key", color=MUTED)
        axes.set_ylabel("query", color=MUTED)
        axes.tick_params(colors=MUTED, length=0)
        axes.spines[:].set_color(GRID)
    save(figure, "window.png", colours=32)


# --------------------------------------------------------------------------------------- rope


def arrow(axes, vector, colour, style="-"):
    axes.annotate(
        "",
        vector,
        (0, 0),
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 1.8,
            "linestyle": style,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def draw_turns():
    """A query and a key three positions apart, at two places; the cosine of every pair."""
    figure = Figure(figsize=(9, 3.2), dpi=110, layout="constrained")
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"width_ratios": [1, 1, 1.5]})
    angle, distance = 0.5, 3
    x = np.array([[[1.0, 0.0]]])
    for axes, start in ((left, 0), (middle, 4)):
        axes.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.35), aspect="equal")
        axes.axis("off")
        round_ = np.linspace(0, 2 * np.pi, 200)
        axes.plot(np.cos(round_), np.sin(round_), color=GRID, linewidth=1)
        for at, name, colour in ((start, "key", GREEN), (start + distance, "query", BLUE)):
            cos, sin = (np.array([[f(angle * at)]]) for f in (np.cos, np.sin))
            end = sg.rope(sg.tensor(x), cos, sin, n_head=1).data[0, 0]
            arrow(axes, end, colour)
            axes.text(*(1.17 * end + [0, 0.03]), name, color=colour, ha="center", va="center")
        sector = np.linspace(angle * start, angle * (start + distance), 60)
        axes.plot(0.4 * np.cos(sector), 0.4 * np.sin(sector), color=ORANGE, linewidth=1.8)
        half = sector.mean()
        axes.text(0.58 * np.cos(half), 0.58 * np.sin(half), "3θ", color=ORANGE, ha="center")
        title = f"key at {start}, query at {start + distance}"
        axes.set_title(title, color=INK, weight="bold", fontsize=10)
    cos, _ = Rope(64).tables(0, 64)
    shown = right.imshow(cos.T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    right.set_title(
        "cosine of the angle, D = 64", loc="left", color=INK, weight="bold", fontsize=10
    )
    right.set_xlabel("position", color=MUTED)
    right.set_ylabel("pair", color=MUTED)
    right.tick_params(colors=MUTED, length=0)
    right.spines[:].set_color(GRID)
    bar = figure.colorbar(shown, ax=right, ticks=[-1, 0, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, length=0)
    save(figure, "rope_turns.png", colours=96)


def products(base, size, count):
    """q · k of two vectors of ones, the query at each position, the key at 0, divided by D."""
    cos, sin = Rope(size, base).tables(0, count, np.float64)
    turned = sg.rope(np.ones((1, count, size)), cos, sin, n_head=1).data[0]
    return turned @ turned[0] / size


def draw_distance():
    """The product of a query and a key that agree in every pair, by their distance."""
    figure = Figure(figsize=(9, 3.2), dpi=110, layout="constrained")
    axes = axes_of(figure)
    count = 30000
    # Far out, neighbouring distances are many to a pixel: some of them are enough.
    at = np.unique(np.round(np.geomspace(1, count - 1, 700)).astype(int))
    for base, colour in ((1e4, BLUE), (1e6, ORANGE)):
        label = f"base {base:,.0f}"
        axes.plot(at, products(base, 64, count)[at], color=colour, linewidth=1.6, label=label)
    axes.axhline(0, color=MUTED, linewidth=1)
    axes.set(xscale="log", xlim=(1, count), ylim=(-0.3, 1.05))
    axes.set_xlabel("distance", color=MUTED)
    axes.set_ylabel("q · k / D", color=MUTED)
    axes.legend(frameon=False, labelcolor=INK, loc="upper right")
    save(figure, "rope_distance.png", colours=16)


PICTURES = (draw_heads, draw_window, draw_turns, draw_distance)


if __name__ == "__main__":
    for draw in PICTURES:
        draw()
