"""A comparison: turns, ratios, rivals that fail. The rival is a script that speaks the lines."""

import sys
from pathlib import Path

import pytest

from scratchgrad.bench import ours, spec, tables, versus
from scratchgrad.errors import ConfigError

FAKE = """
from scratchgrad.bench.side import Made, serve
import time

def make(work):
    if work.get("fails"):
        raise ValueError("not this one")
    if work.get("dies"):
        raise SystemExit("out of memory, or so")
    print("chatter of a library")
    return Made({"slow": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.004)}, 2.0, ["hm"])

serve("fake 1.0", make)
"""
WORK = {"part": "p", "label": "l", "seconds": 0.01}


@pytest.fixture
def side(tmp_path):
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    with versus.Side("fake", [sys.executable, str(script)], 1) as one:
        yield one


class Ours:
    """A side without a process."""

    def __init__(self, result=2.0):
        self.result = result

    def ask(self, do, **request):
        if do == "make":
            return {"variants": ["scratchgrad"], "result": self.result, "notes": []}
        return {"seconds": 0.002}


def test_the_fastest_way_of_the_rival_counts(side):
    assert side.about == "fake 1.0"
    compared = versus.compare(Ours(), side, WORK, rounds=3, pause=0)
    record = compared.record()
    assert record["rival"] == "fast"
    assert record["rounds"] == 3
    assert record["rival_seconds"]["slow"] > record["rival_seconds"]["fast"] > 0.003
    assert record["ratio"] == pytest.approx(record["rival_seconds"]["fast"] / 0.002)
    assert record["ratio_low"] <= record["ratio"] <= record["ratio_high"]
    assert record["agree"]
    text = tables.compared([record], "fake")
    assert text.endswith("\nhm")
    assert "fast" in text


def test_results_that_differ_are_told(side):
    record = versus.compare(Ours(2.1), side, WORK, rounds=1, pause=0).record()
    assert not record["agree"]
    assert "RESULTS DIFFER: l" in tables.compared([record], "fake")


def test_a_side_that_cannot(side):
    with pytest.raises(versus.RivalError, match="fake: ValueError: not this one"):
        side.ask(do="make", work={"fails": True})
    assert side.ask(do="make", work={})["variants"] == ["slow", "fast"]  # it goes on
    assert (
        side.ask(do="peak", steps=1)["peak"] is None or side.ask(do="peak", steps=1)["peak"] > 1e6
    )
    with pytest.raises(versus.RivalError, match="fake ended: out of memory, or so"):
        side.ask(do="make", work={"dies": True})
    with pytest.raises(versus.RivalError, match="fake ended"):
        side.ask(do="make", work={})


def test_a_side_that_never_begins(tmp_path):
    script = tmp_path / "no.py"
    script.write_text('print(\'{"error": "nothing is installed"}\')')
    with pytest.raises(versus.RivalError, match="no: nothing is installed"):
        versus.Side("no", [sys.executable, str(script)], 1)


def test_numpy_is_a_rival():
    (work, *_) = versus.works("numpy", (), ())
    small = {**work, "shape": [4, 5, 6], "seconds": 0.001}
    with versus.rival_side("numpy", 1) as numpy, versus.our_side(1) as mine:
        assert numpy.about.startswith("NumPy ")
        assert versus.compare(mine, numpy, small, rounds=1, pause=0).agree


def test_what_is_compared():
    every = versus.works("torch", (), ("char", "gpt2"))
    assert [w["label"] for w in every[:2]] == ["train step char", "train step gpt2"]
    assert sum(w["kind"] == "attention" for w in every) == 4
    assert len({w["label"] for w in every}) == len(every)
    products = versus.works("numpy", ("matmul",), ())
    assert len(products) == 5 * 3 * 2
    assert versus.works("numpy", ("attention",), ()) == []
    kinds = {w["kind"] for w in [*every, *products]}
    assert kinds == set(ours._MAKERS)


def test_our_side_makes_all_that_is_compared(monkeypatch):
    tiny = spec.Preset(11, 8, n_layer=1, n_head=2, n_embd=8, batch_size=2)
    monkeypatch.setattr(spec, "PRESETS", dict.fromkeys(spec.PRESETS, tiny))
    shapes = {
        "matmul": [3, 4, 5],
        "attention": [1, 2, 3, 4],
        "cross_entropy": [3, 7],
        "rows": [4, 5],
    }
    for work in [*versus.works("torch", (), ["char"]), *versus.works("numpy", (), ())]:
        made = ours.make({**work, "shape": shapes.get(work["kind"])})
        (run,) = made.variants.values()
        run()
        assert made.result == made.result


def test_the_rival_is_found_in_the_checkout(monkeypatch, tmp_path):
    assert versus.find_rival().is_file()
    monkeypatch.setattr(versus.scratchgrad, "__file__", str(tmp_path / "site" / "sg" / "x.py"))
    monkeypatch.chdir(Path(__file__).parents[2])
    assert versus.find_rival().is_file()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="run this from a clone"):
        versus.find_rival()
