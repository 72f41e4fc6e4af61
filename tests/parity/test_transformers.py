"""Models of transformers, through files: logits, loss and every gradient; and ours, read there.

What they write is read here and what we write there, so names, shapes, which way round a matrix
stands and every setting are held to what that library does with them.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scratchgrad as sg
from scratchgrad.errors import CheckpointError, ConfigError
from scratchgrad.interop import gpt2, llama
from scratchgrad.interop.chat_template import encode_chat
from scratchgrad.interop.huggingface import write_folder
from scratchgrad.interop.pretrained import Pretrained, read_pretrained, save_pretrained
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer
from scratchgrad.tokenizer.chat import CHAT_TOKENS, END
from tests.nn.models import batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers", minversion="5.0")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from transformers.models.llama import modeling_llama
    from transformers.models.mistral import modeling_mistral

pytestmark = pytest.mark.filterwarnings("ignore")

TOLERANCE = {np.float32: 1e-4, np.float64: 1e-9}
GPT2 = {"vocab_size": 19, "n_positions": 12, "n_embd": 16, "n_layer": 2, "n_head": 4}
LLAMA = {
    "vocab_size": 19,
    "max_position_embeddings": 12,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "rms_norm_eps": 1e-4,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", {}),
    "gpt2, untied": ("GPT2", {"tie_word_embeddings": False}),
    "gpt2, exact gelu": ("GPT2", {"activation_function": "gelu", "n_inner": 24}),
    "gpt2, relu": ("GPT2", {"activation_function": "relu", "layer_norm_epsilon": 1e-3}),
    "gpt2, relu squared": ("GPT2", {"activation_function": "relu2", "n_layer": 1}),
    "gpt2, tanh by its other name": ("GPT2", {"activation_function": "gelu_pytorch_tanh"}),
    "llama": ("Llama", {}),
    "llama, grouped, tied": ("Llama", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "llama, one key": ("Llama", {"num_key_value_heads": 1, "rope_theta": 300.0}),
    "llama, biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, base": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}}),
    "mistral, window": ("Mistral", {"num_key_value_heads": 2, "sliding_window": 5}),
    "mistral, none": ("Mistral", {"num_key_value_heads": 4, "sliding_window": None}),
}


def made(name: str, seed: int = 0) -> Any:
    """A model of theirs in evaluation mode, with weights at which every part matters."""
    kind, changes = MODELS[name]
    settings = (GPT2 if kind == "GPT2" else LLAMA) | changes
    config = getattr(transformers, f"{kind}Config")(**settings)
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    model = getattr(transformers, kind + head)(config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(std=0.3)
            if ("norm" in key or "ln_" in key) and key.endswith("weight"):
                parameter += 1
    return model


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' Llama in float64 all through: it computes norms and angles in float32."""

    def norm(self: Any, x: Any) -> Any:
        return (
            self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        )

    def angles(self: Any, x: Any, position_ids: Any) -> Any:
        size = self.config.head_dim
        powers = torch.arange(0, size, 2, dtype=torch.float64) / size
        frequencies = self.config.rope_parameters["rope_theta"] ** -powers
        turned = position_ids[..., None].double() * frequencies
        turned = torch.cat((turned, turned), dim=-1)
        return turned.cos(), turned.sin()

    for module, kind in ((modeling_llama, "Llama"), (modeling_mistral, "Mistral")):
        monkeypatch.setattr(getattr(module, kind + "RMSNorm"), "forward", norm)
        monkeypatch.setattr(getattr(module, kind + "RotaryEmbedding"), "forward", angles)


