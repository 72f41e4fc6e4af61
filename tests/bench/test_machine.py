"""The limits of the machine are of a plausible size, and its facts are there."""

import numpy as np

from scratchgrad.bench import machine


def test_limits_are_of_a_plausible_size():
    peak = machine.matmul_peak("float32", seconds=0.002)
    assert tuple(peak["shape"]) in machine.PEAK_SHAPES
    assert 1e8 < peak["flops"] < 1e14
    assert 1e8 < machine.register_peak("float32", seconds=0.002) < 1e14
    assert 1e8 < machine.bandwidth(seconds=0.002, size=1 << 20) < 1e13


def test_the_peak_is_raised_and_never_lowered(monkeypatch):
    found = iter([5.0, 3.0])
    monkeypatch.setattr(machine, "matmul_peak", lambda *a: {"flops": next(found), "shape": [7]})
    roofs = {"matmul": {"float32": {"flops": 4.0, "shape": [1]}}}
    machine.raise_peak(roofs)
    machine.raise_peak(roofs)
    assert roofs == {"matmul": {"float32": {"flops": 5.0, "shape": [7]}}}


def test_facts():
    facts = machine.facts()
    assert facts["numpy"] == np.__version__
    assert facts["threads"] >= 1
    assert facts["cpu"]
    assert facts["vector_bits"] in (128, 256, 512)
    assert machine.installed("no-such-package") is None
    assert "threads" in machine.heading(facts)
    assert "JIT DISABLED" in machine.heading({**facts, "jit": False})
