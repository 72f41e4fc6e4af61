"""Gradients written straight to where an optimiser reads them, and gone as soon as used up."""

import copy
import gc
import weakref

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.autograd import Variable
from scratchgrad.errors import GraphError
from scratchgrad.operation import into
from scratchgrad.optim import AdamW
from tests.nn.models import batch, tiny_config


def leaf(*values: float) -> sg.Tensor:
    return sg.tensor(list(values), requires_grad=True)


def housed(*values: float) -> sg.Tensor:
    """A leaf with a home; what stood there before is nothing to go by."""
    x = leaf(*values)
    AdamW([x])
    assert x._home is not None
    x._home.array[...] = np.nan
    return x


@sg.differentiable
def doubled(x):
    """2 x, whose backward writes in place; what it was called with is kept."""

    def dx(dy, out, add):
        calls.append((None if out is None else id(out), add))
        if out is None:
            return 2 * dy
        if add:
            out += 2 * dy
        else:
            out[...] = 2 * dy
        return out

    return 2 * x, into(dx)


calls: list[tuple[int | None, bool]] = []


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


# -------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize("function", [doubled, lambda x: x * 2.0], ids=["into", "plain"])
def test_first_overwritten_then_added(function) -> None:
    x = housed(1.0, 2.0)
    home = x._home.array
    for expected in ([2, 2], [4, 4], [6, 6]):
        function(x).sum().backward()
        assert x.grad is home
        assert x.grad.tolist() == expected
    x.grad = None
    (function(x) + function(x) * x).sum().backward()  # in one walk, by several ways
    assert x.grad is home
    assert x.grad.tolist() == [2 + 4 * 1, 2 + 4 * 2]


def test_a_backward_that_can_is_asked_to_write_in_place() -> None:
    x, y = housed(1.0), leaf(1.0)
    home = id(x._home.array)
    (doubled(x) + doubled(x) + doubled(y) + doubled(y * 1.0)).sum().backward()
    in_place = [call for call in calls if call[0] is not None]
    assert in_place == [(home, False), (home, True)]
    assert [call for call in calls if call[0] is None] == [(None, False)] * 2
    assert x.grad.tolist() == y.grad.tolist() == [4]


def test_a_backward_that_returns_another_array_is_refused() -> None:
    @sg.differentiable
    def wrong(x):
        return 2 * x, into(lambda dy, out, add: 2 * dy)

    with pytest.raises(GraphError, match="wrong: its backward did not return the array given"):
        wrong(housed(1.0)).backward()


def test_a_gradient_that_the_caller_assigned_is_added_to_and_left_alone() -> None:
    for function in (doubled, lambda x: x * 2.0):
        x = housed(1.0, 2.0)
        given = np.array([10.0, 20.0], np.float32)
        x.grad = given
        function(x).sum().backward()
        assert x.grad.tolist() == [12, 22]
        assert given.tolist() == [10, 20]
        assert x.grad is x._home.array


def test_a_gradient_scaled_in_place_stays_at_home() -> None:
    x = housed(1.0, 2.0)
    doubled(x).sum().backward()
    x.grad *= 0.5
    assert x.grad is x._home.array
    x.grad = x.grad * 4
    doubled(x).sum().backward()
    assert x.grad.tolist() == [6, 6]


def test_a_leaf_as_the_root() -> None:
    x = housed(5.0)
    x.backward()
    x.backward()
    assert x.grad is x._home.array
    assert x.grad.tolist() == [2]


def test_a_single_number_has_a_home_too() -> None:
    x = sg.tensor(3.0, requires_grad=True)
    AdamW([x])
    for times in (1, 2):
        (x * x).backward()
        assert x.grad is x._home.array
        assert x.grad.shape == ()
        assert x.grad == 6 * times


def test_a_retained_graph_writes_again() -> None:
    x = housed(3.0)
    y = doubled(x)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4]


