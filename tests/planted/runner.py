"""Plants one bug at a time in a copy of the package, and runs its check there.

Each bug gets a folder of its own with a copy of ``scratchgrad/`` and ``tests/``, and its check a
process of its own that starts there. Kernels run as plain Python in it (NUMBA_DISABLE_JIT), so
nothing is compiled. Three verdicts:

``caught``    the intended test ran and failed, as a test
``survived``  the intended test passed
``error``     nothing was learnt: the patch does not fit the source, the package cannot be
              imported, the test does not exist or was skipped, or it did not end in time
"""

import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.planted.born import run_pytest
from tests.planted.bug import Bug
from tests.planted.reporter import FILE

ROOT = Path(__file__).parents[2]

LIMIT = 120.0  # seconds for one check, of which most take two

# A typo in a patch, not a mistake in mathematics: any test at all would notice it.
_TYPOS = {"NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError"}


@dataclass(frozen=True)
class Verdict:
    """What came of one bug, or of the checks on the package as it is."""

    name: str
    outcome: str
    detail: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}: {self.detail}"


class PatchError(Exception):
    """The patch does not fit the source that it is meant for."""


def try_bug(bug: Bug, folder: Path, limit: float = LIMIT, root: Path = ROOT) -> Verdict:
    """Plant the bug in a copy of the package inside the folder, and run its check."""
    began = time.perf_counter()
    place = Path(tempfile.mkdtemp(dir=folder, prefix=bug.name))
    try:
        copy_project(root, place)
        plant(bug, place)
        outcome, detail = judge(bug.checks, run_checks(bug.checks, place, limit), place)
    except PatchError as error:
        outcome, detail = "error", str(error)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return Verdict(bug.name, outcome, detail, time.perf_counter() - began)


def try_clean(
    checks: Sequence[str], folder: Path, limit: float = 4 * LIMIT, root: Path = ROOT
) -> list[Verdict]:
    """Run checks on the package as it is: each must pass, or "caught" would mean nothing.

    The verdict of each is ``passed``, ``failed`` or ``error``.
    """
    began = time.perf_counter()
    place = Path(tempfile.mkdtemp(dir=folder, prefix="clean"))
    try:
        copy_project(root, place)
        ran = run_checks(checks, place, limit)
        seconds = (time.perf_counter() - began) / len(checks)
        names = {"survived": "passed", "caught": "failed"}
        verdicts = []
        for check in checks:
            outcome, detail = judge([check], ran, place)
            verdicts.append(Verdict(check, names.get(outcome, outcome), detail, seconds))
        return verdicts
    finally:
        shutil.rmtree(place, ignore_errors=True)


def checks_by_file(bugs: Iterable[Bug]) -> list[list[str]]:
    """Every check once, those of one test file together: that file is then imported once."""
    found: dict[str, dict[str, None]] = {}
    for bug in bugs:
        for check in bug.checks:
            found.setdefault(check.partition("::")[0], {})[check] = None
    return [list(checks) for checks in found.values()]


# ------------------------------------------------------------------------------- planting


def copy_project(root: Path, place: Path) -> None:
    """The package, its tests and their settings: all that a check needs.

    Compiled files come along, with their sources' times: a process starts a quarter of a second
    earlier for it.
    """
    passing = shutil.ignore_patterns("*.pyc.*")  # while they are written, under another name
    for name in ("scratchgrad", "tests"):
        shutil.copytree(root / name, place / name, ignore=passing)
    shutil.copy(root / "setup.cfg", place)


