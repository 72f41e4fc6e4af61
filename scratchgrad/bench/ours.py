"""Our side of a comparison.

python -m scratchgrad.bench.ours THREADS
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.bench import spec
from scratchgrad.bench.side import Made, serve
from scratchgrad.bench.steps import make_trainer
from scratchgrad.kernels import activation, norm, softmax
from scratchgrad.kernels.matmul import matmul
from scratchgrad.kernels.threads import get_threads, set_threads
from scratchgrad.nn import functional as F
from scratchgrad.optim import AdamW
from scratchgrad.tensor import tensor

VARIANT = "scratchgrad"


def make(work: dict[str, Any]) -> Made:
    """One of `versus.works`."""
    return _MAKERS[work["kind"]](work)


def _matmul(work: dict[str, Any]) -> Made:
    a, b = spec.operands(work["form"], tuple(work["shape"]), work["dtype"])
    return Made({VARIANT: lambda: matmul(a, b)}, float(matmul(a, b)[0, 0]))


def _step(work: dict[str, Any]) -> Made:
    trainer = make_trainer(spec.PRESETS[work["preset"]])
    return Made({VARIANT: trainer.train_step}, trainer.train_step().loss)


def _attention(work: dict[str, Any]) -> Made:
    q, k, v = (tensor(spec.draw(n, *work["shape"]), requires_grad=True) for n in "qkv")
    dout = spec.draw("dout", *work["shape"])

    def run() -> float:
        q.grad = k.grad = v.grad = None
        F.scaled_dot_product_attention(q, k, v, is_causal=True).backward(dout)
        gradient: Any = k.grad
        return float(gradient[0, 0, 0, 0])

    return Made({VARIANT: run}, run())


def _cross_entropy(work: dict[str, Any]) -> Made:
    N, V = work["shape"]
    logits = tensor(spec.draw("logits", N, V), requires_grad=True)
    targets = spec.draw_ids("targets", V, N)

    def run() -> float:
        logits.grad = None
        loss = F.cross_entropy(logits, targets)
        loss.backward()
        return float(loss.item())

    return Made({VARIANT: run}, run())


def _rows(work: dict[str, Any]) -> Made:
    """Elementwise work and work on rows: the kernel alone, forward or backward."""
    x, dy = (spec.draw(name, *work["shape"]) for name in ("x", "dy"))
    gain, bias = np.ones(x.shape[-1], np.float32), np.zeros(x.shape[-1], np.float32)
    y = softmax.softmax(x, -1)
    _, mean, rstd = norm.layer_norm(x, gain, bias, 1e-5)
    run: Any = {
        "gelu": lambda: activation.gelu(x, "none"),
        "gelu backward": lambda: activation.gelu_backward(dy, x, "none"),
        "softmax": lambda: softmax.softmax(x, -1),
        "softmax backward": lambda: softmax.softmax_backward(dy, y, -1),
        "layer_norm": lambda: norm.layer_norm(x, gain, bias, 1e-5),
        "layer_norm backward": lambda: norm.layer_norm_backward(dy, x, gain, mean, rstd),
    }[work["name"]]
    first = run()
    first = first[0] if isinstance(first, tuple) else first
    return Made({VARIANT: run}, float(first[0, 0]))


def _adamw(work: dict[str, Any]) -> Made:
    model = sg.GPT(sg.GPTConfig(**spec.PRESETS[work["preset"]].model))
    parameters = dict(model.named_parameters())
    for name, p in parameters.items():
        p.writable()[...] = spec.weights(name, p.shape)
    optimizer = AdamW(
        parameters.values(), spec.LR, spec.BETAS, spec.EPS, weight_decay=spec.WEIGHT_DECAY
    )
    for name, p in parameters.items():  # by a backward, so that each lies where it does in training
        (p * spec.draw(f"d {name}", *p.shape)).sum().backward()
    optimizer.step()
    return Made({VARIANT: optimizer.step}, float(parameters["wte.weight"].data[0, 0]))


_MAKERS = {
    "matmul": _matmul,
    "step": _step,
    "attention": _attention,
    "cross_entropy": _cross_entropy,
    "rows": _rows,
    "adamw": _adamw,
}

if __name__ == "__main__":
    set_threads(int(sys.argv[1]))
    serve(f"scratchgrad {sg.__version__}, {get_threads()} threads", make)