def test_what_is_shared_is_computed_once_and_gone() -> None:
    """One function may give functions in the place of gradients: called if needed, ``into`` as
    ever; what they share ends with the visit, and is made anew for a second backward."""
    shared: list[weakref.ref] = []
    called: list[object] = []

    @sg.differentiable
    def three(x, y, z):
        def backward(dy):
            made = 2 * dy
            shared.append(weakref.ref(made))

            def dx(_, out, add):
                called.append(None if out is None else id(out))
                if out is None:
                    return made.copy()
                out[...] = out + made if add else made
                return out

            return into(dx), made + dy, lambda dy: called.append("z") or made.copy()

        return 2 * x + 3 * y + 2 * z, backward

    x, y, z = housed(1.0), leaf(1.0), np.ones(1, np.float32)
    out = three(x, y, z)
    out.backward(retain_graph=True)
    out.backward()
    assert called == [id(x._home.array)] * 2  # z wants none
    assert [ref() for ref in shared] == [None, None]
    assert (x.grad.tolist(), y.grad.tolist()) == ([4], [6])
    assert x.grad is x._home.array
    z = leaf(1.0)
    three(leaf(1.0), y, z).backward()
    assert called[2:] == [None, "z"]
    assert z.grad.tolist() == [2]


def test_the_weights_of_an_mlp_are_written_in_place(rng: np.random.Generator) -> None:
    shapes = (9, 4), (6, 4), (6,), (5, 6), (5,)
    arrays = [rng.standard_normal(s) for s in shapes]
    plain, homes = ([sg.tensor(a, requires_grad=True) for a in arrays] for _ in range(2))
    AdamW(homes[1:])
    for p in homes[1:]:
        p._home.array[...] = np.nan
    c = rng.standard_normal((9, 5))
    for _ in range(2):
        for leaves in (plain, homes):
            y = sg.ops.mlp(*leaves)
            y.backward(c, retain_graph=True)
            y.backward(c)
        for p, q in zip(plain, homes, strict=True):
            np.testing.assert_allclose(q.grad, p.grad, rtol=1e-12, atol=1e-12)
        assert all(p.grad is p._home.array for p in homes[1:])