def as_ours(theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Their arrays under our names, spelled out: not by the tables that are tested."""
    ours = {}
    for name, array in theirs.items():
        if name.startswith("transformer."):
            turned = array.ndim == 2 and ".h." in name
            ours[name.removeprefix("transformer.")] = array.T if turned else array
        elif name == "lm_head.weight":
            ours[name] = array
        elif name == "model.embed_tokens.weight":
            ours["wte.weight"] = array
        elif name == "model.norm.weight":
            ours["ln_f.weight"] = array
        else:
            _, _, i, *middle, kind = name.split(".")
            key = ".".join(middle)
            block = f"h.{i}."
            sibling = {
                "self_attn.q_proj": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                "mlp.gate_proj": ["mlp.gate_proj", "mlp.up_proj"],
            }
            plain = {
                "input_layernorm": "ln_1",
                "post_attention_layernorm": "ln_2",
                "self_attn.o_proj": "attn.c_proj",
                "mlp.down_proj": "mlp.c_proj",
            }
            if key in sibling:
                parts = [theirs[f"model.layers.{i}.{other}.{kind}"] for other in sibling[key]]
                target = "attn.c_attn" if "attn" in key else "mlp.c_fc"
                ours[f"{block}{target}.{kind}"] = np.concatenate(parts)
            elif key in plain:
                ours[f"{block}{plain[key]}.{kind}"] = array
    return ours


def close(ours: np.ndarray, theirs: np.ndarray, dtype: Any, what: str) -> None:
    tolerance = TOLERANCE[dtype] * max(np.abs(theirs).max(), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=what)


def check_every_gradient(theirs: Any, ours: sg.GPT, dtype: Any) -> None:
    ids, targets = batch(ours.config, rows=3)
    logits, loss = ours(ids, targets)
    their_logits = theirs(torch.tensor(ids)).logits
    # Their own loss moves the targets by one; ours are moved already.
    their_loss = torch.nn.functional.cross_entropy(
        their_logits.reshape(-1, ours.config.vocab_size), torch.tensor(targets).reshape(-1)
    )
    close(logits.numpy(), their_logits.detach().numpy(), dtype, "logits")
    close(loss.numpy(), their_loss.detach().numpy(), dtype, "loss")
    loss.backward()
    their_loss.backward()
    expected = as_ours({n: p.grad.numpy() for n, p in theirs.named_parameters()})
    found = {name: p.grad for name, p in ours.named_parameters()}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        close(gradient, expected[name], dtype, name)


@pytest.mark.parametrize("name", MODELS)
def test_theirs_in_float32(tmp_path: Path, name: str) -> None:
    theirs = made(name)
    theirs.save_pretrained(tmp_path)
    ours = read_pretrained(tmp_path).model
    assert not ours.training
    check_every_gradient(theirs, ours, np.float32)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", MODELS)
def test_theirs_in_float64(tmp_path: Path, name: str) -> None:
    theirs = made(name).double()
    theirs.save_pretrained(tmp_path)
    ours = read_pretrained(tmp_path, dtype=np.float64).model
    check_every_gradient(theirs, ours, np.float64)


@pytest.mark.parametrize("name", ["gpt2, untied", "llama, grouped, tied"])
@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_two_bytes_a_number(tmp_path: Path, name: str, kind: str) -> None:
    """What is read is what torch widens, bit for bit."""
    half = made(name).to(getattr(torch, kind))
    half.save_pretrained(tmp_path)
    ours = read_pretrained(tmp_path).model.state_dict()
    theirs = as_ours({n: p.detach().float().numpy() for n, p in half.named_parameters()})
    assert ours.keys() == theirs.keys()
    for key, array in ours.items():
        np.testing.assert_array_equal(array, theirs[key])


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_cut_into_files(tmp_path: Path, name: str) -> None:
    theirs = made(name)
    theirs.save_pretrained(tmp_path / "one")
    theirs.save_pretrained(tmp_path / "several", max_shard_size="4KB")
    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 3
    one, several = (read_pretrained(tmp_path / n).model.state_dict() for n in ("one", "several"))
    for key, array in one.items():
        np.testing.assert_array_equal(array, several[key])


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral, window"])
def test_names_without_a_prefix(tmp_path: Path, name: str) -> None:
    """As the model without a head is saved. Llama's head is not tied, and is missing then."""
    theirs = made(name)
    theirs.base_model.save_pretrained(tmp_path)
    if name == "gpt2":
        check_every_gradient(theirs, read_pretrained(tmp_path).model, np.float32)
    else:
        with pytest.raises(CheckpointError, match=r"missing: lm_head\.weight"):
            read_pretrained(tmp_path)


def test_one_of_two_biases(tmp_path: Path) -> None:
    """There, attention has biases and the MLP has none: ours has zeros, and says so."""
    MODELS["odd"] = ("Llama", {"attention_bias": True})
    theirs = made("odd")
    del MODELS["odd"]
    theirs.save_pretrained(tmp_path)
    found = read_pretrained(tmp_path)
    assert any("only attention has biases" in note for note in found.notes)
    ids, _ = batch(found.model.config)
    expected = theirs(torch.tensor(ids)).logits.detach().numpy()
    close(found.model(ids)[0].numpy(), expected, np.float32, "logits")


def test_what_a_config_of_version_4_says(tmp_path: Path) -> None:
    """rope_theta beside the others, and rope_scaling null."""
    theirs = made("llama, base")
    theirs.save_pretrained(tmp_path)
    body = json.loads((tmp_path / "config.json").read_text())
    del body["rope_parameters"]
    body |= {"rope_theta": 77.0, "rope_scaling": None, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(body))
    check_every_gradient(theirs, read_pretrained(tmp_path).model, np.float32)


# What each name of a config.json is here. Names of their own are read from their configuration.
OF_GPT2 = {
    "vocab_size": "vocab_size",
    "n_positions": "block_size",
    "n_embd": "n_embd",
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_inner": "n_inner",
    "activation_function": "mlp",
    "layer_norm_epsilon": "norm_eps",
    "embd_pdrop": "embd_dropout",
    "attn_pdrop": "attn_dropout",
    "resid_pdrop": "resid_dropout",
    "tie_word_embeddings": "tied_head",
}
OF_LLAMA = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "block_size",
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "num_key_value_heads": "n_kv_head",
    "intermediate_size": "n_inner",
    "rms_norm_eps": "norm_eps",
    "attention_dropout": "attn_dropout",
    "tie_word_embeddings": "tied_head",
}
NAMES = {
    "gpt2": OF_GPT2,
    "llama": OF_LLAMA | {"attention_bias": "bias", "mlp_bias": "bias"},
    "mistral": OF_LLAMA | {"sliding_window": "sliding_window"},
}


