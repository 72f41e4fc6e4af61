"""Train the PyTorch twin by the recipe of the `char` preset: the loss that ours is held against.

    python -m tests.parity.train_twin TEXT [--seed N]

The weights start as ours do; batches, optimiser and schedule are PyTorch's own or written out here,
so nothing but the architecture is shared. Last, it prints the loss over the whole validation split.
"""

import argparse
import math
import time
from pathlib import Path

import torch

import scratchgrad as sg
from tests.parity.twin import GPT, twin_of

STEPS, BATCH, CONTEXT = 2000, 12, 64
LR, MIN_LR, WARMUP = 1e-3, 1e-4, 100


def rate(step: int) -> float:
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    way = (step - WARMUP) / (STEPS - WARMUP)
    return MIN_LR + 0.5 * (1 + math.cos(math.pi * way)) * (LR - MIN_LR)


@torch.no_grad()
def whole_loss(twin: GPT, ids: torch.Tensor) -> float:
    """The mean over every token of the split, in windows side by side."""
    total, count = 0.0, 0
    for start in range(0, len(ids) - 1, CONTEXT):
        x = ids[start : min(start + CONTEXT, len(ids) - 1)]
        y = ids[start + 1 : start + 1 + len(x)]
        total += twin(x[None], y[None])[1].item() * len(x)
        count += len(x)
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("--seed", type=int, default=1337)
    arguments = parser.parse_args()

    text = arguments.text.read_bytes().decode()
    ids = torch.tensor(sg.tokenizer.CharTokenizer().train(text).encode(text).astype("int64"))
    cut = int(len(ids) * 0.9)
    training, validation = ids[:cut], ids[cut:]
    config = sg.GPTConfig(int(ids.max()) + 1, CONTEXT, n_layer=4, n_head=4, n_embd=128, bias=False)
    twin = twin_of(sg.GPT(config, seed=arguments.seed))
    matrices = [p for p in twin.parameters() if p.ndim >= 2]
    rest = [p for p in twin.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(arguments.seed)
    began = time.perf_counter()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        starts = torch.randint(len(training) - CONTEXT, (BATCH,), generator=generator)
        x = torch.stack([training[s : s + CONTEXT] for s in starts])
        y = torch.stack([training[s + 1 : s + 1 + CONTEXT] for s in starts])
        optimizer.zero_grad()
        loss = twin(x, y)[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
        if step % 250 == 249:
            print(f"step {step + 1}: {loss.item():.4f}, {time.perf_counter() - began:.0f} s")
    print(f"seed {arguments.seed}: val_loss {whole_loss(twin, validation):.4f}")


if __name__ == "__main__":
    main()
