"""Operations and bytes, against counts by hand."""

import functools

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.bench import count, spec
from scratchgrad.bench.memory import saved_bytes
from scratchgrad.tensor import tensor


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def counted(name, arrays, value, **settings):
    return count.OPERATIONS[name](arrays, value, settings)


def test_linear():
    forward, backward = counted("linear", (zeros(2, 3, 4), zeros(5, 4), zeros(5)), zeros(2, 3, 5))
    assert forward == 6 * 5 * (4 * 2) + 30  # each of 6 x 5 results: 4 products, 4 sums; a bias
    assert backward == (240, 240, 30)
    assert counted("linear", (zeros(6, 4), zeros(5, 4), None), zeros(6, 5))[0] == 240


def test_two_layers_with_gelu_between():
    x, up, down = zeros(2, 3, 4), zeros(8, 4), zeros(5, 8)
    forward, backward = counted("mlp", (x, up, None, down, None, None), zeros(2, 3, 5))
    products = 2 * 6 * (4 * 8 + 8 * 5)
    assert forward == products + 5 * 6 * 8
    assert backward == 2 * products + 8 * 6 * 8
    full = (x, up, zeros(8), down, zeros(5), zeros(2, 3, 5))
    assert counted("mlp", full, zeros(2, 3, 5)) == (forward + 48 + 30 + 30, backward + 48 + 30)


def test_matmul():
    forward, backward = counted("matmul", (zeros(7, 2, 3), zeros(3, 4)), zeros(7, 2, 4))
    assert forward == 2 * 7 * 2 * 3 * 4
    assert backward == (forward, forward)
    assert count.product_flops((2, 3, 4)) == 48


@pytest.mark.parametrize(("T", "S"), [(4, 4), (5, 2), (2, 5), (1, 1)])
def test_pairs_are_those_that_a_causal_mask_leaves(T, S):
    assert count.pairs(T, S, True) == np.tri(T, S).sum()
    assert count.pairs(T, S, False) == T * S


def test_attention():
    q, k, v = zeros(2, 4, 3, 5), zeros(2, 2, 3, 5), zeros(2, 2, 3, 6)
    forward, backward = counted("attention", (q, k, v, None), zeros(2, 4, 3, 6), is_causal=True)
    seen = 2 * 4 * 6  # batch, heads of queries, pairs of a triangle of 3
    assert forward == seen * (2 * 5 + 2 * 6)  # Q K^T and P V
    assert backward == seen * (3 * 2 * 5 + 2 * 2 * 6)  # Q K^T again, dQ, dK; dP, dV
    assert counted("attention", (q, k, v), None, is_causal=False)[0] == 2 * 4 * 9 * 22


def test_attention_of_a_fused_projection():
    q = zeros(2, 4, 3, 5)
    wanted = counted("attention", (q, q, q, None), None, is_causal=True)
    fused = counted("causal_self_attention", (zeros(2, 3, 60),), zeros(2, 3, 20), heads=(4, 4))
    assert fused == wanted


def test_head_and_loss():
    forward, backward = counted("linear_cross_entropy", (zeros(2, 3, 4), zeros(7, 4)), zeros())
    assert forward == 2 * 6 * 4 * 7 + 4 * 42
    assert backward == 4 * 6 * 4 * 7 + 3 * 42


def test_elementwise():
    assert counted("layer_norm", (zeros(3, 4),), zeros(3, 4)) == (84, 156)
    assert counted("add", (zeros(3, 4), zeros(4)), zeros(3, 4)) == (12, 0)
    assert counted("embedding", (zeros(6), zeros(50, 4)), zeros(6, 4)) == (0, 24)
    assert counted("split", (zeros(3, 4),), (zeros(3, 2), zeros(3, 2))) == (0, 0)


def test_bytes_of_a_forward():
    x, weight, y = zeros(6, 4), zeros(5, 4), zeros(6, 5)
    assert count.forward_bytes("linear", (x, weight, None), y) == 4 * (24 + 20 + 30)
    assert count.forward_bytes("matmul", (x, x), y) == 4 * (24 + 30)  # the same array once
    assert count.forward_bytes("split", (x, 2), (x[:3], x[3:])) == 0  # views
    assert count.forward_bytes("reshape", (x, (4, 6)), x.reshape(4, 6)) == 0
    ids, table = np.zeros(6, np.int64), zeros(1000, 4)
    assert count.forward_bytes("embedding", (ids, table), zeros(6, 4)) == 48 + 2 * 96


def test_what_a_backward_captures():
    x, y, z = zeros(1), zeros(2), zeros(3)

    def inner():
        return y

    def backward(dy):
        return x, inner(), pair

    pair = (z, "a word")
    assert {id(a) for a in count.captured(backward)} == {id(x), id(y), id(z)}
    assert count.captured(len) == []
    assert count.captured(functools.partial(len, x)) == [x]


def test_model_flops_by_hand():
    preset = spec.Preset(7, 4, n_layer=2, n_head=2, n_embd=6, batch_size=3)
    matrices = 2 * (18 * 6 + 6 * 6 + 24 * 6 + 6 * 24) + 7 * 6
    tokens = 12
    scores = 2 * 3 * (1 + 2 + 3 + 4)  # layers, batch, pairs; all heads together have 6 numbers
    assert count.model_flops(preset) == 6 * matrices * tokens + 3 * 4 * scores * 6


def test_the_matrices_of_the_formula_are_those_of_the_model():
    preset = spec.PRESETS["char"]
    model = sg.GPT(sg.GPTConfig(**preset.model))
    weights = sum(
        p.data.size for n, p in model.named_parameters() if p.ndim == 2 and n != "wpe.weight"
    )
    seen = preset.n_layer * preset.batch_size * count.pairs(64, 64, True)
    assert count.model_flops(preset) == 6 * weights * preset.tokens + 12 * seen * preset.n_embd


def test_gpt2_has_124_million_parameters():
    p = spec.PRESETS["gpt2"]
    c = p.n_embd
    block = 12 * c * c + 13 * c  # with biases and norms
    assert round((p.n_layer * block + (p.vocab_size + p.block_size) * c + 2 * c) / 1e6) == 124


def test_what_a_graph_saves():
    x = tensor(zeros(3, 4), requires_grad=True)
    weight = tensor(zeros(5, 4), requires_grad=True)
    y = sg.nn.functional.linear(x, weight)
    assert saved_bytes(y) == 0  # both leaves
    z = sg.nn.functional.gelu(y)
    assert saved_bytes(z) == y.data.nbytes
    assert saved_bytes(sg.exp(z)) >= y.data.nbytes + z.data.nbytes
