"""Run the tests against each mutant: as few as needed, and without starting Python again.

1. Measure: one run of all tests, in which coverage notes which test executes which line, and which
   lines run when the package is imported.
2. A mutant in a function that no import calls is *patched*: the tests were collected once; for
   each mutant that process forks, the fork gives the function its mutated code and runs the tests
   that execute the statement.
3. A mutant of what runs at import (a constant, a default, a decorator) is *imported*: a fork of a
   process that has loaded everything but the package collects the tests, with the mutated source
   in the place of the module's own.

No file of the package is written. In a fork, a test that takes far longer than it did is stopped.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkResult

from tests.mutation.mutants import mutated, operators

MEMORY = 6 << 30  # bytes of address space a fork may use


def forked(work: Callable[[], Any], seconds: float = 3600) -> Any:
    """What work() returns in a fork (anything JSON holds); "timeout" or "crash" if it is killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2) if "MUTATION_DEBUG" not in os.environ else (0,):
            os.dup2(null, stream)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            answer = work()
        except BaseException as error:  # a fault of this program, not of the mutant
            answer = f"error: {error!r}"
        with os.fdopen(writer, "w") as pipe:
            json.dump(answer, pipe)
            pipe.flush()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if text:
        return json.loads(text)
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
    return "timeout" if late else "crash"


class Plugin:
    """Runs what the loop does with the collected tests, in the place of pytest's own loop."""

    def __init__(self, loop: Callable[[Plugin, list[pytest.Item]], Any]) -> None:
        self.loop = loop
        self.result: Any = "uncollected"
        self.failed = self.skipped = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        self.result = self.loop(self, session.items)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed
        self.skipped |= report.skipped

    def passes(self, item: pytest.Item) -> bool:
        """Run one test."""
        self.failed = self.skipped = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self.failed

    def first_failure(self, items: list[pytest.Item], seconds: dict[str, float]) -> str | None:
        """The first test that fails, or None. A test without end is stopped with the process."""
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for item in items:
            signal.setitimer(signal.ITIMER_REAL, 5 + 20 * seconds[item.nodeid])
            if not self.passes(item):
                return item.nodeid
        return None


def collect(settings: dict[str, Any], paths: list[str], loop: Callable[..., Any]) -> Any:
    """Collect the tests of the paths and hand them to the loop; what it returned."""
    plugin = Plugin(loop)
    options = ["-q", "-s", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "--no-header"]
    options += [f"--ignore={path}" for path in settings["ignored"]]
    options += [f"--deselect={test}" for test in settings["deselected"]]
    pytest.main([*options, *paths], plugins=[plugin])
    return plugin.result


