"""What all rows of a batch share gets the sum of the gradients that each row alone would give."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg

F = sg.nn.functional

ROWS = 40  # more than the 32 of which the norms' kernels make a unit of work

# By operation: the call on one row or on the batch, and the shapes of what is shared.
SHARED: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "matmul": (lambda x, b: x @ b, ((4, 3),)),
    "matmul by a vector": (lambda x, b: x @ b, ((4,),)),
    "linear": (F.linear, ((3, 4), (3,))),
    "mlp": (F.mlp, ((6, 4), (6,), (3, 6), (3,))),
    "layer_norm": (F.layer_norm, ((4,), (4,))),
    "rms_norm": (F.rms_norm, ((4,),)),
    "multiply": (lambda x, w: x * w, ((4,),)),
    "multiply by a number": (lambda x, w: x * w, ((),)),
    "embedding": (
        lambda x, table: F.embedding((np.abs(x.numpy()) * 10).astype(int) % 5, table),
        ((5, 3),),
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_its_gradient_is_the_sum_over_the_rows(name: str, rng: np.random.Generator) -> None:
    function, shapes = SHARED[name]
    shared = [sg.Tensor(np.asarray(rng.standard_normal(s)), requires_grad=True) for s in shapes]
    x = sg.tensor(rng.standard_normal((ROWS, 2, 4)))
    y = function(x, *shared)
    c = rng.standard_normal(y.shape)
    y.backward(c)
    together = [s.grad for s in shared]
    for s in shared:
        s.grad = None
    for row in range(ROWS):
        function(x[row], *shared).backward(c[row])
    for s, g in zip(shared, together, strict=True):
        assert np.abs(g).max() > 1
        np.testing.assert_allclose(g, s.grad, rtol=1e-11, atol=1e-12)
