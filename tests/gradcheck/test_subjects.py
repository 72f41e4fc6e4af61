"""What can be checked beside a function of Tensors: a Module, a pair of NumPy functions."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.errors import GradcheckError
from tests.gradcheck.test_checks import X, failure_of

# --------------------------------------------------------------------------------- Modules


def test_every_parameter_of_a_module_is_checked_by_name() -> None:
    layer = sg.nn.MLP(2, rng=np.random.default_rng(0))  # float32, as layers are made
    before = layer.state_dict()
    layer.c_fc.weight.grad = gradient = np.ones((8, 2), np.float32)
    report = sg.gradcheck(layer, [X.reshape(3, 2)])
    assert set(report.elementwise) == {
        "input 0 (x)",
        "parameter c_fc.weight",
        "parameter c_fc.bias",
        "parameter c_proj.weight",
        "parameter c_proj.bias",
    }
    for name, p in layer.named_parameters():
        assert p.dtype == np.float32
        np.testing.assert_array_equal(p.numpy(), before[name])
    assert layer.c_fc.weight.grad is gradient


def test_a_wrong_parameter_is_named() -> None:
    @sg.differentiable
    def scale(x, gain):
        return x * gain, (lambda dy: dy * gain, lambda dy: dy.sum(0) * 0 + x[0] * dy[0])

    class Gain(sg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = sg.nn.Parameter(np.array([1.0, 2.0, 3.0]))

        def forward(self, x: Any) -> Any:
            return scale(x, self.gain)

    failure = failure_of(Gain(), [X])
    assert failure.where == "parameter gain"
    assert "missing sum over axis 0 of output 0: only index 0" in failure.cause


def test_a_module_that_drops_is_told_to_stop() -> None:
    with pytest.raises(GradcheckError, match=r"with dropout: \.eval\(\)"):
        sg.gradcheck(sg.nn.Dropout(0.5), [np.arange(1.0, 101.0)])


# ------------------------------------------------------------------- pairs of NumPy functions


def test_a_pair_of_numpy_functions() -> None:
    def forward(a, b):
        return a @ b

    def vjp(dy, a, b):
        return dy @ b.T, a.T @ dy

    report = sg.gradcheck((forward, vjp), [X, X.T + 1])
    assert report.entries == 12
    assert report.linear == ("input 0 (a)", "input 1 (b)")
    wrong = failure_of((forward, lambda dy, a, b: (dy @ b.T, dy.T @ a)), [X[:2, :2], X[:2, 1:]])
    assert wrong.where == "input 1 (b)"
    assert "transposed: this is the right gradient with its axes in the order (1, 0)" in wrong.cause


def test_a_pair_with_several_outputs_and_integers() -> None:
    def forward(x, i):
        return x[i], 2 * x

    def vjp(dys, x, i):
        dx = 2 * dys[1]
        np.add.at(dx, i, dys[0])
        return dx, None

    ids = np.array([0, 0, 1])
    assert sg.gradcheck((forward, vjp), [X, ids]).entries == 6
    only = (forward, lambda dys, x, i: vjp(dys, x, i)[0])  # without the None
    assert sg.gradcheck(only, [X, ids]).entries == 6
    failure = failure_of((forward, lambda dys, x, i: (vjp(dys, x, i)[0], i)), [X, ids])
    assert (failure.kind, failure.where) == ("integer", "input 1 (i)")


@pytest.mark.parametrize(
    ("vjp", "kind", "says"),
    [
        (lambda dy, a, b: (dy, dy), "shape", "missing sum over the broadcast axis 0"),
        (
            lambda dy, a, b: (dy.copy(), dy[:1]),
            "shape",
            r"have shape \(3,\), received \(1, 3",
        ),
        (lambda dy, a, b: dy, "shape", "one gradient for each of 2 inputs .* received 1"),
        (lambda dy, a, b: (dy.astype(np.float32), dy.sum(0)), "dtype", "received float32"),
        (lambda dy, a, b: (np.add(dy, 1, out=dy), dy.sum(0)), "mutation", "wrote into dy"),
        (lambda dy, a, b: (a, dy.sum(0)), "aliasing", r"shares memory with input 0 \(a\)"),
        (lambda dy, a, b: (dy.copy(), b.__iadd__(1) * 0), "mutation", r"wrote into input 1 \(b\)"),
    ],
)
def test_what_a_vjp_must_not_do(vjp: Any, kind: str, says: str) -> None:
    def forward(a, b):
        return a + b

    assert sg.gradcheck((forward, lambda dy, a, b: (dy, dy.sum(0))), [X, X[0]]).entries == 9
    with pytest.raises(GradcheckError, match=says) as caught:
        sg.gradcheck((forward, vjp), [X, X[0]])
    assert caught.value.failure.kind == kind


def test_two_gradients_in_one_memory_are_refused() -> None:
    for vjp in (lambda dy, a, b: (dy, dy), lambda dy, a, b: (dy[:], dy[:])):
        assert failure_of((np.add, vjp), [X, X + 1]).kind == "aliasing"


def test_a_forward_that_writes_is_refused() -> None:
    def forward(x):
        x += 1
        return x * 1

    failure = failure_of((forward, lambda dy, x: dy), [X.copy()])
    assert failure.kind == "mutation"
