"""The engine's rarer paths: each of these was once wrong in a mutant that no other test caught."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import DtypeError, GraphError, ShapeError


def leaf(*values: float) -> sg.Tensor:
    return sg.tensor(list(values), requires_grad=True)


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 2.0, 3.0], 1.0, [[1.0, 2.0]]])
def test_data_of_another_shape_is_refused(wrong: Any) -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError, match=r"data: expected shape \(2,\)"):
        x.data = wrong
    assert x.data.tolist() == [1, 2]


def test_a_write_is_seen_however_many_there_were_before() -> None:
    x = leaf(3.0)
    for _ in range(3):
        x.writable()[...] = 4.0
        y = x * x
        x.writable()[...] = 5.0
        with pytest.raises(GraphError, match="changed in place"):
            y.backward()


@pytest.mark.parametrize("values", [[True], [1], np.array([1], np.uint8)])
def test_what_is_no_float_cannot_want_a_gradient(values: Any) -> None:
    with pytest.raises(DtypeError, match="requires_grad: expected a float32 or float64"):
        sg.tensor(values, requires_grad=True)


def test_an_empty_root_needs_a_cotangent_too() -> None:
    x = sg.tensor(np.ones((0, 2)), requires_grad=True)
    with pytest.raises(ShapeError, match=r"expected a cotangent of shape \(0, 2\)"):
        (x * 2).backward()
    (x * 2).backward(np.ones((0, 2)))
    assert x.grad.shape == (0, 2)


def test_a_retained_output_that_nothing_used_gets_no_gradient() -> None:
    x = leaf(1.0, 2.0)
    first, second = sg.split(x, 2)
    first.retain_grad()
    (second * 3).backward()
    assert first.grad is None
    assert x.grad.tolist() == [0, 3]


def test_a_retained_output_that_is_gone_is_forgotten() -> None:
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    z = y * 5
    del y
    z.backward()
    assert x.grad.tolist() == [15]


def test_a_users_backward_may_not_write_to_the_cotangent_of_the_root() -> None:
    @sg.differentiable
    def tripled(x):
        def backward(dy):
            dy *= 3
            return dy

        return 3 * x, backward

    with pytest.raises(ValueError, match="read-only"):
        tripled(leaf(1.0)).backward()
