"""The loss of a language model: cross-entropy.

Its gradient is the gradient of the loss by a factor, dy, only. So while the tape is recording, it
is made together with the loss, and the backward multiplies by dy what waits for it.
"""

from typing import Any

import numpy as np

from scratchgrad.autograd import is_recording
from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.kernels import cross_entropy as ce
from scratchgrad.operation import differentiable
from scratchgrad.ops.arguments import as_float, check_probability, checked_ids, rows_of


@differentiable
def cross_entropy(logits, targets, /, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    """-ln softmax(logits)[target], for each row.

    Parameters
    ----------
    logits : (..., V)
    targets : integers (...), each from 0 to V - 1 or ``ignore_index``
        A row whose target is ``ignore_index`` has loss 0 and no gradient, and does not count.
    label_smoothing : float in [0, 1]
        The share of the target's probability that is spread evenly over all V classes.
    reduction : "mean" (over the rows that count), "sum" or "none"
        The mean of no rows is nan, as 0/0 is.

    Source: Szegedy et al., Rethinking the Inception Architecture (2016), section 7, for smoothing.
    """
    logits = as_float(logits)
    v = logits.shape[-1] if logits.ndim else 0
    shape, ids, n = _targets("cross_entropy", logits, targets, v, ignore_index, reduction)
    check_probability("cross_entropy: label_smoothing", label_smoothing)
    rows = rows_of(logits)  # (N, V)
    settings = (ids, ignore_index, label_smoothing)
    if reduction == "none":
        losses = ce.cross_entropy(rows, *settings)
        return losses.reshape(shape), (
            lambda dy: ce.cross_entropy_backward(dy.reshape(-1), rows, *settings).reshape(
                logits.shape
            ),
            None,
        )

    share = np.full(len(rows), _share(reduction, n), logits.dtype)  # what a row weighs
    waiting = []
    if is_recording():
        losses, drows = ce.cross_entropy_with_gradient(share, rows, *settings)
        waiting.append(drows)
    else:
        losses = ce.cross_entropy(rows, *settings)

    def dlogits(dy):
        # The caller owns what it is given, so the second time (retain_graph) it is made anew; and
        # if dy is inf or nan, because 0 times that is not 0.
        if waiting and np.isfinite(dy):
            drows = scaled(waiting.pop(), dy)
        else:
            drows = ce.cross_entropy_backward(dy * share, rows, *settings)
        return drows.reshape(logits.shape)

    return reduced(losses, reduction, n), (dlogits, None)


def _share(reduction: str, n: int) -> float:
    """What the loss of a row counts for in the result: loss = sum(losses) / n for a mean."""
    return 1 / n if reduction == "mean" and n else 1.0


def scaled(gradient: np.ndarray, dy: Any) -> np.ndarray:
    """dy times the gradient, in place; nothing to do for dy = 1, where a backward mostly starts."""
    if dy != 1:
        gradient *= dy
    return gradient


def reduced(losses: np.ndarray, reduction: str, n: int) -> np.ndarray:
    """The sum or the mean of (N,) losses, of which n count."""
    total = losses.sum(dtype=np.float64)  # in float64: a mean over 10^5 rows keeps its digits
    if reduction == "mean":
        total = total / n if n else np.float64(np.nan)
    return total.astype(losses.dtype)


def _targets(
    name: str, x: np.ndarray, targets: Any, v: int, ignore_index: int, reduction: str
) -> tuple[tuple[int, ...], np.ndarray, int]:
    """The shape of the targets, the targets as (N,) ids of v classes, and how many count."""
    if reduction not in ("mean", "sum", "none"):
        raise ConfigError(
            f"{name}: expected reduction 'mean', 'sum' or 'none', received {reduction!r}"
        )
    targets = np.asarray(targets)
    if x.ndim < 1 or targets.shape != x.shape[:-1]:
        what = "logits (..., V)" if name == "cross_entropy" else "x (..., C)"
        raise ShapeError(
            f"{name}: expected {what} and targets (...), received {x.shape} and {targets.shape}"
        )
    counted = targets != ignore_index
    checked_ids(name, np.where(counted, targets, 0), max(v, 1))
    # a NumPy integer for n would make dy / n float64
    return targets.shape, targets.reshape(-1).astype(np.int64), int(np.count_nonzero(counted))