def plant(bug: Bug, place: Path) -> None:
    """Patch the copy."""
    path = place / "scratchgrad" / bug.file
    if not path.is_file():
        raise PatchError(f"{bug.name}: there is no scratchgrad/{bug.file}")
    source = path.read_text(encoding="utf-8")
    count = source.count(bug.was)
    if count != 1:
        raise PatchError(
            f"{bug.name}: the text to replace stands {count} times in scratchgrad/{bug.file}, "
            f"expected once: {bug.was!r}"
        )
    if bug.was == bug.becomes:
        raise PatchError(f"{bug.name}: the patch of scratchgrad/{bug.file} changes nothing")
    path.write_text(source.replace(bug.was, bug.becomes), encoding="utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()  # or one of the same size, made in the same second, would be believed


# -------------------------------------------------------------------------------- running


@dataclass(frozen=True)
class Run:
    """How one process of pytest ended; ``report`` is what the reporter wrote, if it came to it."""

    exit_code: int | None
    report: dict[str, Any] | None
    output: str


def run_checks(checks: Sequence[str], place: Path, limit: float) -> Run:
    """pytest on the checks, in the copy; an exit code of None means that it did not end."""
    written, log = place / "report.json", place / "output.txt"
    argv = ["-q", "--tb=short", "-p", "no:cacheprovider", "-p", "tests.planted.reporter"]
    argv += ["-x"] if len(checks) == 1 else []
    arguments = ([*argv, *checks], str(place), environment(place), str(log))
    process = _nursery().Process(target=run_pytest, args=arguments)
    process.start()
    process.join(limit)
    exit_code = process.exitcode
    process.kill()  # it has ended, or never will
    process.join()
    report = json.loads(written.read_text(encoding="utf-8")) if written.exists() else None
    # A process that ended before it opened the log has said nothing.
    output = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return Run(exit_code, report, output)


@lru_cache(maxsize=1)
def _nursery() -> Any:
    """Where processes are born that have imported already what takes half a second each time.

    Nothing of ours is among it: package and tests must come from the copy.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "hypothesis.extra.numpy", "numba"])
    return context


def environment(place: Path) -> dict[str, str]:
    """The caller's environment without what would lead pytest elsewhere or measure coverage."""
    foreign = ("PYTEST_", "COV_", "COVERAGE_", "NUMBA_", "PYTHONSAFEPATH")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return kept | {
        FILE: str(place / "report.json"),
        "PYTHONPATH": str(place),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "NUMBA_DISABLE_JIT": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "SCRATCHGRAD_CACHE": str(place / "cache"),
        "HYPOTHESIS_PROFILE": "planted",
    }


# -------------------------------------------------------------------------------- judging


def judge(checks: Sequence[str], run: Run, place: Path) -> tuple[str, str]:
    """The verdict over a run, and what it rests on."""
    report = run.report
    if run.exit_code is None:
        return "error", "the check did not end in time"
    if report is None:
        return "error", f"pytest ended with exit code {run.exit_code}: {run.output[-500:]}"
    if report["collection"]:
        return "error", f"the check cannot be collected: {'; '.join(report['collection'])}"
    if run.exit_code not in (0, 1):
        return "error", f"pytest ended with exit code {run.exit_code}: {run.output[-500:]}"
    copy = (place / "scratchgrad").resolve()
    if not report["package"] or copy not in Path(report["package"]).resolve().parents:
        return "error", f"another package was tested than the copy: {report['package']!r}"
    found = []
    for check in checks:
        outcome, detail = _judge_one(check, report["phases"])
        if outcome != "caught":
            return outcome, detail
        found.append(detail)
    return "caught", "; ".join(found)


def _judge_one(check: str, phases: list[dict[str, str]]) -> tuple[str, str]:
    own = [p for p in phases if p["test"] == check or p["test"].startswith(check + "[")]
    failed = [p for p in own if p["outcome"] == "failed"]
    for phase in failed:
        if phase["when"] != "call":
            return "error", f"{check}: its {phase['when']} failed: {phase['message']}"
        if phase["error"] in _TYPOS:
            return "error", f"the patch holds a typo, not a bug: {phase['message']}"
    if failed:
        return "caught", failed[0]["error"]
    calls = [p for p in own if p["when"] == "call"]
    if not calls or any(p["outcome"] == "skipped" for p in own):
        return "error", f"{check}: it was not run, or skipped"
    return "survived", f"{check} passed"
