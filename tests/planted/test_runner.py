"""The runner itself: what it must not call caught.

Each test here fails if the runner is broken in one way: if it calls everything caught, does not
plant, tests another package than the copy, or takes any failure at all for the one that is meant.
"""

import dataclasses
import os
import py_compile
from pathlib import Path

import pytest

from tests.planted import __main__ as command
from tests.planted import runner
from tests.planted.bug import Bug
from tests.planted.runner import ROOT, checks_by_file, environment, try_bug, try_clean

# ---------------------------------------------------------------------- on the package itself

TWICE = "tests/engine/test_backward.py::test_a_node_that_is_reached_twice_counts_twice"

REAL = Bug(
    name="gradient_overwritten",
    file="tape.py",
    was="if earlier is None:",
    becomes="if True:",
    caught_by=TWICE,
    lesson="For the tests below.",
)
HARMLESS = dataclasses.replace(REAL, name="harmless", becomes=f"{REAL.was}  # a word")


def test_a_real_bug_is_caught_and_the_source_left_alone(tmp_path: Path) -> None:
    before = (ROOT / "scratchgrad" / REAL.file).read_bytes()
    verdict = try_bug(REAL, tmp_path)
    assert (verdict.outcome, verdict.detail) == ("caught", "AssertionError")
    assert (ROOT / "scratchgrad" / REAL.file).read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_survived(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "CATALOGUE", [REAL, HARMLESS])
    assert command.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [
        [REAL.name, "caught"],
        [HARMLESS.name, "survived"],
    ]
    assert lines[-1] == "2 bugs planted, 1 not as they should be"
    assert command.main([REAL.name]) == 0


def test_the_command_refuses_a_name_that_it_does_not_know() -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["no_such_bug"])


def test_the_command_reports_a_check_that_fails_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = runner.Verdict(TWICE, "failed", "AssertionError", 1.0)
    caught = runner.Verdict(REAL.name, "caught", "AssertionError", 1.0)
    monkeypatch.setattr(command, "CATALOGUE", [REAL])
    monkeypatch.setattr(command, "try_clean", lambda checks, folder: [failed])
    monkeypatch.setattr(command, "try_bug", lambda bug, folder: caught)
    assert command.main([]) == 1
    assert f"without any bug: {TWICE}: failed" in capsys.readouterr().out


# ------------------------------------------------------------ on a small project of its own

PACKAGE = """
def double(x):
    return 2 * x
"""

TESTS = """
import pytest
import scratchgrad

def test_good():
    assert scratchgrad.double(2) == 4

@pytest.mark.parametrize("x", [0, 1])
def test_each(x):
    assert scratchgrad.double(x) == x + x

def test_weak():
    assert scratchgrad.double(0) == 0

def test_bad():
    assert scratchgrad.double(2) == 5

@pytest.mark.skip
def test_skipped():
    assert scratchgrad.double(2) == 4

@pytest.fixture
def four():
    assert scratchgrad.double(2) == 4

def test_with_setup(four):
    pass
"""

IT = "tests/test_it.py::"

TRIPLE = Bug("triple", "__init__.py", "2 * x", "3 * x", f"{IT}test_good", "None.")


