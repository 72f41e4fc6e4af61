"""Every kernel against its formula in kernels/reference, over shapes, layouts and dtypes."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scratchgrad import kernels
from scratchgrad.cases.kernels import CASES, assert_close
from scratchgrad.kernels import reference

SIZES = st.lists(st.integers(0, 9) | st.sampled_from([1, 64, 70]), min_size=5, max_size=5)


def lay(x: np.ndarray, how: int) -> np.ndarray:
    """The same numbers in memory otherwise: strided, reversed, transposed, read-only."""
    if how == 1 and x.ndim:
        wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), 7, x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if how == 2 and x.ndim:
        return np.ascontiguousarray(x[::-1])[::-1]
    if how == 3 and x.ndim > 1:
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if how == 4 and x.ndim > 1:
        return np.ascontiguousarray(x.swapaxes(0, -2)).swapaxes(0, -2)
    if how == 5:
        x = x.copy()
        x.flags.writeable = False
    return x


def nothing_of_one_size(test):
    """An example for each size that may be 0: chance draws some of them once in ten runs."""
    for place in range(5):
        sizes = [2 if i != place else 0 for i in range(5)]
        test = example(sizes=sizes, dtype="float32", seed=0, layouts=[0] * 8)(test)
    return test


@pytest.mark.parametrize("case", CASES, ids=str)
@nothing_of_one_size
@given(
    sizes=SIZES,
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
    layouts=st.lists(st.integers(0, 5), min_size=8, max_size=8),
)
def test_kernel_equals_reference(case, sizes, dtype, seed, layouts):
    args = case.make(np.random.default_rng(seed), dtype, sizes)
    wanted = case.run(reference, args)
    laid = tuple(
        lay(a, how)
        if isinstance(a, np.ndarray) and not (case.in_place and i in case.in_place)
        else a
        for i, (a, how) in enumerate(zip(args, layouts + [0] * 4, strict=False))
    )
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in laid]
    got = case.run(case.module, laid)
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted, strict=True):
        assert_close(g, w, f"{case} {sizes} {dtype}", case.slack)
    for a, b in zip(laid, before, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
            assert not any(np.shares_memory(a, g) for g in got if isinstance(g, np.ndarray))
    for g in got:
        if isinstance(g, np.ndarray) and not case.in_place:
            assert g.flags.c_contiguous
            assert g.flags.writeable
            assert np.isrealobj(g)


@pytest.mark.parametrize("case", [c for c in CASES if c.in_place], ids=str)
def test_a_kernel_that_works_in_place_returns_nothing(case, rng):
    args = case.make(rng, "float32", [3, 4, 5, 6, 7])
    assert getattr(case.module, case.name)(*args) is None


def test_add_rows_into_a_strided_table(rng):
    wide = rng.standard_normal((5, 8))
    table = wide[:, ::2]
    wanted = table.copy()
    ids, rows = np.array([1, 1, 4]), rng.standard_normal((3, 4))
    np.add.at(wanted, ids, rows)
    kernels.indexing.add_rows(table, ids, rows)
    assert_close(table, wanted)


def functions(path: Path) -> dict[str, list[str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name: [arg.arg for arg in node.args.args]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def test_every_public_kernel_has_a_twin_and_a_case():
    specified = {}
    for path in Path(inspect.getfile(reference)).parent.glob("*.py"):
        specified |= functions(path)
    assert set(specified) == {case.name for case in CASES} <= set(reference.__all__)
    for case in CASES:
        path = Path(inspect.getfile(case.module))
        assert functions(path)[case.name] == specified[case.name]
