"""What only training needs: the loss, the gradient of a table of rows, the optimiser."""

import math

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.reference.layers import Array, log_softmax, softmax

# -- cross-entropy -----------------------------------------------------------------------------


def cross_entropy(
    logits: Array, targets: NDArray[np.int64], ignore_index: int, label_smoothing: float
) -> Array:
    """loss = -sum(target log_softmax(logits)); a smoothed target spreads ε evenly over all V."""
    N, V = logits.shape
    log_p = log_softmax(logits, axis=-1)
    counted = targets != ignore_index
    at = log_p[np.arange(N), np.where(counted, targets, 0)] if V else np.zeros(N, logits.dtype)
    losses = -at * logits.dtype.type(1 - label_smoothing)
    if label_smoothing:
        losses = losses - log_p.sum(axis=-1) * logits.dtype.type(label_smoothing / max(V, 1))
    return np.where(counted, losses, 0).astype(logits.dtype)


def cross_entropy_backward(
    dlosses: Array,
    logits: Array,
    targets: NDArray[np.int64],
    ignore_index: int,
    label_smoothing: float,
) -> Array:
    """dlogits = dloss (softmax(logits) - target)."""
    N, V = logits.shape
    counted = targets != ignore_index
    smoothed = np.full((N, V), label_smoothing / max(V, 1), logits.dtype)
    if V:
        smoothed[np.arange(N), np.where(counted, targets, 0)] += 1 - label_smoothing
    with np.errstate(invalid="ignore"):
        dlogits = dlosses[:, None] * (softmax(logits, axis=-1) - smoothed)
    return np.where(counted[:, None], dlogits, 0).astype(logits.dtype)


def cross_entropy_with_gradient(
    dlosses: Array,
    logits: Array,
    targets: NDArray[np.int64],
    ignore_index: int,
    label_smoothing: float,
) -> tuple[Array, Array]:
    """The loss of each row and, with dlosses known beforehand, the gradient of their sum."""
    settings = (targets, ignore_index, label_smoothing)
    return cross_entropy(logits, *settings), cross_entropy_backward(dlosses, logits, *settings)


def cross_entropy_in_place(
    dlosses: Array,
    losses: Array,
    logits: Array,
    targets: NDArray[np.int64],
    ignore_index: int,
    label_smoothing: float,
) -> None:
    """The losses into an array that is there, and the gradient over the logits."""
    losses[:], logits[:] = cross_entropy_with_gradient(
        dlosses, logits, targets, ignore_index, label_smoothing
    )


# -- a table of rows ---------------------------------------------------------------------------


def add_rows(table: Array, ids: NDArray[np.int64], rows: Array) -> None:
    """table[ids[i]] += rows[i] for every i, in place, repeated ids counted each time."""
    np.add.at(table, ids, rows)


# -- the optimiser -----------------------------------------------------------------------------


def adamw_step(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """One step of AdamW, in place on param, m and v."""
    dtype = param.dtype.type
    param *= dtype(1 - lr * weight_decay)
    m += (grad - m) * dtype(1 - beta1)
    v *= dtype(beta2)
    v += grad * grad * dtype(1 - beta2)
    denom = np.sqrt(v) / dtype(math.sqrt(1 - beta2**step)) + dtype(eps)
    param -= dtype(lr / (1 - beta1**step)) * m / denom


def sum_of_squares(x: Array) -> float:
    """sum(x²), in float64."""
    return float((x.astype(np.float64) ** 2).sum())


def all_finite(x: Array) -> bool:
    """Whether no element is infinite or nan."""
    return bool(np.isfinite(x).all())
