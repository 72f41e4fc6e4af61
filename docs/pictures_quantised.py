"""Draws the pictures of the page on quantised weights; see pictures.py.

Run it:  python docs/pictures_quantised.py

With the folder of test data as its argument it prints the page's table of errors instead.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from pictures import BLUE, GREEN, INK, MUTED, ORANGE, PALE, axes_of, save

from scratchgrad.interop.dtypes import (
    bfloat16_to_float32,
    float16_to_float32,
    float32_to_bfloat16,
    float32_to_float16,
)


def halves(numbers):
    return float16_to_float32(float32_to_float16(numbers.astype(np.float32)))


def through_q8_0(blocks):
    """Blocks (N, 32) as they come back: the largest becomes 127."""
    d = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
    q = np.rint(blocks / np.where(d == 0, 1, d))
    return halves(d) * q


def through_q4_0(blocks):
    """The number that is furthest from 0 becomes -8, whatever its sign."""
    furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    d = furthest / np.float32(-8)
    q = np.clip(np.floor(blocks / np.where(d == 0, 1, d) + 8.5), 0, 15)
    return halves(d) * (q - 8)


def through_q4_1(blocks):
    """The smallest becomes 0 and the largest 15."""
    m = blocks.min(1, keepdims=True)
    d = (blocks.max(1, keepdims=True) - m) / np.float32(15)
    q = np.clip(np.floor((blocks - m) / np.where(d == 0, 1, d) + 0.5), 0, 15)
    return halves(d) * q + halves(m)


FORMATS = {
    "F16": (16, halves),
    "BF16": (16, lambda blocks: bfloat16_to_float32(float32_to_bfloat16(blocks))),
    "Q8_0": (8.5, through_q8_0),
    "Q4_1": (5, through_q4_1),
    "Q4_0": (4.5, through_q4_0),
}


def draw_blocks():
    """The bytes of a block of each kind, and where number 3 and number 19 are."""
    figure = Figure(figsize=(7.2, 2.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-3.3, 34.6)
    axes.set_ylim(-0.8, 3.5)
    kinds = [
        ("Q8_0", [("d", 2)], 32),
        ("Q4_0", [("d", 2)], 16),
        ("Q4_1", [("d", 2), ("m", 2)], 16),
    ]
    for row, (name, heads, count) in enumerate(kinds):
        y, x = 2.5 - 1.2 * row, 0
        axes.text(-0.7, y + 0.35, name, ha="right", va="center", color=INK, fontsize=11)
        for letter, width in heads:
            colour = ORANGE if letter == "d" else GREEN
            axes.add_patch(
                FancyBboxPatch(
                    (x + 0.1, y), width - 0.2, 0.7, boxstyle="round,pad=0,rounding_size=0.1",
                    facecolor="white", edgecolor=colour, linewidth=1.6,
                )
            )  # fmt: skip
            axes.text(x + width / 2, y + 0.35, letter, ha="center", va="center", color=colour)
            x += width
        for j in range(count):
            marked = {32: (3, 19), 16: (3,)}[count]
            face = BLUE if j in marked else PALE
            axes.add_patch(
                Rectangle((x + j + 0.08, y), 0.84, 0.7, facecolor=face, edgecolor="none")
            )
            if count == 16:
                axes.plot([x + j + 0.08, x + j + 0.92], [y + 0.35] * 2, color="white", linewidth=1)
            if j in marked:
                for at, text in [(0.35, str(j))] if count == 32 else [(0.52, "19"), (0.17, "3")]:
                    axes.text(
                        x + j + 0.5, y + at, text, ha="center", va="center", color="white",
                        fontsize=7 if count == 32 else 6,
                    )  # fmt: skip
        end = x + count
        axes.text(end + 0.4, y + 0.35, f"{end} bytes", va="center", color=MUTED, fontsize=9)
    axes.text(
        0, -0.55, "a square is a byte; 3 and 19 are numbers of the block", color=MUTED, fontsize=8
    )
    save(figure, "blocks.png", colours=24)


def draw_steps():
    """Thirty-two numbers of a bell, and the values that each format has for them."""
    numbers = np.sort(np.random.default_rng(5).standard_normal(32).astype(np.float32))[None]
    figure = Figure(figsize=(6.4, 3.2), dpi=150, layout="constrained")
    axes = axes_of(figure)
    places = np.arange(32)
    axes.plot(places, numbers[0], "o", color=INK, markersize=3, label="the numbers")
    for name, colour in (("Q4_0", ORANGE), ("Q4_1", GREEN), ("Q8_0", BLUE)):
        values = FORMATS[name][1](numbers)[0]
        error = np.sqrt(np.mean((values - numbers) ** 2))
        axes.step(places, values, where="mid", color=colour, linewidth=1.3,
                  label=f"{name}: error {error:.3f}")  # fmt: skip
    axes.set_xlabel("a block of 32, sorted", color=MUTED)
    axes.legend(frameon=False, fontsize=8, labelcolor=MUTED)
    save(figure, "quantised.png", colours=32)


def draw_rows():
    """Rows of a head of eight channels: the pairs that are turned together have one colour."""
    figure = Figure(figsize=(6.4, 2.0), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-3.4, 8.2)
    axes.set_ylim(-0.2, 3.2)
    colours = [BLUE, ORANGE, GREEN, MUTED]
    ours = list(range(8))
    theirs = [0, 4, 1, 5, 2, 6, 3, 7]  # which of our rows stands there
    for y, name, rows in (
        (2.3, "ours: i with i + 4", ours),
        (0.3, "llama.cpp: neighbours", theirs),
    ):
        axes.text(-0.3, y + 0.3, name, ha="right", va="center", color=INK, fontsize=8.5)
        for place, row in enumerate(rows):
            axes.add_patch(
                Rectangle((place + 0.06, y), 0.88, 0.6, facecolor="white",
                          edgecolor=colours[row % 4], linewidth=1.8)
            )  # fmt: skip
            axes.text(place + 0.5, y + 0.3, str(row), ha="center", va="center", color=INK)
    for place, row in enumerate(theirs):
        axes.plot([row + 0.5, place + 0.5], [2.25, 0.95], color=colours[row % 4], linewidth=1)
    save(figure, "rows.png", colours=16)


def report(data):
    """Print the error of each format on the matrices of stories260K, and the loss with it."""
    import scratchgrad as sg
    from scratchgrad.interop.llama2c import read_llama2c
    from scratchgrad.tokenizer import BPETokenizer

    found = read_llama2c(data / "stories260k" / "stories260K.bin", None, np.float32)
    tokenizer = BPETokenizer.from_llama2c(data / "stories260k" / "tok512.bin")
    text = (data / "tinystories-2mib.txt").read_text(encoding="utf-8")
    config = found.model.config
    stories = [story.strip() for story in text.split("<|endoftext|>")][:200]
    ids = np.concatenate([[1, *tokenizer.encode(story)] for story in stories if story])
    rows = len(ids) // (config.block_size + 1)
    ids = ids[: rows * (config.block_size + 1)].reshape(rows, -1)[:64].astype(np.int64)
    state = found.model.state_dict()
    for name, (bits, through) in {"F32": (32, lambda blocks: blocks), **FORMATS}.items():
        changed, error, size = {}, 0.0, 0.0
        for key, array in state.items():
            array = np.asarray(array, np.float32)
            if array.ndim == 2 and array.size % 32 == 0:
                back = through(array.reshape(-1, 32)).reshape(array.shape).astype(np.float32)
                error += float(((back - array) ** 2).sum())
                size += float((array**2).sum())
                array = back
            changed[key] = array
        model = sg.GPT.from_state(config, changed)
        with sg.no_grad():
            loss = float(model(ids[:, :-1], ids[:, 1:])[1].data)
        print(
            f"{name:5} {bits:5} bits  error {100 * np.sqrt(error / size):8.4f} %  loss {loss:.4f}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        report(Path(sys.argv[1]))
    else:
        draw_blocks()
        draw_steps()
        draw_rows()
