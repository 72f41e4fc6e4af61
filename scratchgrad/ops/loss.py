"""The loss of a language model: cross-entropy, by itself and together with the head before it.

What comes after the loss changes its gradient by a factor only. So while the tape is recording,
the gradient is made together with the loss, and the backward multiplies by dy what waits for it.
"""

from typing import Any

import numpy as np

from scratchgrad.autograd import is_recording
from scratchgrad.errors import ConfigError, ShapeError
from scratchgrad.kernels import cross_entropy as ce
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.matmul import matmul as product
from scratchgrad.operation import differentiable, into
from scratchgrad.ops.arguments import as_float, as_floats, check_probability, checked_ids, rows_of


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
        if not np.isfinite(dy):  # then 0 times dy would not be 0 in ignored rows
            drows = ce.cross_entropy_backward(dy * share, rows, *settings)
        else:  # made anew for a second backward, for the first has given it away
            drows = waiting.pop() if waiting else ce.cross_entropy_backward(share, rows, *settings)
            drows = _scaled(drows, dy)
        return drows.reshape(logits.shape)

    return _reduced(losses, reduction, n), (dlogits, None)


LOGITS_BYTES = 1 << 27
"""So much of the logits `linear_cross_entropy` holds at once: 667 rows of GPT-2's 50,257 classes.

With half of that, 1024 rows of GPT-2 take 15 % longer, for the weight and its gradient are read
and written once more for every chunk. (No number of threads enters here: the chunks decide the
last bits.)
"""


@differentiable
def linear_cross_entropy(
    x, weight, targets, /, ignore_index=-100, label_smoothing=0.0, reduction="mean"
):
    """cross_entropy(x W^T, targets), without ever holding all the logits.

    With a big vocabulary the (N, V) logits and their gradient are the largest arrays of a model.
    Here they exist for a chunk of rows at a time, and the gradient is written over the logits.

    What waits for the backward is decided by which is less. If all rows fit into one chunk, its
    logits' gradient waits (51 MB for 256 rows of GPT-2), and the two products with it are made in
    the backward, the weight's straight into its home. If there are more, each chunk is used up in
    the forward, and the gradients of x and of the weight wait (154 MB; the logits of 1024 rows
    would take 206). To make the logits anew in the backward instead would need neither, but a
    third more products.

    Parameters
    ----------
    x : (..., C)
    weight : (V, C)
    targets, ignore_index, label_smoothing, reduction
        As for `cross_entropy`.
    """
    x, weight = as_floats(x, weight)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear_cross_entropy: expected x (..., C) and weight (V, C), received {x.shape} "
            f"and {weight.shape}"
        )
    name, v = "linear_cross_entropy", len(weight)
    shape, ids, n = _targets(name, x, targets, v, ignore_index, reduction)
    check_probability(f"{name}: label_smoothing", label_smoothing)
    rows, settings = rows_of(x), (ignore_index, label_smoothing)  # (N, C)
    share = np.full(len(rows), _share(reduction, n), x.dtype)  # what a row weighs
    chunks = _chunks(len(rows), v * x.itemsize)
    losses = np.zeros(len(rows), x.dtype)

    def dlogits_of(chunk, dlosses, losses, out=None):
        logits = product(rows[chunk], weight.T, out)  # (n, V)
        ce.cross_entropy_in_place(dlosses[chunk], losses[chunk], logits, ids[chunk], *settings)
        return logits

    def result():
        return losses.reshape(shape) if reduction == "none" else _reduced(losses, reduction, n)

    if is_recording() and len(chunks) == 1:
        dlogits = dlogits_of(chunks[0], share, losses)

        def times(dy, rows):  # (N, C); 0 in ignored rows even if dy is nan
            if dy.ndim == 0 and dy == 1:  # where a backward mostly starts
                return rows
            dy = np.broadcast_to(dy.reshape(-1), ids.shape)
            return np.where(ids == ignore_index, 0, dy)[:, None] * rows

        return result(), (  # forward: logits = x W^T
            lambda dy: times(dy, product(dlogits, weight)).reshape(x.shape),
            into(lambda dy, out, add: product(dlogits.T, times(dy, rows), out, add)),
            None,
        )

    def gradients(dlosses, losses):
        dx, dweight = empty(rows.shape, x.dtype), empty(weight.shape, x.dtype)
        buffer = empty((chunks[0].stop, v), x.dtype)
        for chunk in chunks:
            dlogits = dlogits_of(chunk, dlosses, losses, buffer[: chunk.stop - chunk.start])
            product(dlogits, weight, out=dx[chunk])
            product(dlogits.T, rows[chunk], out=dweight, add=chunk.start > 0)
        return dx, dweight

    waiting = []
    if is_recording() and reduction != "none":
        waiting.append(gradients(share, losses))
    else:
        for chunk in chunks:
            logits = product(rows[chunk], weight.T)
            losses[chunk] = ce.cross_entropy(logits, ids[chunk], *settings)

    def backward(dy):
        unused = np.empty_like(losses)
        if reduction == "none" or not np.isfinite(dy):  # as in cross_entropy
            dx, dweight = gradients(dy.reshape(-1) * share, unused)
        else:
            ready = waiting.pop() if waiting else gradients(share, unused)
            dx, dweight = (_scaled(gradient, dy) for gradient in ready)
        return dx.reshape(x.shape), dweight, None

    return result(), backward


def _chunks(n: int, bytes_a_row: int) -> list[slice]:
    """0 to n in the fewest pieces that hold LOGITS_BYTES each, of about the same size."""
    most = max(LOGITS_BYTES // max(bytes_a_row, 1), 1)
    pieces = max(-(-n // most), 1)
    size = -(-n // pieces)
    return [slice(i * size, min((i + 1) * size, n)) for i in range(pieces)]


def _share(reduction: str, n: int) -> float:
    """What the loss of a row counts for in the result: loss = sum(losses) / n for a mean."""
    return 1 / n if reduction == "mean" and n else 1.0


def _scaled(gradient: np.ndarray, dy: Any) -> np.ndarray:
    """dy times the gradient, in place; nothing to do for dy = 1, where a backward mostly starts."""
    if dy != 1:
        gradient *= dy
    return gradient


def _reduced(losses: np.ndarray, reduction: str, n: int) -> np.ndarray:
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
