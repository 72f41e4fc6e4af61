"""``scratchgrad gradcheck``: the table, the exit codes, a user's own file, and their mistakes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad import cases
from scratchgrad.cases.call import Call, Entry
from scratchgrad.cli import main
from tests.cli.commands import refused

OPS = """
import numpy as np
import scratchgrad as sg

@sg.differentiable
def swish(x):
    s = 1 / (1 + np.exp(-x))
    return x * s, lambda dy: dy * (s + x * s * (1 - s))

@sg.differentiable
def wrong_swish(x):
    s = 1 / (1 + np.exp(-x))
    return x * s, lambda dy: dy * s

@sg.differentiable
def scaled(x, w, /, by=2.0):
    return by * x * w, (lambda dy: by * dy * w, lambda dy: by * dy * x)

def forward(a, b):
    return a * b

def vjp(dy, a, b):
    return dy * b, dy * a

def wrong_vjp(dy, a, b):
    return dy * b, a * 0

def gather(ids, table):
    return table[ids]

def gather_vjp(dy, ids, table):
    g = np.zeros_like(table)
    np.add.at(g, ids, dy)
    return None, g

def needs_positive(x):
    raise ValueError("the third axis is missing")

def leaves(x):
    raise SystemExit(0)

def none(x):
    return {}

number = 3
"""

LAYERS = """
import numpy as np
import scratchgrad as sg