@pytest.mark.parametrize("kind", NAMES)
def test_what_a_config_leaves_out(kind: str) -> None:
    """Nothing is said but the kind: every default is theirs, as the library has it now."""
    theirs = transformers.AutoConfig.for_model(kind)
    read = gpt2.read_config if kind == "gpt2" else llama.read_config
    found = read({"model_type": kind}, "config.json")
    ours = found if isinstance(found, sg.GPTConfig) else found[0]
    expected = {name: getattr(theirs, name) for name in NAMES[kind]}
    if kind == "gpt2":
        assert expected["activation_function"] == "gelu_new"
        expected["activation_function"] = "gelu_tanh"
        assert (theirs.bos_token_id, theirs.eos_token_id) == (gpt2.BEGIN, gpt2.END)
    else:
        assert theirs.rope_parameters == {"rope_type": "default", "rope_theta": ours.rope_base}
        assert (theirs.hidden_act, theirs.head_dim) == ("silu", ours.head_size)
        assert (theirs.bos_token_id, theirs.eos_token_id) == (llama.BEGIN, llama.END)
        assert getattr(theirs, "sliding_window", None) == ours.sliding_window
    assert {name: getattr(ours, mine) for name, mine in NAMES[kind].items()} == expected


@pytest.mark.parametrize("kind", NAMES)
def test_what_a_config_says_is_null(kind: str, tmp_path: Path) -> None:
    """It is no default: what they refuse is refused, and what they read is read the same."""
    read = gpt2.read_config if kind == "gpt2" else llama.read_config
    for name, mine in NAMES[kind].items():
        body = {"model_type": kind, name: None}
        (tmp_path / "config.json").write_text(json.dumps(body))
        try:
            theirs = getattr(transformers.AutoConfig.from_pretrained(tmp_path), name)
        except Exception:  # a validation error of whatever library it uses
            with pytest.raises(CheckpointError, match=f"expected {name} to be .* got null"):
                read(body, "config.json")
            continue
        if name == "attention_dropout":  # of Llama; null is no probability there either
            continue
        found = read(body, "config.json")
        assert getattr(found if isinstance(found, sg.GPTConfig) else found[0], mine) == theirs, name