def change(**fields: object) -> Bug:
    return dataclasses.replace(TRIPLE, **fields)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package of one function and tests of several kinds, under the names that are copied."""
    root = tmp_path / "project"
    (root / "tests" / "planted").mkdir(parents=True)
    for name in ("__init__.py", "planted/__init__.py", "planted/reporter.py"):
        (root / "tests" / name).write_text((ROOT / "tests" / name).read_text())
    (root / "tests" / "test_it.py").write_text(TESTS)
    (root / "tests" / "test_elsewhere.py").write_text("def test_nothing():\n    assert False\n")
    (root / "scratchgrad").mkdir()
    (root / "scratchgrad" / "__init__.py").write_text(PACKAGE)
    (root / "setup.cfg").write_text("[tool:pytest]\n")
    return root


@pytest.mark.parametrize(
    ("fields", "outcome", "words"),
    [
        pytest.param({}, "caught", "AssertionError", id="a bug"),
        pytest.param({"becomes": "x / 0"}, "caught", "ZeroDivisionError", id="a bug that raises"),
        pytest.param({"caught_by": f"{IT}test_each"}, "caught", "Assert", id="one case of several"),
        pytest.param({"caught_by": f"{IT}test_each[0]"}, "survived", "[0]", id="the other case"),
        pytest.param({"becomes": "2 * x  # a word"}, "survived", "test_good", id="a comment"),
        pytest.param({"becomes": "x + x"}, "survived", "test_good", id="the same by other means"),
        pytest.param(
            {"caught_by": f"{IT}test_weak"}, "survived", "test_weak", id="seen by other tests only"
        ),
        pytest.param(
            {"caught_by": (f"{IT}test_good", f"{IT}test_weak")},
            "survived",
            "test_weak passed",
            id="seen by one check of two",
        ),
        pytest.param(
            {"was": "4 * x"}, "error", "stands 0 times in scratchgrad/__init__.py", id="stale"
        ),
        pytest.param(
            {"was": "x"}, "error", "stands 2 times in scratchgrad/__init__.py", id="ambiguous"
        ),
        pytest.param({"becomes": "2 * x"}, "error", "changes nothing", id="no change"),
        pytest.param({"file": "two.py"}, "error", "there is no scratchgrad/two.py", id="no file"),
        pytest.param({"becomes": "2 * * x"}, "error", "SyntaxError", id="bad syntax"),
        pytest.param({"becomes": "2 * y"}, "error", "a typo", id="an unknown name"),
        pytest.param(
            {"was": "def double", "becomes": "import nowhere\ndef double"},
            "error",
            "cannot be collected",
            id="an import that fails",
        ),
        pytest.param({"caught_by": f"{IT}test_no"}, "error", "exit code 4", id="no such test"),
        pytest.param({"caught_by": f"{IT}test_good[1]"}, "error", "exit code 4", id="no such case"),
        pytest.param(
            {"caught_by": "tests/test_no.py::test"}, "error", "exit code 4", id="no such file"
        ),
        pytest.param({"caught_by": f"{IT}test_skipped"}, "error", "skipped", id="a skipped test"),
        pytest.param(
            {"caught_by": f"{IT}test_with_setup"}, "error", "its setup failed", id="a setup"
        ),
        pytest.param(
            {"caught_by": "tests/test_elsewhere.py::test_nothing"},
            "error",
            "another package was tested",
            id="a test of nothing",
        ),
    ],
)
def test_verdicts(
    project: Path, tmp_path: Path, fields: dict[str, str], outcome: str, words: str
) -> None:
    verdict = try_bug(change(**fields), tmp_path, root=project)
    assert verdict.outcome == outcome, str(verdict)
    assert words in verdict.detail
    assert TRIPLE.name in str(verdict)


def test_a_hang_is_an_error(project: Path, tmp_path: Path) -> None:
    bug = change(was="return 2 * x", becomes="while True: pass")
    verdict = try_bug(bug, tmp_path, limit=3, root=project)
    assert (verdict.outcome, verdict.detail) == ("error", "the check did not end in time")


def end_at_once(*arguments: object) -> None:
    os._exit(9)


def test_a_process_that_ends_before_it_begins_is_an_error(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, say, for want of memory: there is no log then."""
    monkeypatch.setattr(runner, "run_pytest", end_at_once)
    verdict = try_bug(TRIPLE, tmp_path, root=project)
    assert verdict.outcome == "error", str(verdict)
    assert "pytest ended with exit code 9" in verdict.detail


def test_another_package_of_the_same_name_is_noticed(project: Path, tmp_path: Path) -> None:
    """As the one that is installed would be, if the copy did not come first."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "scratchgrad").mkdir(parents=True)
    (elsewhere / "scratchgrad" / "__init__.py").write_text("def double(x):\n    return 5\n")
    (project / "tests" / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(elsewhere)!r})\nimport scratchgrad\n"
    )
    verdict = try_bug(TRIPLE, tmp_path, root=project)
    assert verdict.outcome == "error", str(verdict)
    assert "another package was tested" in verdict.detail


def test_a_compiled_file_does_not_hide_the_patch(project: Path, tmp_path: Path) -> None:
    """One that is believed whatever its source says, as one of the same second would be."""
    py_compile.compile(
        str(project / "scratchgrad" / "__init__.py"),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    verdict = try_bug(TRIPLE, tmp_path, root=project)
    assert verdict.outcome == "caught", str(verdict)


def test_a_check_that_fails_without_a_bug_is_reported(project: Path, tmp_path: Path) -> None:
    checks = [f"{IT}test_{name}" for name in ("good", "bad", "skipped", "with_setup")]
    verdicts = try_clean(checks, tmp_path, root=project)
    assert [v.name for v in verdicts] == checks
    assert [v.outcome for v in verdicts] == ["passed", "failed", "error", "passed"]


def test_kernels_run_as_plain_python_and_nothing_of_ours_was_there_before(
    project: Path, tmp_path: Path
) -> None:
    """Though Numba and this very module may have been imported by then."""
    (project / "tests" / "test_it.py").write_text(
        "import sys\nimport numba\nimport scratchgrad\n"
        "def test_plain():\n    assert numba.njit(test_plain) is test_plain\n"
        "def test_alone():\n    assert 'tests.planted.runner' not in sys.modules\n"
    )
    verdicts = try_clean([f"{IT}test_plain", f"{IT}test_alone"], tmp_path, root=project)
    assert [v.outcome for v in verdicts] == ["passed", "passed"], list(map(str, verdicts))


def test_the_checks_of_one_file_are_run_together() -> None:
    bugs = [change(caught_by=c) for c in ("a.py::x", ("b.py::y", "a.py::z"), "a.py::x")]
    assert checks_by_file(bugs) == [["a.py::x", "a.py::z"], ["b.py::y"]]


def test_the_environment_of_a_check_measures_no_coverage_and_has_no_other_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    foreign = {"PYTEST_ADDOPTS", "COV_CORE_SOURCE", "COVERAGE_PROCESS_START", "NUMBA_DEBUG"}
    for name in foreign:
        monkeypatch.setenv(name, "x")
    found = environment(tmp_path)
    assert not foreign & found.keys()
    assert found["PYTHONPATH"] == str(tmp_path)
    assert found["NUMBA_DISABLE_JIT"] == "1"
