"""Draws the pictures of these pages into docs/images, from what the package itself computes.

Run it:  python docs/pictures.py
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

import scratchgrad as sg

FOLDER = Path(__file__).parent / "images"
INK, MUTED, GRID = "#22272e", "#6b7280", "#e5e7eb"
BLUE, ORANGE, GREEN = "#3b82f6", "#ea580c", "#16a34a"
PALE = "#f3f4f6"


def axes_of(figure, position=111):
    """Axes in the manner of the loss picture: no box, a pale grid, muted numbers."""
    axes = figure.add_subplot(position)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.tick_params(colors=MUTED, length=0)
    return axes


def save(figure, name, colours=None):
    """Write the picture without the date and the version, so that a redraw changes nothing.

    A picture of lines needs few colours, and with a palette of that many its file is a third.
    """
    FOLDER.mkdir(exist_ok=True)
    if colours is None:
        figure.savefig(FOLDER / name, metadata={"Software": None})
        return
    file = BytesIO()
    figure.savefig(file, format="png")
    picture = Image.open(file).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    picture.save(FOLDER / name, optimize=True)


# ----------------------------------------------------------------------------------- the tape


def number(value):
    """A whole number with a true minus sign, which is as wide as the digits."""
    return f"{value.item():g}".replace("-", "−")


def box(axes, x, y, name, tensor, leaf=False):
    """One value of the graph: its name, what it is, and its gradient."""
    axes.add_patch(
        FancyBboxPatch(
            (x - 0.62, y - 0.42),
            1.24,
            0.84,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor="white" if leaf else PALE,
            edgecolor=BLUE if leaf else MUTED,
            linewidth=1.6,
        )
    )
    axes.text(x, y + 0.2, name, ha="center", va="center", fontsize=13, color=INK, weight="bold")
    axes.text(x - 0.3, y - 0.17, number(tensor), ha="center", va="center", color=INK)
    gradient = number(tensor.grad)
    axes.text(x + 0.3, y - 0.17, gradient, ha="center", va="center", color=ORANGE, weight="bold")


def arrow(axes, start, end, slope, at=(0.0, 0.17)):
    """An edge: forward in grey; the local slope, which the way back multiplies by, in orange."""
    axes.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.4, "shrinkA": 0},
    )
    middle = (np.array(start) + np.array(end)) / 2 + at
    text = f"×{slope:g}".replace("-", "−")
    axes.text(*middle, text, color=ORANGE, ha="center", va="center", fontsize=10)


def graph():
    """The tape of y = (a b + a)^2."""
    a, b = (sg.tensor(v, requires_grad=True) for v in (2.0, -3.0))
    u = a * b
    s = u + a
    y = s * s
    for t in (u, s, y):
        t.retain_grad()
    y.backward()

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.75, 8.35), ylim=(-0.75, 2.85), aspect="equal")
    axes.axis("off")
    box(axes, 0, 2, "a", a, leaf=True)
    box(axes, 0, 0, "b", b, leaf=True)
    box(axes, 2.6, 0.6, "u = a b", u)
    box(axes, 5.1, 1.4, "s = u + a", s)
    box(axes, 7.6, 1.4, "y = s²", y)
    arrow(axes, (0.62, 1.75), (1.98, 0.85), b.item(), at=(0.22, 0.14))
    arrow(axes, (0.62, 0.1), (1.98, 0.5), a.item(), at=(0.05, -0.2))
    arrow(axes, (3.22, 0.75), (4.48, 1.2), 1, at=(0.05, -0.2))
    arrow(axes, (0.62, 2.05), (4.48, 1.6), 1, at=(0.0, 0.2))
    arrow(axes, (5.72, 1.4), (6.98, 1.4), 2 * s.item())
    note = "value (black) and gradient (orange) of each; on an edge, the local slope"
    axes.text(8.22, -0.1, note, ha="right", color=MUTED, fontsize=10)
    axes.text(8.22, -0.5, "a gets from both its uses: 24 + (−8) = 16", ha="right", color=MUTED)
    save(figure, "graph.png", colours=48)


# -------------------------------------------------------------------------------- activations


def gelu():
    """GELU beside ReLU, and the slopes of both, out of the tape."""
    x = sg.tensor(np.linspace(-4, 4, 801), requires_grad=True)
    curves = {}
    for name, f in (("GELU", sg.gelu), ("ReLU", sg.relu)):
        x.grad = None
        y = f(x)
        y.sum().backward()
        curves[name] = (y.data, x.grad)

    figure = Figure(figsize=(9, 3.3), dpi=110, layout="constrained")
    for i, title in enumerate(("y", "dy/dx")):
        axes = axes_of(figure, 121 + i)
        axes.plot(x.data, curves["ReLU"][i], color=MUTED, linewidth=1.4, label="ReLU", zorder=2)
        axes.plot(x.data, curves["GELU"][i], color=BLUE, linewidth=2.2, label="GELU", zorder=3)
        axes.set_title(title, loc="left", color=INK, weight="bold")
        axes.set_xlabel("x", color=MUTED)
        axes.set_xlim(-4, 4)
        if i == 0:
            axes.set_ylim(-0.6, 4)
        axes.legend(frameon=False, labelcolor=INK, loc="upper left")
    low = int(curves["GELU"][0].argmin())
    axes = figure.axes[0]
    axes.plot(x.data[low], curves["GELU"][0][low], "o", color=ORANGE, zorder=4)
    axes.annotate(
        f"lowest: {curves['GELU'][0][low]:.2f} at x = {x.data[low]:.2f}",
        (x.data[low], curves["GELU"][0][low]),
        (-3.8, 0.55),
        color=INK,
        arrowprops={"arrowstyle": "-", "color": MUTED},
    )
    save(figure, "gelu.png", colours=32)


# ---------------------------------------------------------------------------------- attention


def attention():
    """Causal weights of one head, and the blocks of scores that the kernel makes."""
    time, head, block = 16, 8, 4
    rng = np.random.default_rng(3)
    q, k = rng.normal(size=(2, 1, 1, time, head))
    # With the identity for values, the output is the weights.
    values = np.eye(time)[None, None]
    out = sg.scaled_dot_product_attention(sg.tensor(q), sg.tensor(k), values, is_causal=True)
    weights = np.where(np.tri(time, dtype=bool), out.data[0, 0], np.nan)

    figure = Figure(figsize=(9, 4.3), dpi=110, layout="constrained")
    left, right = figure.add_subplot(121), figure.add_subplot(122)
    shown = left.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    left.set_title("the weights P: each row adds up to 1", loc="left", color=INK, weight="bold")
    bar = figure.colorbar(shown, ax=left, shrink=0.82)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, length=0)

    row, column = np.mgrid[:time, :time]
    kind = np.where(column <= row, 2, np.where(column // block <= row // block, 1, 0))
    right.imshow(kind, cmap=ListedColormap(["white", "#fed7aa", "#93c5fd"]))
    right.set_title("what a block of queries visits", loc="left", color=INK, weight="bold")
    for edge in np.arange(0, time, block) - 0.5:
        right.axhline(edge, color="white", linewidth=2.5)
        right.axvline(edge, color="white", linewidth=2.5)
    right.text(11.5, 3.0, "never visited", color=MUTED, ha="center", fontsize=12)
    right.text(5.5, 10.2, "all of it", color="#1e3a8a", ha="center", fontsize=12)
    right.annotate(
        "on the diagonal:\nthe loop starts later",
        (6.6, 5.0),
        (11.6, 6.9),
        color=INK,
        ha="center",
        va="center",
        arrowprops={"arrowstyle": "-", "color": MUTED},
    )
    for axes in (left, right):
        axes.set_xlabel("key", color=MUTED)
        axes.set_ylabel("query", color=MUTED)
        axes.tick_params(colors=MUTED, length=0)
        axes.spines[:].set_color(GRID)
    save(figure, "attention.png")


# ----------------------------------------------------------------------------------- training


def schedule():
    """The learning rate over a run of the char preset."""
    steps = np.arange(2501)
    rates = [sg.optim.cosine_schedule(int(s), 1e-3, 1e-4, 100, 2000) for s in steps]
    figure = Figure(figsize=(9, 3), dpi=110, layout="constrained")
    axes = axes_of(figure)
    axes.plot(steps, rates, color=BLUE, linewidth=2.2)
    for at, height, label in (
        (100, 1.0e-3, "end of the warm-up: 100 steps, linear"),
        (1050, 5.5e-4, "half a cosine"),
        (2000, 1.0e-4, "then the minimum"),
    ):
        axes.plot(at, height, "o", color=ORANGE)
        axes.annotate(label, (at, height), (12, 8), textcoords="offset points", color=INK)
    axes.set(xlim=(0, 2500), ylim=(0, 1.15e-3))
    axes.set_yticks([0, 1e-4, 5e-4, 1e-3], ["0", "0.0001", "0.0005", "0.001"])
    axes.set_xlabel("step", color=MUTED)
    axes.set_ylabel("learning rate", color=MUTED)
    save(figure, "schedule.png", colours=32)


if __name__ == "__main__":
    for draw in (graph, gelu, attention, schedule):
        draw()
    for picture in sorted(FOLDER.glob("*.png")):
        print(f"{picture.relative_to(FOLDER.parent)}  {picture.stat().st_size / 1024:.0f} KB")