# ---- ours, read there

OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "gpt2, tanh": ("gpt2", {"mlp": "gelu_tanh", "norm_eps": 1e-3}),
    "gpt2, no bias": ("gpt2", {"bias": False, "mlp": "relu"}),
    "gpt2, untied": ("gpt2", {"tied_head": False, "mlp": "relu2", "n_inner": 40}),
    "llama": ("llama", {"bias": False}),
    "llama, grouped": ("llama", {"bias": False, "n_kv_head": 2, "tied_head": False}),
    "llama, biases": ("llama", {"n_kv_head": 1, "n_inner": 20, "rope_base": 50.0}),
    "llama, neighbours": ("llama", {"bias": False, "n_kv_head": 2, "rope_interleaved": True}),
    "llama, neighbours, biases": ("llama", {"rope_interleaved": True}),
    "mistral": ("llama", {"bias": False, "n_kv_head": 2, "sliding_window": 3}),
}
LIKE_LLAMA = {"norm": "rmsnorm", "mlp": "swiglu", "position": "rope"}


def ours_of(name: str) -> tuple[str, sg.GPT]:
    to, changes = OURS[name]
    settings = {"vocab_size": 19, "block_size": 12, "n_layer": 2, "n_head": 4, "n_embd": 16}
    config = sg.GPTConfig(**settings | (LIKE_LLAMA if to == "llama" else {}) | changes)
    model = sg.GPT(config)
    rng = np.random.default_rng(7)
    for parameter in model.parameters():
        scale = 0.4 if parameter.ndim == 2 else 1.0
        parameter.data = (scale * rng.standard_normal(parameter.shape)).astype(np.float32)
    return to, model.eval()


def loaded(folder: Path) -> Any:
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, local_files_only=True
    )
    assert not any(info.values()), info
    return model.eval()


