"""Compile, or load from the cache, every kernel that training a GPT calls, before it does."""

from collections.abc import Callable, Collection, Iterator

import numpy as np

from scratchgrad.kernels.activation import gelu, gelu_backward, swiglu, swiglu_backward
from scratchgrad.kernels.adamw import adamw_step, sum_of_squares
from scratchgrad.kernels.attention import attention, attention_backward
from scratchgrad.kernels.attention_cache import attend_to_cache
from scratchgrad.kernels.cross_entropy import cross_entropy
from scratchgrad.kernels.indexing import add_rows
from scratchgrad.kernels.jit import prepare_helpers
from scratchgrad.kernels.matmul import FEW, matmul
from scratchgrad.kernels.norm import (
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
from scratchgrad.kernels.random import dropout
from scratchgrad.kernels.reduction import column_sums
from scratchgrad.kernels.rope import rope

# What a variant of GPT calls and others do not, by GPTConfig's word for it.
ONLY_FOR = {
    "layer_norm": ("layernorm",),
    "layer_norm_backward": ("layernorm",),
    "rms_norm": ("rmsnorm",),
    "rms_norm_backward": ("rmsnorm",),
    "gelu": ("gelu", "gelu_tanh"),
    "gelu_backward": ("gelu", "gelu_tanh"),
    "swiglu": ("swiglu",),
    "swiglu_backward": ("swiglu",),
    "rope": ("rope",),
}
GPT2 = "layernorm", "gelu", "learned"


def _calls(dtype: np.dtype) -> list[tuple[str, Callable[[], object]]]:
    """One call a kernel, on the smallest arrays."""
    pair = np.ones((1, 2), dtype)
    x, tall = np.ones((1, 1), dtype), np.ones((FEW + 1, 1), dtype)
    vector, heads = np.ones(1, dtype), np.ones((1, 1, 1, 1), dtype)
    row, lse, id0 = np.ones(1, dtype), np.ones((1, 1, 1), dtype), np.zeros(1, np.int64)
    return [
        ("serve", prepare_helpers),
        ("matmul", lambda: matmul(tall, x)),
        ("few_rows", lambda: matmul(x, x)),
        ("column_sums", lambda: column_sums(x)),
        ("layer_norm", lambda: layer_norm(x, None, None, 1e-5)),
        ("rms_norm", lambda: rms_norm(x, None, 1e-5)),
        ("rope", lambda: rope(pair[None], x, x, 1, False)),
        ("attention", lambda: attention(heads, heads, heads, None, True, 1.0)),
        ("gelu", lambda: gelu(x, "tanh")),
        ("swiglu", lambda: swiglu(pair)),
        ("dropout", lambda: dropout(x, 0.5, 0)),
        ("cross_entropy", lambda: cross_entropy(x, id0, -1, 0.0)),
        ("gelu_backward", lambda: gelu_backward(x, x, "tanh")),
        ("swiglu_backward", lambda: swiglu_backward(x, pair)),
        ("attend_to_cache", lambda: attend_to_cache(x[None].repeat(3, 2), heads, heads, 1, 1, 1.0)),
        ("attention_backward", lambda: _attention_backward(heads, lse)),
        ("layer_norm_backward", lambda: layer_norm_backward(x, x, None, row, row)),
        ("rms_norm_backward", lambda: rms_norm_backward(x, x, None, row)),
        ("add_rows", lambda: add_rows(np.ones((1, 1), dtype), id0, x)),
        ("sum_of_squares", lambda: sum_of_squares(vector)),
        ("adamw_step", lambda: _adamw(dtype)),
    ]


def _attention_backward(x: np.ndarray, lse: np.ndarray) -> None:
    attention_backward(x, x, x, x, x, lse, None, True, 1.0)


def _adamw(dtype: np.dtype) -> None:
    param, grad, m, v = (np.ones(1, dtype) for _ in range(4))
    adamw_step(param, grad, m, v, 0.1, 0.9, 0.99, 1e-8, 0.0, 1)


def warm_up(
    dtype: type | np.dtype = np.float32, variant: Collection[str] = GPT2
) -> Iterator[tuple[int, int, str]]:
    """Make the kernels of a training run ready, one at a step.

    Parameters
    ----------
    dtype : float32 or float64
    variant : words of GPTConfig
        Its norm, its MLP and its positions.

    Yields
    ------
    done, total, name
        How many are ready, of how many, and which is next; the last time, done equals total and
        name is empty.

    Examples
    --------
    >>> for done, total, name in warm_up():
    ...     print(f"kernels {done}/{total} {name}")  # doctest: +SKIP
    """
    calls = [
        (name, call)
        for name, call in _calls(np.dtype(dtype))
        if name not in ONLY_FOR or set(ONLY_FOR[name]) & set(variant)
    ]
    for done, (name, call) in enumerate(calls):
        yield done, len(calls), name
        call()
    yield len(calls), len(calls), ""
