"""GPT-2 as Hugging Face keeps it: config.json and the names and shapes of the tensors.

===========================  ======================================  ===============
ours (out, in)               theirs, with or without "transformer."  there
===========================  ======================================  ===============
wte.weight, wpe.weight       the same                                (V, C), (T, C)
h.i.ln_1.weight, .bias       the same, and so ln_2, ln_f             (C,)
h.i.attn.c_attn.weight       the same                                (C, 3 C): turned
h.i.attn.c_proj.weight       the same                                (C, C): turned
h.i.mlp.c_fc.weight          the same                                (C, I): turned
h.i.mlp.c_proj.weight        the same                                (I, C): turned
lm_head.weight               lm_head.weight, never with a prefix     (V, C)
===========================  ======================================  ===============

Their matrices stand as (in, out), because the first code for GPT-2 wrote x W for what everybody
else writes x W^T. That c_proj is square, so that nothing but the numbers says which way round it
is, is how it goes wrong unseen. The buffers ``attn.bias`` and ``attn.masked_bias`` of older files
are the causal mask, and nothing that is learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scratchgrad.errors import ConfigError
from scratchgrad.gpt import GPTConfig
from scratchgrad.gpt.shapes import parameter_shapes
from scratchgrad.interop.layout import Layout, Part
from scratchgrad.interop.settings import HARMLESS, Settings

ARCHITECTURES = ("GPT2LMHeadModel", "GPT2Model")
IGNORED = r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)"
PREFIX = "transformer."
BEGIN, END = 50256, 50256  # of a text, where config.json does not say which

# The same function under its names: gelu_new and gelu_pytorch_tanh are GELU by a tanh.
_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "relu2": "relu2",
}


def read_config(body: Mapping[str, Any], where: str) -> GPTConfig:
    """Return the configuration that a config.json describes.

    What it leaves out is as transformers' GPT2Config has it.

    Raises
    ------
    CheckpointError
        It asks for something that would be computed otherwise here, or that is not known here.
    """
    settings = Settings(body, where)
    activation = settings.take("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        expected = ", ".join(_ACTIVATIONS)
        raise settings.fault(
            f"expected activation_function to be one of {expected}; got", activation
        )
    scores = "attention scores are scaled by 1 / sqrt(D) only"
    settings.only("scale_attn_weights", (True,), scores)
    settings.only("scale_attn_by_inverse_layer_idx", (False,), scores)
    settings.only("add_cross_attention", (False, None), "there is no cross-attention")
    settings.take("reorder_and_upcast_attn")  # which is about float16
    n_embd, n_head = settings.whole("n_embd", 768), settings.whole("n_head", 12)
    if n_embd % n_head:
        raise settings.fault(f"expected n_embd to be a multiple of n_head ({n_head}); got", n_embd)
    config = GPTConfig(
        vocab_size=settings.whole("vocab_size", 50257),
        block_size=settings.whole("n_positions", 1024),
        n_layer=settings.whole("n_layer", 12),
        n_head=n_head,
        n_embd=n_embd,
        n_inner=settings.optional_whole("n_inner", None),
        mlp=_ACTIVATIONS[activation],
        norm_eps=settings.number("layer_norm_epsilon", 1e-5),
        tied_head=settings.flag("tie_word_embeddings", True),
        embd_dropout=settings.chance("embd_pdrop", 0.1),
        attn_dropout=settings.chance("attn_pdrop", 0.1),
        resid_dropout=settings.chance("resid_pdrop", 0.1),
    )
    settings.only("n_ctx", (config.block_size,), "the context has one length")
    settings.finish(HARMLESS)
    return config


def layout(config: GPTConfig, prefix: str = PREFIX) -> Layout:
    """Which tensor of theirs each parameter of ours is."""
    parts = {}
    for name, shape in parameter_shapes(config).items():
        turned = len(shape) == 2 and name.startswith("h.")
        theirs = name if name == "lm_head.weight" else prefix + name
        parts[name] = (Part(theirs, shape[::-1] if turned else shape, turned),)
    return parts


def write_config(config: GPTConfig) -> tuple[dict[str, Any], list[str]]:
    """Return the config.json of a model, and what a user should know about it.

    Raises
    ------
    ConfigError
        The model has a part that GPT-2 has not; all are named.
    """
    wanted = {
        "norm": "layernorm",
        "norm_position": "pre",
        "position": "learned",
        "kv_heads": config.n_head,
        "qk_norm": False,
        "sliding_window": None,
        "mlp": tuple(_ACTIVATIONS.values()),
    }
    refuse_other(config, wanted, "GPT-2")
    names = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    body = {
        "architectures": [ARCHITECTURES[0]],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.block_size,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_inner": config.n_inner,
        "activation_function": names[config.mlp],
        "layer_norm_epsilon": config.norm_eps,
        "embd_pdrop": config.dropout_of("embd"),
        "attn_pdrop": config.dropout_of("attn"),
        "resid_pdrop": config.dropout_of("resid"),
        "tie_word_embeddings": config.tied_head,
    }
    notes = [] if config.bias else ["the model has no biases; GPT-2 has, and they are written as 0"]
    return body, notes


def refuse_other(config: GPTConfig, wanted: Mapping[str, Any], name: str) -> None:
    """Refuse a model that differs from what a layout can say, naming all that differs."""
    faults = []
    for field, accepted in wanted.items():
        accepted = accepted if isinstance(accepted, tuple) else (accepted,)
        if (value := getattr(config, field)) not in accepted:
            shown = " or ".join(dict.fromkeys(repr(one) for one in accepted))
            faults.append(f"{field} is {value!r}, where it has {shown}")
    if faults:
        raise ConfigError(f"{name} cannot say what this model is: " + "; ".join(faults))
