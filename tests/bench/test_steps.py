"""A step taken apart: all of it is found, and nothing about it changes."""

import numpy as np
import pytest

from scratchgrad import operation
from scratchgrad.bench import count, kernels, spec, steps
from scratchgrad.bench.timing import summarise, timed
from scratchgrad.kernels import jit, reference

ROOFS = {
    "matmul": {"float32": {"flops": 1e11, "shape": [1]}, "float64": {"flops": 5e10, "shape": [1]}},
    "registers": {"float32": 2e11, "float64": 1e11},
    "bandwidth": 2e10,
}
TINY = spec.Preset(11, 8, n_layer=2, n_head=2, n_embd=8, batch_size=2)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(spec.PRESETS, "tiny", TINY)
    return "tiny"


def test_the_parts_add_up_to_the_step(tiny):
    record = steps.take_apart(tiny, ROOFS, quick=True).record()
    assert sum(row["share"] for row in record["rows"]) == pytest.approx(1, abs=1e-3)
    assert record["of_peak"] == pytest.approx(count.model_flops(TINY) / record["seconds"] / 1e11)
    assert record["tokens_per_second"] == pytest.approx(16 / record["seconds"])
    where = record["where"]
    sides = where["compute"] + where["memory"] + where["python"]
    assert sides == pytest.approx(record["recorded_seconds"], rel=1e-3)
    phases = {(row["name"], row["phase"]) for row in record["rows"]}
    attention = "causal_self_attention"
    assert {(attention, "forward"), (attention, "backward"), ("rest", "engine")} <= phases
    for row in record["rows"]:
        assert 0 <= row["kernel_seconds"] <= row["seconds"] + 1e-9


def test_every_operation_of_a_step_can_be_counted(tiny):
    record = steps.take_apart(tiny, ROOFS, quick=True).record()
    unknown = [row["name"] for row in record["rows"] if row["flops"] is None]
    assert unknown == [], "give these a row in bench/count.py"


def test_the_products_of_a_step_are_those_of_the_model(tiny):
    """Forward and backward together, but for what attention does twice."""
    record = steps.take_apart(tiny, ROOFS, quick=True).record()
    flops = {(row["name"], row["phase"]): row["flops"] for row in record["rows"]}
    names = ("linear", "linear_cross_entropy", "causal_self_attention")
    products = sum(f for (name, _), f in flops.items() if name in names)
    again = flops["causal_self_attention", "backward"] / 5
    # (the softmax of the head is in it too)
    assert products - again == pytest.approx(count.model_flops(TINY), rel=0.02)


def test_a_step_that_is_watched_gives_the_same_bits(tiny):
    plain, watched = steps.make_trainer(TINY), steps.make_trainer(TINY)
    recorder = steps.Recorder()
    for _ in range(2):
        result = plain.train_step()
        with operation.observe(recorder.wrap), jit.observe(recorder.kernel):
            assert watched.train_step() == result
    for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_hooks_end_with_their_block(tiny):
    seen = []
    with jit.observe(lambda name, args, seconds: seen.append((name, seconds))):
        kernels.softmax.softmax(np.zeros((2, 2), np.float32), -1)
    assert [name for name, _ in seen] == ["softmax.softmax"]
    assert seen[0][1] > 0
    kernels.softmax.softmax(np.zeros((2, 2), np.float32), -1)
    assert len(seen) == 1
    assert operation._wrap is None


def test_two_trainers_have_the_same_weights_and_the_loss_of_a_guess():
    trainer = steps.make_trainer(TINY)
    loss = trainer.train_step().loss
    assert loss == steps.make_trainer(TINY).train_step().loss
    assert loss == pytest.approx(np.log(TINY.vocab_size), rel=0.02)


def test_median_and_quartiles():
    assert summarise([5.0]).low == 5.0
    timing = summarise([4.0, 1.0, 2.0, 3.0], each=2)
    assert (timing.median, timing.low, timing.high, timing.runs) == (2.5, 1.75, 3.25, 8)
    assert timing.noise == pytest.approx(0.3)


def test_short_work_is_timed_in_bunches():
    calls = []
    timing = timed(lambda: calls.append(0), seconds=0.01)
    assert timing.runs > 1000
    assert timing.median < 1e-5


@pytest.mark.parametrize("form", spec.FORMS)
def test_operands_of_a_product(form):
    a, b = spec.operands(form, (2, 3, 4), np.float64)
    assert (a.shape, b.shape, a.dtype) == ((2, 3), (3, 4), np.float64)
    assert a.flags.c_contiguous == (form[0] == "N")
    assert b.flags.c_contiguous == (form[1] == "N")


def test_all_kernel_work_can_be_made(monkeypatch):
    """In small, as each is large."""
    monkeypatch.setattr(spec, "MATMULS", ((3, 4, 5),))
    monkeypatch.setattr(spec, "ATTENTIONS", ((1, 2, 3, 4),))
    monkeypatch.setattr(spec, "ELEMENTS", (4, 5))
    monkeypatch.setattr(spec, "LOGITS", (3, 7))
    work = [w for w in kernels.table() if w.part not in ("optimiser", "embedding")]
    assert len({(w.name, w.size) for w in work}) == len(work)
    for one in work:
        for dtype in ("float32", "float64"):
            result = one.make(dtype)()
            first = result[0] if isinstance(result, tuple) else result
            assert first.dtype == dtype
            assert one.flops > 0
            assert one.numbers > 0


def test_a_measurement_by_hand():
    work = kernels.Work("matmul", "matmul NN", "10x10x10", 2000.0, 300.0, lambda dtype: None)
    timing = summarise([1e-6])
    record = kernels.Measured(work, "float64", timing, ROOFS).record()
    assert record["bytes"] == 2400
    assert record["flops_per_second"] == pytest.approx(2e9)
    assert record["bytes_per_second"] == pytest.approx(2.4e9)
    assert record["bound"] == "memory"  # 2400 / 2e10 > 2000 / 5e10
    assert record["of_roof"] == pytest.approx(2400 / 2e10 / 1e-6)


def test_a_faster_product_is_the_peak():
    roofs = {"matmul": {"float32": {"flops": 1.0, "shape": [1]}}, "bandwidth": 1.0}
    work = next(w for w in kernels.table() if w.part == "matmul")
    measured = kernels.measure(work, "float32", roofs, 0.001)
    assert roofs["matmul"]["float32"]["shape"] == [768, 128, 384]
    assert measured.record()["of_roof"] <= 1 or measured.record()["bound"] == "memory"


def test_the_names_of_the_table_are_those_of_the_specification():
    assert {w.name.split()[0] for w in kernels.table()} <= set(dir(reference))


def test_a_backward_that_is_an_object_stays_one():
    """Its class tells the tape how it may be called."""

    class Into:
        def __init__(self, function):
            self.function = function

    recorder = steps.Recorder()
    inner = Into(lambda dy, out, add: dy + 1)
    same = recorder._backward("add", inner, 5.0)
    assert type(same) is Into
    assert same is not inner
    assert same.function(np.zeros(3), None, False).sum() == 3
    assert recorder.rows["add", "backward"].flops == 5.0
