"""Clipping: a step never longer than a bound, in an unchanged direction."""

import math
from collections.abc import Iterable

import numpy as np

from scratchgrad.autograd import Variable
from scratchgrad.errors import ConfigError
from scratchgrad.kernels.adamw import sum_of_squares
from scratchgrad.optim.flat import at_home


def grad_norm(params: Iterable[Variable]) -> float:
    """The length of all gradients taken as one vector."""
    flat, others = at_home(params)
    arrays = [*flat, *(g for _, g in others)]
    return math.sqrt(math.fsum(sum_of_squares(g) for g in arrays))


def clip_factor(norm: float, max_norm: float) -> float:
    """What to multiply gradients of this joint norm by, so that it is at most ``max_norm``.

    1 if it is so already. Also if it is not finite: there is no direction to keep, and the caller
    should stop.

    >>> round(clip_factor(50.0, 5.0), 6), clip_factor(3.0, 5.0)
    (0.1, 1.0)
    """
    if not max_norm > 0:
        raise ConfigError(f"clip_grad_norm: expected max_norm above 0, received {max_norm!r}")
    if not math.isfinite(norm) or norm <= max_norm:
        return 1.0
    # The small constant keeps the quotient below max_norm in float32, as PyTorch's does.
    return max_norm / (norm + 1e-6)


def clip_grad_norm(params: Iterable[Variable], max_norm: float) -> float:
    """Scale all gradients by one factor so that their joint norm is at most ``max_norm``.

    In place where the gradient is at its home, with an optimiser; an array that the caller
    assigned is left as it is, and replaced. ``AdamW.step(scale=clip_factor(...))`` has the same
    effect without a pass over the gradients.

    Returns
    -------
    float
        The norm before clipping. If it is not finite, the gradients are left as they are.

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training RNNs (2013), algorithm 1.
    """
    params = list(params)
    norm = grad_norm(params)
    factor = clip_factor(norm, max_norm)
    if factor != 1:
        flat, others = at_home(params)
        for g in flat:
            np.multiply(g, g.dtype.type(factor), out=g)
        for p, g in others:
            p.grad = g * g.dtype.type(factor)
    return norm
