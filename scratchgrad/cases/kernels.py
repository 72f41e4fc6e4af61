"""For every kernel, how to make its arguments from a generator, a dtype and five sizes.

The tests draw from this table, and so does `scratchgrad doctor`, on the user's machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad.kernels import (
    activation,
    adamw,
    attention,
    attention_cache,
    cross_entropy,
    indexing,
    linear,
    matmul,
    norm,
    random,
    reduction,
    reference,
    rope,
    softmax,
)

Make = Callable[[np.random.Generator, Any, list[int]], tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """One kernel. The results of a case in place are its arguments afterwards.

    ``slack`` is for one that takes the difference of much larger numbers: rounding is of their
    size. With a single key, attention's dK is a sum of such differences that are 0 but for it.
    ``twin`` is the module that has the kernel as its formula.
    """

    module: Any
    name: str
    make: Make
    in_place: tuple[int, ...] = ()
    label: str = ""
    slack: int = 1
    twin: Any = reference

    def __str__(self) -> str:
        return self.label or self.name

    def run(self, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The results of this kernel in a module: the kernel's own, or the reference."""
        function = getattr(module, self.name)
        if self.in_place:
            args = tuple(a.copy() if i in self.in_place else a for i, a in enumerate(args))
            function(*args)
            return tuple(args[i] for i in self.in_place)
        results = function(*args)
        return results if isinstance(results, tuple) else (results,)


def normal(rng, dtype, *shape):
    return np.asarray(rng.standard_normal(shape)).astype(dtype)


def matmul_args(rng, dtype, sizes):
    B, H, M, K, N = sizes
    batches = [((), ()), ((B,), ()), ((), (B,)), ((B, H), (B, H)), ((B, 1), (H,)), ((1,), (B, 1))]
    a, b = batches[rng.integers(len(batches))]
    return normal(rng, dtype, *a, M, K), normal(rng, dtype, *b, K, N)


def linear_args(rng, dtype, sizes):
    N, C, V = sizes[:3]
    bias = normal(rng, dtype, V) if rng.integers(2) else None
    residual = normal(rng, dtype, N, V) if rng.integers(2) else None
    return normal(rng, dtype, N, C), normal(rng, dtype, V, C), bias, residual


def linear_gelu_args(approximate: str) -> Make:
    def make(rng, dtype, sizes):
        x, weight, bias, _ = linear_args(rng, dtype, sizes)
        return x, weight, bias, approximate

    return make


def matmul_gelu_backward_args(approximate: str) -> Make:
    def make(rng, dtype, sizes):
        N, out, inner = sizes[:3]
        dy, weight = normal(rng, dtype, N, out), normal(rng, dtype, out, inner)
        return dy, weight, 3 * normal(rng, dtype, N, inner), approximate

    return make


def matmul_2d(rng, dtype, sizes):
    M, K, N = sizes[:3]
    return normal(rng, dtype, M, K), normal(rng, dtype, K, N)


def one_axis(backward: str = "") -> Make:
    """x or (dy, y) with the axis to go along, where y is what the forward gave."""

    def make(rng, dtype, sizes):
        ndim = int(rng.integers(1, 4))
        axis = int(rng.integers(-ndim, ndim))
        x = 3 * normal(rng, dtype, *sizes[:ndim])
        if not backward:
            return x, axis
        return normal(rng, dtype, *x.shape), getattr(reference, backward)(x, axis), axis

    return make


def attention_args(rng, dtype, sizes):
    B, groups, T, S, D = sizes
    Hk = int(rng.integers(1, 3))
    H, Dv = Hk * max(groups % 3, 1), max(D - 2, 1)
    B = min(B, 4)
    shapes = [None, (T, S), (B, 1, 1, S), (B, H, T, S), (H, 1, S)]
    mask_shape = shapes[rng.integers(len(shapes))]
    mask = None if mask_shape is None else rng.random(mask_shape) < 0.6
    dropout = (0.3, int(rng.integers(2**64, dtype=np.uint64)))
    return (
        normal(rng, dtype, B, H, T, D),
        normal(rng, dtype, B, Hk, S, D),
        normal(rng, dtype, B, Hk, S, Dv),
        mask,
        bool(rng.integers(2)),
        0.5,
        dropout if rng.integers(2) else None,
    )


def attention_backward_args(rng, dtype, sizes):
    q, k, v, *how = attention_args(rng, dtype, sizes)
    out, lse = reference.attention(q, k, v, *how)
    return (normal(rng, dtype, *out.shape), q, k, v, out, lse, *how)


