"""How many floating-point operations and bytes a piece of work takes at least.

A multiplication and an addition are two operations; exp, erf, tanh, a root and a division count
as one each, for what matters is on which side of the roofline an operation lies. Bytes are each
array read once and written once: what would pass over the memory bus if the caches held nothing
beforehand and forgot nothing meanwhile.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from scratchgrad.bench.spec import Preset
from scratchgrad.gpt.cost import pairs as seen_pairs

# Operations of an operation's backward: one number for all inputs, or one for each of them.
Backward = float | tuple[float, ...]


def pairs(T: int, S: int, is_causal: bool) -> int:
    """How many scores of T queries and S keys are looked at.

    >>> pairs(3, 3, True), pairs(3, 2, True), pairs(3, 2, False)
    (6, 5, 6)
    """
    if not is_causal:
        return T * S
    short = min(T, S)
    return short * (short + 1) // 2 + (T - short) * S


def _linear(arrays: Sequence[Any], value: Any, settings: Any) -> tuple[float, Backward]:
    x, weight = arrays[:2]
    products = 2.0 * x.size * weight.shape[0]  # rows x in x out
    added = [float(value.size) if a is not None else 0.0 for a in arrays[2:]]
    sums = added[:1]  # of the rows, for the bias; a residual's gradient is dy itself
    return products + sum(added), (products, products, *sums, *(0.0 for _ in added[1:]))


GELU = (5.0, 8.0)  # operations of an element, forward and backward


def _mlp(arrays: Sequence[Any], value: Any, settings: Any) -> tuple[float, Backward]:
    x, up, up_bias, down, *added = arrays[:6]
    rows = math.prod(x.shape[:-1])
    products, inner = 2.0 * rows * (up.size + down.size), rows * len(up)
    biases = inner * (up_bias is not None) + value.size * (added[0] is not None)
    onto = value.size * (added[1] is not None)
    return (
        products + biases + onto + GELU[0] * inner,
        2 * products + biases + GELU[1] * inner,
    )


def _matmul(arrays: Sequence[Any], value: Any, settings: Any) -> tuple[float, Backward]:
    products = 2.0 * value.size * arrays[0].shape[-1]
    return products, (products, products)


def attention_flops(
    q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], is_causal: bool
) -> tuple[float, float]:
    """The products of attention: two forward, and five backward, one of which is done again."""
    B, H, T, D = q
    seen = 2.0 * B * H * pairs(T, k[-2], is_causal)
    return seen * (D + v[-1]), seen * (3 * D + 2 * v[-1])


def _attention(arrays: Sequence[Any], value: Any, settings: Any) -> tuple[float, Backward]:
    q, k, v = (x.shape for x in arrays[:3])
    return attention_flops(q, k, v, settings.get("is_causal", False))


def _causal_self_attention(
    arrays: Sequence[Any], value: Any, settings: Any
) -> tuple[float, Backward]:
    B, T, _ = arrays[0].shape
    heads = settings["heads"][0]
    D = value.shape[-1] // heads
    seen = 2.0 * B * heads * seen_pairs(T, settings.get("window") or None)
    return seen * 2 * D, seen * 5 * D


def _linear_cross_entropy(
    arrays: Sequence[Any], value: Any, settings: Any
) -> tuple[float, Backward]:
    """Where the logits come in chunks, the backward's products are made in the forward."""
    x, weight = arrays[:2]
    products = 2.0 * x.size * weight.shape[0]
    logits = x.size // x.shape[-1] * weight.shape[0]
    return products + 4.0 * logits, 2 * products + 3.0 * logits


def _each(forward: float, backward: float) -> Any:
    """So many operations for each element of the first input."""

    def count(arrays: Sequence[Any], value: Any, settings: Any) -> tuple[float, Backward]:
        return forward * arrays[0].size, backward * arrays[0].size

    return count


def _per_result(forward: float, backward: float) -> Any:
    """So many operations for each element of the result."""

    def count(arrays: Sequence[Any], value: Any, settings: Any) -> tuple[float, Backward]:
        return forward * value.size, backward * value.size

    return count


