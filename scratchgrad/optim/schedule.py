"""The learning rate as a function of the step."""

import math


def cosine_schedule(
    step: int, lr: float, min_lr: float, warmup_steps: int, decay_steps: int
) -> float:
    """Linear up to lr over ``warmup_steps``, then half a cosine down to min_lr.

    Steps count from 0, and the first takes lr / (warmup_steps + 1), so that none is without effect;
    from ``decay_steps`` on it stays at ``min_lr``.

    Source: Loshchilov and Hutter, SGDR (2017), equation 5, for the cosine.

    >>> cosine_schedule(0, 1.0, 0.1, 10, 100), cosine_schedule(100, 1.0, 0.1, 10, 100)
    (0.09090909090909091, 0.1)
    """
    if step < warmup_steps:
        return lr * (step + 1) / (warmup_steps + 1)
    if step >= decay_steps:
        return min_lr
    way = (step - warmup_steps) / (decay_steps - warmup_steps)
    return min_lr + 0.5 * (1 + math.cos(math.pi * way)) * (lr - min_lr)
