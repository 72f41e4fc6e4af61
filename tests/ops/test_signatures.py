"""The names, the order and the defaults of all arguments: a caller's code depends on each."""

import inspect
from typing import Any

import pytest

import scratchgrad as sg
from scratchgrad import nn, ops, optim
from scratchgrad.ops import composite

ELEMENTWISE = "abs cos erf exp expm1 log log1p negative relu sigmoid silu sin sqrt square tanh"
ONE = dict.fromkeys(ELEMENTWISE.split(), "(x)")
TWO = dict.fromkeys(
    ["add", "divide", "matmul", "maximum", "minimum", "multiply", "pow", "subtract"], "(a, b)"
)
FOLD = dict.fromkeys(
    ["logsumexp", "max", "mean", "min", "prod", "sum"], "(x, /, axis=None, keepdims=False)"
)
OPS = {
    **ONE,
    **TWO,
    **FOLD,
    "astype": "(x, dtype)",
    "broadcast_to": "(x, /, shape)",
    "clip": "(x, min=None, max=None, /)",
    "concat": "(arrays, axis=0)",
    "cross_entropy": "(logits, targets, /, ignore_index=-100, label_smoothing=0.0, "
    "reduction='mean')",
    "causal_self_attention": "(qkv, n_head, n_kv_head=None, scale=None, dropout_p=0.0, rng=None, "
    "window=None)",
    "cumulative_sum": "(x, /, axis=None, include_initial=False)",
    "dropout": "(x, p=0.5, training=True, rng=None)",
    "einsum": "(subscripts, *operands)",
    "embedding": "(ids, weight, /)",
    "expand_dims": "(x, /, axis=0)",
    "flip": "(x, /, axis=None)",
    "gelu": "(x, /, approximate='none')",
    "getitem": "(x, /, index)",
    "layer_norm": "(x, weight=None, bias=None, /, eps=1e-05)",
    "linear": "(x, weight, bias=None, residual=None, /)",
    "linear_cross_entropy": "(x, weight, targets, /, ignore_index=-100, label_smoothing=0.0, "
    "reduction='mean')",
    "log_softmax": "(x, /, axis=-1)",
    "mlp": "(x, up_weight, up_bias, down_weight, down_bias, residual=None, /, approximate='none')",
    "pad": "(x, /, pad_width, constant_value=0)",
    "permute_dims": "(x, /, axes)",
    "repeat": "(x, /, repeats, axis=None)",
    "reshape": "(x, /, shape)",
    "rms_norm": "(x, weight=None, /, eps=1e-06)",
    "rope": "(x, /, cos, sin, n_head, interleaved=False)",
    "roll": "(x, /, shift, axis=None)",
    "scaled_dot_product_attention": "(q, k, v, mask=None, is_causal=False, scale=None, "
    "dropout_p=0.0, rng=None)",
    "softmax": "(x, /, axis=-1)",
    "split": "(x, /, indices_or_sections, axis=0)",
    "squeeze": "(x, /, axis=None)",
    "stack": "(arrays, axis=0)",
    "std": "(x, /, axis=None, correction=0, keepdims=False)",
    "swapaxes": "(x, /, axis1, axis2)",
    "swiglu": "(x, /)",
    "take": "(x, indices, /, axis=None)",
    "take_along_axis": "(x, indices, /, axis=-1)",
    "tril": "(x, /, k=0)",
    "triu": "(x, /, k=0)",
    "var": "(x, /, axis=None, correction=0, keepdims=False)",
    "where": "(condition, a, b)",
}
LAYERS = {
    "Block": "(n_embd, n_head, dropout=0.0, bias=True, norm_position='pre', rng=None, *, "
    "norm='layernorm', norm_eps=1e-05, mlp='gelu', n_inner=None, attn_dropout=None, "
    "n_kv_head=None, qk_norm=False, sliding_window=None, rope=None)",
    "CausalSelfAttention": "(n_embd, n_head, dropout=0.0, bias=True, rng=None, *, "
    "resid_dropout=None, n_kv_head=None, qk_norm=False, norm_eps=1e-05, sliding_window=None, "
    "rope=None)",
    "Dropout": "(p=0.5, rng=None)",
    "Embedding": "(num_embeddings, embedding_dim, rng=None)",
    "LearnedPositions": "(num_embeddings, embedding_dim, rng=None)",
    "LayerNorm": "(normalized_shape, eps=1e-05, bias=True)",
    "Linear": "(in_features, out_features, bias=True, rng=None)",
    "MLP": "(n_embd, dropout=0.0, bias=True, rng=None, *, kind='gelu', n_inner=None)",
    "Module": "()",
    "Parameter": "(data, requires_grad=True)",
    "RMSNorm": "(normalized_shape, eps=1e-06)",
    "Rope": "(head_size, base=10000.0, interleaved=False)",
    "SinusoidalPositions": "(num_positions, embedding_dim)",
}
OPTIM = {
    "AdamW": "(params, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01)",
    "clip_grad_norm": "(params, max_norm)",
    "cosine_schedule": "(step, lr, min_lr, warmup_steps, decay_steps)",
    "parameter_groups": "(module, weight_decay)",
}
# The spellings out of small operations take their settings by the names and defaults of the fused.
SPELLED = {
    "attention": "(q, k, v, mask=None, is_causal=False, scale=None)",
    "causal_self_attention": "(qkv, n_head, n_kv_head=None, scale=None, window=None)",
    "cross_entropy": OPS["cross_entropy"],
    "gelu": OPS["gelu"],
    "layer_norm": OPS["layer_norm"],
    "linear": OPS["linear"],
    "linear_cross_entropy": OPS["linear_cross_entropy"],
    "log_softmax": OPS["log_softmax"],
    "logsumexp": "(x, axis=-1)",
    "mlp": OPS["mlp"],
    "rms_norm": OPS["rms_norm"],
    "rope": "(x, cos, sin, n_head, interleaved=False)",
    "sigmoid": "(x)",
    "silu": "(x)",
    "softmax": OPS["softmax"],
    "swiglu": "(x)",
}


