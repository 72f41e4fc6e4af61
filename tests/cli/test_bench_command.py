"""``scratchgrad bench``: what it measures when asked for what, its JSON, its mistakes."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from scratchgrad.bench import kernels, spec, versus
from scratchgrad.cli import main
from scratchgrad.cli.bench import parts
from tests.cli.commands import command, refused

TINY = spec.Preset(11, 8, n_layer=1, n_head=2, n_embd=8, batch_size=2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes no time."""
    from scratchgrad.bench import machine

    monkeypatch.setattr(spec, "MATMULS", ((8, 9, 10),))
    monkeypatch.setattr(spec, "ATTENTIONS", ((1, 2, 8, 4),))
    monkeypatch.setattr(spec, "ELEMENTS", (8, 8))
    monkeypatch.setattr(spec, "LOGITS", (4, 9))
    monkeypatch.setitem(spec.PRESETS, "char", TINY)
    roofs = {
        "matmul": {d: {"flops": 1e12, "shape": [8, 8, 8]} for d in ("float32", "float64")},
        "registers": {"float32": 2e12, "float64": 1e12},
        "bandwidth": 1e10,
    }
    monkeypatch.setattr(machine, "roofs", lambda quick: json.loads(json.dumps(roofs)))
    monkeypatch.setattr(machine, "raise_peak", lambda roofs, seconds: None)


