"""What the tape holds and for how long; and writes in place that would spoil it."""

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import DtypeError, GraphError, ShapeError


def leaf(*values: float) -> sg.Tensor:
    return sg.tensor(list(values), requires_grad=True)


# ------------------------------------------------------------------------------------- lifetimes


def watched_result(x: sg.Tensor, made: list[weakref.ref]) -> sg.Tensor:
    @sg.differentiable
    def doubled(a):
        y = 2 * a
        made.append(weakref.ref(y))
        return y, lambda dy: 2 * dy

    return doubled(x)


def test_an_array_that_no_closure_saved_is_freed_while_the_graph_lives() -> None:
    x, made = leaf(1.0), []
    y = watched_result(x, made) + 1.0  # add saves nothing
    gc.collect()
    assert made[0]() is None
    y.backward()
    assert x.grad.tolist() == [2]


def test_an_array_that_a_closure_saved_lives_until_backward() -> None:
    x, w, made = leaf(3.0), leaf(5.0), []
    y = watched_result(x, made) * w  # multiply saves both
    gc.collect()
    assert made[0]() is not None
    y.backward()
    gc.collect()
    assert made[0]() is None, "y is alive, but its graph is freed"
    assert w.grad.tolist() == [6]


def test_a_graph_that_is_dropped_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        x, w, made = leaf(3.0), leaf(5.0), []
        y = watched_result(x, made) * w
        del y
        assert made[0]() is None
    finally:
        gc.enable()


def test_a_loss_that_is_kept_does_not_keep_its_graph() -> None:
    x, made, losses = leaf(1.0), [], []
    for _ in range(3):
        loss = (watched_result(x, made) * watched_result(x, made)).sum()
        loss.backward()
        losses.append(loss)
    gc.collect()
    assert [ref() for ref in made] == [None] * 6


def test_the_inputs_of_an_operation_that_saves_nothing_are_free_to_go() -> None:
    x = leaf(1.0)
    y = x * 2.0
    intermediate = weakref.ref(y)
    z = y + 1.0
    del y
    gc.collect()
    assert intermediate() is None, "nodes point at nodes, not at Tensors"
    z.backward()
    assert x.grad.tolist() == [2]


# ------------------------------------------------------------------------------- writes in place


def test_data_is_read_only_while_a_graph_may_need_it() -> None:
    x = leaf(1.0, 2.0)
    x.data[0] = 5
    y = (x * x).sum()
    with pytest.raises(ValueError, match="read-only"):
        x.data[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        x.data -= 1.0
    with pytest.raises(ValueError, match="read-only"):
        y.data[...] = 0
    y.backward()
    assert x.grad.tolist() == [10, 4]
    x.data[0] = 7
    x.data -= 1.0
    assert x.numpy().tolist() == [6, 1]


def test_data_is_free_again_when_the_graph_is_dropped() -> None:
    x = leaf(1.0)
    y = x * x
    del y
    x.data[0] = 3
    assert x.item() == 3


def test_data_stays_read_only_while_the_graph_is_retained() -> None:
    x = leaf(1.0)
    y = x * x
    y.backward(retain_graph=True)
    with pytest.raises(ValueError, match="read-only"):
        x.data[0] = 3
    y.backward()
    x.data[0] = 3


def test_a_graph_that_was_never_walked_to_holds_on_until_it_is_dropped() -> None:
    x = leaf(1.0)
    loss, unused = x * 2, x * 3
    loss.backward()
    with pytest.raises(ValueError, match="read-only"):
        x.data[0] = 3
    del unused
    x.data[0] = 3


def test_setitem_raises_and_says_what_to_do() -> None:
    x = sg.tensor([1.0, 2.0])
    with pytest.raises(GraphError, match=r"where\(\) or concat\(\)"):
        x[0] = 5.0


def test_a_write_that_was_announced_makes_an_older_graph_raise() -> None:
    x = leaf(1.0)
    y = x * x
    x.writable()[...] = 5
    with pytest.raises(GraphError, match=r"multiply read was changed in place.*again"):
        y.backward()
    assert x.grad is None
    (x * x).backward()
    assert x.grad.tolist() == [10]


def test_a_new_array_for_data_leaves_the_older_graph_right() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    x.data = [10.0, 20.0]
    y.backward()
    assert x.grad.tolist() == [2, 4]
    assert x.numpy().tolist() == [10, 20]
    assert x.dtype == np.float32


def test_data_keeps_shape_and_dtype() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError, match=r"data: expected shape \(2,\), received \(3,\)"):
        x.data = np.zeros(3)
    with pytest.raises(DtypeError):
        x.data = "text"
    x.data = np.zeros(2, np.float64)
    assert x.dtype == np.float32
    given = np.ones(2, np.float32)
    x.data = given
    given[:] = 9
    assert x.numpy().tolist() == [1, 1]


