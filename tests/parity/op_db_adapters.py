"""From PyTorch's arguments to ours, and what is left out by design.

An adapter renames arguments and works out shapes; all that is computed, an operation of ours
computes. Where our semantics differ from PyTorch's, a rule leaves a sample or an error input out
and says why.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import scratchgrad as sg
from tests.parity.op_db import Mapped, Rule

F = sg.nn.functional

# ----------------------------------------------------------------------------------------- rules


def _no_axes(sample: Any) -> bool:
    """A single number and an axis of it, or none."""
    settings = [*sample.args, sample.kwargs.get("dim")]
    named = [d for d in settings if isinstance(d, (int, list, tuple)) and not isinstance(d, bool)]
    return getattr(sample.input, "ndim", 1) == 0 and bool(named)


SCALAR_AXIS = Rule("a single number has no axis 0, as in NumPy", _no_axes)


def given(name: str, reason: str) -> Rule:
    """Samples with this keyword."""
    return Rule(reason, lambda s: s.kwargs.get(name) not in (None, False))


def says(piece: str, reason: str) -> Rule:
    """Error inputs that PyTorch refuses in these words."""
    return Rule(reason, lambda e: piece in e.error_regex)


def _dim(sample: Any) -> int:
    return sample.kwargs.get("dim", (*sample.args[1:], 0)[0])


def _tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


MASK = torch.zeros(0, dtype=torch.bool)
CHANNELS = Rule(
    "memory_format: every array is in row-major order",
    lambda s: s.kwargs.get("memory_format") not in (None, torch.preserve_format),
)
CROP = Rule("negative widths: cut with an index", lambda s: min(s.args[0], default=0) < 0)
RANDOM = Rule(
    "another draw", lambda s: s.kwargs.get("training", True) and s.kwargs.get("p") not in (0, 1)
)
EMPTY = Rule("an empty vector is no matrix", lambda s: any(t.shape == (0,) for t in s.input))
UNEQUAL = Rule(
    "pieces are equal", lambda s: isinstance(n := s.args[0], int) and s.input.shape[_dim(s)] % n > 0
)
SAME_NDIM = Rule("indices of other dimensions", lambda s: s.input.ndim != s.args[1].ndim)
NO_VECTOR = Rule("a single number is no vector: *", lambda s: s.input.ndim == 0)
NO_STRETCH = Rule("masks do not stretch, as in NumPy", lambda s: s.input.shape != s.args[0].shape)
WEIGHTS = Rule("no weights of classes", lambda s: s.kwargs.get("weight") is not None)
PROBABILITIES = Rule("targets are ids", lambda s: s.args[-1].is_floating_point())
ONE_LOSS = Rule("one axis of classes", lambda s: s.args[0].ndim != 2)
NO_BIAS = Rule("the head has no bias", lambda s: s.kwargs.get("linear_bias") is not None)
ADDITIVE = Rule("masks are boolean", lambda s: s.kwargs.get("attn_mask", MASK).dtype != torch.bool)
THREE = Rule("batches do not stretch", lambda s: s.input.ndim != s.args[0].ndim)
NAN = Rule("PyTorch says that abs is flat at nan", lambda s: bool(s.input.isnan().any()))
NO_ELEMENT = Rule("nothing to sum is an error", lambda s: s.input.numel() == 0)
FROM_THE_END = Rule("PyTorch fails itself", lambda s: s.args[1] < 0)


def _is_stretched(sample: Any) -> bool:
    shapes = [t.shape for t in (sample.input, *sample.args) if _tensor(t)]
    return torch.broadcast_shapes(*shapes) != sample.input.shape


NOT_STRETCHED = Rule("PyTorch does not stretch what it clamps", _is_stretched)
NUMBER_FIRST = Rule("PyTorch gives NotImplemented", lambda s: not _tensor(s.input))
OURS = "the adapter fails itself"
NO_SHAPE = "ours normalises the last axis, which has its own length"
NUMBERS = Rule(
    "a number may stand on either side, as in NumPy",
    lambda e: not _tensor(e.sample_input.input) or not _tensor(e.sample_input.args[0]),
)


# -------------------------------------------------------------------------------------- adapters


def reduction(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim=None, keepdim=False: op(x, axis=dim, keepdims=keepdim)


def spread(op: Callable[..., Any]) -> Callable[..., Any]:
    """var and std. PyTorch says ``unbiased`` for a correction of 1, which is its default."""

    def over(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        n = correction if correction is not None else int(unbiased is not False)
        return op(x, axis=dim, correction=n, keepdims=keepdim)

    return over


def with_mean(op: Callable[..., Any]) -> Callable[..., Any]:
    def both(x, dim=None, unbiased=None, keepdim=False, **settings):
        axis = None if isinstance(dim, bool) else dim
        return spread(op)(x, dim, unbiased, keepdim, **settings), sg.mean(x, axis, keepdim)

    return both


def along(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim: op(x, axis=dim)


def flat(x, last: int):
    """The last axes as one."""
    cut = x.ndim - last
    return sg.reshape(x, (*x.shape[:cut], math.prod(x.shape[cut:])))


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    n = len(shape)
    parameters = [None if p is None else flat(p, n) for p in (weight, bias)]
    return sg.reshape(F.layer_norm(flat(x, n), *parameters, eps=eps), x.shape)


def rms_norm(x, shape, weight=None, eps=None):
    n = len(shape)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    weight = None if weight is None else flat(weight, n)
    return sg.reshape(F.rms_norm(flat(x, n), weight, eps=eps), x.shape)


def cross_entropy(x, target, **settings):
    """PyTorch has the classes on axis 1, we on the last."""
    last = (0, *range(2, x.ndim), 1) if x.ndim > 1 else (0,)
    return F.cross_entropy(sg.permute_dims(x, last), target, **settings)


def linear_cross_entropy(x, weight, target, options=None, **settings):
    """``options`` say how PyTorch cuts the rows into chunks; we decide that ourselves."""
    return F.linear_cross_entropy(x, weight, target, **settings)


def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False):
    """We always have a batch axis."""
    unbatched = q.ndim == 3
    q, k, v = (x[None] if unbatched else x for x in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask, is_causal, None, dropout_p)
    return y[0] if unbatched else y


def pad(x, pad, mode="constant", value=None):
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]  # from the last axis on
    return sg.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + pairs, 0 if value is None else value)


def cut(x, split_size_or_sections, dim=0):
    """PyTorch names the sizes of the pieces, we the places of the cuts."""
    n, size = x.shape[dim], split_size_or_sections
    ends = range(size, n, size) if isinstance(size, int) else np.cumsum(size)[:-1]
    return sg.split(x, list(ends), axis=dim)


def tensor_split(x, where, dim=0):
    where = np.asarray(where)
    return sg.split(x, int(where) if where.ndim == 0 else list(where), axis=dim)


def chunk(x, chunks, dim=0):
    return cut(x, -(-x.shape[dim] // chunks), dim)


def unbind(x, dim=0):
    return tuple(sg.squeeze(part, dim) for part in sg.split(x, x.shape[dim], axis=dim))


def flatten(x, start_dim=0, end_dim=-1):
    start, end = start_dim % max(x.ndim, 1), end_dim % max(x.ndim, 1)
    row = math.prod(x.shape[start : end + 1])
    return sg.reshape(x, (*x.shape[:start], row, *x.shape[end + 1 :]))


def unflatten(x, dim, sizes):
    return sg.reshape(x, (*x.shape[:dim], *sizes, *(x.shape[dim:][1:] if dim != -1 else ())))


def expand(x, *shape):
    shape = shape[0] if isinstance(shape[0], (tuple, list)) else shape
    old = (0,) * (len(shape) - x.ndim) + x.shape
    return sg.broadcast_to(x, tuple(o if n == -1 else n for n, o in zip(shape, old, strict=True)))


def movedim(x, source, destination):
    """PyTorch names the axes that move, we the whole order."""
    source, destination = np.atleast_1d(source) % x.ndim, np.atleast_1d(destination) % x.ndim
    order = [a for a in range(x.ndim) if a not in source]
    for place, axis in sorted(zip(destination.tolist(), source.tolist(), strict=True)):
        order.insert(place, axis)
    return sg.permute_dims(x, order)


def squeeze(x, dim=None):
    """PyTorch lets an axis stand that is not 1 long; we name only those that are."""
    named = range(x.ndim) if dim is None else np.atleast_1d(np.array(dim, dtype=int))
    return sg.squeeze(x, tuple(int(a) for a in named if x.shape[a] == 1))


def slice_of(x, dim=0, start=None, end=None, step=1):
    return x[(slice(None),) * dim + (slice(start, end, step),)]


def narrow(x, dim, start, length):
    return sg.take(x, start + np.arange(length), dim)


def to(x, *given, memory_format=None):
    """The dtype among the settings, or that of another tensor."""
    (dtype,) = [g for g in given if isinstance(g, np.dtype)] or [given[0].dtype]
    return sg.astype(x, dtype)


def roll(x, shifts, dims=None):
    dims = None if dims in ((), []) else dims
    return sg.roll(x, shifts, dims)


def take_along_dim(x, indices, dim=None):
    if dim is None:
        x, indices, dim = sg.reshape(x, -1), sg.reshape(indices, -1), 0
    return sg.take_along_axis(x, indices, dim)


def add(a, b, alpha=1):
    return sg.add(a, b if alpha == 1 else alpha * b)


def sub(a, b, alpha=1):
    return sg.subtract(a, b if alpha == 1 else alpha * b)


def add_product(x, a, b, beta=1, alpha=1):
    return beta * x + alpha * sg.matmul(a, b)


def first(result: Any) -> Any:
    return result[0]


def reduced(op: Callable[..., Any], *accepts: Rule) -> Mapped:
    return Mapped(reduction(op), (SCALAR_AXIS,), accepts)


def converted(dtype: Any) -> Mapped:
    return Mapped(lambda x, memory_format=None: sg.astype(x, dtype), (CHANNELS,))
