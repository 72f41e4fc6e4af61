"""Our operations on the sample inputs that PyTorch ships for its own tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import scratchgrad as sg
from tests.parity import op_db
from tests.parity.op_db_mapped import MAPPED
from tests.parity.op_db_unmapped import UNMAPPED

PINNED = "2.13.0"
RTOL = {torch.float64: 1e-10, torch.float32: 1e-3}
PACKAGE = str(Path(sg.__file__).parent)

# So that no rule can swallow what it was not meant for. `python -m tests.parity.op_db` says more.
ENOUGH = {"samples": 1400, "references": 4200, "errors": 100}

REFUSALS = (sg.errors.ScratchgradError, TypeError, ValueError, IndexError)

HERE = [name for name in MAPPED if name in op_db.OP_DB]  # other versions lack some

names = pytest.mark.parametrize("name", HERE)
pinned = pytest.mark.skipif(torch.__version__.split("+")[0] != PINNED, reason=f"counts of {PINNED}")


@contextmanager
def said_of(what: str, sample: Any) -> Iterator[None]:
    """Says with a failure which sample it was."""
    try:
        yield
    except BaseException as error:
        error.args = (f"{what}: {sample.summary()}\n{error}",)
        raise


@pinned
def test_every_name_is_mapped_or_listed() -> None:
    listed = [name for names in UNMAPPED.values() for name in names.split()]
    assert len(set(listed)) == len(listed), "a name is listed twice"
    assert not MAPPED.keys() & set(listed), "a name is mapped and listed as unmapped"
    assert MAPPED.keys() | set(listed) == op_db.OP_DB.keys()


@pinned
def test_enough_is_checked() -> None:
    counted = [op_db.counts(name, mapped)[0] for name, mapped in MAPPED.items()]
    assert all(tried["samples"] for tried in counted), "a name has no sample left"
    for kind, least in ENOUGH.items():
        assert sum(tried[kind] for tried in counted) >= least, kind


@pinned
@names
def test_every_rule_is_needed(name: str) -> None:
    mapped, inputs = MAPPED[name], op_db.samples(name) + op_db.references(name)
    for rule in mapped.rules:
        assert any(rule.applies(sample) for sample in inputs), rule.reason
    for rule in mapped.accepts:
        assert any(rule.applies(error) for error in op_db.error_inputs(name)), rule.reason


@names
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_values_and_gradients(name: str, dtype: torch.dtype) -> None:
    """Each sample as it comes, and in float64 with every tensor strided."""
    for i, sample in enumerate(op_db.samples(name, dtype)):
        if op_db.reason_to_skip(MAPPED[name], sample):
            continue
        op, mapped, call = op_db.OP_DB[name], MAPPED[name], op_db.parts(sample)
        with said_of(f"sample {i}", sample):
            op_db.check(op, mapped, call, RTOL[dtype], seed=i)
        if dtype == torch.float64:
            with said_of(f"sample {i}, strided", sample):
                op_db.check(op, mapped, op_db.strided(call), RTOL[dtype], seed=i)


@pytest.mark.parametrize("name", [n for n in HERE if op_db.OP_DB[n].reference_inputs_func])
def test_reference_inputs(name: str) -> None:
    for i, sample in enumerate(op_db.references(name)):
        if op_db.reason_to_skip(MAPPED[name], sample) is None:
            with said_of(f"reference input {i}", sample):
                op_db.check(
                    op_db.OP_DB[name], MAPPED[name], op_db.parts(sample), RTOL[torch.float64], i
                )


def refused(mapped: op_db.Mapped, sample: Any) -> None:
    x, args, kwargs = op_db.to_ours(op_db.parts(sample))
    mapped.ours(x, *args, **kwargs)


@pytest.mark.parametrize("name", [n for n in HERE if op_db.OP_DB[n].error_inputs_func])
def test_what_pytorch_refuses_raises(name: str) -> None:
    for i, error in enumerate(op_db.error_inputs(name)):
        mapped, sample = MAPPED[name], error.sample_input
        if op_db.reason_to_accept(mapped, error):
            continue
        with said_of(f"error input {i}", sample):
            with pytest.raises(REFUSALS) as caught:
                refused(mapped, sample)
            files = [str(entry.path) for entry in caught.traceback]
            assert any(f.startswith(PACKAGE) for f in files), "the error is the adapter's own"
