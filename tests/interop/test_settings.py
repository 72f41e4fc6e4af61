"""A setting that would be computed otherwise, or that nobody here knows, is refused by its name."""

import json
from pathlib import Path
from typing import Any

import pytest

from scratchgrad.errors import CheckpointError, ConfigError
from scratchgrad.interop import gpt2, llama
from scratchgrad.interop.pretrained import read_pretrained
from tests.interop.models import edit_config, folder, model

GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 11,
    "n_positions": 8,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 4,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 11,
    "max_position_embeddings": 8,
    "hidden_size": 8,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
MISTRAL = {**LLAMA, "model_type": "mistral", "num_key_value_heads": 2}
READ = {
    "gpt2": lambda body: gpt2.read_config(body, "config.json"),
    "llama": lambda body: llama.read_config(body, "config.json"),
    "mistral": lambda body: llama.read_config(body, "config.json"),
}
BASE = {"gpt2": GPT2, "llama": LLAMA, "mistral": MISTRAL}

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("gpt2", {"activation_function": "tanh"}, "activation_function to be one of gelu_new"),
    ("gpt2", {"activation_function": ["gelu"]}, "activation_function to be one of gelu_new"),
    ("gpt2", {"scale_attn_weights": False}, "expected scale_attn_weights to be true; got false"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scaled by 1 / sqrt(D) only"),
    ("gpt2", {"add_cross_attention": True}, "no cross-attention"),
    ("gpt2", {"n_ctx": 7}, "expected n_ctx to be 8; got 7"),
    ("gpt2", {"n_head": 3}, "a multiple of n_head (3); got 8"),
    ("gpt2", {"n_layer": 0}, "expected n_layer to be a whole number of at least 1; got 0"),
    ("gpt2", {"n_layer": 2.0}, "expected n_layer to be a whole number"),
    ("gpt2", {"n_layer": True}, "expected n_layer to be a whole number of at least 1; got true"),
    ("gpt2", {"vocab_size": 2**31}, "expected vocab_size to be a whole number"),
    (
        "gpt2",
        {"vocab_size": None},
        "expected vocab_size to be a whole number of at least 1; got null",
    ),
    ("gpt2", {"attn_pdrop": 1}, "expected attn_pdrop to be from 0"),
    ("gpt2", {"layer_norm_epsilon": 0}, "expected layer_norm_epsilon to be a number above 0"),
    ("gpt2", {"layer_norm_epsilon": "1e-5"}, "expected layer_norm_epsilon to be a number above 0"),
    ("gpt2", {"tie_word_embeddings": 1}, "expected tie_word_embeddings to be true or false; got 1"),
    ("gpt2", {"hidden_size": 8}, "hidden_size is not known here"),
    ("gpt2", {"quantization_config": {"bits": 4}}, "quantization_config is not known here"),
    ("gpt2", {"auto_map": {"AutoModel": "evil.Model"}}, "auto_map is not known here"),
    ("llama", {"hidden_act": "gelu"}, "whose gate is SiLU: expected hidden_act to be 'silu'"),
    ("llama", {"head_dim": 4}, "expected head_dim to be 2 or null; got 4"),
    ("llama", {"num_key_value_heads": 3}, "num_key_value_heads to divide num_attention_heads (4)"),
    ("llama", {"num_attention_heads": 8}, "expected an even head size; got 1"),
    ("llama", {"rope_interleaved": True}, "expected rope_interleaved to be false"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "plain frequencies"),
    ("llama", {"rope_scaling": {"rope_type": "llama3"}}, "plain frequencies"),
    ("llama", {"rope_scaling": {"rope_type": "default", "factor": 2.0}}, "factor is not known"),
    ("llama", {"rope_scaling": 2.0}, "expected rope_scaling to be an object"),
    ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "plain frequencies"),
    ("llama", {"rope_parameters": {"rope_theta": -1.0}}, "rope_theta to be a number above 0"),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "RoPE turns all of a head"),
    ("llama", {"partial_rotary_factor": 0.5}, "RoPE turns all of a head"),
    ("llama", {"rope_theta": 5.0, "rope_parameters": {"rope_theta": 6.0}}, "rope_theta is 5.0"),
    ("llama", {"rope_parameters": {"rope_theta": 6.0}, "rope_scaling": {"x": 1}}, "got both"),
    ("llama", {"sliding_window": 4}, "sliding_window is not known here"),
    ("llama", {"layer_types": ["full_attention"] * 2}, "layer_types is not known here"),
    ("llama", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is not known here"),
    ("llama", {"residual_multiplier": 0.2, "logits_scaling": 8}, "logits_scaling, residual_multi"),
    ("mistral", {"attention_bias": True}, "Mistral has no biases"),
    ("mistral", {"sliding_window": 0}, "expected sliding_window to be a whole number"),
    ("mistral", {"num_key_value_heads": None}, "expected num_key_value_heads to be a whole number"),
    ("llama", {"rms_norm_eps": None}, "expected rms_norm_eps to be a number above 0; got null"),
    ("llama", {"tie_word_embeddings": None}, "tie_word_embeddings to be true or false; got null"),
]


