"""Cross-entropy of logits against target ids, a row at a time, and its backward."""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.elementary import exp
from scratchgrad.kernels.jit import device, kernel, plain

Array = NDArray[np.floating]
Ids = NDArray[np.int64]


@device
def _minus_log_softmax(logit, top, log_total):
    """In this order: top + log_total may have lost the digits of log_total."""
    return log_total - (logit - top)


@kernel()
def _cross_entropy(start, stop, logits, targets, ignore_index, smoothing, losses, lse):
    V = logits.shape[1]
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    for r in range(start, stop):
        top = logits[r, 0]
        for j in range(1, V):
            top = logits[r, j] if logits[r, j] > top else top
        total = zero
        for j in range(V):
            total += exp(logits[r, j] - top)
        lse[r] = top + np.log(total)
        if targets[r] == ignore_index:
            losses[r] = zero
            continue
        log_total = np.log(total)
        loss = _minus_log_softmax(logits[r, targets[r]], top, log_total)
        if smoothing > 0:
            rest = zero
            for j in range(V):
                rest += _minus_log_softmax(logits[r, j], top, log_total)
            loss = (one - smoothing) * loss + smoothing * (rest / logits.dtype.type(V))
        losses[r] = loss


def cross_entropy(
    logits: Array, targets: Ids, ignore_index: int, label_smoothing: float
) -> tuple[Array, Array]:
    """loss = -sum(t log_softmax(logits)), where t is 1 at the target.

    Parameters
    ----------
    logits : (N, V)
    targets : (N,) int64
        In [0, V) or ignore_index: checked by the caller, for the kernel reads wherever they point.
    ignore_index : int
        A row with this target has loss 0 and gives no gradient.
    label_smoothing : float
        ε: t is 1 - ε + ε/V at the target and ε/V elsewhere, as in PyTorch. Szegedy et al.,
        "Rethinking the Inception Architecture", https://arxiv.org/abs/1512.00567, section 7.

    Returns
    -------
    losses : (N,)
    lse : (N,)
        The log-sum-exp of each row, for the backward.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """
    _check("cross_entropy", logits, targets)
    losses, lse = np.empty(len(logits), logits.dtype), np.empty(len(logits), logits.dtype)
    if logits.size:
        _cross_entropy(
            len(logits),
            plain(logits),
            plain(targets.astype(np.int64, copy=False)),
            ignore_index,
            logits.dtype.type(label_smoothing),
            losses,
            lse,
            work=logits.size * 8,
        )
    return losses, lse


@kernel()
def _cross_entropy_backward(
    start, stop, dlosses, logits, targets, lse, ignore_index, smoothing, dlogits
):
    V = logits.shape[1]
    one = logits.dtype.type(1)
    even = smoothing / logits.dtype.type(V)
    for r in range(start, stop):
        if targets[r] == ignore_index:
            dlogits[r] = 0  # not 0 times something: that may be nan
            continue
        # forward: loss = -sum(t log_softmax(logits)); backward: softmax(logits) - t
        for j in range(V):
            dlogits[r, j] = dlosses[r] * (exp(logits[r, j] - lse[r]) - even)
        dlogits[r, targets[r]] -= dlosses[r] * (one - smoothing)


def cross_entropy_backward(
    dlosses: Array,
    logits: Array,
    targets: Ids,
    lse: Array,
    ignore_index: int,
    label_smoothing: float,
) -> Array:
    """Gradient of `cross_entropy` by logits, (N, V): exactly 0 in ignored rows."""
    _check("cross_entropy_backward", logits, targets)
    dlogits = np.empty(logits.shape, logits.dtype)
    if logits.size:
        _cross_entropy_backward(
            len(logits),
            plain(dlosses),
            plain(logits),
            plain(targets.astype(np.int64, copy=False)),
            plain(lse),
            ignore_index,
            logits.dtype.type(label_smoothing),
            dlogits,
            work=logits.size * 8,
        )
    return dlogits


def _check(name: str, logits: Array, targets: Ids) -> None:
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ShapeError(
            f"{name}: expected logits (N, V) and targets (N,), "
            f"got {logits.shape} and {targets.shape}"
        )
