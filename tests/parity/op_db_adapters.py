"""Which function of ours answers to which name of PyTorch's op_db.

An adapter renames arguments; it computes nothing. Where our semantics differ from PyTorch's by
design, a rule leaves the sample or the error input out, with its reason.
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
    """A single number and an axis of it."""
    given = [*sample.args, sample.kwargs.get("dim")]
    named = [g for g in given if isinstance(g, (int, list, tuple)) and not isinstance(g, bool)]
    return getattr(sample.input, "ndim", 1) == 0 and bool(named)


SCALAR_AXIS = Rule("a single number has no axis 0, as in NumPy", _no_axes)
NO_DIMS = Rule(
    "an empty tuple of axes folds none, not all, as in NumPy",
    lambda s: any(
        given in ([], ())
        for given in (*s.args, s.kwargs.get("dim"))
        if isinstance(given, (list, tuple))
    ),
)


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
IN_PLACE = "nothing is written in place"
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
PROBABILITIES = Rule("targets are ids", lambda s: s.args[0].is_floating_point())
ADDITIVE = Rule("masks are boolean", lambda s: s.kwargs.get("attn_mask", MASK).dtype != torch.bool)
THREE = Rule("batches do not stretch", lambda s: s.input.ndim != s.args[0].ndim)
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
    return sg.reshape(x, (*x.shape[:start], -1, *x.shape[end + 1 :]))


def unflatten(x, dim, sizes):
    return sg.reshape(x, (*x.shape[:dim], *sizes, *(x.shape[dim:][1:] if dim != -1 else ())))


def expand(x, *shape):
    shape = shape[0] if isinstance(shape[0], (tuple, list)) else shape
    old = (0,) * (len(shape) - x.ndim) + x.shape
    return sg.broadcast_to(x, tuple(o if n == -1 else n for n, o in zip(shape, old, strict=True)))


def movedim(x, source, destination):
    """PyTorch names the axes that move, we the whole order."""
    order = [a for a in range(x.ndim) if a not in [s % x.ndim for s in source]]
    for place, axis in sorted(zip([d % x.ndim for d in destination], source, strict=True)):
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
    return Mapped(reduction(op), (SCALAR_AXIS, NO_DIMS), accepts)


def converted(dtype: Any) -> Mapped:
    return Mapped(lambda x, memory_format=None: sg.astype(x, dtype), (CHANNELS,))


NARROW = (
    says("out of range", "no index is out of range where none is picked"),
    says("length", "as many as there are below 0: none"),
    says("0-dim integral", "a boolean adds to a number"),
)
MAPPED: dict[str, Mapped] = {
    # ------------------------------------------------------------------------------- arithmetic
    "add": Mapped(add),
    "sub": Mapped(sub),
    "rsub": Mapped(lambda a, b, alpha=1: sub(b, a, alpha), accepts=(NUMBERS,)),
    "mul": Mapped(sg.multiply),
    "div:no_rounding_mode": Mapped(lambda a, b, rounding_mode=None: sg.divide(a, b)),
    "true_divide": Mapped(sg.divide),
    "neg": Mapped(sg.negative),
    "positive": Mapped(lambda x: +x),
    "pow": Mapped(sg.pow, accepts=(NUMBERS,)),
    "square": Mapped(sg.square),
    "sqrt": Mapped(sg.sqrt),
    "rsqrt": Mapped(lambda x: x**-0.5),
    "reciprocal": Mapped(lambda x: 1 / x),
    "abs": Mapped(sg.abs),
    "exp": Mapped(sg.exp),
    "exp2": Mapped(lambda x: 2**x),
    "expm1": Mapped(sg.expm1),
    "log": Mapped(sg.log),
    "log1p": Mapped(sg.log1p),
    "sin": Mapped(sg.sin),
    "cos": Mapped(sg.cos),
    "tanh": Mapped(sg.tanh),
    "erf": Mapped(sg.erf),
    "sigmoid": Mapped(sg.sigmoid),
    "nn.functional.relu": Mapped(F.relu, (given("inplace", IN_PLACE),)),
    "nn.functional.gelu": Mapped(F.gelu),
    "nn.functional.silu": Mapped(F.silu, (given("inplace", IN_PLACE),)),
    "maximum": Mapped(sg.maximum, accepts=(NUMBERS,)),
    "minimum": Mapped(sg.minimum, accepts=(NUMBERS,)),
    "max:binary": Mapped(sg.maximum, accepts=(NUMBERS,)),
    "min:binary": Mapped(sg.minimum, accepts=(NUMBERS,)),
    "clamp": Mapped(sg.clip),
    "clamp_min": Mapped(lambda x, bound: sg.clip(x, bound, None), accepts=(NUMBERS,)),
    "clamp_max": Mapped(lambda x, bound: sg.clip(x, None, bound), accepts=(NUMBERS,)),
    "where": Mapped(lambda x, condition, other: sg.where(condition, x, other)),
    "masked_fill": Mapped(
        lambda x, mask, value: sg.where(mask, value, x),
        accepts=(says("only supports a 0-dimensional value", "where broadcasts any value"),),
    ),
    "__radd__": Mapped(lambda a, b: b + a, accepts=(NUMBERS,)),
    "__rsub__": Mapped(lambda a, b: b - a, accepts=(NUMBERS,)),
    "__rmul__": Mapped(lambda a, b: b * a, accepts=(NUMBERS,)),
    "__rdiv__": Mapped(lambda a, b: b / a, accepts=(NUMBERS,)),
    "__rpow__": Mapped(lambda a, b: b**a, accepts=(NUMBERS,)),
    "addcmul": Mapped(lambda x, a, b, value=1: x + value * (a * b)),
    "addcdiv": Mapped(lambda x, a, b, value=1: x + value * (a / b)),
    "lerp": Mapped(lambda a, b, weight: a + weight * (b - a)),
    # ------------------------------------------------------------------------------- reductions
    "sum": reduced(sg.sum),
    "mean": reduced(sg.mean, says("could not infer output dtype", "integers: mean is float32")),
    "prod": reduced(sg.prod),
    "amax": reduced(sg.max),
    "amin": reduced(sg.min),
    "aminmax": Mapped(
        lambda x, *, dim=None, keepdim=False: (sg.min(x, dim, keepdim), sg.max(x, dim, keepdim)),
        (SCALAR_AXIS,),
    ),
    "max:reduction_no_dim": Mapped(sg.max),
    "min:reduction_no_dim": Mapped(sg.min),
    "max:reduction_with_dim": Mapped(reduction(sg.max), (SCALAR_AXIS,), theirs=first),
    "min:reduction_with_dim": Mapped(reduction(sg.min), (SCALAR_AXIS,), theirs=first),
    "logsumexp": reduced(sg.logsumexp),
    "var": Mapped(spread(sg.var)),
    "var:unbiased": Mapped(spread(sg.var)),
    "var_mean": Mapped(with_mean(sg.var)),
    "var_mean:unbiased": Mapped(with_mean(sg.var)),
    "std": Mapped(spread(sg.std)),
    "std:unbiased": Mapped(spread(sg.std)),
    "std_mean": Mapped(with_mean(sg.std)),
    "std_mean:unbiased": Mapped(with_mean(sg.std)),
    "cumsum": Mapped(along(sg.cumulative_sum), (SCALAR_AXIS,)),
    "softmax": Mapped(along(F.softmax), (SCALAR_AXIS,)),
    "nn.functional.softmin": Mapped(along(lambda x, axis: F.softmax(-x, axis)), (SCALAR_AXIS,)),
    "log_softmax": Mapped(along(F.log_softmax), (SCALAR_AXIS,)),
    # ----------------------------------------------------- without a gradient: NumPy on the value
    "eq": Mapped(lambda a, b: a == b, accepts=(NUMBERS,)),
    "ne": Mapped(lambda a, b: a != b, accepts=(NUMBERS,)),
    "lt": Mapped(lambda a, b: a < b, accepts=(NUMBERS,)),
    "le": Mapped(lambda a, b: a <= b, accepts=(NUMBERS,)),
    "gt": Mapped(lambda a, b: a > b, accepts=(NUMBERS,)),
    "ge": Mapped(lambda a, b: a >= b, accepts=(NUMBERS,)),
    "isclose": Mapped(np.isclose, accepts=(NUMBERS, says("tol must be", "NumPy takes any"))),
    "allclose": Mapped(np.allclose),
    "isfinite": Mapped(np.isfinite),
    "isinf": Mapped(np.isinf),
    "isnan": Mapped(np.isnan),
    "signbit": Mapped(np.signbit),
    "all": reduced(np.all),
    "any": reduced(np.any),
    "count_nonzero": reduced(np.count_nonzero),
    "argmax": reduced(np.argmax),
    "argmin": reduced(np.argmin),
    "item": Mapped(lambda x: x.item()),
    "zeros_like": Mapped(np.zeros_like),
    "ones_like": Mapped(np.ones_like),
    # ------------------------------------------------------------------------------------ shape
    "reshape": Mapped(sg.reshape),
    "view": Mapped(sg.reshape),
    "view_copy": Mapped(sg.reshape),
    "reshape_as": Mapped(lambda x, other: sg.reshape(x, other.shape)),
    "view_as": Mapped(lambda x, other: sg.reshape(x, other.shape)),
    "ravel": Mapped(lambda x: sg.reshape(x, -1)),
    "flatten": Mapped(flatten),
    "unflatten": Mapped(unflatten),
    "permute": Mapped(sg.permute_dims),
    "permute_copy": Mapped(sg.permute_dims),
    "transpose": Mapped(sg.swapaxes, (SCALAR_AXIS,)),
    "transpose_copy": Mapped(sg.swapaxes, (SCALAR_AXIS,)),
    "T": Mapped(lambda x: x.T),
    "H": Mapped(lambda x: x.T),
    "t": Mapped(lambda x: x.T, accepts=(says("2", "T reverses any number of axes"),)),
    "t_copy": Mapped(lambda x: x.T, accepts=(says("2", "T reverses any number of axes"),)),
    "mT": Mapped(lambda x: sg.swapaxes(x, -1, -2)),
    "mH": Mapped(lambda x: sg.swapaxes(x, -1, -2)),
    "movedim": Mapped(movedim, accepts=(says("", OURS),)),
    "unsqueeze": Mapped(sg.expand_dims),
    "unsqueeze_copy": Mapped(sg.expand_dims),
    "squeeze": Mapped(squeeze, (SCALAR_AXIS,)),
    "squeeze:multiple": Mapped(squeeze, (SCALAR_AXIS,)),
    "squeeze_copy": Mapped(squeeze, (SCALAR_AXIS,)),
    "expand": Mapped(expand),
    "expand_copy": Mapped(expand),
    "expand_as": Mapped(lambda x, other: sg.broadcast_to(x, other.shape)),
    "broadcast_to": Mapped(expand),
    "cat": Mapped(lambda parts, dim=0: sg.concat(parts, dim), (EMPTY,)),
    "stack": Mapped(lambda parts, dim=0: sg.stack(parts, dim)),
    "hstack": Mapped(
        lambda parts: sg.concat(parts, 0 if parts[0].ndim == 1 else 1),
        accepts=(says("non-empty", OURS),),
    ),
    "vstack": Mapped(
        lambda parts: (sg.stack if parts[0].ndim == 1 else sg.concat)(parts),
        accepts=(says("non-empty", OURS),),
    ),
    "split": Mapped(cut),
    "split:list_args": Mapped(cut),
    "split_with_sizes": Mapped(cut),
    "split_with_sizes_copy": Mapped(cut),
    "unsafe_split": Mapped(cut),
    "tensor_split": Mapped(tensor_split, (UNEQUAL,)),
    "chunk": Mapped(chunk),
    "unsafe_chunk": Mapped(chunk),
    "hsplit": Mapped(lambda x, where: sg.split(x, where, axis=min(x.ndim - 1, 1))),
    "vsplit": Mapped(lambda x, where: sg.split(x, where, axis=0)),
    "dsplit": Mapped(lambda x, where: sg.split(x, where, axis=2)),
    "unbind": Mapped(unbind, accepts=(says("", OURS),)),
    "unbind_copy": Mapped(unbind, accepts=(says("", OURS),)),
    "flip": Mapped(lambda x, dims: sg.flip(x, dims)),
    "flipud": Mapped(lambda x: sg.flip(x, 0)),
    "fliplr": Mapped(lambda x: sg.flip(x, 1)),
    "roll": Mapped(roll, accepts=(says("shifts", "NumPy stretches shifts and axes"),)),
    "nn.functional.pad:constant": Mapped(pad, (CROP,)),
    "constant_pad_nd": Mapped(lambda x, widths, value=0: pad(x, widths, value=value), (CROP,)),
    "repeat_interleave": Mapped(
        lambda x, repeats, dim=None, output_size=None: sg.repeat(x, repeats, axis=dim)
    ),
    "tril": Mapped(sg.tril),
    "triu": Mapped(sg.triu),
    "to": Mapped(to, (CHANNELS,)),
    "float": converted(np.float32),
    "double": converted(np.float64),
    "int": converted(np.int32),
    "long": converted(np.int64),
    "short": converted(np.int16),
    "bool": converted(bool),
    # --------------------------------------------------------------------------------- indexing
    "__getitem__": Mapped(sg.getitem),
    "select": Mapped(lambda x, dim, index: sg.take(x, index, dim)),
    "slice": Mapped(slice_of),
    "narrow": Mapped(narrow, accepts=NARROW),
    "narrow_copy": Mapped(narrow, accepts=NARROW),
    "masked_select": Mapped(sg.getitem, (NO_STRETCH,)),
    "index_select": Mapped(lambda x, dim, index: sg.take(x, index, dim), (SCALAR_AXIS,)),
    "take": Mapped(lambda x, index: sg.take(sg.reshape(x, -1), index)),
    "take_along_dim": Mapped(take_along_dim),
    "gather": Mapped(
        lambda x, dim, index: sg.take_along_axis(x, index, dim), (SCALAR_AXIS, SAME_NDIM)
    ),
    "nn.functional.embedding": Mapped(lambda weight, ids: F.embedding(ids, weight)),
    # ---------------------------------------------------------------------------------- linalg
    "matmul": Mapped(sg.matmul),
    "mm": Mapped(sg.matmul),
    "bmm": Mapped(sg.matmul),
    "bmm:triton_optimized": Mapped(sg.matmul),
    "mv": Mapped(sg.matmul),
    "dot": Mapped(sg.matmul),
    "vdot": Mapped(sg.matmul),
    "inner": Mapped(lambda a, b: sg.matmul(a, b.T), (NO_VECTOR,)),
    "outer": Mapped(lambda a, b: a[:, None] * b),
    "linalg.vecdot": Mapped(lambda a, b, *, dim=-1: sg.sum(a * b, dim)),
    "__rmatmul__": Mapped(lambda a, b: b @ a),
    "addmm": Mapped(add_product),
    "addmm:decomposed": Mapped(add_product),
    "addmv": Mapped(add_product),
    "baddbmm": Mapped(add_product),
    "addbmm": Mapped(
        lambda x, a, b, beta=1, alpha=1: beta * x + alpha * sg.einsum("bij,bjk->ik", a, b)
    ),
    "addr": Mapped(lambda x, a, b, beta=1, alpha=1: beta * x + alpha * (a[:, None] * b)),
    "einsum": Mapped(lambda operands, subscripts: sg.einsum(subscripts, *operands)),
    # --------------------------------------------------------------------------------- networks
    "nn.functional.linear": Mapped(F.linear),
    "nn.functional.layer_norm": Mapped(layer_norm),
    "native_layer_norm": Mapped(
        layer_norm, accepts=(says("normalized_shape", NO_SHAPE),), theirs=first
    ),
    "nn.functional.rms_norm": Mapped(rms_norm, accepts=(says("normalized_shape", NO_SHAPE),)),
    "nn.functional.cross_entropy": Mapped(cross_entropy, (WEIGHTS, PROBABILITIES)),
    "nn.functional.scaled_dot_product_attention": Mapped(
        attention, (given("dropout_p", "another draw"), ADDITIVE, THREE)
    ),
    "nn.functional.dropout": Mapped(F.dropout, (given("inplace", IN_PLACE), RANDOM)),
}