def signature(function: Any) -> str:
    """Without annotations."""
    whole = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in whole.parameters.values()]
    return str(whole.replace(parameters=bare, return_annotation=whole.empty))


@pytest.mark.parametrize("name", sorted({*OPS, *ops.__all__}))
def test_operations(name: str) -> None:
    assert signature(getattr(ops, name)) == OPS[name]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    assert signature(getattr(nn, name)) == LAYERS[name]


@pytest.mark.parametrize("name", OPTIM)
def test_optimisers(name: str) -> None:
    assert signature(getattr(optim, name)) == OPTIM[name]


@pytest.mark.parametrize("name", SPELLED)
def test_compositions(name: str) -> None:
    assert signature(getattr(composite, name)) == SPELLED[name].replace("/, ", "").replace(
        ", /", ""
    )


def test_the_engine() -> None:
    assert signature(sg.differentiable) == "(function=None, *, changes_dtype=False)"
    assert signature(sg.tensor) == "(data, dtype=None, requires_grad=False)"
    assert signature(sg.Tensor.backward) == "(self, cotangent=None, retain_graph=False)"
    assert signature(sg.no_grad) == "()"


@pytest.mark.parametrize("name", ["max", "mean", "min", "sum", "prod", "logsumexp"])
def test_settings_may_be_given_by_place(name: str) -> None:
    x = sg.tensor([[1.0, 2.0], [3.0, 5.0]])
    fold = getattr(sg, name)
    by_place, by_name = fold(x, 0, True), fold(x, axis=0, keepdims=True)
    assert by_place.shape == (1, 2)
    assert by_place.numpy().tolist() == by_name.numpy().tolist()