def report(capsys: Any, *argv: str) -> dict[str, Any]:
    assert main(["bench", *argv, "--quick", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    answer: dict[str, Any] = json.loads(captured.out)
    return answer


def test_the_command_knows_the_parts_and_presets() -> None:
    assert {w.part for w in kernels.table()} == set(parts.KERNELS)
    assert set(parts.STEPS) == set(spec.PRESETS)
    compared = {w["part"] for w in versus.works("torch", (), parts.STEPS)}
    assert compared <= set(parts.PARTS)


def test_json_has_the_documented_keys(small: None, capsys: Any) -> None:
    found = report(capsys, "matmul", "step")
    assert found["schema"] == 1
    assert set(found) == {
        "schema", "machine", "roofs", "kernels", "left_out", "steps", "memory"
    }  # fmt: skip
    assert set(found["machine"]) == {
        "scratchgrad", "python", "numpy", "numba", "llvmlite", "system", "cpu", "llvm_cpu",
        "vector_bits", "threads", "jit",
    }  # fmt: skip
    assert [(k["name"], k["dtype"]) for k in found["kernels"]] == [
        ("matmul NN", "float32"), ("matmul NT", "float32"), ("matmul TN", "float32")
    ]  # fmt: skip
    assert set(found["kernels"][0]) == {
        "part", "name", "size", "dtype", "seconds", "low", "high", "runs", "flops", "bytes",
        "flops_per_second", "bytes_per_second", "bound", "of_roof",
    }  # fmt: skip
    assert found["kernels"][0]["flops"] == 2 * 8 * 9 * 10
    (step,) = found["steps"]
    assert step["preset"] == "char"
    assert set(step) == {
        "preset", "seconds", "low", "high", "runs", "tokens_per_second", "model_flops", "of_peak",
        "recorded_seconds", "rows", "where",
    }  # fmt: skip
    assert set(step["rows"][0]) == {
        "name", "phase", "calls", "seconds", "share", "kernel_seconds", "flops", "bytes", "bound",
        "of_roof",
    }  # fmt: skip
    assert found["memory"] == []


def test_only_what_is_asked_for_is_measured(small: None, capsys: Any) -> None:
    found = report(capsys, "softmax", "--dtype", "float64")
    assert {(k["part"], k["dtype"]) for k in found["kernels"]} == {("softmax", "float64")}
    assert found["steps"] == []
    assert report(capsys, "peak")["kernels"] == []


def test_what_a_quick_run_leaves_out_is_said(small: None, capsys: Any) -> None:
    found = report(capsys, "loss")
    assert found["kernels"] == []
    assert found["left_out"] == ["cross_entropy 4x9", "cross_entropy with gradient 4x9"]
    assert report(capsys, "softmax")["left_out"] == []
    assert main(["bench", "loss", "--quick"]) == 0
    out = capsys.readouterr().out
    assert "--quick leaves out what takes long: cross_entropy 4x9, cross_entropy with" in out


def test_threads_are_set(small: None, capsys: Any) -> None:
    from scratchgrad.kernels.threads import get_threads, set_threads

    before = get_threads()
    try:
        assert report(capsys, "peak", "--threads", "1")["machine"]["threads"] == 1
    finally:
        set_threads(before)


def test_the_table_and_the_files(small: None, capsys: Any, tmp_path: Any) -> None:
    files = ["--json", str(tmp_path / "b.json"), "--roofline", str(tmp_path / "r.png")]
    assert main(["bench", "norm", "matmul", "step", "--quick", *files]) == 0
    out = capsys.readouterr().out
    assert "layer_norm backward" in out
    assert "of the matmul peak" in out
    assert "where the time goes" in out
    assert json.loads((tmp_path / "b.json").read_text())["schema"] == 1
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_memory_of_a_step(capsys: Any, small: None) -> None:
    (memory,) = report(capsys, "memory")["memory"]  # in a process that knows nothing of TINY
    assert set(memory) == {
        "preset", "steps", "peak", "peak_before", "parameters", "gradients", "optimiser",
        "activations",
    }  # fmt: skip
    parameters = 4 * 12 * 128**2 + 4 * 2 * 128 + 128 + (65 + 64) * 128
    assert memory["parameters"] == memory["gradients"] == 4 * parameters
    assert memory["optimiser"] >= 8 * parameters
    if memory["peak"] is not None:
        assert memory["peak"] > 16 * parameters
    tokens, c, layers = 12 * 64, 128, 4
    assert memory["activations"] > 4 * tokens * layers * 10 * c


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["matmull"], "no part is called 'matmull'; did you mean matmul?"),
        (["xyz"], "no part is called 'xyz'; there are peak, matmul, attention,"),
        (["--preset", "char", "matmul"], "--preset: goes with the parts step and memory"),
        (["--preset", "char", "--vs", "numpy"], "--preset: does not go with --vs numpy"),
        (["step", "--dtype", "float64"], "--dtype: goes with kernels (matmul, attention,"),
        (["--dtype", "float64", "--vs", "torch"], "--dtype: --vs torch compares in float32"),
        (["--threads", "0"], "--threads: expected a number of threads from 1 to "),
        (["--threads", "5000"], "got 5000; take "),
        (["--threads", "1" + 20 * "0"], "got 1" + 20 * "0"),
        (["--json", "no/such/folder/b.json"], "no/such/folder/b.json: its folder does not exist"),
        (["--json", ""], "--json: expected the name of a file, got an empty name"),
        (["--roofline", ""], "--roofline: expected the name of a file, got an empty name"),
        (["--json", "/"], "--json: expected the name of a file, got the folder /"),
        (["--roofline", "r.pdf"], "ends in .png"),
        (["--roofline", "r.png", "--vs", "numpy"], "--roofline: does not go with --vs numpy"),
        (["--no-compile"], "goes with --vs torch"),
        (["--vs", "numpy", "attention"], "nothing of this is compared with numpy; what is: matmul"),
        (["--vs", "mlx"], "invalid choice"),
        (["--preset", "huge"], "invalid choice"),
    ],
)
def test_a_mistake_is_one_line_and_ends_with_2(capsys: Any, argv: list[str], says: str) -> None:
    assert main(["bench", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_without_the_compiler_there_is_nothing_to_measure() -> None:
    result = command("bench", env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    assert result.returncode == 2
    assert "unset NUMBA_DISABLE_JIT" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_pytorch_there_is_one_line(tmp_path: Any, capsys: Any, monkeypatch: Any) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('none here')\n")
    path = [str(tmp_path), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in path if p))
    complaint = refused(capsys, "bench", "--vs", "torch", "softmax")
    assert (
        "PyTorch is not installed; the rival needs the extra: pip install '.[parity]'" in complaint
    )


def test_versus_numpy(small: None, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versus, "PAUSE", 0)
    assert main(["bench", "--vs", "numpy", "matmul", "--quick", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"schema", "machine", "rival", "compared", "compared_memory"}
    assert found["rival"].startswith("NumPy")
    assert len(found["compared"]) == 6
    assert set(found["compared"][0]) == {
        "part", "label", "seconds", "rival_seconds", "rival", "ratio", "ratio_low", "ratio_high",
        "rounds", "agree", "notes",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "dtypes"),
    [
        ([], {"float32", "float64"}),
        (["--dtype", "float32"], {"float32"}),
        (["--dtype", "float64"], {"float64"}),
    ],
)
def test_the_dtype_of_numpys_products(
    small: None, capsys: Any, monkeypatch: Any, argv: list[str], dtypes: set[str]
) -> None:
    seen = []

    def compare(ours: Any, rival: Any, work: Any, **options: Any) -> Any:
        seen.append(work["dtype"])
        return versus.Compared("matmul", work["label"], [1.0], {"way": [2.0]})

    monkeypatch.setattr(versus, "compare", compare)
    assert main(["bench", "--vs", "numpy", "matmul", *argv]) == 0
    assert set(seen) == dtypes


def test_results_that_differ_end_with_1(small: None, capsys: Any, monkeypatch: Any) -> None:
    one = versus.Compared("matmul", "x", [1.0], {"way": [2.0]}, agree=False)
    monkeypatch.setattr(versus, "compare", lambda *a, **k: one)
    assert main(["bench", "--vs", "numpy", "--quick"]) == 1
    assert "RESULTS DIFFER: x" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from scratchgrad.cli import main; main(['bench', '--help']); "
        "print({'numpy', 'numba', 'rich', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.endswith("set()\n")
