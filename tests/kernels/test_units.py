"""A kernel's units of work, one call each and the last first: what any sharing comes down to.

`test_threads.py` shares compiled kernels among real threads; here the cutting itself is tested,
with the kernels interpreted too, at sizes that just exceed one unit.
"""

import numpy as np
import pytest

from scratchgrad.cases.kernels import CASES, assert_close
from scratchgrad.kernels import reference, simd
from scratchgrad.kernels.jit import Kernel
from scratchgrad.kernels.linear import linear
from scratchgrad.kernels.matmul import DEPTH, FEW, PANELS, _blocks, matmul
from scratchgrad.kernels.simd import ROWS

SIZES = {  # the rest: [3, 3, 3, 3, 3]
    "matmul": [2, 2, 35, 3, 514],
    "matmul-2d": [35, 3, 514, 0, 0],
    "linear": [35, 3, 514, 0, 0],
    "linear_gelu-none": [35, 3, 514, 0, 0],
    "linear_gelu-tanh": [35, 3, 514, 0, 0],
    "matmul_gelu_backward-none": [35, 3, 514, 0, 0],
    "matmul_gelu_backward-tanh": [35, 3, 514, 0, 0],
    "column_sums": [2, 3, 130, 0, 0],
    "attention": [2, 1, 67, 69, 3],
    "attention_backward": [2, 1, 67, 69, 3],
    "qkv_attention": [2, 1, 67, 69, 3],
    "qkv_attention_backward": [2, 1, 67, 69, 3],
    "layer_norm_backward": [67, 3, 2, 0, 0],
    "rms_norm_backward": [67, 3, 2, 0, 0],
    "add_rows": [4, 9, 130, 0, 0],
    "adamw_step": [2, 20_000, 0, 0, 0],
    "sum_of_squares": [4, 4, 2600, 0, 0],
    "all_finite": [4, 4, 2600, 0, 0],
}
ELEMENTWISE = ("gelu", "silu", "sigmoid", "erf", "dropout")


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
        for unit in reversed(range(units)):
            self.part(unit, unit + 1, *args)

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
            assert_close(g, w, slack=case.slack)
        several += max(units, default=0) > 1
        if several == 3:
            return
    pytest.fail("too few calls of more than one unit")


LANES = simd.columns(np.float64)


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("m", [1, FEW, FEW + 1, 2 * ROWS, 5 * ROWS + 2])
@pytest.mark.parametrize("n", [1, LANES + 1, PANELS * LANES, PANELS * LANES + 3])
@pytest.mark.parametrize("k", [0, 9, DEPTH + 1])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_products_at_the_edges_of_their_blocks(batch, m, n, k, turned, units, rng):
    a, b = rng.standard_normal((*batch, m, k)), rng.standard_normal((*batch, k, n))
    a = a.swapaxes(-1, -2).copy().swapaxes(-1, -2) if "a" in turned else a
    b = b.swapaxes(-1, -2).copy().swapaxes(-1, -2) if "b" in turned else b
    assert_close(matmul(a, b), reference.matmul(a, b))
    assert len(units) == 1


@pytest.mark.parametrize("threads", [1, 2, 5, 16])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (100, 40), (30, 3000), (5000, 7)])
@pytest.mark.parametrize("matrices", [1, 6])
def test_all_of_a_product_is_cut_into_units_enough_for_the_threads(threads, m, n, matrices):
    units, (tall, wide) = _blocks(m, n, 500, 32, matrices, threads)
    assert units == matrices * -(-m // tall) * -(-n // wide)
    assert tall % ROWS == 0
    assert wide % 32 == 0
    tiles = matrices * -(-m // ROWS) * -(-n // 32)
    assert units >= min(2 * threads, tiles) / 2


@pytest.mark.parametrize("m", [2, 20])
@pytest.mark.parametrize("add", [False, True])
def test_a_product_into_an_array(m, add, units, rng):
    a, b = rng.standard_normal((DEPTH + 3, m)).T, rng.standard_normal((DEPTH + 3, 50))
    out = rng.standard_normal((m, 50))
    wanted = a @ b + out * add
    assert matmul(a, b, out, add) is out
    assert_close(out, wanted)


@pytest.mark.parametrize("n", [1, FEW + 1, 3 * ROWS + 1])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_a_linear_layer_in_one_pass(n, bias, residual, units, rng):
    x, weight = rng.standard_normal((n, DEPTH + 1)), rng.standard_normal((70, DEPTH + 1))
    b, r = rng.standard_normal(70), rng.standard_normal((n, 70))
    y = linear(x, weight, b if bias else None, r if residual else None)
    assert_close(y, x @ weight.T + b * bias + r * residual)
    assert len(units) == 1
