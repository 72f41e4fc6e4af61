"""A kernel's units of work, one call each and the last first: what any sharing comes down to.

`test_threads.py` shares compiled kernels among real threads; here the cutting itself is tested,
with the kernels interpreted too, at sizes that just exceed one unit.
"""

import numpy as np
import pytest

from scratchgrad.kernels import reference
from scratchgrad.kernels.jit import Kernel
from scratchgrad.kernels.matmul import COLUMNS, EDGE, ROWS, matmul, transpose
from tests.kernels.cases import CASES, assert_close

SIZES = {  # the rest: [3, 3, 3, 3, 3]
    "matmul": [2, 2, 35, 3, 514],
    "matmul-2d": [35, 3, 514, 0, 0],
    "attention": [2, 1, 67, 69, 3],
    "attention_backward": [2, 1, 67, 69, 3],
    "layer_norm_backward": [67, 3, 2, 0, 0],
    "rms_norm_backward": [67, 3, 2, 0, 0],
    "add_rows": [4, 9, 130, 0, 0],
    "adamw_step": [2, 20_000, 0, 0, 0],
    "sum_of_squares": [4, 4, 2600, 0, 0],
    "all_finite": [4, 4, 2600, 0, 0],
}
ELEMENTWISE = ("gelu", "silu", "sigmoid", "erf")


def sizes(label: str) -> list[int]:
    """Enough for two units or three."""
    return SIZES.get(label, [2, 3, 1400, 0, 0] if label.startswith(ELEMENTWISE) else [3] * 5)


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many units each call had; from now on they are done one by one, backwards."""
    counts: list[int] = []

    def each_alone(self: Kernel, units: int, *args: object, work: int) -> None:
        counts.append(units)
        assert units < 1000, "more units than there is work"
        with np.errstate(all="ignore"):
            for unit in reversed(range(units)):
                self.compiled(unit, unit + 1, *args)

    monkeypatch.setattr(Kernel, "__call__", each_alone)
    return counts


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_order_of_the_units_does_not_matter(case, dtype, units):
    several = 0
    for seed in range(100):  # axes, masks and settings are drawn
        del units[:]
        args = case.make(np.random.default_rng(seed), dtype, sizes(str(case)))
        got, wanted = case.run(case.module, args), case.run(reference, args)
        for g, w in zip(got, wanted, strict=True):
            assert_close(g, w)
        several += max(units, default=0) > 1
        if several == 3:
            return
    pytest.fail("too few calls of more than one unit")


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("m", [ROWS - 1, ROWS, ROWS + 1, 2 * ROWS])
@pytest.mark.parametrize("n", [1, COLUMNS, COLUMNS + 1])
def test_products_that_just_fill_their_blocks(batch, m, n, units, rng):
    a, b = rng.standard_normal((*batch, m, 2)), rng.standard_normal((*batch, 2, n))
    assert_close(matmul(a, b), reference.matmul(a, b))
    assert units == [(3 if batch else 1) * -(-m // ROWS) * -(-n // COLUMNS)]


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("r", [0, 1, EDGE - 1, EDGE, EDGE + 1, 2 * EDGE + 3])
@pytest.mark.parametrize("c", [1, EDGE - 1, EDGE, EDGE + 1])
def test_transpose_in_blocks(batch, r, c, units, rng):
    x = rng.standard_normal((*batch, r, c))
    y = transpose(x)
    np.testing.assert_array_equal(y, x.swapaxes(-1, -2))
    assert y.flags.c_contiguous
    assert sum(units) == (3 if batch else 1) * -(-r // EDGE)
