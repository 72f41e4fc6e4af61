"""The walk back: accumulation, graphs that meet again, deep graphs, graphs walked twice."""

import gc

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import GraphError, ShapeError
from tests.finite import check_gradients


def leaf(*values: float) -> sg.Tensor:
    return sg.tensor(list(values), requires_grad=True)


def test_gradients_accumulate_until_they_are_cleared() -> None:
    x = leaf(1.0, 2.0)
    for expected in ([2, 4], [4, 8], [6, 12]):
        (x * x).sum().backward()
        assert x.grad.tolist() == expected
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_a_gradient_the_caller_holds_is_not_changed_by_the_next_backward() -> None:
    x = leaf(1.0)
    (x * 2).backward()
    held = x.grad
    (x * 3).backward()
    assert held.tolist() == [2]
    assert x.grad.tolist() == [5]


def test_gradients_of_single_numbers_are_arrays_however_often_they_are_added() -> None:
    x = sg.tensor(2.0, requires_grad=True)
    for times in (1, 2, 3):
        (x * x + x).backward()
        assert isinstance(x.grad, np.ndarray)
        assert x.grad.shape == ()
        assert x.grad == 5 * times


def test_a_node_that_is_reached_twice_counts_twice() -> None:
    x = leaf(3.0)
    y = x * 2
    (y + y).backward()
    assert x.grad.tolist() == [4]


def test_one_tensor_in_every_place_of_an_operation() -> None:
    x = leaf(3.0)
    sg.concat([x * x, x, x / x, x - x]).sum().backward()
    assert x.grad.tolist() == [7]


def test_diamonds_on_diamonds() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(40):  # 2^40 paths, 40 nodes
        y = y + y
    y.backward()
    assert x.grad.tolist() == [2**40]


def test_a_node_waits_for_all_that_it_fed(rng: np.random.Generator) -> None:
    x = sg.Tensor(rng.uniform(0.5, 1.5, 3), requires_grad=True)

    def function() -> sg.Tensor:
        a = sg.exp(x)
        b = sg.sin(a)
        c = a * b  # a feeds b, c and the end: three distances
        return c * a + sg.log(b * b + a)

    check_gradients(function, [x], rng)


def test_results_that_were_handed_one_array_keep_their_gradients_apart() -> None:
    """add gives both its inputs the same dy: what is added to one must not reach the other."""
    x, w = leaf(1.0), leaf(1.0)
    a, b = x * 1.0, w * 1.0
    ((a + b) + a).backward()
    assert x.grad.tolist() == [2]
    assert w.grad.tolist() == [1]


def test_a_sum_of_several_losses_equals_their_backwards_one_by_one() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    first, second = (x * w).sum(), (x * x * w).sum()
    (first + second).backward()
    together = x.grad.copy(), w.grad.copy()
    x.grad = w.grad = None
    (x * w).sum().backward()
    (x * x * w).sum().backward()
    np.testing.assert_array_equal(x.grad, together[0])
    np.testing.assert_array_equal(w.grad, together[1])


def deep(x: sg.Tensor, depth: int) -> sg.Tensor:
    y = x
    for _ in range(depth):
        y = y + 1.0
    return y


def test_a_graph_100_000_operations_deep() -> None:
    x = leaf(1.0)
    y = deep(x, 100_000)
    assert y.numpy().tolist() == [100_001]
    y.backward()
    assert x.grad.tolist() == [1]


def test_a_deep_graph_is_deleted_without_a_backward() -> None:
    x = leaf(1.0)
    y = deep(x, 100_000)
    del y
    gc.collect()
    x.data[...] = 5  # nothing reads it any more


def test_a_deep_graph_of_pairs_is_deleted_too() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = sg.maximum(y, y * 0.5)
    del y
    x.data[...] = 5


def test_a_second_backward_raises_and_says_what_to_do() -> None:
    y = (leaf(1.0) * 2).sum()
    y.backward()
    with pytest.raises(GraphError, match=r"sum was freed.*forward pass again.*retain_graph=True"):
        y.backward()


def test_a_backward_into_a_graph_that_is_partly_freed_raises_and_changes_nothing() -> None:
    x = leaf(1.0)
    shared = x * 2
    (shared * 3).backward()
    before = x.grad.copy()
    with pytest.raises(GraphError, match="multiply was freed"):
        (shared * 5 + x).backward()
    assert x.grad.tolist() == before.tolist()


def test_retain_graph_allows_another() -> None:
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [18]
    with pytest.raises(GraphError):
        y.backward()


def test_a_root_that_is_no_single_number_needs_a_cotangent() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError, match=r"cotangent of shape \(2,\).*\.sum\(\) or \.mean\(\)"):
        (x * 2).backward()
    (x * 2).backward([1.0, 10.0])
    assert x.grad.tolist() == [2, 20]


