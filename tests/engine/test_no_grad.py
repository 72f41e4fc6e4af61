"""Outside the tape: no_grad and detach."""

import threading

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import GraphError


def leaf(*values: float) -> sg.Tensor:
    return sg.tensor(list(values), requires_grad=True)


def test_nothing_is_recorded_inside() -> None:
    x = leaf(2.0)
    with sg.no_grad():
        y = x * x
    assert not y.requires_grad
    assert y.is_leaf
    with pytest.raises(GraphError):
        y.backward()
    assert (x * x).requires_grad


def test_nesting_and_leaving_by_an_exception() -> None:
    x = leaf(2.0)
    with sg.no_grad():
        with sg.no_grad():
            assert not (x * x).requires_grad
        assert not (x * x).requires_grad
    with pytest.raises(ZeroDivisionError), sg.no_grad():
        raise ZeroDivisionError
    assert (x * x).requires_grad


def test_as_a_decorator() -> None:
    @sg.no_grad()
    def square(x: sg.Tensor) -> sg.Tensor:
        """Its square."""
        return x * x

    x = leaf(2.0)
    assert square.__name__ == "square"
    for _ in range(2):
        assert not square(x).requires_grad
    assert (x * x).requires_grad


def test_a_leaf_made_inside_may_want_a_gradient() -> None:
    with sg.no_grad():
        x = leaf(2.0)
    (x * x).backward()
    assert x.grad.tolist() == [4]


def test_backward_works_inside() -> None:
    x = leaf(2.0)
    y = x * x
    with sg.no_grad():
        y.backward()
    assert x.grad.tolist() == [4]


def test_one_thread_does_not_switch_it_off_for_another() -> None:
    x = leaf(2.0)
    inside, seen = threading.Barrier(2, timeout=10), {}

    def quiet() -> None:
        with sg.no_grad():
            inside.wait()
            seen["quiet"] = (x * x).requires_grad
            inside.wait()

    def recording() -> None:
        inside.wait()
        seen["recording"] = (x * x).requires_grad
        inside.wait()

    threads = [threading.Thread(target=f) for f in (quiet, recording)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"quiet": False, "recording": True}


def test_nothing_inside_holds_on_to_the_data() -> None:
    x = leaf(2.0)
    with sg.no_grad():
        y = x * x
    x.data[...] = 3
    assert y.item() == 4


def test_detach_is_the_same_memory_outside_the_graph() -> None:
    x = leaf(3.0)
    y = x * 2
    d = y.detach()
    assert not d.requires_grad
    assert d.is_leaf
    assert np.shares_memory(d.numpy(), y.numpy())
    (d * x).backward()
    assert x.grad.tolist() == [6]  # d is a constant there


def test_detach_and_requires_grad_makes_a_new_leaf() -> None:
    x = leaf(3.0)
    d = (x * 2).detach()
    d.requires_grad = True
    (d * d).backward()
    assert d.grad.tolist() == [12]
    assert x.grad is None


def test_what_does_not_depend_on_a_leaf_is_not_recorded() -> None:
    y = sg.tensor([1.0]) * 2 + 3
    assert not y.requires_grad
    z = y + leaf(1.0)
    assert z.requires_grad
