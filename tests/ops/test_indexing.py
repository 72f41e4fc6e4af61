"""Picking elements: repeated ones accumulate, ids are checked, and NumPy's rules hold."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import DtypeError, IdRangeError, ShapeError

F = sg.nn.functional


def counted(index: Any, n: int = 4) -> list[float]:
    """How often x[index] picks each of n elements, as its gradient tells."""
    x = sg.tensor(np.zeros(n), requires_grad=True)
    x[index].sum().backward()
    return x.grad.tolist()


REPEATED = {
    "a list": ([1, 1, 3], [0, 2, 0, 1]),
    "an array": (np.array([1, 1, 3]), [0, 2, 0, 1]),
    "a tuple in a tuple": (((1, 1, 3),), [0, 2, 0, 1]),
    "negative and positive": ([-1, 3, -4], [1, 0, 0, 2]),
    "a matrix of ids": ([[0, 0], [0, 2]], [3, 0, 1, 0]),
    "unsigned": (np.array([2, 2], np.uint8), [0, 0, 2, 0]),
    "a Tensor": (sg.tensor([2, 2]), [0, 0, 2, 0]),
    "a list of Tensors": ([sg.tensor(2), sg.tensor(2)], [0, 0, 2, 0]),
    "a range": (range(1, 3), [0, 1, 1, 0]),
    "none of them": ([], [0, 0, 0, 0]),
    "a mask": (np.array([True, False, True, False]), [1, 0, 1, 0]),
    "a list of booleans": ([True, False, True, False], [1, 0, 1, 0]),
    "a number": (2, [0, 0, 1, 0]),
    "NumPy's number": (np.int64(-1), [0, 0, 0, 1]),
    "an array of no axes": (np.array(2), [0, 0, 1, 0]),
    "a slice backwards": (slice(None, None, -2), [0, 1, 0, 1]),
    "new axes": ((None, ..., None), [1, 1, 1, 1]),
    "True": (True, [1, 1, 1, 1]),
    "False": (False, [0, 0, 0, 0]),
}


@pytest.mark.parametrize("name", REPEATED)
def test_each_pick_counts(name: str) -> None:
    index, expected = REPEATED[name]
    assert counted(index) == expected


def test_a_comparison_of_tensors_is_a_mask() -> None:
    x = sg.tensor([3.0, -1.0, 2.0], requires_grad=True)
    (x[x > 0] * np.array([10.0, 20.0])).sum().backward()
    assert x.grad.tolist() == [10, 0, 20]


@pytest.mark.parametrize("bad", [1.0, [0.5], "a", np.array([1.5]), {"a": 1}])
def test_an_index_that_is_none(bad: Any) -> None:
    with pytest.raises((IndexError, TypeError)):
        sg.tensor([1.0, 2.0])[bad]


def test_an_index_out_of_range_names_the_op() -> None:
    x = sg.tensor([1.0, 2.0])
    for index in (2, -3, [0, 2], (0, 0)):
        with pytest.raises(IdRangeError, match="getitem: "):
            x[index]


def test_take_and_take_along_axis_count_from_the_end_too() -> None:
    x = sg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    sg.take(x, [-1, 2, 0]).sum().backward()
    assert x.grad.tolist() == [1, 0, 2]
    x.grad = None
    sg.take_along_axis(x, np.array([-1, 2, 0])).sum().backward()
    assert x.grad.tolist() == [1, 0, 2]


def test_take_with_one_id_drops_the_axis() -> None:
    x = sg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert sg.take(x, 1, axis=1).numpy().tolist() == [2, 4]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda x: sg.take(x, [0, 3], axis=1),
            r"take: .*from -3 to 2, received 3 at position \(1,\)",
        ),
        (lambda x: sg.take(x, [[-4]], axis=1), r"received -4 at position \(0, 0\)"),
        (lambda x: sg.take_along_axis(x, [[3]], axis=1), r"take_along_axis: .*received 3"),
        (
            lambda x: F.embedding([[0, 2]], x),
            r"embedding: .*0 to 1, received 2 at position \(0, 1\)",
        ),
        (lambda x: F.embedding([-1], x), r"embedding: .*received -1"),
        (lambda x: F.cross_entropy(x, [0, 3]), r"cross_entropy: .*0 to 2, received 3"),
        (lambda x: F.cross_entropy(x, [0, -1]), r"cross_entropy: .*received -1"),
    ],
)
def test_an_id_out_of_range_is_named_with_its_position(call: Any, match: str) -> None:
    with pytest.raises(IdRangeError, match=match):
        call(sg.tensor(np.zeros((2, 3))))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: sg.take(x, [0.0], axis=0),
        lambda x: sg.take_along_axis(x, [[0.0]], axis=1),
        lambda x: F.embedding([0.5], x),
        lambda x: F.embedding([True], x),
        lambda x: F.cross_entropy(x, [0.0, 1.0]),
    ],
)
def test_ids_that_are_no_integers_are_refused(call: Any) -> None:
    with pytest.raises(DtypeError, match="expected integer ids"):
        call(sg.tensor(np.zeros((2, 3))))


def test_no_ids_at_all() -> None:
    x = sg.tensor(np.zeros((2, 3)), requires_grad=True)
    assert sg.take(x, [], axis=1).shape == (2, 0)
    assert F.embedding([], x).shape == (0, 3)
    y = F.embedding(np.zeros((0, 4), int), x)
    assert y.shape == (0, 4, 3)
    y.sum().backward()
    assert x.grad.tolist() == [[0] * 3] * 2


def test_embedding_adds_up_repeated_ids() -> None:
    table = sg.tensor(np.zeros((3, 2)), requires_grad=True)
    ids = np.array([[0, 2], [2, 2]], np.uint16)
    F.embedding(ids, table).backward(np.arange(8.0).reshape(2, 2, 2))
    assert table.grad.tolist() == [[0, 1], [0, 0], [2 + 4 + 6, 3 + 5 + 7]]


def test_embedding_of_tensors_of_ids() -> None:
    table = sg.tensor([[1.0], [2.0]])
    assert F.embedding(sg.tensor([1, 0]), table).numpy().tolist() == [[2], [1]]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda x: sg.take(x, [0]), "take: expected an axis for 2 dimensions"),
        (lambda x: sg.take(x, [0], axis=2), "take: axis 2 is out of range"),
        (lambda x: sg.take_along_axis(x, [0]), "take_along_axis: expected indices of 2 dimensions"),
        (lambda x: F.embedding([0], x[0]), r"embedding: expected a weight of shape \(V, C\)"),
    ],
)
def test_shapes_that_do_not_fit(call: Any, match: str) -> None:
    with pytest.raises(ShapeError, match=match):
        call(sg.tensor(np.zeros((2, 3))))