def qkv_args(rng, dtype, sizes):
    B, groups, T, _, D = sizes
    Hk = int(rng.integers(1, 3))
    H = Hk * max(groups % 3, 1)
    dropout = (0.3, int(rng.integers(2**64, dtype=np.uint64)))
    qkv = normal(rng, dtype, min(B, 3), T, (H + 2 * Hk) * D)
    window = int(rng.integers(1, T + 2)) if rng.integers(2) else 0
    return qkv, H, Hk, 0.5, dropout if rng.integers(2) else None, window


def qkv_backward_args(rng, dtype, sizes):
    qkv, *how = qkv_args(rng, dtype, sizes)
    out, lse = reference.qkv_attention(qkv, *how)
    return (normal(rng, dtype, *out.shape), qkv, out, lse, *how)


def cache_args(rng, dtype, sizes):
    B, groups, T, room, D = sizes
    Hk = int(rng.integers(1, 3))
    H = Hk * max(groups % 3, 1)
    B, T, D = min(B, 3), min(T, 9), max(D, 1)
    qkv = normal(rng, dtype, B, T, (H + 2 * Hk) * D)
    keys, values = (normal(rng, dtype, B, Hk, T + room, D) for _ in range(2))
    length = T + int(rng.integers(room + 1))
    window = int(rng.integers(1, length + 2)) if rng.integers(2) else 0
    return qkv, keys, values, length, H, 0.5, window


def norm_args(rng, dtype, sizes):
    x = 2 * normal(rng, dtype, *sizes[: rng.integers(1, 4)]) + 1
    weight, bias = normal(rng, dtype, x.shape[-1]), normal(rng, dtype, x.shape[-1])
    return x, None if rng.integers(4) == 0 else weight, None if rng.integers(4) == 0 else bias, 1e-3


def layer_norm_backward_args(rng, dtype, sizes):
    x, weight, bias, eps = norm_args(rng, dtype, sizes)
    _, mean, rstd = reference.layer_norm(x, weight, bias, eps)
    return normal(rng, dtype, *x.shape), x, weight, mean, rstd


def rms_norm_args(rng, dtype, sizes):
    x, weight, _, eps = norm_args(rng, dtype, sizes)
    return x, weight, eps


def rms_norm_backward_args(rng, dtype, sizes):
    x, weight, eps = rms_norm_args(rng, dtype, sizes)
    return normal(rng, dtype, *x.shape), x, weight, reference.rms_norm(x, weight, eps)[1]


def rope_args(rng, dtype, sizes):
    B, heads, T, rest, half = sizes
    angle = rng.uniform(0, 2 * np.pi, (T, half))
    x = normal(rng, dtype, min(B, 3), T, heads * 2 * half + rest)
    return x, *(f(angle).astype(dtype) for f in (np.cos, np.sin)), heads, bool(rng.integers(2))


def cross_entropy_args(rng, dtype, sizes):
    N, V = sizes[0], sizes[1] + 1
    targets = rng.integers(0, V, N)
    targets[rng.random(N) < 0.2] = -100
    return 3 * normal(rng, dtype, N, V), targets, -100, float(rng.choice([0.0, 0.3]))


def cross_entropy_backward_args(rng, dtype, sizes):
    logits, targets, ignore, smoothing = cross_entropy_args(rng, dtype, sizes)
    return normal(rng, dtype, len(logits)), logits, targets, ignore, smoothing


def cross_entropy_in_place_args(rng, dtype, sizes):
    dlosses, *rest = cross_entropy_backward_args(rng, dtype, sizes)
    return dlosses, np.full_like(dlosses, np.nan), *rest


def elementwise(arrays: int, *constants: Any) -> Make:
    def make(rng, dtype, sizes):
        shape = sizes[: rng.integers(0, 4)]
        return (*(3 * normal(rng, dtype, *shape) for _ in range(arrays)), *constants)

    return make


def dropout_args(rng, dtype, sizes):
    x = normal(rng, dtype, *sizes[: rng.integers(0, 4)])
    return x, float(rng.choice([0.0, 0.2, 0.5, 1.0])), int(rng.integers(2**64, dtype=np.uint64))


def halves(arrays: int) -> Make:
    def make(rng, dtype, sizes):
        shape = tuple(sizes[: rng.integers(1, 4)])
        doubled = (*shape[:-1], 2 * shape[-1])
        x = 3 * normal(rng, dtype, *doubled)
        return (x,) if arrays == 1 else (normal(rng, dtype, *shape), x)

    return make


def add_rows_args(rng, dtype, sizes):
    V, N, C = sizes[0] + 1, sizes[1], sizes[2]
    return normal(rng, dtype, V, C), rng.integers(0, V, N), normal(rng, dtype, N, C)


def adamw_args(rng, dtype, sizes):
    param, grad, m, v = (normal(rng, dtype, *sizes[:2]) for _ in range(4))
    return param, grad, m, np.abs(v), 1e-2, 0.9, 0.95, 1e-8, 0.1, int(rng.integers(1, 50))