@pytest.mark.parametrize("name", ["embedding", "slice", "rows twice", "mask", "whole"])
def test_operations_that_write_in_place(name: str, rng: np.random.Generator) -> None:
    ids = np.array([[0, 2], [2, 3]])
    function = {
        "embedding": lambda w: sg.embedding(ids, w),
        "slice": lambda w: w[1:3],
        "rows twice": lambda w: w[[1, 1, 3]],
        "mask": lambda w: w[np.array([True, False, True, False, False])],
        "whole": lambda w: w[...],
    }[name]
    table = rng.standard_normal((5, 3))
    plain, home = (sg.tensor(table, requires_grad=True) for _ in range(2))
    AdamW([home])
    home._home.array[...] = np.nan
    c = rng.standard_normal(function(plain).shape)
    for _ in range(2):
        for w in (plain, home):
            (function(w) * c).sum().backward()
            (function(w) * c * w.sum()).sum().backward()
        assert home.grad is home._home.array
        np.testing.assert_allclose(home.grad, plain.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [0, 1, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_linear_weight_is_written_in_place(
    dtype: type, rows: int, rng: np.random.Generator
) -> None:
    weight, x, c = (rng.standard_normal(s).astype(dtype) for s in ((7, 5), (rows, 5), (rows, 7)))
    w = sg.tensor(weight, requires_grad=True)
    AdamW([w])
    w._home.array[...] = np.nan
    for times in (1, 2):
        sg.linear(x, w).backward(c)
        assert w.grad is w._home.array
        np.testing.assert_allclose(w.grad, times * (c.T @ x), rtol=1e-4, atol=1e-4)


def test_a_model_has_the_same_gradients_with_an_optimiser_as_without() -> None:
    """Also the tied weight, whose gradient comes from both ends of the model."""
    plain, housed_ = (sg.GPT(tiny_config(), seed=3) for _ in range(2))
    AdamW(sg.optim.parameter_groups(housed_, 0.1))
    ids, targets = batch(plain.config)
    for micro in range(2):
        for model in (plain, housed_):
            model(ids, (targets + micro) % 5)[1].backward()
    for (name, p), q in zip(plain.named_parameters(), housed_.parameters(), strict=True):
        assert q.grad is q._home.array, name
        np.testing.assert_allclose(q.grad, p.grad, rtol=1e-5, atol=1e-7, err_msg=name)


# -------------------------------------------------------------------------------- who has a home


def test_a_copy_of_a_leaf_does_not_write_to_its_home() -> None:
    for copied in (copy.copy, copy.deepcopy):
        x = housed(1.0)
        twin = copied(x)
        (doubled(x) + 3 * doubled(twin)).backward()
        assert x.grad.tolist() == [2]
        assert twin.grad.tolist() == [6]
        assert not np.shares_memory(x.grad, twin.grad)


def test_a_leaf_that_changed_its_dtype_has_no_home() -> None:
    layer = sg.nn.Linear(2, 2)
    AdamW(layer.parameters())
    layer.astype(np.float64)
    layer(np.ones((1, 2))).sum().backward()
    assert layer.weight.grad.dtype == np.float64
    assert layer.weight.grad.tolist() == [[1, 1], [1, 1]]


def test_a_gradient_check_leaves_the_home_alone() -> None:
    layer = sg.nn.Linear(3, 2)
    layer.astype(np.float64)
    AdamW(layer.parameters())
    layer(np.ones((1, 3))).sum().backward()
    before = [p.grad.copy() for p in layer.parameters()]
    sg.gradcheck(layer, [np.ones((2, 3))])
    for p, g in zip(layer.parameters(), before, strict=True):
        assert p.grad is p._home.array
        np.testing.assert_array_equal(p.grad, g)


# --------------------------------------------------------------------------- gradients on the way


def test_no_gradient_outlives_its_use() -> None:
    """When a node is visited, all gradients before its own dy are gone."""
    alive: list[int] = []
    made: list[weakref.ref] = []

    @sg.differentiable
    def step(x):
        def dx(dy):
            alive.append(sum(ref() is not None for ref in made))
            g = np.array(dy)
            made.append(weakref.ref(g))
            return g

        return x + 1, dx

    x = sg.tensor(np.zeros(5), requires_grad=True)
    y = x
    for _ in range(6):
        y = step(y)
    y.sum().backward()
    gc.collect()
    assert alive == [0, 1, 1, 1, 1, 1]  # its own dy, made by the node before
    assert [ref() for ref in made] == [None] * 6


def test_the_first_cotangent_is_not_kept_either() -> None:
    seen: list[weakref.ref] = []
    alive: list[bool] = []

    @sg.differentiable
    def first(x):
        def dx(dy):
            alive.append(seen[0]() is not None)
            return dy.copy()

        return x + 0, dx

    @sg.differentiable
    def last(x):
        def dx(dy):
            seen.append(weakref.ref(dy.base))
            return dy.copy()

        return x + 0, dx

    x = leaf(1.0, 2.0)
    last(first(x)).backward(np.ones(2))
    assert alive == [False]


def test_sums_of_waiting_gradients_are_made_in_one_array(monkeypatch) -> None:
    """x is used five times: the first sum is a new array, the next three are made in it."""
    import scratchgrad.tape as tape

    made: list[tuple[int, ...]] = []
    real = tape.empty
    monkeypatch.setattr(tape, "empty", lambda *a: made.append(a[0]) or real(*a))
    w = leaf(1.0, 2.0, 3.0)
    x = w * 1.0
    (x * 2.0 + x * 3.0 + x * 4.0 + x * 5.0 + x).sum().backward()
    assert w.grad.tolist() == [15] * 3
    assert made == [(3,), (3,)]  # one sum, and the leaf's own


def test_a_saved_gradient_is_not_added_to(rng: np.random.Generator) -> None:
    """An operation may hand out the same array at every walk; sums must not be made in it."""
    constant = np.ones(3)

    @sg.differentiable
    def saver(x):
        return x.sum(), lambda dy: constant

    w = sg.tensor(rng.standard_normal(3), requires_grad=True)
    x = w * 1.0
    y = saver(x) + saver(x) + saver(x)
    y.backward(retain_graph=True)
    y.backward()
    assert w.grad.tolist() == [6] * 3
    assert constant.tolist() == [1] * 3


def test_variables_of_the_engine_have_homes_too() -> None:
    x = Variable(np.ones(2, np.float32), requires_grad=True)
    assert x._home is None
    assert leaf(1.0)._home is None
