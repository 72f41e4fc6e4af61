"""What became of the mutants: a table by file, and the survivors with their change."""

from __future__ import annotations

import difflib
from fnmatch import fnmatch
from typing import Any

from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome, WorkerOutcome

from tests.mutation.mutants import mutated, operators

COLUMNS = ("mutants", "noise", "not run", "incompetent", "killed", "timeout", "survived")


def _column(result: Any) -> str:
    if result is None or result.worker_outcome == WorkerOutcome.EXCEPTION:
        return "not run"
    if result.worker_outcome == WorkerOutcome.SKIPPED:
        return "noise"
    if result.test_outcome == TestOutcome.KILLED and result.output == "timeout":
        return "timeout"
    return str(result.test_outcome.value)


def _row(name: str, counts: dict[str, int]) -> str:
    caught = counts["killed"] + counts["timeout"]
    valid = caught + counts["survived"]
    score = f"{100 * caught / valid:.1f} %" if valid else ""
    return f"| {name} | " + " | ".join(str(counts[c]) for c in COLUMNS) + f" | {score} |"


def report(database: WorkDB, configuration: dict[str, Any], only: str) -> None:
    """Print both. A timeout is caught; noise and what does not compile or import do not count."""
    chosen = operators(configuration["mutation"])
    results = dict(database.results)
    files: dict[str, dict[str, int]] = {}
    survivors = []
    for item in database.work_items:
        (spec,) = item.mutations
        path = str(spec.module_path)
        if not fnmatch(path, only):
            continue
        column = _column(results.get(item.job_id))
        counts = files.setdefault(path, dict.fromkeys(COLUMNS, 0))
        counts["mutants"] += 1
        counts[column] += 1
        if column == "survived":
            survivors.append((path, spec.start_pos, spec, results[item.job_id]))
    print("| file | " + " | ".join(COLUMNS) + " | score |")
    print("| --- |" + " ---: |" * (len(COLUMNS) + 1))
    for path, counts in sorted(files.items()):
        print(_row(path, counts))
    print(_row("all", {c: sum(f[c] for f in files.values()) for c in COLUMNS}))
    for path, (line, _), spec, result in sorted(survivors, key=lambda s: s[:2]):
        source = spec.module_path.read_text(encoding="utf-8")
        try:
            new = mutated(source, spec, chosen)
        except LookupError as error:
            print(f"\n{error}")
            continue
        print(f"\n{path}:{line} {spec.operator_name} {result.output}")
        for change in difflib.unified_diff(source.split("\n"), new.split("\n"), n=0, lineterm=""):
            if change[:3] not in ("---", "+++") and change[:2] != "@@":
                print(f"    {change}")