Count = Callable[[Sequence[Any], Any, dict[str, Any]], tuple[float, Backward]]

# Forward and backward operations an element, as the formulas in kernels/reference have them.
OPERATIONS: dict[str, Count] = {
    "linear": _linear,
    "mlp": _mlp,
    "matmul": _matmul,
    "linear_cross_entropy": _linear_cross_entropy,
    "attention": _attention,
    "causal_self_attention": _causal_self_attention,
    "layer_norm": _each(7, 13),
    "rms_norm": _each(5, 9),
    "rope": _each(3, 3),
    "gelu": _each(*GELU),
    "silu": _each(3, 6),
    "swiglu": _per_result(4, 9),
    "softmax": _each(4, 4),
    "log_softmax": _each(5, 4),
    "cross_entropy": _each(4, 3),
    "add": _per_result(1, 0),
    "multiply": _per_result(1, 2),
    "dropout": _each(1, 1),
    "embedding": _per_result(0, 1),
    **{
        name: _each(0, 0)
        for name in ("getitem", "split", "reshape", "swapaxes", "permute_dims", "expand_dims")
    },
}


# Kernels that are called outside any operation: operations and array passes an element.
UPDATES = {"adamw.adamw_step": (14.0, 7.0), "adamw.sum_of_squares": (2.0, 1.0)}


def nbytes(arrays: Sequence[Any]) -> int:
    """The bytes of the arrays among these, each array once."""
    return sum({id(a): a.nbytes for a in arrays if isinstance(a, np.ndarray)}.values())


def forward_bytes(name: str, arrays: Sequence[Any], value: Any) -> int:
    """Bytes that an operation reads and writes; none if its value is a view of its input."""
    values = list(value) if isinstance(value, tuple) else [value]
    inputs = [a for a in arrays if isinstance(a, np.ndarray)]
    if all(np.may_share_memory(v, a) for v in values for a in inputs[:1]):
        return 0
    if name == "embedding":  # of the table only the rows that are asked for
        return nbytes(inputs[:1]) + 2 * nbytes(values)
    return nbytes(inputs) + nbytes(values)


def captured(backward: Any, depth: int = 3) -> list[np.ndarray]:
    """The arrays that a backward function holds on to."""
    found = []
    for item in _contents(backward):
        if isinstance(item, np.ndarray):
            found.append(item)
        elif callable(item) and depth:
            found += captured(item, depth - 1)
    return found


def _contents(function: Any) -> Iterator[Any]:
    """What a function holds: the cells of its closure, or, of an object round one, its parts."""
    held = [getattr(function, name, None) for name in ("func", "function")]
    held += getattr(function, "args", None) or ()
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # a name that is not bound yet
            held.append(cell.cell_contents)
    for item in held:
        yield from item if isinstance(item, tuple | list) else (item,)


def model_flops(preset: Preset) -> float:
    """The operations of a training step's products that the model asks for.

    6 N tokens, N the weights of all matrices that multiply (the token table as the head, not as a
    table; no biases, gains or positions): 2 forward, 4 backward. To it, attention's two products
    forward and four backward over the pairs on and below the diagonal. What an implementation
    does twice to save memory counts once.
    """
    p = preset
    weights = p.n_layer * 12 * p.n_embd**2 + p.vocab_size * p.n_embd
    seen = p.n_layer * p.batch_size * pairs(p.block_size, p.block_size, True)
    return 6.0 * weights * p.tokens + 12.0 * seen * p.n_embd


def bound(flops: float, moved: float, peak: float, bandwidth: float) -> tuple[float, str]:
    """The least seconds by the roofline, and which of its two sides says so.

    >>> bound(2e9, 1e6, 1e9, 1e6), bound(1e9, 4e6, 1e9, 1e6)
    ((2.0, 'compute'), (4.0, 'memory'))
    """
    by_compute, by_memory = flops / peak, moved / bandwidth
    side = "compute" if by_compute >= by_memory else "memory"
    return max(by_compute, by_memory), side


def product_flops(shape: tuple[int, ...]) -> float:
    """2 M K N."""
    return 2.0 * math.prod(shape)