# -- 1. measure --------------------------------------------------------------------------------


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Which test runs which line and how long it takes; tests that fail or are skipped are left
    out. Contexts by line: "" is the import.
    """
    import coverage

    cover = coverage.Coverage(data_file=None, source=["scratchgrad"], config_file=False)

    def loop(plugin: Plugin, items: list[pytest.Item]) -> dict[str, Any]:
        seconds, failed = {}, []
        for item in items:
            cover.switch_context(item.nodeid)
            began = time.perf_counter()
            if plugin.passes(item) and not plugin.skipped:
                seconds[item.nodeid] = time.perf_counter() - began
            elif not plugin.skipped:
                failed.append(item.nodeid)
        cover.stop()
        data, lines = cover.get_data(), {}
        for file in data.measured_files():
            lines[os.path.relpath(file)] = {
                line: [c for c in contexts if c in seconds or not c]
                for line, contexts in data.contexts_by_lineno(file).items()
            }
        known = [m for m in sys.modules if m.partition(".")[0] not in ("scratchgrad", "tests")]
        return {"seconds": seconds, "lines": lines, "failed": failed, "modules": known}

    cover.start()
    return collect(settings, settings["tests"], loop)


class Statements:
    """The lines of the statement that a position of a file stands in."""

    def __init__(self, source: str) -> None:
        self.spans: list[tuple[int, int, ast.AST]] = []
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, (ast.stmt, ast.ExceptHandler)):
                continue
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            last = node.end_lineno or first
            if getattr(node, "body", None):  # of a compound statement, the head alone
                last = max(first, node.body[0].lineno - 1)
            self.spans.append((first, last, node))

    def at(self, line: int) -> tuple[range, ast.AST]:
        """The smallest statement round the line."""
        first, last, node = min(
            (s for s in self.spans if s[0] <= line <= s[1]), key=lambda s: s[1] - s[0]
        )
        return range(first, last + 1), node


class Selection:
    """Which tests to run for a mutant, and in which order."""

    def __init__(self, measured: dict[str, Any], inspecting: list[str]) -> None:
        self.inspecting = [t for t in measured["seconds"] if t.startswith(tuple(inspecting))]
        self.seconds: dict[str, float] = measured["seconds"]
        self.lines: dict[str, dict[str, list[str]]] = measured["lines"]
        self.killers: dict[Any, list[str]] = {}
        self.statements: dict[Path, Statements] = {}

    def _tests(self, path: Path, lines: Any) -> set[str]:
        own = self.lines.get(str(path), {})
        return {test for line in lines for test in own.get(str(line), [])}

    def of(self, spec: MutationSpec, budget: float) -> tuple[bool, list[str]]:
        """Whether the mutant has to be imported, and the tests, likeliest to kill first."""
        path = spec.module_path
        if path not in self.statements:
            self.statements[path] = Statements(path.read_text(encoding="utf-8"))
        span, node = self.statements[path].at(spec.start_pos[0])
        tests = self._tests(path, span)
        imported = "" in tests
        if imported:
            tests |= self._users(path, span, node)
        tests.discard("")
        recent = self.killers.get((path, spec.definition_name), []) + self.killers.get(path, [])
        first = [test for test in dict.fromkeys(recent) if test in tests]
        rest = sorted(tests.difference(first), key=lambda test: (self.seconds[test], test))
        chosen: list[str] = []
        for test in first + rest:
            budget -= self.seconds[test]
            if chosen and budget < 0:
                break
            chosen.append(test)
        return imported, chosen

    def _users(self, path: Path, span: range, node: ast.AST) -> set[str]:
        """For what runs at import: the tests that run the function, or that use the constant."""
        if isinstance(node, ast.FunctionDef):
            users = self._tests(path, range(node.body[0].lineno, (node.end_lineno or 0) + 1))
            users.update(self.inspecting)
        else:
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            names = {n.id for t in targets if t for n in ast.walk(t) if isinstance(n, ast.Name)}
            users = set()
            for file in map(Path, self.lines):  # it may be imported elsewhere
                text = file.read_text(encoding="utf-8").split("\n")
                using = [i + 1 for i, line in enumerate(text) if any(n in line for n in names)]
                users |= self._tests(file, using)
        return users if users - {""} else self._tests(path, self.lines.get(str(path), {}))

    def killed(self, spec: MutationSpec, test: str) -> None:
        """Remember which test was the one, for the next mutant near it."""
        for key in ((spec.module_path, spec.definition_name), spec.module_path):
            known = self.killers.setdefault(key, [])
            if test in known:
                known.remove(test)
            known.insert(0, test)
            del known[12:]


# -- 2. patch ----------------------------------------------------------------------------------


def live_functions(root: Path) -> dict[tuple[str, int, str], list[types.FunctionType]]:
    """All functions of the package that exist, by where their code stands."""
    found: dict[tuple[str, int, str], list[types.FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType):
            code = thing.__code__
            if code.co_filename.startswith(str(root)):
                key = (code.co_filename, code.co_firstlineno, code.co_name)
                found.setdefault(key, []).append(thing)
    return found


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of every function in a module, however deep."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from codes(constant)


def patch(functions: dict[Any, list[types.FunctionType]], new: types.CodeType) -> int:
    """Give every live function its code in the mutated module; how many of them changed."""
    changed = 0
    for code in codes(new):
        for function in functions.get((code.co_filename, code.co_firstlineno, code.co_name), []):
            old = function.__code__
            if old != code and old.co_freevars == code.co_freevars:
                function.__code__ = code
                changed += 1
    return changed


# -- 3. import ---------------------------------------------------------------------------------


class MutatedModule(importlib.machinery.SourceFileLoader):
    """Finder and loader of the one module that is mutated."""

    def __init__(self, name: str, path: Path, code: types.CodeType) -> None:
        super().__init__(name, str(path))
        self.code = code

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path, loader=self)
        return None

    def get_code(self, fullname: str) -> types.CodeType:
        return self.code


# -- the loop ----------------------------------------------------------------------------------


class Runner:
    """Decides for each mutant how it is run, and says how that ended."""

    def __init__(self, settings: dict[str, Any], measured: dict[str, Any], budget: float) -> None:
        self.settings = settings
        self.chosen = operators(settings)
        self.selection = Selection(measured, settings["inspecting"])
        self.budget = budget
        for name in measured["modules"]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    def compiled(self, spec: MutationSpec) -> types.CodeType:
        """The code of the mutated module."""
        path = spec.module_path
        source = mutated(path.read_text(encoding="utf-8"), spec, self.chosen)
        return compile(source, str(path.resolve()), "exec")

    def result(self, spec: MutationSpec, answer: str | None) -> WorkResult:
        """What a run of the tests came to, in cosmic-ray's terms."""
        if answer in ("uncollected", "compile"):
            return WorkResult(WorkerOutcome.NORMAL, answer, TestOutcome.INCOMPETENT)
        if answer and answer.startswith(("error", "unpatched")):  # a fault of this program
            return WorkResult(WorkerOutcome.EXCEPTION, answer)
        if answer is None or answer == "uncovered":
            return WorkResult(WorkerOutcome.NORMAL, answer or "", TestOutcome.SURVIVED)
        if "::" in answer:
            self.selection.killed(spec, answer)
        return WorkResult(WorkerOutcome.NORMAL, answer, TestOutcome.KILLED)

    def imported(self, spec: MutationSpec, tests: list[str]) -> str | None:
        """Collect and run with the mutated module: first the likeliest file of tests, then all."""
        code = self.compiled(spec)
        name = ".".join(spec.module_path.with_suffix("").parts)

        def work(tests: list[str]) -> Any:
            sys.meta_path.insert(0, MutatedModule(name, spec.module_path.resolve(), code))

            def loop(plugin: Plugin, items: list[pytest.Item]) -> Any:
                by_id = {item.nodeid: item for item in items}
                chosen = [by_id[t] for t in tests if t in by_id]
                return plugin.first_failure(chosen, self.selection.seconds)

            files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
            signal.setitimer(signal.ITIMER_REAL, 60)
            return collect(self.settings, files, loop)

        first = tests[0].partition("::")[0]
        near = [t for t in tests if t.startswith(first + "::")]
        far = [t for t in tests if not t.startswith(first + "::")]
        answer = forked(lambda: work(near))
        return forked(lambda: work(far)) if answer is None and far else answer

    def run(self, work: list[tuple[str, MutationSpec]], done: Callable[..., Any]) -> None:
        """Call done(job, result) for every mutant: first those imported, then those patched.

        The package must not have been imported before; it will have been afterwards.
        """
        todo = []
        for job, spec in work:
            imported, tests = self.selection.of(spec, self.budget)
            try:
                self.compiled(spec)
            except (SyntaxError, ValueError):
                done(job, self.result(spec, "compile"))
                continue
            if not tests:
                done(job, self.result(spec, "uncovered"))
            elif imported:
                done(job, self.result(spec, self.imported(spec, tests)))
            else:
                todo.append((job, spec))

        def loop(plugin: Plugin, items: list[pytest.Item]) -> None:
            by_id = {item.nodeid: item for item in items}
            functions = live_functions(Path("scratchgrad").resolve())
            gc.collect()
            gc.freeze()  # or every fork would copy what its collector touches
            for job, spec in todo:
                _, tests = self.selection.of(spec, self.budget)
                new = self.compiled(spec)

                def tried(new: types.CodeType = new, tests: list[str] = tests) -> str | None:
                    if not patch(functions, new):
                        return "unpatched"
                    chosen = [by_id[test] for test in tests if test in by_id]
                    return plugin.first_failure(chosen, self.selection.seconds)

                done(job, self.result(spec, forked(tried)))

        if todo:
            collect(self.settings, self.settings["tests"], loop)
