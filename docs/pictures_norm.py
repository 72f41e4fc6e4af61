"""Measures and draws the pictures of norm_position.md into docs/images; see pictures.py.

Run it:  python docs/pictures_norm.py        (half a minute to two)
"""

import numpy as np
from matplotlib.figure import Figure
from pictures import BLUE, INK, MUTED, ORANGE, axes_of, save
from small_runs import corpus, original, warmed

import scratchgrad as sg
from scratchgrad.data import batch
from scratchgrad.nn import functional as F

COLOURS = {"pre": BLUE, "post": ORANGE}


def norm_of(x):
    return float(np.sqrt((x.astype(np.float64) ** 2).sum()))


def stream_gradients(model, straight=False):
    """The norm of the loss's gradient by the stream: at first, and after each half of a block.

    Straight, only what comes down the stream itself is counted: each half is given a copy of the
    stream that is off the tape, so that nothing comes back through it. The second result is the
    variance of what each half adds over that of the stream it adds to.
    """
    ids, targets = batch(corpus()[1], 0, 0, 12, model.config.block_size)
    stream = model.wpe(model.wte(ids))
    streams, added = [stream], []
    before = model.config.norm_position == "pre"
    for block in model.h:
        for norm, half in ((block.ln_1, block.attn), (block.ln_2, block.mlp)):
            given = stream.detach() if straight else stream
            branch = half(norm(given) if before else given)
            added.append(float(branch.data.var() / stream.data.var()))
            stream = stream + branch if before else norm(stream + branch)
            streams.append(stream)
    for x in streams:
        x.retain_grad()
    F.linear_cross_entropy(model.ln_f(stream), model.lm_head.weight, targets).backward()
    return [norm_of(x.grad) for x in streams], added


def weight_gradients(model):
    """The norm of the gradient by each block's last matrix."""
    model.loss(*batch(corpus()[1], 0, 0, 12, model.config.block_size)).backward()
    return [norm_of(block.mlp.c_proj.weight.grad) for block in model.h]


def of(figure, position, title):
    axes = axes_of(figure, position)
    axes.set_title(title, loc="left", color=INK, weight="bold", fontsize=11)
    return axes


def draw_gradients():
    """The stream's gradient by depth, all of it and what comes straight; the weights'."""
    figure = Figure(figsize=(10, 3.4), dpi=110, layout="constrained")
    left = of(figure, 131, "by the stream, 12 layers")
    middle = of(figure, 132, "by each c_proj, 12 layers")
    right = of(figure, 133, "by the last c_proj")
    for where, colour in COLOURS.items():
        whole, added = stream_gradients(original(12, 128, 64, where))
        straight, _ = stream_gradients(original(12, 128, 64, where), straight=True)
        ratio = straight[-1] / straight[0]
        predicted = np.prod(np.sqrt(1 + np.array(added)))
        print(f"{where}: halves add {min(added):.2f} to {max(added):.2f} of the variance")
        print(
            f"  first over last {whole[0] / whole[-1]:.2f}; straight: last over first {ratio:.1f}"
        )
        print(f"  the product of sqrt(1 + v): {predicted:.1f}")
        halves = np.arange(len(whole))
        left.plot(halves, whole, color=colour, linewidth=2.2, label=f"{where}: all of it")
        left.plot(halves, straight, "--", color=colour, linewidth=1.6, label=f"{where}: straight")
        by_layer = weight_gradients(original(12, 128, 64, where))
        print("  by the c_proj of each MLP:", *(f"{x:.3f}" for x in by_layer))
        middle.plot(np.arange(1, 13), by_layer, "o-", color=colour, markersize=4, label=where)
    left.set(yscale="log", ylim=(5e-5, 3e-2), xlim=(0, 24))
    left.set_xticks(range(0, 25, 6))
    left.set_ylabel("norm of the gradient", color=MUTED)
    left.set_xlabel("halves of blocks passed", color=MUTED)
    left.legend(frameon=False, labelcolor=INK, loc="lower right", fontsize=8)
    middle.set(xlim=(0.5, 12.5), ylim=(0, 0.55))
    middle.set_xticks(range(2, 13, 2))
    middle.set_xlabel("block", color=MUTED)

    depths = [1, 2, 4, 8, 16, 32]
    for where, colour in COLOURS.items():
        found = [weight_gradients(original(depth, 128, 64, where))[-1] for depth in depths]
        print(f"{where}: by the last of 1 to 32 layers:", *(f"{x:.3f}" for x in found))
        right.plot(depths, found, "o-", color=colour, markersize=4, label=where)
    right.set(xscale="log", ylim=(0, 0.55))
    right.set_xticks(depths, depths)
    right.minorticks_off()
    right.set_xlabel("layers", color=MUTED)
    right.legend(frameon=False, labelcolor=INK, loc="lower left", fontsize=8)
    save(figure, "norm_gradients.png", colours=32)


def draw_warm_up():
    """Four trainings at one rate."""
    figure = Figure(figsize=(9, 3.2), dpi=110, layout="constrained")
    axes = axes_of(figure)
    window = np.ones(10) / 10
    for where, colour in COLOURS.items():
        for count, style in ((0, "--"), (100, "-")):
            losses = np.convolve(warmed(where, count), window, mode="valid")
            label = f"{where}, {f'{count} steps of' if count else 'no'} warm-up"
            at = np.arange(len(losses)) + 10
            axes.plot(at, losses, style, color=colour, linewidth=1.8, label=label)
    axes.set(xlim=(0, 400), ylim=(2, 4.7))
    axes.set_xlabel("step", color=MUTED)
    axes.set_ylabel("loss, mean of ten steps", color=MUTED)
    axes.legend(frameon=False, labelcolor=INK, loc="upper right")
    save(figure, "norm_warm_up.png", colours=16)


def other_kinds():
    """The same with RMS norm, and with GPT-2's initialisation."""
    model = original(12, 128, 64, "post", norm="rmsnorm")
    straight, _ = stream_gradients(model, straight=True)
    print(f"post, rmsnorm: straight: last over first {straight[-1] / straight[0]:.1f}")
    for where in COLOURS:
        gpt2 = sg.GPT(sg.GPTConfig(corpus()[0], 64, 12, 4, 128, norm_position=where))
        straight, added = stream_gradients(gpt2, straight=True)
        ratio = straight[-1] / straight[1]  # the first norm brings the tokens to size one
        print(f"{where}, as GPT-2 begins: straight: last over first {ratio:.3f}")
        print(f"  halves add {min(added):.5f} to {max(added):.5f} of the variance")


if __name__ == "__main__":
    other_kinds()
    draw_gradients()
    draw_warm_up()
