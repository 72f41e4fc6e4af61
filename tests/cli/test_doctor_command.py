"""``scratchgrad doctor``: planted faults are found, the cache is mended, other mishaps survived."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchgrad import doctor
from scratchgrad.cases.kernels import CASES, error
from scratchgrad.cli import main
from scratchgrad.kernels import activation, jit, softmax
from scratchgrad.kernels.threads import get_threads
from tests.cli.commands import command, refused
from tests.kernels.test_threads import count_shared


def report(capsys: Any, *argv: str, code: int = 0) -> dict[str, Any]:
    assert main(["doctor", *argv, "--json", "-"]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    answer: dict[str, Any] = json.loads(captured.out)
    return answer


def apart(cache: Path | str, *argv: str, **environment: str) -> Any:
    """The command in a process of its own, with a cache of its own."""
    env = {**os.environ, "SCRATCHGRAD_CACHE": str(cache), **environment}
    return command("doctor", *argv, env=env)


# ------------------------------------------------------------------------------ healthy


def test_healthy(capsys: Any) -> None:
    assert main(["doctor", "softmax", "gelu"]) == 0
    out = capsys.readouterr().out
    assert "3 of 3 kernels equal their formula" in out  # softmax, gelu-none, gelu-tanh
    assert out.endswith("healthy\n")
    assert "NOT" not in out
    assert f"NumPy {np.__version__}" in out
    assert str(jit.cache_folder()) in out


def test_json_has_the_documented_keys(capsys: Any) -> None:
    found = report(capsys, "sigmoid")
    assert set(found) == {
        "schema", "healthy", "machine", "features", "cache", "compiled", "rebuilt", "kernels",
        "findings",
    }  # fmt: skip
    assert found["healthy"] is True
    assert set(found["cache"]) == {
        "path", "entries", "bytes", "writable", "damaged", "stale", "stale_bytes"
    }  # fmt: skip
    (kernel,) = found["kernels"]
    assert set(kernel) == {"name", "cases", "worst", "same_bits", "fault"}
    assert kernel["name"] == "sigmoid"
    assert kernel["cases"] == 2 * (len(doctor.EDGES) + doctor.RANDOM)
    assert 0 < kernel["worst"]["float64"] < 1e-14 < kernel["worst"]["float32"] < 1e-5
    assert kernel["same_bits"] is True


def test_without_names_every_kernel_is_checked(capsys: Any, monkeypatch: Any) -> None:
    seen = []
    monkeypatch.setattr(
        doctor, "check", lambda case: seen.append(case) or doctor.Checked(str(case))
    )
    report(capsys)
    assert seen == doctor.EVERYTHING
    assert len(seen) == len(CASES) + 2  # and the kernels of byte pairs


# ------------------------------------------------------------------------------ planted faults


def test_a_wrong_kernel_is_caught(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = softmax.softmax
    monkeypatch.setattr(softmax, "softmax", lambda x, axis: right(x, axis) * x.dtype.type(1.001))
    found = report(capsys, "softmax", "sigmoid", code=1)
    assert not found["healthy"]
    assert [kernel["fault"] for kernel in found["kernels"]] == [
        "differs from its formula in float32 and float64", ""
    ]  # fmt: skip
    assert main(["doctor", "softmax"]) == 1
    out = capsys.readouterr().out
    assert "WRONG" in out
    assert "wrong: softmax: differs from its formula" in out
    assert "do not trust results; delete the cache folder" in out
    assert out.endswith("NOT HEALTHY\n")


def test_a_kernel_wrong_in_one_dtype_only(monkeypatch: pytest.MonkeyPatch) -> None:
    right = activation.sigmoid
    monkeypatch.setattr(
        activation, "sigmoid", lambda x: right(x.astype(np.float32)).astype(x.dtype)
    )
    (case,) = [case for case in CASES if case.name == "sigmoid"]
    assert doctor.check(case).fault == "differs from its formula in float64"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y: np.stack([y, y]),
        lambda y: y.astype(np.float16),
        lambda y: np.where(y > 0.5, np.nan, y).astype(y.dtype),
        lambda y: np.where(y > 0.5, np.inf, y).astype(y.dtype),
    ],
)
def test_wrong_in_kind(spoil: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    right = activation.sigmoid
    monkeypatch.setattr(activation, "sigmoid", lambda x: spoil(right(x)))
    found = report(capsys, "sigmoid", code=1)
    assert None in found["kernels"][0]["worst"].values()  # no number to give


def test_a_kernel_that_fails_does_not_stop_the_others(capsys: Any, monkeypatch: Any) -> None:
    def broken(x: Any) -> Any:
        raise ZeroDivisionError("not today")

    monkeypatch.setattr(activation, "sigmoid", broken)
    found = report(capsys, "sigmoid", "erf", code=1)
    assert found["kernels"][0]["fault"] == "ZeroDivisionError: not today"
    assert found["kernels"][1]["fault"] == ""


def test_bits_that_depend_on_threads_are_caught(capsys: Any, monkeypatch: Any) -> None:
    right, before = activation.sigmoid, get_threads()

    def careless(x: Any) -> Any:
        return right(x) * x.dtype.type(1 + 1e-7 * get_threads())

    monkeypatch.setattr(activation, "sigmoid", careless)
    found = report(capsys, "sigmoid", code=1)
    assert found["kernels"][0]["same_bits"] is False
    (case,) = [case for case in CASES if case.name == "sigmoid"]
    monkeypatch.setattr(doctor, "ROUNDING", 1e12)
    assert doctor.check(case).fault == "one and two threads give different bits"
    assert get_threads() == before


@pytest.mark.parametrize("case", doctor.EVERYTHING, ids=str)
def test_the_bits_are_compared_where_the_work_is_shared(case: Any) -> None:
    def run(sizes: list[int]) -> Any:
        args = case.make(np.random.default_rng(1337), "float32", sizes)
        case.run(case.module, args)  # the first call for a dtype is not shared
        return count_shared(lambda: case.run(case.module, args))

    before = get_threads()
    try:
        assert any(run(list(sizes)) for sizes in doctor.LARGE)
    finally:
        jit.set_threads(before)


def test_error() -> None:
    x = np.array([1.0, -4.0, np.inf, np.nan])
    assert error(x, x) == 0
    assert error(x + np.array([0.0, 0.4, 0.0, 0.0]), x) == pytest.approx(0.1)
    assert error(np.array([0.1]), np.array([0.0])) == pytest.approx(0.1)
    assert error(-x, x) == np.inf
    assert error(np.zeros(2), np.zeros(3)) == np.inf
    assert error(np.zeros(2), np.zeros(2, np.float32)) == np.inf
    assert error(np.array([np.nan]), np.array([0.0])) == np.inf
    assert error(np.array([]), np.array([])) == 0
    assert error(True, True) == 0
    assert error(True, False) == np.inf


# ------------------------------------------------------------------------------ the cache


def test_a_damaged_entry_is_found_named_and_made_again(tmp_path: Path) -> None:
    first = apart(tmp_path, "sigmoid", "--json", "-")
    assert first.returncode == 0
    assert json.loads(first.stdout)["compiled"] >= 2
    entries = sorted(tmp_path.rglob("activation.sigmoid*.bin"))
    assert len(entries) == 2
    whole = entries[0].read_bytes()
    for damaged in (whole[:50], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        entries[0].write_bytes(damaged)
        again = json.loads(apart(tmp_path, "sigmoid", "--json", "-").stdout)
        assert again["healthy"] is True
        assert again["cache"]["damaged"] == again["rebuilt"] == [entries[0].name]
        assert again["compiled"] == 1
    entries[0].write_bytes(whole[:50])
    result = apart(tmp_path, "erf")  # does not use it
    assert result.returncode == 0
    assert f"{entries[0].name} was damaged and was deleted; its next use compiles" in result.stdout
    assert not entries[0].exists()


def test_a_damaged_entry_that_cannot_be_deleted(monkeypatch: Any, capsys: Any) -> None:
    cache = doctor.Cache("/somewhere", writable=True, damaged=["x.bin"])
    monkeypatch.setattr(doctor, "look_at_cache", lambda: cache)
    monkeypatch.setattr(doctor, "drop_damaged", lambda cache: cache.damaged)
    found = report(capsys, "sigmoid", code=1)
    (wrong,) = found["findings"]
    assert wrong["text"] == "the cache entry x.bin is damaged and cannot be deleted"
    assert "delete /somewhere" in wrong["mend"]


def test_nowhere_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = apart(tmp_path / "file" / "below", "sigmoid")
    assert result.returncode == 0
    assert "not writable" in result.stdout
    assert "set SCRATCHGRAD_CACHE to another folder" in result.stdout


def test_no_home(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    found = report(capsys, "sigmoid")
    assert found["cache"]["path"] is None
    assert "no home folder" in found["findings"][0]["text"]
    assert main(["doctor", "sigmoid", "--prune"]) == 0
    out = capsys.readouterr().out
    assert "cache: none" in out
    assert "pruned: 0 folders" in out


def test_without_the_compiler(tmp_path: Path) -> None:
    result = apart(tmp_path, NUMBA_DISABLE_JIT="1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "compiler: off" in result.stdout
    assert "unset NUMBA_DISABLE_JIT" in result.stdout
    assert f"{len(doctor.EVERYTHING)} of {len(doctor.EVERYTHING)} kernels" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_prune_deletes_entries_of_other_versions_only(tmp_path: Path, monkeypatch: Any) -> None:
    own = tmp_path / "jit" / ("a" * 20)
    old, mixed = tmp_path / "jit" / ("b" * 20), tmp_path / "jit" / ("c" * 20)
    foreign = tmp_path / "jit" / "my-own-folder"
    for folder in (own, old, mixed, foreign):
        folder.mkdir(parents=True)
        (folder / "norm.layer_norm-0123456789abcdef.bin").write_bytes(b"12345")
    (old / "norm.rms_norm-0123456789abcdef.bin.77.140").write_bytes(
        b"123"
    )  # of a process that was killed
    (mixed / "thesis.txt").write_text("years of work")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.bin").write_bytes(b"1")
    (tmp_path / "jit" / ("d" * 20)).symlink_to(outside)
    monkeypatch.setattr(jit, "cache_folder", lambda: own)
    cache = doctor.look_at_cache()
    assert cache.stale == [old.name, mixed.name]
    assert cache.stale_bytes == 13
    assert doctor.prune() == (1, 13)
    assert not old.exists()
    assert [p.name for p in mixed.iterdir()] == ["thesis.txt"]
    for untouched in (own, foreign, outside):
        assert len(list(untouched.iterdir())) == 1
    cache = doctor.look_at_cache()
    assert (cache.entries, cache.stale) == (1, [])  # in the mixed one nothing is ours any more
    old.mkdir()
    assert doctor.look_at_cache().stale == [old.name]
    (note,) = doctor._cache_findings(doctor.look_at_cache())
    assert note.text == "1 folder of other versions or settings: 0.0 MB of compiled kernels"


def test_files_that_are_no_entries_are_left_alone(tmp_path: Path, monkeypatch: Any) -> None:
    own = tmp_path / ("a" * 20)
    own.mkdir()
    for name in ("notes.txt", "junk.bin", "my.data-0123.bin"):
        (own / name).write_text("mine")
    monkeypatch.setattr(jit, "cache_folder", lambda: own)
    cache = doctor.look_at_cache()
    assert (cache.entries, cache.damaged, cache.writable) == (0, [], True)
    assert doctor.drop_damaged(cache) == []
    assert len(list(own.iterdir())) == 3


def test_every_entry_of_a_cache_has_a_name_the_doctor_knows() -> None:
    folder = jit.cache_folder()
    assert folder is not None
    softmax.softmax(np.ones((2, 2)), -1)
    there = {path.name for path in folder.glob("*.bin")}
    assert there <= {path.name for path in doctor._files(folder)}


def test_a_kernel_within_another_is_checked_with_it(capsys: Any) -> None:
    (kernel, _) = report(capsys, "few_rows")["kernels"]
    assert kernel["name"] == "matmul"


# ------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["softmaks"], "no kernel is called 'softmaks'; did you mean softmax"),
        (["few_row"], "did you mean few_rows?"),
        (["xyz"], "no kernel is called 'xyz'; scratchgrad doctor without a name checks and lists"),
        (["--json", "no/folder/x.json"], "no/folder/x.json: its folder does not exist"),
        (["--json", ""], "--json: expected the name of a file, got an empty name"),
        (["--fast"], "no such option: --fast"),
    ],
)
def test_a_mistake_is_one_line_and_ends_with_2(capsys: Any, argv: list[str], says: str) -> None:
    assert says in refused(capsys, "doctor", *argv)


def test_the_findings_in_a_file(tmp_path: Path, capsys: Any) -> None:
    assert main(["doctor", "sigmoid", "--json", str(tmp_path / "d.json")]) == 0
    assert json.loads((tmp_path / "d.json").read_text())["healthy"] is True
    assert "1 of 1 kernels" in capsys.readouterr().out
