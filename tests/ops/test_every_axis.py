"""Along every axis of a cube, where a gradient put into the wrong place has the right shape."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.cases.draw import numbers
from tests.finite import check_gradients

CUBE = (3, 3, 3)

AXES = [None, 0, 1, 2, -2, (0, 1), (1, 2), (2, 0), (0, 1, 2)]

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": sg.sum,
    "mean": sg.mean,
    "var": sg.var,
    "std": sg.std,
    "max": sg.max,
    "min": sg.min,
    "prod": sg.prod,
    "logsumexp": sg.logsumexp,
}

LINES: dict[str, Callable[..., Any]] = {
    "softmax": sg.softmax,
    "log_softmax": sg.log_softmax,
    "cumulative_sum": lambda x, axis: sg.cumulative_sum(x, axis=axis),
    "flip": lambda x, axis: sg.flip(x, axis),
    "roll": lambda x, axis: sg.roll(x, 1, axis),
    "repeat": lambda x, axis: sg.repeat(x, [2, 0, 1], axis),
    "take": lambda x, axis: sg.take(x, [2, 0, 2], axis),
    "concat": lambda x, axis: sg.concat([x, 2 * x], axis),
    "stack": lambda x, axis: sg.stack([x, 2 * x], axis),
    "split": lambda x, axis: sg.split(x, [1], axis),
    "pad": lambda x, axis: sg.pad(x, [(2, 1) if a == axis else (0, 0) for a in range(3)]),
}


def cube(rng: np.random.Generator) -> sg.Tensor:
    (values,) = numbers(rng, CUBE)
    return sg.Tensor(values, requires_grad=True)


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_fold(name: str, axis: Any, rng: np.random.Generator) -> None:
    x = cube(rng)
    for keepdims in (False, True):
        check_gradients(lambda k=keepdims: REDUCTIONS[name](x, axis=axis, keepdims=k), [x], rng)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", LINES)
def test_along_a_line(name: str, axis: int, rng: np.random.Generator) -> None:
    x = cube(rng)
    check_gradients(lambda: LINES[name](x, axis), [x], rng)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_of_different_lengths(axis: int, rng: np.random.Generator) -> None:
    """Cut and joined again in another order; the middle part is longer than the others."""
    x = cube(rng)

    def function() -> Any:
        long = sg.concat([x, x * x], axis)
        first, middle, last = sg.split(long, [1, 4], axis)
        return sg.concat([last, middle * first, first], axis)

    check_gradients(function, [x], rng)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_every_order_of_the_axes(order: tuple[int, ...], rng: np.random.Generator) -> None:
    x = cube(rng)
    check_gradients(lambda: sg.permute_dims(x, order), [x], rng)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1), (1, 1), (3, 1, 1), (1, 3, 1), ()], ids=str)
def test_what_was_stretched(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """A smaller array beside a cube: its gradient is summed over the axes that it lacks."""
    x = cube(rng)
    small = sg.Tensor(numbers(rng, shape)[0], requires_grad=True)
    check_gradients(lambda: small * x, [small, x], rng)
    check_gradients(lambda: x + small, [small, x], rng)