class Gate(sg.nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.gain = sg.nn.Parameter(np.linspace(0.5, 1.5, width))
    def forward(self, x):
        return sg.tanh(x) * self.gain

class Broken(Gate):
    def forward(self, x):
        return sg.tanh(x) * self.gain.detach()

class Sized(sg.nn.Module):
    def __init__(self, width):
        super().__init__()

class Unmade(sg.nn.Module):
    def __init__(self):
        raise RuntimeError("not today")

def sized():
    return sg.nn.Linear(4, 2)

made = sg.nn.Embedding(7, 2)
"""


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_ops.py").write_text(OPS)
    (tmp_path / "my_layers.py").write_text(LAYERS)
    return tmp_path


def table(capsys: Any, *argv: str, code: int = 0) -> tuple[dict[str, list[str]], str]:
    """The rows by name, and the whole output."""
    assert main(["gradcheck", *argv]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    body = captured.out.split("\n\n")[0]
    header, *lines = body.splitlines()
    assert header.split() == ["name", "cases", "compared", "worst", "Taylor", "verdict"]
    return {line.split()[0]: line.split()[1:] for line in lines}, captured.out


def test_the_named_ones_are_proved(capsys: Any) -> None:
    rows, out = table(capsys, "softmax", "sum", "Linear", "--cases", "3")
    assert list(rows) == ["softmax", "sum", "Linear"]
    for row in rows.values():
        assert row[0] == "3"
        assert float(row[2]) < 1e-7
        assert row[4] == "proved"
    assert rows["softmax"][3] == "2.00"
    assert rows["sum"][3] == "linear"
    assert out.endswith("\n3 of 3 proved\n")


def test_without_names_all_are_proved(capsys: Any) -> None:
    rows, out = table(capsys, "--cases", "1")
    assert rows.keys() == {*cases.OPERATIONS, *cases.LAYERS, *cases.VARIANTS}
    assert out.endswith(f"\n{len(rows)} of {len(rows)} proved\n")


def test_a_wrong_gradient_ends_with_1(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import scratchgrad as sg

    @sg.differentiable
    def wrong_exp(x):
        y = np.exp(x)
        return y, lambda dy: 1.001 * dy * y

    entry = Entry(lambda choose: Call((np.ones((2, 3)),)), wrong_exp, np.exp)
    monkeypatch.setitem(cases.OPERATIONS, "exp", entry)
    rows, out = table(capsys, "tanh", "exp", "sum", "--cases", "2", code=1)
    assert [row[4] for row in rows.values()] == ["proved", "WRONG", "proved"]
    assert "2 of 3 proved\n\nexp: gradcheck of wrong_exp: 6 of 6 entries are wrong" in out
    assert "1.001 times what it should be" in out


def test_the_same_seed_tries_the_same(capsys: Any) -> None:
    first = table(capsys, "tanh", "--seed", "5")
    assert table(capsys, "exp", "tanh", "--seed", "5")[0]["tanh"] == first[0]["tanh"]
    assert table(capsys, "tanh", "--seed", "6")[0]["tanh"] != first[0]["tanh"]


# ------------------------------------------------------------------------------ a user's own


@pytest.mark.parametrize(
    ("spec", "inputs", "compared"),
    [
        ("swish", [], 12),
        ("swish", ["2x5"], 10),
        ("swish", ["0d"], 1),
        ("scaled", [], 24),
        ("scaled", ["4x3", "3"], 15),
        ("forward,vjp", [], 24),
        ("gather,gather_vjp", ["5:2x4", "5x3"], 15),
    ],
)
def test_a_function_of_a_file(
    at: Path, capsys: Any, spec: str, inputs: list[str], compared: int
) -> None:
    options = ["--inputs", *inputs] if inputs else []
    rows, out = table(capsys, "--file", f"my_ops.py:{spec}", *options, "--cases", "1")
    assert rows[spec][1] == str(compared)
    assert out.endswith("1 of 1 proved\n")


def test_a_wrong_function_is_told_what_is_wrong(at: Path, capsys: Any) -> None:
    rows, out = table(capsys, "--file", "my_ops.py:wrong_swish", code=1)
    assert rows["wrong_swish"][4] == "WRONG"
    assert "gradcheck of wrong_swish: 12 of 12 entries are wrong; the worst is input 0 (x)" in out
    _, out = table(capsys, "--file", "my_ops.py:forward,wrong_vjp", code=1)
    assert "Likely cause: zero: no gradient arrives here" in out


@pytest.mark.parametrize(("spec", "inputs"), [("Gate", "2x3"), ("sized", "5x4"), ("made", "7:3")])
def test_a_layer_of_a_file(at: Path, capsys: Any, spec: str, inputs: str) -> None:
    _, out = table(capsys, "--module", f"my_layers.py:{spec}", "--inputs", inputs)
    assert out.endswith("1 of 1 proved\n")


def test_a_layer_of_a_module_that_python_finds(at: Path, capsys: Any) -> None:
    table(capsys, "--module", "my_layers:Gate", "--inputs", "2x3", "--cases", "1")


def test_a_wrong_layer_names_the_parameter(at: Path, capsys: Any) -> None:
    _, out = table(capsys, "--module", "my_layers.py:Broken", "--inputs", "2x3", code=1)
    assert "the worst is parameter gain" in out
    assert "Likely cause: zero" in out


# ------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sofmax"], "did you mean softmax or log_softmax"),
        (["xyz"], "called 'xyz'; scratchgrad gradcheck without a name checks and lists all"),
        (["tanh", "--cases", "0"], "--cases: expected 1 or more, received 0"),
        (["tanh", "--seed", "-1"], "--seed: expected 0 or more"),
        (["tanh", "--inputs", "3"], "--inputs: goes with --file or --module"),
        (["tanh", "--file", "my_ops.py:swish"], "expected names or --file, received both"),
        (["--file", "my_ops.py"], "expected a file and a name, as in my_ops.py:swish"),
        (["--file", "none.py:swish"], "none.py: no such file"),
        (["--file", "my_ops.py:swosh"], "my_ops.py has no 'swosh'; it has"),
        (["--file", "my_ops.py:number"], "expected a function, received int"),
        (["--file", "my_ops.py:swish,forward,vjp"], "expected one name, or forward,vjp"),
        (["--file", "my_ops.py:swish", "--inputs", "3by4"], "expected shapes as 3x4"),
        (["--file", "my_ops.py:swish", "--inputs", "3x-4"], "expected shapes as 3x4"),
        (["--file", "my_ops.py:swish", "--inputs", "0x3"], "0x3 holds nothing"),
        (["--file", "my_ops.py:leaves"], "SystemExit: 0"),
        (["--file", "my_ops.py:none"], "received dict"),
        (["--module", "my_layers.py:Unmade", "--inputs", "2"], "RuntimeError: not today, line"),
        (["--file", "my_ops.py:swish", "--inputs", "0:3"], "expected shapes as 3x4"),
        (["--file", "my_ops.py:swish", "--inputs", "3", "3"], "called with inputs of shape"),
        (["--file", "my_ops.py:needs_positive"], "the third axis is missing, line"),
        (["--module", "my_layers.py:Gate"], "--module: say the shape of each input"),
        (["--module", "my_layers.py:Sized", "--inputs", "2"], "must be made without arguments"),
        (["--module", "my_ops.py:number", "--inputs", "2"], "expected a Module, received int"),
        (["--module", "my_ops.py:forward,vjp", "--inputs", "2"], "expected one name"),
        (["--module", "no.such.module:Gate", "--inputs", "2"], "No module named 'no'"),
        (["--module", "my_layers.py:Gate", "--inputs", "2x5"], "called with inputs of shape"),
    ],
)
def test_a_mistake_is_one_line_and_ends_with_2(
    at: Path, capsys: Any, argv: list[str], says: str
) -> None:
    assert says in refused_line(capsys, *argv)


def refused_line(capsys: Any, *argv: str) -> str:
    return refused(capsys, "gradcheck", *argv)


def test_a_file_that_fails_is_told_with_its_line(at: Path, capsys: Any) -> None:
    (at / "broken.py").write_text("x = 1\ny = x / 0\n")
    says = "broken.py: ZeroDivisionError: division by zero, line 2 of broken.py"
    assert says in refused_line(capsys, "--file", "broken.py:y")
    (at / "unparsed.py").write_text("def f(:\n")
    assert "unparsed.py: SyntaxError" in refused_line(capsys, "--file", "unparsed.py:f")


def test_a_table_in_which_nothing_is_compared_proves_nothing(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry(lambda choose: Call((np.ones((0, 3)),)), sg.exp, np.exp)
    monkeypatch.setitem(cases.OPERATIONS, "exp", entry)
    _, out = table(capsys, "exp", code=1)
    assert "nothing was compared: all cases were empty" in out
