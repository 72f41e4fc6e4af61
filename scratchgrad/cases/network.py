"""The table's rows for the norms, dropout and the losses of ops/network.py."""

from functools import partial
from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.cases.call import Call, entry
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import numbers, shape_of, side


def normalised(choose: Choices, bias: bool) -> Call:
    c = side(choose, 1, 5)
    x, weight, shift = numbers(choose.rng(), (*shape_of(choose, max_dims=2), c), (c,), (c,))
    inputs = [x, choose.one_of([weight, None])]
    if bias:
        inputs.append(choose.one_of([shift, None]))
    # A large eps, for a row that is almost constant has differences too steep to measure.
    return Call(tuple(inputs), {"eps": choose.one_of([0.01, 0.5])})


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    y = x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)
    return y if weight is None else y * weight


def dropped(choose: Choices) -> Call:
    settings = {"p": choose.one_of([0.2, 0.5, 1.0]), "seed": choose.integer(0, 99)}
    return Call(numbers(choose.rng(), shape_of(choose)), settings)


def _dropout(x: Any, p: float, seed: int) -> Any:
    return sg.nn.functional.dropout(x, p, True, np.random.default_rng(seed))


def kept(shape: tuple[int, ...], p: float, seed: int) -> Any:
    """Which elements dropout keeps: by Python's own whole numbers, which do not wrap round."""
    state = int(np.random.default_rng(seed).integers(2**64, dtype=np.uint64))
    drawn = np.empty(shape, bool)
    for i in range(drawn.size):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        drawn.flat[i] = (z ^ z >> 31) / 2**64 >= p
    return drawn


def _dropout_reference(x: Any, p: float, seed: int) -> Any:
    return np.where(kept(x.shape, p, seed), x / (1 - p) if p < 1 else 0, 0)


def classified(choose: Choices) -> Call:
    rng = choose.rng()
    v = side(choose, 1, 5)
    rows = shape_of(choose, max_dims=2, min_side=0 if choose.flag() else 1)
    ignore = choose.one_of([-100, 0, 7])
    targets = np.where(rng.random(rows) < 0.3, ignore, rng.integers(0, v, rows))
    reduction = choose.one_of(["mean", "sum", "none"])
    if reduction == "mean" and not (targets != ignore).any():
        reduction = "sum"  # the mean of nothing has tests of its own
    return Call(
        (*numbers(rng, (*rows, v), high=3.0), targets),
        {
            "ignore_index": ignore,
            "label_smoothing": choose.one_of([0.0, 0.1, 1.0]),
            "reduction": reduction,
        },
    )


def cross_entropy(
    logits: Any, targets: Any, ignore_index: int, label_smoothing: float, reduction: str
) -> Any:
    """One row at a time, from the probabilities."""
    v = logits.shape[-1]
    losses = np.zeros(targets.shape, logits.dtype)
    for row in np.ndindex(targets.shape):
        if targets[row] != ignore_index:
            p = np.exp(logits[row]) / np.exp(logits[row]).sum()
            wanted = np.full(v, label_smoothing / v)
            wanted[targets[row]] += 1 - label_smoothing
            losses[row] = -(wanted * np.log(p)).sum()
    if reduction == "none":
        return losses
    count = (targets != ignore_index).sum() if reduction == "mean" else 1
    return losses.sum() / count


def headed(choose: Choices) -> Call:
    """What is classified, with a last layer before it."""
    call = classified(choose)
    logits, targets = call.inputs
    c = side(choose)
    x, weight = numbers(choose.rng(), (*logits.shape[:-1], c), (logits.shape[-1], c))
    return Call((x, weight, targets), call.settings)


def linear_cross_entropy(x: Any, weight: Any, targets: Any, **settings: Any) -> Any:
    return cross_entropy(x @ weight.T, targets, **settings)


ENTRIES = dict(
    [
        entry(
            "layer_norm",
            partial(normalised, bias=True),
            layer_norm,
            function=sg.nn.functional.layer_norm,
            rtol32=1e-4,
        ),
        entry(
            "rms_norm",
            partial(normalised, bias=False),
            rms_norm,
            function=sg.nn.functional.rms_norm,
            rtol32=1e-4,
        ),
        entry("dropout", dropped, _dropout_reference, function=_dropout),
        entry(
            "cross_entropy",
            classified,
            cross_entropy,
            function=sg.nn.functional.cross_entropy,
            rtol32=2e-5,
        ),
        entry(
            "linear_cross_entropy",
            headed,
            linear_cross_entropy,
            function=sg.nn.functional.linear_cross_entropy,
            rtol32=2e-5,
        ),
    ]
)