@pytest.mark.parametrize("wrong", [1.0, [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_a_cotangent_of_another_shape_is_refused(wrong: object) -> None:
    with pytest.raises(ShapeError, match=r"expected a cotangent of shape \(2,\), received"):
        (leaf(1.0, 2.0) * 2).backward(wrong)


def test_a_cotangent_may_be_a_tensor_and_takes_the_dtype_of_the_root() -> None:
    x = leaf(1.0, 2.0)
    (x * 2).backward(sg.tensor([1, 10]))
    (x * 2).backward(np.array([1.0, 10.0]))
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [4, 40]


def test_the_cotangent_is_not_kept() -> None:
    x = leaf(1.0, 2.0)
    c = np.ones(2, np.float32)
    (x + 0.0).backward(c)
    assert not np.shares_memory(x.grad, c)
    x.grad = None
    x.backward(c)
    assert not np.shares_memory(x.grad, c)


def test_a_single_element_of_any_shape_needs_no_cotangent() -> None:
    x = sg.tensor([[2.0]], requires_grad=True)
    (x * x).backward()
    assert x.grad.tolist() == [[4]]


def test_backward_from_a_leaf_itself() -> None:
    x = leaf(5.0)
    x.backward()
    x.backward()
    assert x.grad.tolist() == [2]


def test_backward_where_nothing_was_recorded() -> None:
    for y in (sg.tensor([1.0]), sg.tensor([1.0]) * 2, sg.tensor(1)):
        with pytest.raises(GraphError, match=r"nothing was recorded.*requires_grad=True"):
            y.backward()


def test_one_piece_of_several_outputs_is_enough() -> None:
    x = leaf(1.0, 2.0, 3.0, 4.0)
    first, second = sg.split(x * 2, 2)
    (second * np.array([1.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [0, 0, 2, 10]
    assert first.requires_grad


def test_all_pieces_of_several_outputs_together() -> None:
    x = leaf(1.0, 2.0, 3.0, 4.0)
    first, second = sg.split(x, 2)
    (first * second + first).sum().backward()
    assert x.grad.tolist() == [4, 5, 1, 2]


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = leaf(3.0)
    y = x * x
    y.retain_grad()
    z = y * 2 + y
    z.backward()
    assert y.grad.tolist() == [3]
    assert x.grad.tolist() == [18]
    assert z.grad is None


def test_retain_grad_accumulates_and_is_never_shared() -> None:
    x = leaf(1.0, 2.0)
    y = x * 1.0
    y.retain_grad()
    z = y + 0.0
    z.backward([1.0, 2.0], retain_graph=True)
    held = y.grad
    z.backward([1.0, 2.0])
    assert held.tolist() == [1, 2]
    assert y.grad.tolist() == [2, 4]
    assert not np.shares_memory(y.grad, x.grad)


def test_retain_grad_of_a_single_number_is_an_array() -> None:
    x = sg.tensor(2.0, requires_grad=True)
    y = x * x
    y.retain_grad()
    z = y + y
    z.backward(retain_graph=True)
    assert isinstance(y.grad, np.ndarray)
    z.backward()
    assert isinstance(y.grad, np.ndarray)
    assert y.grad == 4


def test_retain_grad_of_a_leaf_and_of_a_freed_result() -> None:
    x = leaf(1.0)
    x.retain_grad()
    y = x * 2
    y.backward()
    assert x.grad.tolist() == [2]
    with pytest.raises(GraphError, match="before backward"):
        y.retain_grad()


def test_retain_grad_of_one_output_of_several() -> None:
    x = leaf(1.0, 2.0)
    first, second = sg.split(x, 2)
    second.retain_grad()
    (first * 3 + second * 5).backward()
    assert second.grad.tolist() == [5]
    assert first.grad is None


def test_a_result_cannot_be_told_to_want_a_gradient() -> None:
    y = leaf(1.0) * 2
    with pytest.raises(GraphError, match=r"result of multiply.*\.detach\(\)"):
        y.requires_grad = False


def test_a_leaf_can_be_frozen_and_thawed() -> None:
    x, w = leaf(1.0), leaf(2.0)
    w.requires_grad = False
    (x * w).backward()
    assert w.grad is None
    assert x.grad.tolist() == [2]
    w.requires_grad = True
    (x * w).backward()
    assert w.grad.tolist() == [1]


def test_gradients_of_views_are_never_views() -> None:
    x = sg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = x.T.reshape(6)[::-1]
    c = np.arange(6.0)
    y.backward(c)
    assert x.grad.base is None
    assert x.grad.flags.writeable
    np.testing.assert_array_equal(x.grad, np.arange(6.0)[::-1].reshape(3, 2).T)
