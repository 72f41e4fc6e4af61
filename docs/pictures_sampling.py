"""Draws the pictures of the pages on sampling and on the cache; see pictures.py.

Run it:  python docs/pictures_sampling.py
With the word measure, it times the cache on this machine instead and prints what CACHE_MS holds.
"""

import sys
import time

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pictures import BLUE, GRID, INK, MUTED, ORANGE, axes_of, save

import scratchgrad as sg
from scratchgrad.generate import History, Sampling, processed
from scratchgrad.generate.sampling import probabilities

# ------------------------------------------------------------------------------ the samplers

WORDS = ["mat", "floor", "bed", "roof", "sofa", "dog", "moon", "and"]
SHARES = np.array([0.34, 0.22, 0.14, 0.10, 0.08, 0.05, 0.04, 0.03])

# As logits, some above 0 and some below: the repetition penalty makes a difference of that.
LOGITS = np.log(SHARES) + 2.3

RULES = [
    ("temperature 0.5", {"temperature": 0.5}),
    ("temperature 2", {"temperature": 2.0}),
    ("top-k 3", {"top_k": 3}),
    ("top-p 0.8", {"top_p": 0.8}),
    ("min-p 0.2", {"min_p": 0.2}),
    ("repetition penalty 1.5", {"repetition_penalty": 1.5}),
    ("presence penalty 0.8", {"presence_penalty": 0.8}),
    ("frequency penalty 0.8", {"frequency_penalty": 0.8}),
]


def said():
    """The text so far has mat twice and bed once, and the prompt has dog."""
    history = History(len(WORDS), prompt=[WORDS.index("dog")])
    for word in ("mat", "bed", "mat"):
        history.add(WORDS.index(word))
    return history


def draw_samplers():
    """What each rule makes of one distribution: grey before, blue after."""
    figure = Figure(figsize=(11, 4.6), dpi=100, layout="constrained")
    places = np.arange(len(WORDS))
    for number, (title, settings) in enumerate(RULES):
        axes = axes_of(figure, 241 + number)
        after = probabilities(processed(LOGITS, Sampling(**settings), said()))
        axes.bar(places, SHARES, width=0.8, color=GRID, edgecolor=MUTED, linewidth=0.8)
        axes.bar(places, after, width=0.46, color=BLUE)
        for i in np.flatnonzero(after == 0):
            axes.plot(i, 0.012, marker="x", color=ORANGE, markersize=5)
        axes.set_title(title, loc="left", color=INK, fontsize=11)
        axes.set_ylim(0, 0.6)
        heights = ["0", "0.2", "0.4", "0.6"]
        axes.set_yticks([0, 0.2, 0.4, 0.6], heights if number % 4 == 0 else [])
        axes.set_xticks(places, WORDS, rotation=60, fontsize=8)
        axes.grid(axis="x", visible=False)
    save(figure, "samplers.png", colours=32)


# --------------------------------------------------------------------------------- the cache

# Milliseconds for one more token after so many, with the cache and without: nanoGPT's baby model
# (6 layers, 6 heads, 384 channels, context 256) in float32 on two cores, the fastest of 3 x 40
# each: whatever else the machine does makes a time longer, never shorter.
CACHE_MS = {
    8: (2.8, 10.2),
    32: (3.4, 24.1),
    64: (2.6, 22.6),
    128: (2.4, 51.2),
    192: (2.8, 80.6),
    256: (2.9, 82.9),
}


def measure():
    """Time one more token, the two ways in turn; then one token of several texts at once."""
    model = sg.GPT(sg.GPTConfig(65, 256, 6, 6, 384, bias=False)).eval()
    rng = np.random.default_rng(0)
    with sg.no_grad():
        for length in (8, 32, 64, 128, 192, 256):
            ids = rng.integers(0, 65, (1, length))
            cached, anew = [], []
            before = model.new_cache()
            model.next_logits(ids[:, :-1], before)
            for _ in range(40):
                cache = [layer.repeat(1) for layer in before]
                cached.append(seconds(model, ids[:, -1:], cache))
                anew.append(seconds(model, ids, model.new_cache()))
            print(f"    {length}: ({1e3 * min(cached):.1f}, {1e3 * min(anew):.1f}),")
        for batch in (1, 4, 8, 12):
            ids = rng.integers(0, 65, (batch, 64))
            cache = model.new_cache(batch)
            model.next_logits(ids, cache)
            best = min(seconds(model, ids[:, :1], cache) for _ in range(80))
            print(f"{batch} texts at once: {1e3 * best:.1f} ms")


def seconds(model, ids, cache):
    """How long the model takes over these ids."""
    began = time.perf_counter()
    model.next_logits(ids, cache)
    return time.perf_counter() - began


def draw_cache():
    """What is computed for each token, and what it takes."""
    figure = Figure(figsize=(10.5, 3.6), dpi=100, layout="constrained")
    for place, (title, kept) in enumerate((("with the cache", True), ("without", False))):
        axes = figure.add_subplot(1, 3, place + 1)
        axes.set_axis_off()
        axes.set(xlim=(-0.2, 7.2), ylim=(7.4, -1.3), aspect="equal")
        axes.text(0, -0.75, title, color=INK, fontsize=11)
        for row in range(4, 8):
            for column in range(row):
                new = not kept or column == row - 1 or row == 4
                axes.add_patch(
                    Rectangle(
                        (column + 0.06, (row - 4) * 1.5 + 0.06),
                        0.88,
                        0.88,
                        facecolor=BLUE if new else GRID,
                        edgecolor="none",
                    )
                )
        labels = ["the prompt", "1st token", "2nd", "3rd"]
        for row, label in enumerate(labels):
            axes.text(0.06, row * 1.5 + 1.32, label, color=MUTED, fontsize=8)
    axes = axes_of(figure, 133)
    lengths = list(CACHE_MS)
    for place, (label, colour) in enumerate((("with the cache", BLUE), ("without", ORANGE))):
        values = [pair[place] for pair in CACHE_MS.values()]
        axes.plot(lengths, values, color=colour, marker="o", markersize=4, label=label)
    axes.set_title("one more token, ms", loc="left", color=INK, fontsize=11)
    axes.set_xlabel("tokens so far", color=MUTED)
    axes.set_ylim(0)
    axes.set_xticks([0, 64, 128, 192, 256])
    axes.legend(frameon=False, labelcolor=INK)
    save(figure, "cache.png", colours=32)


PICTURES = (draw_samplers, draw_cache)

if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        measure()
    else:
        for draw in PICTURES:
            draw()
