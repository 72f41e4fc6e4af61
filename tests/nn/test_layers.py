"""Every layer against finite differences, by its input and by each of its parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.cases.draw import numbers
from scratchgrad.errors import ConfigError
from tests.finite import check_gradients
from tests.nn.models import DEEP, grown_up

nn = sg.nn

LAYERS: dict[str, Callable[[], Any]] = {
    "Linear": lambda: nn.Linear(4, 3),
    "Linear without bias": lambda: nn.Linear(4, 3, bias=False),
    "LayerNorm": lambda: nn.LayerNorm(4, eps=0.1),
    "LayerNorm without bias": lambda: nn.LayerNorm(4, eps=0.1, bias=False),
    "RMSNorm": lambda: nn.RMSNorm(4, eps=0.1),
    "LearnedPositions": lambda: nn.LearnedPositions(5, 4),
    "SinusoidalPositions": lambda: nn.SinusoidalPositions(5, 4),
    "CausalSelfAttention": lambda: nn.CausalSelfAttention(4, 2),
    "CausalSelfAttention without bias": lambda: nn.CausalSelfAttention(4, 4, bias=False),
    "CausalSelfAttention of one head": lambda: nn.CausalSelfAttention(4, 1),
    "MLP": lambda: nn.MLP(4),
    "MLP without bias": lambda: nn.MLP(4, bias=False),
    "Block": lambda: nn.Block(4, 2),
    "Block with the norm after": lambda: nn.Block(4, 2, norm_position="post"),
    "Block without bias": lambda: nn.Block(4, 2, bias=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_equal_finite_differences(name: str, rng: np.random.Generator) -> None:
    layer = grown_up(LAYERS[name]())
    (values,) = numbers(rng, (2, 3, 4))
    x = sg.tensor(values, requires_grad=True)
    leaves = [x, *layer.parameters()]
    check_gradients(lambda: layer(x), leaves, rng, **DEEP)


def test_embedding_gradients(rng: np.random.Generator) -> None:
    layer = grown_up(nn.Embedding(5, 3))
    ids = np.array([[0, 4, 4], [1, 0, 4]])
    check_gradients(lambda: sg.exp(layer(ids)), list(layer.parameters()), rng)


def test_every_layer_is_checked() -> None:
    layers = {
        name
        for name in nn.__all__
        if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
    }
    checked = {name.split()[0] for name in LAYERS} | {"Embedding", "Dropout", "Module"}
    assert layers == checked


@pytest.mark.parametrize("name", LAYERS)
def test_float32_stays_float32(name: str, rng: np.random.Generator) -> None:
    layer = LAYERS[name]()
    x = sg.tensor(rng.standard_normal((2, 3, 4)).astype(np.float32), requires_grad=True)
    y = layer(x)
    assert y.dtype == np.float32
    y.sum().backward()
    for leaf in (x, *layer.parameters()):
        assert leaf.grad.dtype == np.float32


def test_what_the_layers_compute(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4))
    t = sg.tensor(x)
    linear = grown_up(nn.Linear(4, 3))
    w, b = linear.weight.numpy(), linear.bias.numpy()
    np.testing.assert_allclose(linear(t).numpy(), x @ w.T + b)
    norm = grown_up(nn.LayerNorm(4))
    centred = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    expected = centred * norm.weight.numpy() + norm.bias.numpy()
    np.testing.assert_allclose(norm(t).numpy(), expected)
    rms = grown_up(nn.RMSNorm(4))
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * rms.weight.numpy()
    np.testing.assert_allclose(rms(t).numpy(), expected)
    mlp = grown_up(nn.MLP(4))
    inside = sg.gelu(mlp.c_fc(t))
    np.testing.assert_allclose(mlp(t).numpy(), mlp.c_proj(inside).numpy())
    assert mlp.c_fc.weight.shape == (16, 4)


def test_attention_looks_at_itself_and_before(rng: np.random.Generator) -> None:
    """One head at a time, one position at a time, from the weights."""
    layer = grown_up(nn.CausalSelfAttention(4, 2))
    x = rng.standard_normal((2, 3, 4))
    w, b = layer.c_attn.weight.numpy(), layer.c_attn.bias.numpy()
    q, k, v = np.split(x @ w.T + b, 3, axis=-1)
    mixed = np.zeros_like(x)
    for i, t, head in np.ndindex(2, 3, 2):
        own = slice(2 * head, 2 * head + 2)
        scores = k[i, : t + 1, own] @ q[i, t, own] / np.sqrt(2)
        weights = np.exp(scores) / np.exp(scores).sum()
        mixed[i, t, own] = weights @ v[i, : t + 1, own]
    expected = mixed @ layer.c_proj.weight.numpy().T + layer.c_proj.bias.numpy()
    np.testing.assert_allclose(layer(sg.tensor(x)).numpy(), expected, rtol=1e-12)


assert_allclose = partial(np.testing.assert_allclose, rtol=1e-12)


def test_blocks_add_to_the_stream(rng: np.random.Generator) -> None:
    x = sg.tensor(rng.standard_normal((1, 3, 4)))
    pre, post = grown_up(nn.Block(4, 2)), grown_up(nn.Block(4, 2, norm_position="post"))
    half = x + pre.attn(pre.ln_1(x))
    # (added in the same pass as the product: rounded in another order)
    assert_allclose(pre(x).numpy(), (half + pre.mlp(pre.ln_2(half))).numpy())
    half = post.ln_1(x + post.attn(x))
    assert_allclose(post(x).numpy(), post.ln_2(half + post.mlp(half)).numpy())


def test_the_stream_runs_on_past_what_is_dropped(rng: np.random.Generator) -> None:
    x = sg.tensor(rng.standard_normal((1, 3, 4)))
    block = grown_up(nn.Block(4, 2, dropout=1.0)).train()
    np.testing.assert_array_equal(block(x).numpy(), x.numpy())


def test_fresh_parameters() -> None:
    rng = np.random.default_rng(0)
    linear = nn.Linear(100, 500, rng=rng)
    for parameter in (linear.weight, linear.bias):
        assert abs(parameter.numpy()).max() <= 0.1
        assert parameter.numpy().std() == pytest.approx(0.1 / np.sqrt(3), rel=0.1)
    table = nn.Embedding(200, 100, rng=rng).weight.numpy()
    assert table.std() == pytest.approx(1, rel=0.02)
    norm = nn.LayerNorm(3)
    assert norm.weight.numpy().tolist() == [1, 1, 1]
    assert norm.bias.numpy().tolist() == [0, 0, 0]
    assert nn.RMSNorm(2).weight.numpy().tolist() == [1, 1]


def test_the_same_generator_gives_the_same_parameters() -> None:
    first, again = (nn.Block(8, 2, rng=np.random.default_rng(3)) for _ in range(2))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    other = nn.Linear(8, 8)
    assert (other.weight.numpy() != nn.Linear(8, 8).weight.numpy()).any()


# --------------------------------------------------------------------------------------- dropout


def test_dropout_in_training_and_in_evaluation() -> None:
    layer = nn.Dropout(0.25, rng=np.random.default_rng(0))
    x = sg.tensor(np.ones(40_000, np.float32))
    y = layer(x).numpy()
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.01)
    assert layer.eval()(x) is x
    layer.train()
    assert (layer(x).numpy() == 0).any()


def test_dropout_repeats_with_a_generator_of_the_same_seed() -> None:
    layer = nn.Dropout(0.5)
    x = sg.tensor(np.ones(50))
    layer.rng = np.random.default_rng(7)
    first = layer(x).numpy()
    second = layer(x).numpy()
    layer.rng = np.random.default_rng(7)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    assert (first != second).any()


def test_dropout_in_attention_and_mlp_acts_only_in_training(rng: np.random.Generator) -> None:
    x = sg.tensor(rng.standard_normal((1, 3, 4)).astype(np.float32))
    for layer in (nn.Block(4, 2, dropout=0.5), nn.MLP(4, 0.5), nn.CausalSelfAttention(4, 2, 0.5)):
        assert (layer(x).numpy() != layer(x).numpy()).any()
        layer.eval()
        np.testing.assert_array_equal(layer(x).numpy(), layer(x).numpy())


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.Linear(0, 3), "Linear: expected in_features of at least 1, received 0"),
        (lambda: nn.Linear(3, -1), "Linear: expected out_features"),
        (lambda: nn.Embedding(0, 3), "Embedding: expected num_embeddings"),
        (lambda: nn.Embedding(3, 0), "Embedding: expected embedding_dim"),
        (lambda: nn.LayerNorm(0), "LayerNorm: expected normalized_shape"),
        (lambda: nn.RMSNorm(0), "RMSNorm: expected normalized_shape"),
        (lambda: nn.Dropout(1.1), "Dropout: expected a probability"),
        (lambda: nn.Dropout(-0.1), "Dropout: expected a probability"),
        (lambda: nn.CausalSelfAttention(5, 2), "n_embd=5, n_head=2"),
        (lambda: nn.CausalSelfAttention(4, 0), "n_head=0"),
        (lambda: nn.Block(4, 2, norm_position="middle"), "'pre' or 'post', received 'middle'"),
        (lambda: nn.CausalSelfAttention(8, 4, n_kv_head=3), "n_head=4, n_kv_head=3"),
        (lambda: nn.CausalSelfAttention(8, 4, n_kv_head=0), "n_head=4, n_kv_head=0"),
        (lambda: nn.Rope(3), "an even head size, .* received 3"),
        (lambda: nn.MLP(4, kind="tanh"), "MLP: expected kind 'gelu' or .* received 'tanh'"),
        (lambda: nn.Block(4, 2, norm="batch"), "norm: expected kind 'layernorm' or 'rmsnorm'"),
    ],
)
def test_sizes_that_make_no_layer(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()


def test_what_layers_show_of_themselves() -> None:
    assert repr(nn.Linear(4, 3)) == "Linear(4, 3, bias=True)"
    assert repr(nn.Embedding(5, 2)) == "Embedding(5, 2)"
    assert repr(nn.LayerNorm(4, bias=False)) == "LayerNorm(4, eps=1e-05, bias=False)"
    assert repr(nn.RMSNorm(4)) == "RMSNorm(4, eps=1e-06)"
    assert repr(nn.Dropout(0.1)) == "Dropout(p=0.1)"
    text = repr(nn.MLP(2))
    assert text.splitlines() == [
        "MLP(",
        "  (c_fc): Linear(2, 8, bias=True)",
        "  (c_proj): Linear(8, 2, bias=True)",
        "  (dropout): Dropout(p=0.0)",
        ")",
    ]
