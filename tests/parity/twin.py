"""The same GPT in PyTorch, from the formulas, with our weights copied in."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import scratchgrad as sg


class Block(nn.Module):
    def __init__(self, c: sg.GPTConfig) -> None:
        super().__init__()
        self.c = c
        self.ln_1 = nn.LayerNorm(c.n_embd, bias=c.bias)
        self.ln_2 = nn.LayerNorm(c.n_embd, bias=c.bias)
        self.attn = nn.ModuleDict(
            {
                "c_attn": nn.Linear(c.n_embd, 3 * c.n_embd, bias=c.bias),
                "c_proj": nn.Linear(c.n_embd, c.n_embd, bias=c.bias),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(c.n_embd, 4 * c.n_embd, bias=c.bias),
                "c_proj": nn.Linear(4 * c.n_embd, c.n_embd, bias=c.bias),
            }
        )

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        h = self.c.n_head
        q, k, v = (
            part.reshape(b, t, h, c // h).transpose(1, 2)
            for part in self.attn["c_attn"](x).chunk(3, dim=-1)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(c // h)
        future = torch.ones(t, t, dtype=torch.bool).triu(1)
        y = torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1) @ v
        return self.attn["c_proj"](y.transpose(1, 2).reshape(b, t, c))

    def feed(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.c.norm_position == "pre":
            x = x + self.attention(self.ln_1(x))
            return x + self.feed(self.ln_2(x))
        x = self.ln_1(x + self.attention(x))
        return self.ln_2(x + self.feed(x))


class GPT(nn.Module):
    def __init__(self, c: sg.GPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(c.vocab_size, c.n_embd)
        self.wpe = nn.Embedding(c.block_size, c.n_embd)
        self.h = nn.ModuleList(Block(c) for _ in range(c.n_layer))
        self.ln_f = nn.LayerNorm(c.n_embd, bias=c.bias)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> tuple[Any, Any]:
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h:
            x = block(x)
        logits = self.ln_f(x) @ self.wte.weight.T  # the tied head
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def twin_of(model: sg.GPT) -> GPT:
    """The same model with the same weights, in the same dtype."""
    twin = GPT(model.config).to(torch.tensor(next(model.parameters()).numpy()).dtype)
    state = {name: torch.tensor(value) for name, value in model.state_dict().items()}
    twin.load_state_dict(state, strict=True)
    return twin


def numbers(values: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in values.items()}
