"""Draws the pictures of the page on byte-pair encoding; see pictures.py.

Run it:  python docs/pictures_tokenizer.py
"""

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from pictures import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PALE, axes_of, save

from scratchgrad.data import embedded_text
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer


def token(axes, x, y, text, width=1.0, colour=MUTED):
    """A token as a box, as wide as its bytes."""
    axes.add_patch(
        FancyBboxPatch(
            (x + 0.06, y - 0.3),
            width - 0.12,
            0.6,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor="white" if colour != MUTED else PALE,
            edgecolor=colour,
            linewidth=1.6,
        )
    )
    axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=13, color=INK)


def draw_merge():
    """The merge of a and b: pairs that go, pairs that come."""
    figure = Figure(figsize=(7.2, 2.9), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-0.2, 11.7)
    axes.set_ylim(-1.35, 2.5)
    for place, text in enumerate(["x", "l", "a", "b", "r", "y"]):
        token(axes, place, 1.2, text, colour=BLUE if text in "ab" else MUTED)
    for place, text in enumerate(["x", "l"]):
        token(axes, place, -0.2, text)
    token(axes, 2, -0.2, "c", width=2.0, colour=BLUE)
    for place, text in enumerate(["r", "y"]):
        token(axes, place + 4, -0.2, text)
    for left, colour in ((1, ORANGE), (2, BLUE), (3, ORANGE)):
        axes.plot([left + 0.5, left + 1.5], [1.72, 1.72], color=colour, linewidth=2.5)
    for left, right in ((1.5, 3.0), (3.0, 4.5)):
        axes.plot([left + 0.05, right - 0.05], [-0.72, -0.72], color=GREEN, linewidth=2.5)
    axes.text(3, 2.15, "gone: la, ab, br", ha="center", va="center", color=ORANGE)
    axes.text(3, -1.15, "new: lc, cr", ha="center", va="center", color=GREEN)
    axes.annotate("", (3, 0.25), (3, 0.78), arrowprops={"arrowstyle": "->", "color": MUTED})
    lines = [
        ("pair", "count", "where it stood"),
        ("la", "−1", "some places no longer true"),
        ("ab", "0", "all places used up"),
        ("br", "−1", "some places no longer true"),
        ("lc", "new", "written once"),
        ("cr", "new", "written once"),
    ]
    for row, (pair, count, where) in enumerate(lines):
        y, colour = 2.1 - 0.6 * row, MUTED if row == 0 else INK
        for x, text in ((6.7, pair), (7.5, count), (8.4, where)):
            axes.text(x, y, text, ha="left", va="center", color=colour, fontsize=9)
    axes.plot([6.6, 11.5], [1.8, 1.8], color=GRID, linewidth=1)
    save(figure, "merge.png", colours=32)


def draw_compression():
    """Bytes a token on a text that no merge was learned from, for growing vocabularies."""
    text = embedded_text()
    half = len(text) // 2
    learned, other = text[:half], text[half:]
    sizes = [2**k for k in range(8, 13)]
    lengths = [len(BPETokenizer().train(learned, size).encode(other)) for size in sizes]
    ratios = [len(other.encode()) / length for length in lengths]
    figure = Figure(figsize=(6.4, 3.4), dpi=150, layout="constrained")
    axes = axes_of(figure)
    axes.plot(sizes, ratios, color=BLUE, marker="o", linewidth=2)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    characters = CharTokenizer().train(text)
    axes.axhline(1.0, color=MUTED, linewidth=1, linestyle=":")
    axes.text(sizes[-1], 1.05, "bytes, or characters", ha="right", color=MUTED)
    axes.set_xlabel(f"vocabulary (characters: {characters.vocab_size})", color=MUTED)
    axes.set_ylabel("bytes a token", color=MUTED)
    save(figure, "compression.png", colours=32)


if __name__ == "__main__":
    draw_merge()
    draw_compression()