@pytest.mark.parametrize(("kind", "changes", "expected"), REFUSED)
def test_refused_by_name(kind: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        READ[kind]({**BASE[kind], **changes})
    assert expected in str(caught.value)
    assert str(caught.value).startswith("config.json: ")
    assert len(str(caught.value)) < 400


def test_what_is_off_or_harmless_is_read() -> None:
    more = {"some_new_thing": None, "another": False, "use_cache": True, "eos_token_id": [1, 2]}
    more |= {"pruned_heads": {}, "some_list": [], "num_labels": 1, "max_new_tokens": 5}
    gpt2.read_config({**GPT2, **more, "n_ctx": 8, "_name_or_path": "x"}, "config.json")
    llama.read_config({**LLAMA, **more, "rope_scaling": None, "rope_theta": None}, "config.json")


def test_gpt2_defaults_are_those_of_transformers() -> None:
    config = gpt2.read_config(GPT2, "config.json")
    assert (config.mlp, config.norm_eps, config.tied_head) == ("gelu_tanh", 1e-5, True)
    assert [config.dropout_of(part) for part in ("embd", "attn", "resid")] == [0.1] * 3


def test_llama_defaults_are_those_of_transformers() -> None:
    config, notes = llama.read_config(LLAMA, "config.json")
    assert (config.norm_eps, config.rope_base, config.tied_head) == (1e-6, 10000.0, False)
    assert (config.kv_heads, config.bias, config.sliding_window, notes) == (4, False, None, [])
    for said, window in (({"sliding_window": 4}, 4), ({"sliding_window": None}, None), ({}, 4096)):
        config, _ = llama.read_config({**MISTRAL, **said}, "config.json")
        assert (config.kv_heads, config.sliding_window) == (2, window)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_config_goes_there_and_back(kind: str) -> None:
    config = model(kind, norm_eps=2e-4, attn_dropout=0.25).config
    body, notes = (gpt2 if kind == "gpt2" else llama).write_config(config)
    found = READ[kind](json.loads(json.dumps(body)))
    found = found if kind == "gpt2" else found[0]
    same = ("norm_eps", "mlp", "kv_heads", "inner", "tied_head", "bias", "position", "block_size")
    assert {n: getattr(found, n) for n in same} == {n: getattr(config, n) for n in same}
    assert found.dropout_of("attn") == 0.25
    assert notes == []


def test_what_cannot_be_said_there_names_the_layout() -> None:
    """A window makes it a Mistral, which has no biases, and Llama has."""
    with pytest.raises(ConfigError, match=r"^Mistral, which .*: bias is True, where it has False"):
        llama.write_config(model("llama", bias=True, sliding_window=3).config)
    _, notes = llama.write_config(model("llama", sliding_window=3, embd_dropout=0.1).config)
    assert notes == ["Mistral has no dropout of embd; it was left out"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "qwen2"}, "expected model_type to be gpt2, llama, mistral; got 'qwen2'"),
        ({"model_type": ["gpt2"]}, "expected model_type to be gpt2"),
        ({"architectures": ["GPT2ForSequenceClassification"]}, "expected architectures of GPT2LM"),
        ({"architectures": ["LlamaForCausalLM"]}, "expected architectures of GPT2LMHeadModel"),
        ({"architectures": "GPT2LMHeadModel"}, "expected architectures"),
        ({"eos_token_id": "x"}, "expected eos_token_id to be ids"),
        ({"n_layer": 1_000_000_000}, "too few for the 1,000,000,000 layers"),
    ],
)
def test_another_model(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    folder(tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(CheckpointError) as caught:
        read_pretrained(tmp_path)
    assert expected in str(caught.value)
