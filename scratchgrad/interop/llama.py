"""Llama, and Mistral, as Hugging Face keeps them: config.json, names and shapes of the tensors.

==========================  ==============================================  ===========
ours (out, in)              theirs, with or without "model."                rows
==========================  ==============================================  ===========
wte.weight                  embed_tokens.weight                             V
h.i.ln_1.weight             layers.i.input_layernorm.weight                 C
h.i.attn.c_attn.weight      layers.i.self_attn.q_proj.weight, and below it  H D
..                          layers.i.self_attn.k_proj.weight, v_proj        Hk D, Hk D
h.i.attn.c_proj.weight      layers.i.self_attn.o_proj.weight                C
h.i.ln_2.weight             layers.i.post_attention_layernorm.weight        C
h.i.mlp.c_fc.weight         layers.i.mlp.gate_proj.weight, and below it     I
..                          layers.i.mlp.up_proj.weight                     I
h.i.mlp.c_proj.weight       layers.i.mlp.down_proj.weight                   C
ln_f.weight                 norm.weight                                     C
lm_head.weight              lm_head.weight, never with a prefix             V
==========================  ==============================================  ===========

Biases go the same way. RoPE turns the numbers i and i + D / 2 of a head, as ours does where
``rope_interleaved`` is false. A sliding window of w, in Mistral, lets position t see the keys
t - w + 1 to t, as ours does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scratchgrad.gpt import GPTConfig
from scratchgrad.gpt.shapes import parameter_shapes
from scratchgrad.interop.gpt2 import refuse_other
from scratchgrad.interop.layout import Layout, Part
from scratchgrad.interop.settings import HARMLESS, Settings

ARCHITECTURES = {
    "llama": ("LlamaForCausalLM", "LlamaModel"),
    "mistral": ("MistralForCausalLM", "MistralModel"),
}
# The frequencies of RoPE, which follow from the configuration.
IGNORED = r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
PREFIX = "model."
BEGIN, END = 1, 2  # of a text, where config.json does not say which

_BLOCK = {
    "ln_1": ("input_layernorm",),
    "attn.c_attn": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn.c_proj": ("self_attn.o_proj",),
    "ln_2": ("post_attention_layernorm",),
    "mlp.c_fc": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.c_proj": ("mlp.down_proj",),
}


def read_config(body: Mapping[str, Any], where: str) -> tuple[GPTConfig, list[str]]:
    """Return the configuration that a config.json describes, and what a user should know.

    What it leaves out is as transformers' LlamaConfig or MistralConfig has it: a Mistral of which
    nothing is said has a window, and fewer keys than queries.

    Raises
    ------
    CheckpointError
        It asks for something that would be computed otherwise here, or that is not known here.
    """
    settings = Settings(body, where)
    mistral = settings.take("model_type") == "mistral"
    settings.only("hidden_act", ("silu", "swish"), "the MLP is SwiGLU, whose gate is SiLU")
    n_embd = settings.whole("hidden_size", 4096)
    n_head = settings.whole("num_attention_heads", 32)
    if n_embd % n_head:
        raise settings.fault(
            f"expected hidden_size to be a multiple of num_attention_heads ({n_head}); got", n_embd
        )
    if mistral:
        n_kv_head = settings.whole("num_key_value_heads", 8)
        window = settings.optional_whole("sliding_window", 4096)
    else:
        n_kv_head = settings.optional_whole("num_key_value_heads", None) or n_head
        window = None
    if n_head % n_kv_head:
        raise settings.fault(
            f"expected num_key_value_heads to divide num_attention_heads ({n_head}); got", n_kv_head
        )
    size = n_embd // n_head
    if size % 2:
        raise settings.fault("RoPE turns pairs: expected an even head size; got", size)
    settings.only("head_dim", (size, None), "a head has hidden_size / num_attention_heads numbers")
    settings.only("rope_interleaved", (False, None), "RoPE turns the numbers i and i + D / 2")
    attention_bias = settings.flag("attention_bias", False)
    mlp_bias = settings.flag("mlp_bias", False)
    if mistral and (attention_bias or mlp_bias):
        raise settings.fault("Mistral has no biases: expected attention_bias and mlp_bias false")
    config = GPTConfig(
        vocab_size=settings.whole("vocab_size", 32000),
        block_size=settings.whole("max_position_embeddings", 131072 if mistral else 2048),
        n_layer=settings.whole("num_hidden_layers", 32),
        n_head=n_head,
        n_embd=n_embd,
        n_kv_head=n_kv_head,
        n_inner=settings.whole("intermediate_size", 14336 if mistral else 11008),
        bias=attention_bias or mlp_bias,
        norm="rmsnorm",
        norm_eps=settings.number("rms_norm_eps", 1e-6),
        mlp="swiglu",
        position="rope",
        rope_base=_rope_base(settings),
        sliding_window=window,
        tied_head=settings.flag("tie_word_embeddings", False),
        embd_dropout=0.0,
        attn_dropout=settings.chance("attention_dropout", 0.0),
        resid_dropout=0.0,
    )
    settings.finish(HARMLESS)
    notes = []
    if attention_bias != mlp_bias:
        notes.append(
            f"only {'attention' if attention_bias else 'the MLP'} has biases there; the others "
            f"are 0 here, and would move if the model were trained"
        )
    return config, notes


def _rope_base(settings: Settings) -> float:
    """The base, where the frequencies are the plain ones.

    Until version 5 of transformers there were rope_theta, and rope_scaling for other frequencies;
    since then rope_parameters holds all of it.
    """
    base = 10000.0 if settings.take("rope_theta") is None else settings.number("rope_theta", 0.0)
    settings.only("partial_rotary_factor", (1.0, 1, None), "RoPE turns all of a head")
    both = [(name, settings.take(name)) for name in ("rope_scaling", "rope_parameters")]
    given = [(name, found) for name, found in both if found is not None]
    if len(given) > 1:
        raise settings.fault("expected one of rope_scaling and rope_parameters; got both")
    for name, found in given:
        if not isinstance(found, dict):
            raise settings.fault(f"expected {name} to be an object; got", found)
        inner = Settings(found, f"{settings.where}: {name}")
        plain = "RoPE has its plain frequencies here"
        inner.only("rope_type", ("default", None), plain)
        inner.only("type", ("default", None), plain)
        inner.only("partial_rotary_factor", (1.0, 1, None), "RoPE turns all of a head")
        said, base = base, inner.number("rope_theta", base)
        if settings.body.get("rope_theta") is not None and said != base:
            raise inner.fault(f"rope_theta is {said} beside it; expected the same; got", base)
        inner.finish(())
    return base


def layout(
    config: GPTConfig, prefix: str = PREFIX, *, attention_bias: bool = True, mlp_bias: bool = True
) -> Layout:
    """Which tensors of theirs each parameter of ours is; a bias that they have not is of none."""
    parts: dict[str, tuple[Part, ...]] = {}
    for name, shape in parameter_shapes(config).items():
        layer, kind = name.rsplit(".", 1)
        if layer == "lm_head":
            parts[name] = (Part(name, shape),)
        elif layer in ("wte", "ln_f"):
            theirs = {"wte": "embed_tokens", "ln_f": "norm"}[layer]
            parts[name] = (Part(f"{prefix}{theirs}.{kind}", shape),)
        else:
            _, number, inner = layer.split(".", 2)
            has = kind != "bias" or (attention_bias if inner.startswith("attn") else mlp_bias)
            several = _BLOCK[inner] if has else ()
            parts[name] = tuple(
                Part(f"{prefix}layers.{number}.{theirs}.{kind}", (rows, *shape[1:]))
                for theirs, rows in zip(several, _rows(config, inner, shape[0]), strict=False)
            )
    return parts


def _rows(config: GPTConfig, inner: str, rows: int) -> tuple[int, ...]:
    """How the rows of one of our parameters are shared out."""
    if inner == "attn.c_attn":
        keys = config.kv_heads * config.head_size
        return config.n_embd, keys, keys
    return (rows // 2, rows // 2) if inner == "mlp.c_fc" else (rows,)


def write_config(config: GPTConfig) -> tuple[dict[str, Any], list[str]]:
    """Return the config.json of a model, and what a user should know about it.

    With a sliding window it is Mistral's, which is Llama with a window.

    Raises
    ------
    ConfigError
        The model has a part that these have not; all are named.
    """
    mistral = config.sliding_window is not None
    wanted = {
        "norm": "rmsnorm",
        "norm_position": "pre",
        "position": "rope",
        "rope_interleaved": False,
        "qk_norm": False,
        "mlp": "swiglu",
    }
    kind, name = ("mistral", "Mistral") if mistral else ("llama", "Llama")
    said = "Mistral, which is Llama with a window," if mistral else name
    refuse_other(config, wanted | ({"bias": False} if mistral else {}), said)
    body: dict[str, Any] = {
        "architectures": [ARCHITECTURES[kind][0]],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "hidden_size": config.n_embd,
        "intermediate_size": config.inner,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "max_position_embeddings": config.block_size,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        # transformers before version 5 reads the first, later ones the second.
        "rope_theta": config.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "attention_dropout": config.dropout_of("attn"),
        "tie_word_embeddings": config.tied_head,
    }
    if mistral:
        body["sliding_window"] = config.sliding_window
    else:
        body |= {"attention_bias": config.bias, "mlp_bias": config.bias}
    lost = [part for part in ("embd", "resid") if config.dropout_of(part)]
    notes = [f"{name} has no dropout of {' and '.join(lost)}; it was left out"] if lost else []
    return body, notes
