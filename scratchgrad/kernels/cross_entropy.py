"""Cross-entropy of logits against target ids, and its gradient in the same pass.

The gradient depends on what comes after the loss by a factor only. So it can be made where the
loss is, while a row of logits (200 KB at a vocabulary of 50,257) is still in the processor's
second cache: three sweeps over a row, and main memory is read once and written once.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.elementary import exp, largest
from scratchgrad.kernels.jit import device, kernel, plain

Array = NDArray[np.floating]
Ids = NDArray[np.int64]


@device
def _minus_log_softmax(logit, top, log_total):
    """In this order: top + log_total may have lost the digits of log_total."""
    return log_total - (logit - top)


@kernel()
def _cross_entropy(start, stop, logits, targets, ignore_index, smoothing, dlosses, losses, dlogits):
    V = logits.shape[1]
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    even = smoothing / logits.dtype.type(V)
    with_gradient = len(dlogits) > 0
    for r in range(start, stop):
        if targets[r] == ignore_index:
            losses[r] = zero
            if with_gradient:
                dlogits[r] = 0  # not 0 times something: that may be nan
            continue
        top = largest(logits[r])
        total = zero
        if with_gradient:
            for j in range(V):
                e = exp(logits[r, j] - top)
                dlogits[r, j] = e
                total += e
        else:
            for j in range(V):
                total += exp(logits[r, j] - top)
        log_total = np.log(total)
        loss = _minus_log_softmax(logits[r, targets[r]], top, log_total)
        if smoothing > 0:
            rest = zero
            for j in range(V):
                rest += _minus_log_softmax(logits[r, j], top, log_total)
            loss = (one - smoothing) * loss + even * rest
        losses[r] = loss
        if with_gradient:
            # forward: loss = -sum(t log_softmax(logits)); backward: softmax(logits) - t
            scale = dlosses[r] / total
            for j in range(V):
                dlogits[r, j] = scale * dlogits[r, j] - dlosses[r] * even
            dlogits[r, targets[r]] -= dlosses[r] * (one - smoothing)


def cross_entropy(logits: Array, targets: Ids, ignore_index: int, label_smoothing: float) -> Array:
    """loss = -sum(t log_softmax(logits)), where t is 1 at the target: (N,).

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

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """
    _check("cross_entropy", logits, targets)
    losses = np.zeros(len(logits), logits.dtype)  # no class: the rows are ignored ones
    nothing = np.empty((0, logits.shape[1]), logits.dtype)
    _run(logits, targets, ignore_index, label_smoothing, losses[:0], losses, nothing)
    return losses


def cross_entropy_with_gradient(
    dlosses: Array, logits: Array, targets: Ids, ignore_index: int, label_smoothing: float
) -> tuple[Array, Array]:
    """`cross_entropy` and, in the same pass, `cross_entropy_backward`: (N,), (N, V)."""
    _check("cross_entropy_with_gradient", logits, targets, dlosses)
    losses = np.zeros(len(logits), logits.dtype)
    dlogits = np.empty(logits.shape, logits.dtype)
    _run(logits, targets, ignore_index, label_smoothing, dlosses, losses, dlogits)
    return losses, dlogits


def cross_entropy_backward(
    dlosses: Array, logits: Array, targets: Ids, ignore_index: int, label_smoothing: float
) -> Array:
    """Gradient of sum(dlosses losses) by logits, (N, V): exactly 0 in ignored rows."""
    _check("cross_entropy_backward", logits, targets, dlosses)
    losses, dlogits = np.empty(len(logits), logits.dtype), np.empty(logits.shape, logits.dtype)
    _run(logits, targets, ignore_index, label_smoothing, dlosses, losses, dlogits)
    return dlogits


def _run(
    logits: Array,
    targets: Ids,
    ignore_index: int,
    smoothing: float,
    dlosses: Array,
    losses: Array,
    dlogits: Array,
) -> None:
    if logits.size:
        _cross_entropy(
            len(logits),
            plain(logits),
            plain(targets.astype(np.int64, copy=False)),
            ignore_index,
            logits.dtype.type(smoothing),
            plain(dlosses),
            losses,
            dlogits,
            work=logits.size * 8,
        )


def _check(name: str, logits: Array, targets: Ids, dlosses: Array | None = None) -> None:
    rows = logits.shape[:1]
    if logits.ndim != 2 or targets.shape != rows or (dlosses is not None and dlosses.shape != rows):
        raise ShapeError(
            f"{name}: expected logits (N, V) and targets (N,), "
            f"got {logits.shape} and {targets.shape}"
            + ("" if dlosses is None else f", and dlosses (N,), got {dlosses.shape}")
        )
