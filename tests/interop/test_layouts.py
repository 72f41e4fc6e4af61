"""Where each row of each matrix stands in their files, spelled out once, without the tables."""

from pathlib import Path

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.gpt.shapes import parameter_shapes
from scratchgrad.interop.pretrained import read_pretrained
from tests.interop.models import folder, model, tensors_of


def test_gpt2_stands_the_other_way_round(tmp_path: Path) -> None:
    ours = model("gpt2").state_dict()
    theirs = tensors_of(folder(tmp_path))
    assert theirs.keys() == {f"transformer.{name}" for name in ours}
    for name, array in ours.items():
        turned = name.split(".")[-2] in ("c_attn", "c_proj", "c_fc") and name.endswith("weight")
        expected = array.T if turned else array
        np.testing.assert_array_equal(theirs[f"transformer.{name}"], expected, err_msg=name)


@pytest.mark.parametrize("bias", [False, True])
def test_llama_has_each_projection_by_itself(tmp_path: Path, bias: bool) -> None:
    """Four heads of queries, two of keys and of values, of four numbers each; 48 inside."""
    ours = model("llama", bias=bias).state_dict()
    theirs = tensors_of(folder(tmp_path, "llama", bias=bias))
    expected = {
        "model.embed_tokens.weight": ours["wte.weight"],
        "model.norm.weight": ours["ln_f.weight"],
        "lm_head.weight": ours["lm_head.weight"],
    }
    for i in range(2):
        block, layer = f"h.{i}.", f"model.layers.{i}."
        expected[f"{layer}input_layernorm.weight"] = ours[f"{block}ln_1.weight"]
        expected[f"{layer}post_attention_layernorm.weight"] = ours[f"{block}ln_2.weight"]
        for kind in ("weight", "bias") if bias else ("weight",):
            qkv, gate_up = ours[f"{block}attn.c_attn.{kind}"], ours[f"{block}mlp.c_fc.{kind}"]
            assert (len(qkv), len(gate_up)) == (32, 96)
            expected[f"{layer}self_attn.q_proj.{kind}"] = qkv[:16]
            expected[f"{layer}self_attn.k_proj.{kind}"] = qkv[16:24]
            expected[f"{layer}self_attn.v_proj.{kind}"] = qkv[24:]
            expected[f"{layer}self_attn.o_proj.{kind}"] = ours[f"{block}attn.c_proj.{kind}"]
            expected[f"{layer}mlp.gate_proj.{kind}"] = gate_up[:48]
            expected[f"{layer}mlp.up_proj.{kind}"] = gate_up[48:]
            expected[f"{layer}mlp.down_proj.{kind}"] = ours[f"{block}mlp.c_proj.{kind}"]
    assert theirs.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)
    back = read_pretrained(tmp_path).model.state_dict()
    for name, array in ours.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope", "none"])
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("mlp", ["gelu", "relu2", "swiglu"])
@pytest.mark.parametrize("bias", [True, False])
def test_shapes_are_those_of_the_model(position: str, norm: str, mlp: str, bias: bool) -> None:
    more = {"n_kv_head": 1, "qk_norm": True, "tied_head": False} if mlp == "swiglu" else {}
    built = model(position=position, norm=norm, mlp=mlp, bias=bias, **more)
    expected = {name: p.shape for name, p in built.named_parameters()}
    assert parameter_shapes(built.config) == expected


def test_shapes_of_gpt2() -> None:
    shapes = parameter_shapes(sg.GPTConfig.preset("gpt2"))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 124_439_808
