"""Every operation and layer has its proofs; one that lacks any fails here by its name."""

import ast
from pathlib import Path
from typing import Any

import pytest

import scratchgrad as sg
from scratchgrad.cases import LAYERS, OPERATIONS, Entry, RandomChoices, prove
from scratchgrad.operation import OPS, differentiable
from tests.ops import test_every_op as every

ORACLES = Path(__file__).parents[1] / "parity" / "oracles.py"

# What is asked of each operation, and the test that asks it of every row of the table.
PROOFS = {
    "a gradient property": every.test_gradients_equal_finite_differences,
    "a reference": every.test_forward_equals_numpy,
    "a float32 property": every.test_float32_stays_and_agrees_with_float64,
}


def oracles() -> set[str]:
    """The operations with an oracle: read, not imported, for PyTorch may not be there."""
    for node in ast.walk(ast.parse(ORACLES.read_text("utf-8"))):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "ORACLES":
            assert isinstance(node.value, ast.Dict)
            return {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    raise AssertionError("no table of oracles")


def proved_names(test: Any) -> set[str]:
    """The operations that a test is run for."""
    (mark,) = (m for m in test.pytestmark if m.name == "parametrize")
    return set(mark.args[1])


def missing(name: str) -> list[str]:
    """What an operation lacks."""
    lacks = [what for what, test in PROOFS.items() if name not in proved_names(test)]
    entry = OPERATIONS.get(name)
    if not isinstance(entry, Entry) or not callable(entry.reference):
        lacks.append("a row in scratchgrad/cases")
    if name not in oracles():
        lacks.append("an oracle in tests/parity/oracles.py")
    return lacks


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_operation_has_its_proofs(name: str) -> None:
    assert missing(name) == []


def test_an_operation_without_proofs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unproven(x):
        return x, lambda dy: dy

    monkeypatch.setattr("scratchgrad.operation.OPS", dict(OPS))
    unproven.__module__ = "scratchgrad.ops.planted"
    differentiable(unproven)
    from scratchgrad import operation

    lacking = {name: missing(name) for name in operation.OPS if missing(name)}
    assert lacking.keys() == {"unproven"}
    assert len(lacking["unproven"]) == len(PROOFS) + 2


def test_no_row_is_for_an_operation_that_is_not_there() -> None:
    assert OPERATIONS.keys() == OPS.keys() == oracles()


def test_every_layer_has_a_row() -> None:
    layers = {
        name
        for name in sg.nn.__all__
        if isinstance(value := getattr(sg.nn, name), type)
        and issubclass(value, sg.nn.Module)
        and value is not sg.nn.Module
    }
    assert LAYERS.keys() == layers | {"GPT"}


@pytest.mark.parametrize("name", LAYERS)
def test_the_row_of_a_layer_is_of_that_layer(name: str) -> None:
    layer, _ = LAYERS[name].draws(RandomChoices(0))
    inner = getattr(layer, "layer", layer)
    assert type(inner).__name__ == name


# Those of VARIANTS are proved by tests/nn/test_variants.py, and by the command without names.
ROWS = {**OPERATIONS, **LAYERS}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_command_proves_it(name: str) -> None:
    """The row as ``scratchgrad gradcheck`` tries it; the bar for smooth operations is 1e-7."""
    proof = prove(name, ROWS[name], cases=2 if name in LAYERS else 6, seed=1)
    assert proof.holds, proof.error
    assert proof.entries > 0
    assert proof.worst <= 1e-7