VIEWS: dict[str, Callable[[sg.Tensor], sg.Tensor]] = {
    "detach": lambda x: x.detach(),
    "slice": lambda x: x[1:],
    "everything": lambda x: x[...],
    "reshape": lambda x: x.reshape(3, 2),
    "transpose": lambda x: x.T,
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "expand_dims": lambda x: sg.expand_dims(x),
    "squeeze": lambda x: sg.squeeze(sg.expand_dims(x)),
    "flip": lambda x: sg.flip(x),
    "split": lambda x: sg.split(x, 2)[1],
    "broadcast_to": lambda x: sg.broadcast_to(x, (4, 2, 3)),
    "einsum": lambda x: sg.einsum("ij->ji", x),
    "view of a view": lambda x: sg.flip(x.T[1:]).swapaxes(0, 1)[None],
    "clip without bounds": lambda x: sg.clip(x),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_watched_together_with_what_it_views(name: str) -> None:
    x = sg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    with sg.no_grad():  # so that only the memory ties the two together
        view = VIEWS[name](x)
    assert np.shares_memory(view._array, x._array)
    w = sg.tensor(2.0, dtype=np.float64, requires_grad=True)
    y = (view * w).sum()
    with pytest.raises(ValueError, match="read-only"):
        x.data[...] = 0
    x.writable()[...] = 0
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("name", VIEWS)
def test_a_write_through_a_view_is_seen_too(name: str) -> None:
    x = sg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    with sg.no_grad():
        view = VIEWS[name](x)
    assert np.shares_memory(view._array, x._array)
    y = (x * x).sum()
    with pytest.raises(ValueError, match="read-only"):
        view.data[...] = 0
    view.writable()
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


def test_arrays_that_are_given_to_operations_may_be_reused_by_the_caller() -> None:
    x = sg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    factor, ids = np.array([1.0, 10.0, 100.0]), np.array([0, 0, 2])
    mask, counts = np.array([True, False, True]), np.array([1, 2, 0])
    y = [
        x * factor,
        x[ids],
        sg.take(x, ids),
        x[mask],
        sg.where(mask, x, 0.0),
        sg.repeat(x, counts),
    ]
    factor[:], ids[:], mask[:], counts[:] = 7, 1, False, 0
    total = y[0].sum()
    for part in y[1:]:
        total = total + part.sum()
    total.backward()
    assert x.grad.tolist() == [1 + 2 + 2 + 1 + 1 + 1, 10 + 2, 100 + 1 + 1 + 1 + 1]


def test_arrays_that_are_given_to_network_operations_may_be_reused_too() -> None:
    rng = np.random.default_rng(0)
    logits = sg.tensor(rng.standard_normal((2, 3)), requires_grad=True)
    table = sg.tensor(rng.standard_normal((3, 2)), requires_grad=True)
    q = sg.tensor(rng.standard_normal((1, 1, 2, 2)), requires_grad=True)
    targets, ids, mask = np.array([0, 2]), np.array([1, 1]), np.array([[True, False], [True] * 2])

    def total() -> sg.Tensor:
        attended = sg.scaled_dot_product_attention(q, q, q, mask)
        return (
            sg.cross_entropy(logits, targets)
            + (sg.embedding(ids, table) ** 2).sum()
            + (attended**2).sum()
        )

    total().backward()
    expected = [t.grad.copy() for t in (logits, table, q)]
    logits.grad = table.grad = q.grad = None
    loss = total()
    targets[:], ids[:], mask[:] = 1, 0, True
    loss.backward()
    for t, e in zip((logits, table, q), expected, strict=True):
        np.testing.assert_array_equal(t.grad, e)


@pytest.mark.parametrize("statement", ["t += 1", "t -= 1", "t *= 2", "t /= 2", "t **= 2", "t @= t"])
def test_in_place_operators_on_a_parameter_are_refused(statement: str) -> None:
    """Python would give the name to a new Tensor, and an optimiser written so would do nothing."""
    t = sg.tensor([1.0, 2.0], requires_grad=True)
    with sg.no_grad(), pytest.raises(GraphError, match=r"p\.data -= step"):
        exec(statement, {"t": t})
