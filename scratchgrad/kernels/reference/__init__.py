"""Every kernel as plain NumPy, written as its formula: the specification.

Read this first. Each function has the name, the arguments and the results of the kernel it
specifies, and computes them the way the textbook writes them: whole arrays at a time, with every
intermediate matrix in plain sight. The kernels do the same sums in another order, so tests hold
them to these results within rounding.

`layers.py` has what the layers compute, `attention.py` attention, `training.py` the loss and the
optimiser.
"""

from scratchgrad.kernels.reference.attention import (
    attend_to_cache,
    attention,
    attention_backward,
    qkv_attention,
    qkv_attention_backward,
)
from scratchgrad.kernels.reference.layers import (
    GELU_CUBIC,
    GELU_SCALE,
    column_sums,
    dropout,
    erf,
    gelu,
    gelu_backward,
    layer_norm,
    layer_norm_backward,
    linear,
    linear_gelu,
    log_softmax,
    log_softmax_backward,
    matmul,
    matmul_gelu_backward,
    rms_norm,
    rms_norm_backward,
    rope,
    rope_backward,
    sigmoid,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    swiglu,
    swiglu_backward,
)
from scratchgrad.kernels.reference.training import (
    adamw_step,
    add_rows,
    all_finite,
    cross_entropy,
    cross_entropy_backward,
    cross_entropy_in_place,
    cross_entropy_with_gradient,
    sum_of_squares,
)

__all__ = [
    "GELU_CUBIC",
    "GELU_SCALE",
    "adamw_step",
    "add_rows",
    "all_finite",
    "attend_to_cache",
    "attention",
    "attention_backward",
    "column_sums",
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_in_place",
    "cross_entropy_with_gradient",
    "dropout",
    "erf",
    "gelu",
    "gelu_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_gelu",
    "log_softmax",
    "log_softmax_backward",
    "matmul",
    "matmul_gelu_backward",
    "qkv_attention",
    "qkv_attention_backward",
    "rms_norm",
    "rms_norm_backward",
    "rope",
    "rope_backward",
    "sigmoid",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "sum_of_squares",
    "swiglu",
    "swiglu_backward",
]
