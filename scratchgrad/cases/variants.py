"""The table's rows for what GPTConfig can choose: one a value of each switch.

A row fixes its value and draws the others, so that over its cases the value meets those of the
other switches. Every parameter of a tiny GPT is compared, weights of size one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad.cases.call import ATOL
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import numbers
from scratchgrad.cases.layers import MAX_ENTRIES, Repeated
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.gradcheck import GradcheckReport, gradcheck

# By switch, what each of its values sets.
SWITCHES: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "norm": {"layernorm": {"norm": "layernorm"}, "rmsnorm": {"norm": "rmsnorm"}},
    "norm_position": {"pre": {"norm_position": "pre"}, "post": {"norm_position": "post"}},
    "mlp": {kind: {"mlp": kind} for kind in ("gelu", "gelu_tanh", "relu", "relu2", "swiglu")},
    "position": {
        "learned": {"position": "learned"},
        "sinusoidal": {"position": "sinusoidal"},
        "rope": {"position": "rope"},
        "rope-interleaved": {"position": "rope", "rope_interleaved": True, "rope_base": 50.0},
        "none": {"position": "none"},
    },
    "n_kv_head": {"4": {"n_kv_head": 4}, "2": {"n_kv_head": 2}, "1": {"n_kv_head": 1}},
    "qk_norm": {"False": {}, "True": {"qk_norm": True}},
    "sliding_window": {"None": {}, "2": {"sliding_window": 2}},
    "bias": {"True": {"bias": True}, "False": {"bias": False}},
    "tied_head": {"True": {"tied_head": True}, "False": {"tied_head": False}},
    "dropout": {
        "0": {},
        "embd": {"embd_dropout": 0.3},
        "attn": {"attn_dropout": 0.3},
        "resid": {"resid_dropout": 0.3},
    },
}

# Two LayerNorms, or an MLP, between a parameter and the logits bend what the differences measure.
RTOL = 1e-6
NORM_EPS = 0.1  # a row that is almost constant has differences too steep to measure
CLEARANCE = 0.1  # from the kink of relu
DRAWS = 200


def tiny_config(values: Mapping[str, str], n_layer: int = 1) -> GPTConfig:
    """The smallest GPT in which each switch makes a difference, with these values."""
    changes = {k: v for name, value in values.items() for k, v in SWITCHES[name][value].items()}
    # RoPE turns the first pair of a head as others do: it needs a second.
    n_embd = 16 if changes.get("position") == "rope" else 8
    sizes = {"vocab_size": 5, "block_size": 4, "n_layer": n_layer, "n_head": 4, "n_embd": n_embd}
    return GPTConfig(**{**sizes, "n_inner": 3, "norm_eps": NORM_EPS, **changes})


def draw_weights(model: GPT, fixed: Repeated, ids: np.ndarray, rng: np.random.Generator) -> None:
    """Weights of size one, in float64, that keep away from the kink of relu.

    With the small weights that training starts from, attention is nearly even and much that is
    wrong with a gradient is too small to see. Within a step of the kink there is no derivative.
    """
    model.astype(np.float64)
    for _ in range(DRAWS):
        for parameter in model.parameters():
            (parameter.data,) = numbers(rng, parameter.shape, high=0.8)
        if not model.config.mlp.startswith("relu") or _nearest(model, fixed, ids) > CLEARANCE:
            return


def _nearest(model: GPT, fixed: Repeated, ids: np.ndarray) -> float:
    """How near to 0 comes what an activation of the model is given."""
    seen: list[float] = []
    own = model.h[0].mlp.activation

    def noted(x: Any) -> Any:
        seen.append(float(np.abs(x.numpy()).min()))
        return own(x)

    for block in model.h:
        block.mlp.activation = noted
    fixed(ids)
    for block in model.h:
        block.mlp.activation = own
    return min(seen)


@dataclass(frozen=True)
class VariantEntry:
    """A value of a switch."""

    switch: str
    value: str

    def prove(self, choose: Choices) -> GradcheckReport:
        """Draw the other switches, and check logits and loss by every parameter.

        Raises
        ------
        GradcheckError
        """
        values = {name: choose.one_of(list(options)) for name, options in SWITCHES.items()}
        return check_model({**values, self.switch: self.value}, choose.rng())


def check_model(
    values: Mapping[str, str], rng: np.random.Generator, max_entries: int = MAX_ENTRIES
) -> GradcheckReport:
    """Check logits and loss of a tiny GPT with these values of the switches.

    Raises
    ------
    GradcheckError
    """
    config = tiny_config(values)
    ids, targets = rng.integers(0, config.vocab_size, (2, 1, config.block_size))
    model = GPT(config, seed=0)
    # What is dropped is drawn here and does not change: the kinks stay where they are.
    fixed = Repeated(model, int(rng.integers(99)))
    draw_weights(model, fixed, ids, rng)
    return gradcheck(fixed, [ids, targets], rtol=RTOL, atol=ATOL, max_entries=max_entries)


VARIANTS: dict[str, VariantEntry] = {
    f"GPT.{switch}={value}": VariantEntry(switch, value)
    for switch, options in SWITCHES.items()
    for value in options
}
