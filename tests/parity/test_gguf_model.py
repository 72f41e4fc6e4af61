"""A Llama of transformers, written as llama.cpp's converter writes it, read back as ours."""

import numpy as np
import pytest
import torch

import scratchgrad as sg
from scratchgrad.interop.gguf import read_gguf
from tests.interop.gguf_files import gguf_bytes, row_of, tiny_values
from tests.interop.smollm2 import smollm2_or_skip

transformers = pytest.importorskip("transformers")

NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def converted(model, heads: int, kv_heads: int) -> dict[str, np.ndarray]:
    """Under GGUF's names, the rows of Q and K moved."""
    arrays = {}
    for name, parameter in model.state_dict().items():
        array = parameter.numpy()
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            rest = rest.removesuffix(".weight")
            if rest in ("self_attn.q_proj", "self_attn.k_proj"):
                h = heads if "q_proj" in rest else kv_heads
                rows, columns = array.shape
                array = array.reshape(h, 2, rows // h // 2, columns).swapaxes(1, 2)
                array = array.reshape(rows, columns)
            arrays[f"blk.{layer}.{NAMES[rest]}.weight"] = array
        elif name == "lm_head.weight":
            arrays["output.weight"] = array
        else:
            known = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm"}
            arrays[f"{known[name]}.weight"] = array
    return arrays


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_logits_agree(tmp_path, kv_heads):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=260, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=kv_heads, max_position_embeddings=64,
        rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False, initializer_range=0.5,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    values = tiny_values(llama__attention__head_count_kv=kv_heads)
    rows = {name: row_of(array) for name, array in converted(theirs, 4, kv_heads).items()}
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(values, rows))
    ids = np.random.default_rng(1).integers(0, 260, (2, 40))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)).logits.numpy()
    with sg.no_grad():
        logits = np.asarray(read_gguf(path).model(ids)[0].data)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_the_real_model(shared_data):
    """SmolLM2 in transformers, of weights that the package of GGUF's authors has read."""
    gguf = pytest.importorskip("gguf")
    path = smollm2_or_skip()
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
        rms_norm_eps=1e-5, rope_theta=100000.0, tie_word_embeddings=True,
    )  # fmt: skip
    names = {ours: theirs for theirs, ours in NAMES.items()}
    state = {}
    for tensor in gguf.GGUFReader(path).tensors:
        array = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        if tensor.name.startswith("blk."):
            _, layer, kind, _ = tensor.name.split(".")
            if kind in ("attn_q", "attn_k"):  # each head's even rows, then its odd ones
                array = torch.cat([part[i::2] for part in array.split(64) for i in (0, 1)])
            state[f"model.layers.{layer}.{names[kind]}.weight"] = array
        else:
            known = {"token_embd.weight": "embed_tokens", "output_norm.weight": "norm"}
            state[f"model.{known[tensor.name]}.weight"] = array
    theirs = transformers.LlamaForCausalLM(config).eval()
    missing, left_over = theirs.load_state_dict(state, strict=False)
    assert (missing, left_over) == (["lm_head.weight"], [])  # which is the embedding's
    found = read_gguf(path)
    text = (shared_data / "tinyshakespeare.txt").read_text(encoding="utf-8")[:1200]
    ids = found.tokenizer.encode(text).astype(np.int64)[None]
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)).logits[0].numpy()
    with sg.no_grad():
        logits = np.asarray(found.model(ids)[0].data)[0]
    assert np.abs(logits - expected).max() < 1e-3 * np.abs(expected).max()
    assert (logits.argmax(1) == expected.argmax(1)).mean() > 0.995