CASES = [
    Case(matmul, "matmul", matmul_args),
    Case(matmul, "matmul", matmul_2d, label="matmul-2d"),
    Case(linear, "linear", linear_args),
    Case(linear, "linear_gelu", linear_gelu_args("none"), label="linear_gelu-none"),
    Case(linear, "linear_gelu", linear_gelu_args("tanh"), label="linear_gelu-tanh"),
    *(
        Case(
            linear,
            "matmul_gelu_backward",
            matmul_gelu_backward_args(approximate),
            label=f"matmul_gelu_backward-{approximate}",
        )
        for approximate in ("none", "tanh")
    ),
    Case(reduction, "column_sums", lambda rng, dtype, sizes: (normal(rng, dtype, *sizes[:3]),)),
    Case(softmax, "softmax", one_axis()),
    Case(softmax, "softmax_backward", one_axis("softmax")),
    Case(softmax, "log_softmax", one_axis()),
    Case(softmax, "log_softmax_backward", one_axis("log_softmax")),
    Case(attention, "attention", attention_args),
    Case(attention, "attention_backward", attention_backward_args, slack=5),
    Case(attention, "qkv_attention", qkv_args),
    Case(attention, "qkv_attention_backward", qkv_backward_args, slack=5),
    Case(attention_cache, "attend_to_cache", cache_args),
    Case(norm, "layer_norm", norm_args),
    Case(norm, "layer_norm_backward", layer_norm_backward_args),
    Case(norm, "rms_norm", rms_norm_args),
    Case(norm, "rms_norm_backward", rms_norm_backward_args),
    Case(rope, "rope", rope_args),
    Case(rope, "rope_backward", rope_args),
    Case(cross_entropy, "cross_entropy", cross_entropy_args),
    Case(cross_entropy, "cross_entropy_backward", cross_entropy_backward_args),
    Case(cross_entropy, "cross_entropy_with_gradient", cross_entropy_backward_args),
    Case(cross_entropy, "cross_entropy_in_place", cross_entropy_in_place_args, in_place=(1, 2)),
    Case(activation, "gelu", elementwise(1, "none"), label="gelu-none"),
    Case(activation, "gelu", elementwise(1, "tanh"), label="gelu-tanh"),
    Case(activation, "gelu_backward", elementwise(2, "none"), label="gelu_backward-none"),
    Case(activation, "gelu_backward", elementwise(2, "tanh"), label="gelu_backward-tanh"),
    Case(activation, "silu", elementwise(1)),
    Case(activation, "silu_backward", elementwise(2)),
    Case(activation, "swiglu", halves(1)),
    Case(activation, "swiglu_backward", halves(2)),
    Case(activation, "sigmoid", elementwise(1)),
    Case(activation, "erf", elementwise(1)),
    Case(random, "dropout", dropout_args),
    Case(indexing, "add_rows", add_rows_args, in_place=(0,)),
    Case(adamw, "adamw_step", adamw_args, in_place=(0, 2, 3)),
    Case(adamw, "sum_of_squares", elementwise(1)),
    Case(adamw, "all_finite", elementwise(1)),
]


ROUNDING = 200  # in units of eps: sums of up to some hundred terms


def error(got: Any, wanted: Any) -> float:
    """The largest difference, relative to the largest number wanted, or to 1 if that is more.

    Infinite where the dtypes, the shapes, or the places of inf and nan differ.
    """
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return float("inf")
    if got.dtype.kind != "f":
        return 0.0 if np.array_equal(got, wanted) else float("inf")
    finite = np.isfinite(wanted)
    if not np.array_equal(got[~finite], wanted[~finite], equal_nan=True):
        return float("inf")
    difference = np.abs(got[finite] - wanted[finite])
    if not np.isfinite(difference).all():
        return float("inf")
    scale = max(1.0, float(np.abs(wanted[finite]).max(initial=0.0)))
    return float(difference.max(initial=0.0)) / scale


def assert_close(got: Any, wanted: Any, message: str = "", slack: int = 1) -> None:
    """Equal but for rounding: sums of up to some hundred terms of the size of the largest."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    np.testing.assert_equal(got.dtype, wanted.dtype, err_msg=message)
    np.testing.assert_equal(got.shape, wanted.shape, err_msg=message)
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted, err_msg=message)
    elif got.size:
        finite = np.abs(wanted[np.isfinite(wanted)])
        scale = max(1.0, float(finite.max(initial=0.0)))
        eps = float(np.finfo(got.dtype).eps)
        np.testing.assert_allclose(
            got,
            wanted,
            rtol=0,
            atol=ROUNDING * slack * eps * scale,
            err_msg=message,
            equal_nan=True,
        )
