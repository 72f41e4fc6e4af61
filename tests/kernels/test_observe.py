"""Listening to kernels and operations: everything is heard, nothing is changed."""

import numpy as np
import pytest

from scratchgrad import operation, ops
from scratchgrad.kernels import jit
from scratchgrad.kernels.softmax import softmax
from scratchgrad.tensor import tensor


def test_a_kernel_is_heard_within_the_block_only():
    x = np.zeros((2, 2), np.float32)
    calls, more = [], []
    with jit.observe(lambda *call: calls.append(call)):
        softmax(x, -1)
        with jit.observe(lambda *call: more.append(call)):
            softmax(x, -1)
    softmax(x, -1)
    assert [name for name, _, _ in calls] == ["softmax.softmax"] * 2
    assert len(more) == 1
    for _, arguments, seconds in calls:
        assert isinstance(arguments[0], np.ndarray)
        assert 0 < seconds < 60


def test_a_listener_that_fails_is_gone():
    def fails(*call):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), jit.observe(fails):
        softmax(np.zeros((2, 2)), -1)
    softmax(np.zeros((2, 2)), -1)


def test_an_operation_runs_as_it_was_wrapped_and_then_as_before():
    seen = []

    def wrap(op):
        def run(*arrays, **settings):
            value, backward = op.function(*arrays, **settings)
            seen.append((op.name, settings))
            return value, lambda dy: 3 * backward(dy)

        return run

    x = tensor([1.0, 2.0], requires_grad=True)
    with operation.observe(wrap):
        ops.softmax(x, axis=0)
        y = ops.sum(ops.exp(x))
        with pytest.raises(ZeroDivisionError), operation.observe(lambda op: 1 / 0):
            ops.exp(x)
        ops.exp(x)  # the outer one again
    assert [name for name, _ in seen] == ["softmax", "exp", "sum", "exp"]
    assert seen[0][1] == {"axis": 0}
    ops.exp(x)
    assert len(seen) == 4
    y.backward()
    np.testing.assert_allclose(x.grad, 9 * np.exp([1.0, 2.0]), rtol=1e-6)


def test_whether_kernels_are_compiled(monkeypatch):
    for off in (0, 1):
        monkeypatch.setattr(jit._config, "DISABLE_JIT", off)
        assert jit.compiles() is not bool(off)


def test_host():
    name, features = jit.host()
    assert name
    assert features == sorted(features)
    assert all(isinstance(feature, str) for feature in features)


def test_an_entry_is_damaged_if_any_byte_is():
    import hashlib

    entry = hashlib.sha256(b"body").digest() + b"body"
    assert not jit.damaged(entry)
    assert jit.damaged(entry[:-1])
    assert jit.damaged(b"\0" + entry[1:])
    assert jit.damaged(entry + b"\0")
    assert jit.damaged(b"")
