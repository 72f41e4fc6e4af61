"""Every operation of the table, as PyTorch spells it: the same inputs and the same settings."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from scratchgrad.cases.attention import weights_kept
from scratchgrad.cases.network import kept


def _each_axis(fold: Callable[[Any, int], Any]) -> Callable[..., Any]:
    """For functions that PyTorch only has for one axis: the axes folded one after another."""

    def over(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        axes = range(x.ndim) if axis is None else np.atleast_1d(np.asarray(axis, dtype=int))
        for a in axes:
            x = fold(x, int(a))
        if not keepdims:
            for a in sorted((int(a) % x.ndim for a in axes), reverse=True):
                x = x.squeeze(a)
        return x

    return over


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    """For functions of several axes. PyTorch takes an empty tuple for all, we for none."""

    def over(x: Any, axis: Any = None, keepdims: bool = False, **settings: Any) -> Any:
        if axis == () or x.ndim == 0:
            x, axis, squeezed = x[None], (0,), True
        else:
            axis, squeezed = tuple(range(x.ndim)) if axis is None else axis, False
        y = function(x, dim=axis, keepdim=keepdims, **settings)
        return y[0] if squeezed and keepdims else y

    return over


def _clip(x: Any, low: Any, high: Any) -> Any:
    if low is None and high is None:
        return x
    bounds = {"min": low, "max": high}
    bounds = {n: torch.as_tensor(b, dtype=x.dtype) for n, b in bounds.items() if b is not None}
    x, *stretched = torch.broadcast_tensors(x, *bounds.values())  # its clamp does not stretch x
    return torch.clamp(x, **dict(zip(bounds, stretched, strict=True)))


def _expand_dims(x: Any, axis: Any) -> Any:
    axes = axis if isinstance(axis, tuple) else (axis,)
    shape = np.expand_dims(np.empty(x.shape), axes).shape
    return x.reshape(shape)


def _split(x: Any, indices_or_sections: Any, axis: int) -> Any:
    return torch.tensor_split(x, indices_or_sections, dim=axis)


def _roll(x: Any, shift: Any, axis: Any) -> Any:
    if isinstance(axis, tuple) and not isinstance(shift, tuple):
        shift = (shift,) * len(axis)
    return torch.roll(x, shift, axis)


def _pad(x: Any, pad_width: Any, constant_value: float) -> Any:
    widths = np.broadcast_to(pad_width, (x.ndim, 2))[::-1]  # from the last axis on
    return F.pad(x, [int(w) for w in widths.ravel()], value=constant_value)


def _repeat(x: Any, repeats: Any, axis: Any) -> Any:
    counts = torch.as_tensor(np.array(repeats))
    flat = x.reshape(-1) if axis is None else x
    return torch.repeat_interleave(flat, counts, dim=0 if axis is None else axis)


def _getitem(x: Any, index: Any) -> Any:
    """By picking places: PyTorch has no negative steps and other rules for mixed indices."""
    places = np.arange(x.numel()).reshape(x.shape)[index]
    return x.reshape(-1)[torch.as_tensor(np.array(places))]


def _take(x: Any, ids: Any, axis: Any) -> Any:
    axis = 0 if axis is None else axis % x.ndim
    picked = torch.index_select(x, axis, torch.as_tensor(ids % x.shape[axis]).reshape(-1))
    return picked.reshape((*x.shape[:axis], *ids.shape, *x.shape[axis + 1 :]))


def _take_along_axis(x: Any, ids: Any, axis: int) -> Any:
    return torch.take_along_dim(x, torch.as_tensor(ids % x.shape[axis]), dim=axis)


def _cumulative_sum(x: Any, axis: Any, include_initial: bool) -> Any:
    axis = 0 if axis is None else axis
    y = torch.cumsum(x, axis)
    first = torch.zeros_like(x.sum(axis, keepdim=True))
    return torch.cat([first, y], axis) if include_initial else y


def _dropout(x: Any, p: float, seed: int) -> Any:
    mask = kept(tuple(x.shape), p, seed)  # the draw is ours
    return x * torch.as_tensor(mask * (1 / (1 - p) if p < 1 else 0), dtype=x.dtype)


def _cross_entropy(logits: Any, targets: Any, **settings: Any) -> Any:
    v, shape = logits.shape[-1], targets.shape
    y = F.cross_entropy(logits.reshape(-1, v), torch.as_tensor(targets).reshape(-1), **settings)
    return y.reshape(shape) if settings["reduction"] == "none" else y


def _linear(x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    y = F.linear(x, weight, bias)
    return y if residual is None else y + residual


def _mlp(x: Any, w: Any, b: Any, v: Any, c: Any, residual: Any, approximate: str) -> Any:
    return _linear(F.gelu(F.linear(x, w, b), approximate=approximate), v, c, residual)


def _linear_cross_entropy(x: Any, weight: Any, targets: Any, **settings: Any) -> Any:
    return _cross_entropy(F.linear(x, weight), targets, **settings)


def _attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    is_causal: bool,
    scale: float | None,
    dropout_p: float,
    seed: int,
) -> Any:
    """Without dropout PyTorch's own; with it, from the weights, for the draw is ours."""
    b, h, t, s = *q.shape[:3], k.shape[2]
    allowed = np.broadcast_to(True if mask is None else mask, (b, h, t, s)).copy()
    if is_causal:
        allowed &= np.tri(t, s, dtype=bool)
    allowed = torch.as_tensor(allowed)
    if dropout_p == 0:
        y = F.scaled_dot_product_attention(q, k, v, allowed, scale=scale, enable_gqa=True)
        return torch.where(allowed.any(-1, keepdim=True), y, 0)
    k, v = (x.repeat_interleave(h // x.shape[1], 1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    weights = torch.softmax(torch.where(allowed, scores, -1e30), -1) * allowed
    return weights * torch.as_tensor(weights_kept(seed, (b, h, t, s), dropout_p), dtype=q.dtype) @ v


def _causal_self_attention(
    qkv: Any, n_head: int, n_kv_head: int, window: int | None, **settings: Any
) -> Any:
    b, t, c = qkv.shape
    heads = qkv.reshape(b, t, n_head + 2 * n_kv_head, c // (n_head + 2 * n_kv_head))
    q, k, v = torch.split(heads.transpose(1, 2), [n_head, n_kv_head, n_kv_head], 1)
    recent = None if window is None else ~np.tri(t, k=-window, dtype=bool)
    return _attention(q, k, v, recent, True, **settings).transpose(1, 2).flatten(2)


def _rope(x: Any, cos: Any, sin: Any, n_head: int, interleaved: bool) -> Any:
    """Pairs as complex numbers, as Llama's own code has them."""
    b, t, d = *x.shape[:2], 2 * cos.shape[1]
    heads, rest = x[..., : n_head * d].reshape(b, t, n_head, d), x[..., n_head * d :]
    if not interleaved:
        heads = torch.stack(heads.chunk(2, -1), -1).flatten(-2)
    turn = torch.complex(*(torch.as_tensor(np.asarray(p), dtype=x.dtype) for p in (cos, sin)))
    pairs = torch.view_as_complex(heads.reshape(b, t, n_head, d // 2, 2).contiguous())
    y = torch.view_as_real(pairs * turn[:, None])  # (B, T, H, D / 2, 2)
    y = y.flatten(-2) if interleaved else torch.cat([y[..., 0], y[..., 1]], -1)
    return torch.cat([y.flatten(2), rest], -1)


ORACLES: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "subtract": lambda a, b: a - b,
    "multiply": torch.mul,
    "divide": lambda a, b: a / b,
    "negative": torch.neg,
    "pow": torch.pow,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "gelu": lambda x, approximate: F.gelu(x, approximate=approximate),
    "silu": F.silu,
    "swiglu": lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
    "maximum": lambda a, b: torch.maximum(*_both(a, b)),
    "minimum": lambda a, b: torch.minimum(*_both(a, b)),
    "clip": _clip,
    "where": lambda c, a, b: torch.where(torch.as_tensor(c), *_both(a, b)),
    "sum": _reduced(torch.sum),
    "mean": _reduced(torch.mean),
    "var": _reduced(torch.var),
    "std": _reduced(torch.std),
    "max": _reduced(torch.amax),
    "min": _reduced(torch.amin),
    "prod": _each_axis(lambda x, a: torch.prod(x, a, keepdim=True)),
    "logsumexp": _reduced(torch.logsumexp),
    "cumulative_sum": _cumulative_sum,
    "softmax": lambda x, axis: torch.softmax(x, axis),
    "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
    "reshape": lambda x, shape: x.reshape(shape),
    "permute_dims": lambda x, axes: x.permute(axes),
    "swapaxes": lambda x, axis1, axis2: x.swapaxes(axis1, axis2),
    "expand_dims": _expand_dims,
    "squeeze": lambda x, axis: x.squeeze() if axis is None else x.squeeze(axis),
    "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
    "concat": lambda *parts, axis: torch.cat(parts, axis),
    "stack": lambda *parts, axis: torch.stack(parts, axis),
    "split": _split,
    "flip": lambda x, axis: x.flip(_axes(x, axis)),
    "roll": _roll,
    "pad": _pad,
    "repeat": _repeat,
    "tril": lambda x, k: torch.tril(x, k),
    "triu": lambda x, k: torch.triu(x, k),
    "astype": lambda x, dtype: x.to(torch.float64),
    "getitem": _getitem,
    "take": _take,
    "take_along_axis": _take_along_axis,
    "embedding": lambda ids, weight: F.embedding(torch.as_tensor(np.asarray(ids)), weight),
    "matmul": torch.matmul,
    "einsum": lambda *operands, subscripts: torch.einsum(subscripts, *operands),
    "linear": _linear,
    "mlp": _mlp,
    "layer_norm": lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], w, b, eps),
    "rms_norm": lambda x, w, eps: F.rms_norm(x, x.shape[-1:], w, eps),
    "rope": _rope,
    "dropout": _dropout,
    "cross_entropy": _cross_entropy,
    "linear_cross_entropy": _linear_cross_entropy,
    "attention": _attention,
    "causal_self_attention": _causal_self_attention,
}


def _both(a: Any, b: Any) -> tuple[Any, Any]:
    dtype = a.dtype if isinstance(a, torch.Tensor) else b.dtype
    return torch.as_tensor(a, dtype=dtype), torch.as_tensor(b, dtype=dtype)


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return axis if isinstance(axis, tuple) else (axis,)
