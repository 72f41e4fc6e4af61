"""Clipping: a step never longer than a bound, in an unchanged direction."""

import math
from collections.abc import Iterable

from scratchgrad.autograd import Variable
from scratchgrad.errors import ConfigError
from scratchgrad.kernels.adamw import sum_of_squares


def clip_grad_norm(params: Iterable[Variable], max_norm: float) -> float:
    """Scale all gradients by one factor so that their joint norm is at most ``max_norm``.

    Returns
    -------
    float
        The norm before clipping. If it is not finite, the gradients are left as they are: there
        is no direction to keep, and the caller should stop.

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training RNNs (2013), algorithm 1.
    """
    if not max_norm > 0:
        raise ConfigError(f"clip_grad_norm: expected max_norm above 0, received {max_norm!r}")
    found = [(p, p.grad) for p in params if p.grad is not None]
    norm = math.sqrt(math.fsum(sum_of_squares(g) for _, g in found))
    if math.isfinite(norm) and norm > max_norm:
        # The small constant keeps the quotient below max_norm in float32, as PyTorch's does.
        factor = max_norm / (norm + 1e-6)
        for p, g in found:
            p.grad = g * g.dtype.type(factor)
    return norm
