"""Cross-entropy of logits against target ids, and its gradient in the same pass.

The gradient depends on what comes after the loss by a factor only. So it can be made where the
loss is, while a row of logits (200 KB at a vocabulary of 50,257) is still in the processor's
second cache: three sweeps over a row, and main memory is read once and written once.
"""

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.elementary import exp, largest
from scratchgrad.kernels.jit import kernel, plain

Array = NDArray[np.floating]
Ids = NDArray[np.int64]


@kernel()
def _cross_entropy(start, stop, logits, targets, ignore_index, smoothing, dlosses, losses, dlogits):
    """Without a gradient, dlogits has no rows; without logits, they stand in dlogits."""
    V = max(logits.shape[1], dlogits.shape[1])
    zero, one, count = losses.dtype.type(0), losses.dtype.type(1), losses.dtype.type(V)
    even = smoothing / count
    with_gradient, in_place = len(dlogits) > 0, len(logits) == 0
    for r in range(start, stop):
        if targets[r] == ignore_index:
            losses[r] = zero
            if with_gradient:
                dlogits[r] = 0  # not 0 times something: that may be nan
            continue
        total, shifts = zero, zero
        if with_gradient:
            if not in_place:
                for j in range(V):
                    dlogits[r, j] = logits[r, j]
            top, at_target = largest(dlogits[r]), dlogits[r, targets[r]]
            for j in range(V):
                shift = dlogits[r, j] - top
                e = exp(shift)
                dlogits[r, j] = e
                total += e
                shifts += shift
        else:
            top, at_target = largest(logits[r]), logits[r, targets[r]]
            for j in range(V):
                shift = logits[r, j] - top
                total += exp(shift)
                shifts += shift
        # -log softmax(x) = log(total) - (x - top), in this order: top + log(total) may have lost
        # the digits of the logarithm
        log_total = np.log(total)
        loss = log_total - (at_target - top)
        if smoothing > 0:
            loss = (one - smoothing) * loss + smoothing * (log_total - shifts / count)
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
    nothing = empty((0, logits.shape[1]), logits.dtype)
    _run(logits, targets, ignore_index, label_smoothing, losses[:0], losses, nothing)
    return losses


def cross_entropy_with_gradient(
    dlosses: Array, logits: Array, targets: Ids, ignore_index: int, label_smoothing: float
) -> tuple[Array, Array]:
    """`cross_entropy` and, in the same pass, `cross_entropy_backward`: (N,), (N, V)."""
    _check("cross_entropy_with_gradient", logits, targets, dlosses)
    losses = np.zeros(len(logits), logits.dtype)
    dlogits = empty(logits.shape, logits.dtype)
    _run(logits, targets, ignore_index, label_smoothing, dlosses, losses, dlogits)
    return losses, dlogits


def cross_entropy_backward(
    dlosses: Array, logits: Array, targets: Ids, ignore_index: int, label_smoothing: float
) -> Array:
    """Gradient of sum(dlosses losses) by logits, (N, V): exactly 0 in ignored rows."""
    _check("cross_entropy_backward", logits, targets, dlosses)
    losses, dlogits = empty(len(logits), logits.dtype), empty(logits.shape, logits.dtype)
    _run(logits, targets, ignore_index, label_smoothing, dlosses, losses, dlogits)
    return dlogits


def cross_entropy_in_place(
    dlosses: Array,
    losses: Array,
    logits: Array,
    targets: Ids,
    ignore_index: int,
    label_smoothing: float,
) -> None:
    """`cross_entropy_with_gradient` into losses, (N,), and over the logits, (N, V).

    For logits that nobody needs afterwards: there is one array of their size, not two.
    """
    _check("cross_entropy_in_place", logits, targets, dlosses)
    if losses.shape != dlosses.shape or not (
        logits.flags.c_contiguous and losses.flags.c_contiguous
    ):
        raise ShapeError(
            f"cross_entropy_in_place: expected contiguous losses (N,) and logits (N, V), "
            f"got {losses.shape} and {logits.shape}"
        )
    nothing = empty((0, 0), logits.dtype)
    if logits.shape[1] == 0:
        losses[:] = 0
    _run(nothing, targets, ignore_index, label_smoothing, dlosses, losses, logits)


def _run(
    logits: Array,
    targets: Ids,
    ignore_index: int,
    smoothing: float,
    dlosses: Array,
    losses: Array,
    dlogits: Array,
) -> None:
    work = 8 * max(logits.size, dlogits.size)
    if work:
        _cross_entropy(
            len(targets),
            plain(logits),
            plain(targets.astype(np.int64, copy=False)),
            ignore_index,
            losses.dtype.type(smoothing),
            plain(dlosses),
            losses,
            dlogits,
            work=work,
        )


def _check(name: str, logits: Array, targets: Ids, dlosses: Array | None = None) -> None:
    rows = logits.shape[:1]
    if logits.ndim != 2 or targets.shape != rows or (dlosses is not None and dlosses.shape != rows):
        raise ShapeError(
            f"{name}: expected logits (N, V) and targets (N,), "
            f"got {logits.shape} and {targets.shape}"
            + ("" if dlosses is None else f", and dlosses (N,), got {dlosses.shape}")
        )