@pytest.mark.parametrize("name", OURS)
def test_ours_there_and_back(tmp_path: Path, name: str) -> None:
    to, ours = ours_of(name)
    write_folder(Pretrained(ours, None, stop=(3, 5)), to, tmp_path)
    theirs = loaded(tmp_path)
    assert theirs.generation_config.eos_token_id == [3, 5]
    ids, _ = batch(ours.config, rows=3)
    logits = ours(ids)[0].numpy()
    close(theirs(torch.tensor(ids)).logits.detach().numpy(), logits, np.float32, name)
    back = read_pretrained(tmp_path)
    assert back.stop == (3, 5)
    close(back.model(ids)[0].numpy(), logits, np.float32, "back")
    if not ours.config.rope_interleaved and "no bias" not in name:
        state = back.model.state_dict()
        for key, array in ours.state_dict().items():
            np.testing.assert_array_equal(state[key], array)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "post": ("gpt2", {"norm_position": "post"}, "norm_position is 'post'"),
    "rope": ("gpt2", {"position": "rope"}, "position is 'rope'"),
    "grouped": ("gpt2", {"n_kv_head": 2}, "kv_heads is 2"),
    "window": ("gpt2", {"sliding_window": 2}, "sliding_window is 2"),
    "head norms": ("llama", {**LIKE_LLAMA, "qk_norm": True}, "qk_norm is True"),
    "gelu": ("llama", {**LIKE_LLAMA, "mlp": "gelu"}, "mlp is 'gelu'"),
    "layer norm": ("llama", {**LIKE_LLAMA, "norm": "layernorm"}, "norm is 'layernorm'"),
    "biases and window": ("llama", {**LIKE_LLAMA, "sliding_window": 2}, "^Mistral.* bias is True"),
    "another": ("qwen", {}, "expected gpt2 or llama"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_layout_cannot_say(tmp_path: Path, name: str) -> None:
    to, changes, expected = REFUSED[name]
    settings = {"vocab_size": 5, "block_size": 4, "n_layer": 1, "n_head": 4, "n_embd": 8}
    model = sg.GPT(sg.GPTConfig(**settings | changes))
    with pytest.raises(ConfigError, match=expected):
        write_folder(Pretrained(model, None), to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- the tokenizer and what goes along


def test_the_tokenizer_goes_along(tmp_path: Path) -> None:
    tokenizer = BPETokenizer().train("the theme of the thesis " * 9, 270)
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    begin, end = (tokenizer.special_tokens[n] for n in ("<|begin|>", "<|end|>"))
    config = {"block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8}
    model = sg.GPT(sg.GPTConfig(vocab_size=tokenizer.vocab_size, **config))
    given = Pretrained(model, tokenizer, "{{ messages }}", begin, (end,))
    assert write_folder(given, "gpt2", tmp_path / "theirs") == []
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs", local_files_only=True)
    text = "then the theatre <|end|>"
    expected = tokenizer.encode(text, allowed_special="all").tolist()
    assert theirs(text, add_special_tokens=False)["input_ids"] == expected
    assert theirs(text)["input_ids"] == [begin, *expected]
    assert (theirs.bos_token_id, theirs.eos_token_id) == (begin, end)
    assert theirs.chat_template == "{{ messages }}"
    found = read_pretrained(tmp_path / "theirs")
    assert found.tokenizer is not None
    assert found.tokenizer.encode(text, allowed_special="all").tolist() == expected  # type: ignore
    assert (found.begin, found.stop) == (begin, (end,))
    assert found.chat_template == "{{ messages }}"
    save_pretrained(found, tmp_path / "ours")
    again = read_pretrained(tmp_path / "ours")
    assert (again.begin, again.stop, again.chat_template) == (begin, (end,), "{{ messages }}")


def test_our_own_form_of_a_conversation_is_the_same_there(tmp_path: Path) -> None:
    tokenizer = BPETokenizer(special_tokens=CHAT_TOKENS)
    config = {"block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8}
    given = Pretrained(sg.GPT(sg.GPTConfig(tokenizer.vocab_size, **config)), tokenizer)
    assert write_folder(given, "gpt2", tmp_path) == []
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    roles = ("system", "user", "assistant", "user")
    messages = [{"role": role, "content": f" {role} says\n"} for role in roles]
    for more in (True, False):
        ids = theirs.apply_chat_template(messages, add_generation_prompt=more, return_dict=False)
        assert ids == encode_chat(given, messages, add_generation_prompt=more).tolist()
    assert theirs.eos_token_id == tokenizer.special_tokens[END]
    assert loaded(tmp_path).generation_config.eos_token_id == tokenizer.special_tokens[END]


def test_what_a_template_calls_begin_and_end(tmp_path: Path) -> None:
    """No other text begins with the one, and the other is not the first that ends a text."""
    tokenizer = BPETokenizer(special_tokens=["<s>", "</s>", "<turn>"])
    config = {"block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8}
    model = sg.GPT(sg.GPTConfig(tokenizer.vocab_size, **config))
    template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"
    given = Pretrained(model, tokenizer, template, None, (257, 258), bos="<s>", eos="<turn>")
    write_folder(given, "gpt2", tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    said = [{"role": "user", "content": "a"}]
    ids = theirs.apply_chat_template(said, return_dict=False)
    assert ids == [256, 97, 258]
    assert theirs("a")["input_ids"] == [97]
    for ours in (given, read_pretrained(tmp_path)):
        assert encode_chat(ours, said, add_generation_prompt=False).tolist() == ids


def test_a_tokenizer_of_characters_has_no_form_there(tmp_path: Path) -> None:
    config = {"block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8}
    model = sg.GPT(sg.GPTConfig(vocab_size=2, **config))
    notes = write_folder(Pretrained(model, CharTokenizer("ab")), "gpt2", tmp_path)
    assert notes == ["a tokenizer of characters has no Hugging Face form, so none was written"]
    loaded(tmp_path)


def test_the_published_model_says_the_same_there(tmp_path: Path, shared_data: Path) -> None:
    """stories260K through our files into their Llama, whose RoPE turns other pairs."""
    found = read_pretrained(shared_data / "stories260k" / "stories260K.bin")
    write_folder(found, "llama", tmp_path)
    theirs = loaded(tmp_path)
    ids, _ = batch(found.model.config, rows=1)
    ids = ids[:, :100]
    expected = theirs(torch.tensor(ids)).logits.detach().numpy()
    close(found.model(ids)[0].numpy(), expected, np.float32, "logits")
