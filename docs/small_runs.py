"""Short trainings that the pages quote: what is chosen differs, and nothing else.

Run it:  python docs/small_runs.py heads      (the table of heads.md)
         python docs/small_runs.py warm_up    (that of norm_position.md; two to four minutes each)

The text is the Python language reference that comes with CPython, its last tenth held out. Batches
are a function of seed and step, so every model of one seed sees the same tokens.
"""

import sys
from functools import cache

import numpy as np

import scratchgrad as sg
from scratchgrad.data import batch, embedded_text, smallest_dtype, split, windows
from scratchgrad.optim import AdamW, clip_factor, grad_norm, parameter_groups
from scratchgrad.tokenizer import CharTokenizer


@cache
def corpus():
    """How many characters there are, the ids to train on, those held out."""
    tokenizer = CharTokenizer().train(embedded_text())
    ids = np.array(tokenizer.encode(embedded_text()), smallest_dtype(tokenizer.vocab_size))
    return tokenizer.vocab_size, *split(ids, 0.1)


def train(model, rates, batch_size, seed=0, clip=1.0):
    """One step of AdamW for each rate; the loss of each."""
    _, ids, _ = corpus()
    parameters = list(model.parameters())
    optimizer = AdamW(parameter_groups(model, 0.1), betas=(0.9, 0.99))
    losses = []
    for step, rate in enumerate(rates):
        loss = model.loss(*batch(ids, seed, step, batch_size, model.config.block_size))
        loss.backward()
        optimizer.step(rate, clip_factor(grad_norm(parameters), clip) if clip else 1.0)
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def held_out(model, count=64):
    """The mean loss of so many windows of the held-out text, evenly spread."""
    _, _, ids = corpus()
    length = model.config.block_size
    at = windows(len(ids), length, count).starts[:, None] + np.arange(length)
    with sg.no_grad():
        return model.loss(ids[at], ids[at + 1]).item()


def heads(steps=600, seeds=(0, 1, 2)):
    """Loss on held-out text with 8, 2 and 1 heads of keys for 8 of queries."""
    rates = [sg.optim.cosine_schedule(s, 2e-3, 2e-4, 50, steps) for s in range(steps)]
    for kv_heads in (8, 2, 1):
        found = []
        for seed in seeds:
            shape = {"block_size": 64, "n_layer": 4, "n_head": 8, "n_embd": 64}
            config = sg.GPTConfig(corpus()[0], **shape, bias=False, n_kv_head=kv_heads)
            model = sg.GPT(config, seed)
            train(model, rates, 8, seed)
            found.append(held_out(model.eval()))
        parts = ", ".join(f"{x:.3f}" for x in found)
        print(f"n_kv_head={kv_heads}: {config.num_parameters} parameters; {parts}", flush=True)


def original(n_layer, n_embd, block_size, norm_position, norm="layernorm"):
    """A decoder as in the original transformer, but for the place of its norms.

    All matrices of the blocks are drawn by Xavier's rule, the tokens at size one.
    """
    config = sg.GPTConfig(
        corpus()[0],
        block_size,
        n_layer,
        4,
        n_embd,
        bias=False,
        norm=norm,
        norm_position=norm_position,
        mlp="relu",
        position="sinusoidal",
        tied_head=False,
    )
    model, rng = sg.GPT(config), np.random.default_rng(1)
    for name, p in model.named_parameters():
        if p.ndim == 2 and name != "lm_head.weight":
            deviation = np.sqrt(2 / sum(p.shape)) if name.startswith("h.") else 1.0
            p.data[...] = deviation * rng.standard_normal(p.shape)
    return model


def warmed(norm_position, warm_up, seed=0, lr=3e-3, steps=400):
    """The losses of a training with so many steps of warm-up, nothing clipped."""
    rates = [lr * min(1.0, (s + 1) / (warm_up + 1)) for s in range(steps)]
    return train(original(6, 64, 32, norm_position), rates, 8, seed, clip=0)


def warm_up():
    """The mean loss of the last twenty steps, before and after, with and without warm-up."""
    for norm_position in ("pre", "post"):
        for count in (0, 100):
            found = [np.mean(warmed(norm_position, count, seed)[-20:]) for seed in (0, 1, 2)]
            parts = ", ".join(f"{x:.2f}" for x in found)
            print(f"{norm_position}, {count} steps of warm-up: {parts}", flush=True)


if __name__ == "__main__":
    {"heads": heads, "warm_up": warm_up}[sys.argv[1]]()
