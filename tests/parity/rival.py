"""PyTorch's side of `scratchgrad bench --vs torch`: a process of its own, never imported by ours.

    python tests/parity/rival.py THREADS [--no-compile]

The work is the one that `scratchgrad.bench.spec` names, written as somebody who knows PyTorch
would for speed: scaled_dot_product_attention, fused AdamW, gradients set to None, torch.compile
beside eager mode. It speaks the lines that `scratchgrad.bench.side` describes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the package lies in a clone

try:
    import torch
except ImportError:
    needs = "PyTorch is not installed; the rival needs the extra: pip install '.[parity]'"
    print(json.dumps({"error": needs}), flush=True)
    sys.exit()

import torch.nn as nn
import torch.nn.functional as F

from scratchgrad.bench import spec
from scratchgrad.bench.side import Made, serve
from scratchgrad.data import batch, split

aten = torch.ops.aten


class Block(nn.Module):
    def __init__(self, p: spec.Preset) -> None:
        super().__init__()
        c, self.n_head = p.n_embd, p.n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(c, bias=p.bias), nn.LayerNorm(c, bias=p.bias)
        self.attn = nn.ModuleDict(
            {"c_attn": nn.Linear(c, 3 * c, p.bias), "c_proj": nn.Linear(c, c, p.bias)}
        )
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(c, 4 * c, p.bias), "c_proj": nn.Linear(4 * c, c, p.bias)}
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = (
            part.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
            for part in self.attn["c_attn"](self.ln_1(x)).split(c, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn["c_proj"](y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self, p: spec.Preset) -> None:
        super().__init__()
        self.wte = nn.Embedding(p.vocab_size, p.n_embd)
        self.wpe = nn.Embedding(p.block_size, p.n_embd)
        self.h = nn.ModuleList(Block(p) for _ in range(p.n_layer))
        self.ln_f = nn.LayerNorm(p.n_embd, bias=p.bias)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def model_of(preset: spec.Preset) -> GPT:
    model = GPT(preset)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.from_numpy(spec.weights(name, tuple(p.shape))))
    return model


def adamw(groups: Any, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        groups, spec.LR, spec.BETAS, spec.EPS, weight_decay=spec.WEIGHT_DECAY, **options
    )


def step(work: dict[str, Any]) -> Made:
    preset = spec.PRESETS[work["preset"]]
    model = model_of(preset)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]
    optimizer = adamw(groups, fused=True)
    training, _ = split(spec.text(preset), 0.1)
    steps = 0

    def train_with(forward: Callable[..., torch.Tensor]) -> Callable[[], float]:
        def train() -> float:
            nonlocal steps
            optimizer.zero_grad(set_to_none=True)
            drawn = batch(training, spec.SEED, steps, preset.batch_size, preset.block_size)
            inputs, targets = (torch.from_numpy(x.astype("int64")) for x in drawn)
            loss = forward(inputs, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), spec.CLIP)
            optimizer.step()
            steps += 1
            return loss.item()

        return train

    made = Made({"eager": train_with(model)})
    made.result = made.variants["eager"]()
    if work.get("compile"):
        try:
            compiled = train_with(torch.compile(model))
            compiled()
            made.variants["torch.compile"] = compiled
        except Exception as error:  # no C++ compiler, or one that is not understood
            reason = str(error).strip().splitlines()[0][:150]
            made.notes.append(f"torch.compile is not available here, eager only: {reason}")
    return made


def attention(work: dict[str, Any]) -> Made:
    q, k, v = (torch.from_numpy(spec.draw(n, *work["shape"])).requires_grad_() for n in "qkv")
    dout = torch.from_numpy(spec.draw("dout", *work["shape"]))

    def run() -> float:
        q.grad = k.grad = v.grad = None
        F.scaled_dot_product_attention(q, k, v, is_causal=True).backward(dout)
        return k.grad[0, 0, 0, 0].item()

    return Made({"eager": run}, run())


def cross_entropy(work: dict[str, Any]) -> Made:
    N, V = work["shape"]
    logits = torch.from_numpy(spec.draw("logits", N, V)).requires_grad_()
    targets = torch.from_numpy(spec.draw_ids("targets", V, N))

    def run() -> float:
        logits.grad = None
        loss = F.cross_entropy(logits, targets)
        loss.backward()
        return loss.item()

    return Made({"eager": run}, run())


@torch.no_grad()
def rows(work: dict[str, Any]) -> Made:
    """PyTorch's own kernels, without its tape."""
    x, dy = (torch.from_numpy(spec.draw(name, *work["shape"])) for name in ("x", "dy"))
    C = x.shape[-1]
    gain, bias = torch.ones(C), torch.zeros(C)
    y = torch.softmax(x, -1)
    _, mean, rstd = aten.native_layer_norm(x, [C], gain, bias, 1e-5)
    norm_backward = aten.native_layer_norm_backward
    run = {
        "gelu": lambda: F.gelu(x),
        "gelu backward": lambda: aten.gelu_backward(dy, x),
        "softmax": lambda: torch.softmax(x, -1),
        "softmax backward": lambda: aten._softmax_backward_data(dy, y, -1, torch.float32),
        "layer_norm": lambda: aten.native_layer_norm(x, [C], gain, bias, 1e-5),
        "layer_norm backward": lambda: norm_backward(
            dy, x, [C], mean, rstd, gain, bias, [True] * 3
        ),
    }[work["name"]]

    def without_tape() -> object:
        with torch.no_grad():
            return run()

    first = run()
    first = first[0] if isinstance(first, tuple) else first
    return Made({"eager": without_tape}, first[0, 0].item())


def optimiser(work: dict[str, Any]) -> Made:
    variants: dict[str, Callable[[], object]] = {}
    result = None
    for name in ("fused", "foreach"):
        model = model_of(spec.PRESETS[work["preset"]])
        for key, p in model.named_parameters():
            p.grad = torch.from_numpy(spec.draw(f"d {key}", *p.shape))
        optimizer = adamw(model.parameters(), **{name: True})
        optimizer.step()
        result = model.wte.weight[0, 0].item()
        variants[name] = optimizer.step
    return Made(variants, result)


def matmul(work: dict[str, Any]) -> Made:
    a, b = spec.operands(work["form"], tuple(work["shape"]), work["dtype"])
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    return Made({"eager": lambda: left @ right}, (left @ right)[0, 0].item())


MAKERS = {
    "step": step,
    "attention": attention,
    "cross_entropy": cross_entropy,
    "rows": rows,
    "adamw": optimiser,
    "matmul": matmul,
}

if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve(
        f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads",
        lambda work: MAKERS[work["kind"]](work),
    )
