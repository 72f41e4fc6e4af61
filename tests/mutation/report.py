"""What became of the mutants: a table by file, and each survivor with its reason."""

from __future__ import annotations

import difflib
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import toml
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome

from tests.mutation.mutants import mutated, operators

COLUMNS = ("mutants", "noise", "not run", "incompetent", "killed", "timeout", "survived")
REASONS = Path(__file__).with_name("reasons.toml")
UNEXPLAINED = "No reason is known: a test is missing."


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


def _change(spec: MutationSpec, chosen: Any) -> tuple[str, str, str]:
    """The line, what was replaced in it, and by what."""
    source = spec.module_path.read_text(encoding="utf-8")
    old, new = source.split("\n"), mutated(source, spec, chosen).split("\n")
    number = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]))
    if len(old) != len(new):  # a decorator
        return old[number].strip(), old[number].strip(), "nothing"
    words = [re.findall(r"\w+|\s+|[^\w\s]+", line) for line in (old[number], new[number])]
    parts = [
        ("".join(words[0][a:b]).strip(), "".join(words[1][c:d]).strip())
        for kind, a, b, c, d in difflib.SequenceMatcher(None, *words, autojunk=False).get_opcodes()
        if kind != "equal"
    ]
    before, after = (" ".join(filter(None, side)) for side in zip(*parts, strict=True))
    return old[number].strip(), before or "nothing", after or "nothing"


def known_reasons() -> list[dict[str, Any]]:
    """The entries of reasons.toml."""
    return toml.load(REASONS)["reason"]


def reason(spec: MutationSpec, chosen: Any, reasons: list[dict[str, Any]]) -> str:
    """Why this survivor is no missing test, by the patterns in reasons.toml."""
    line, before, after = _change(spec, chosen)
    text = f"{spec.module_path}: {line} | {before} -> {after}"
    for entry in reasons:
        if any(re.search(pattern, text) for pattern in entry["patterns"]):
            return entry["why"]
    return UNEXPLAINED


def report(database: WorkDB, configuration: dict[str, Any], only: str) -> int:
    """Print all; the number of survivors without a reason.

    A timeout is caught; noise and what does not compile or import do not count.
    """
    chosen = operators(configuration["mutation"])
    reasons = known_reasons()
    results = dict(database.results)
    files: dict[str, dict[str, int]] = {}
    survivors: dict[str, dict[tuple[str, int, str], list[str]]] = {}
    for item in database.work_items:
        (spec,) = item.mutations
        path = str(spec.module_path)
        if not fnmatch(path, only):
            continue
        result = results.get(item.job_id)
        column = _column(result)
        counts = files.setdefault(path, dict.fromkeys(COLUMNS, 0))
        counts["mutants"] += 1
        counts[column] += 1
        if column == "survived":
            line, before, after = _change(spec, chosen)
            why = reason(spec, chosen, reasons)
            where = (path, spec.start_pos[0], line)
            changes = survivors.setdefault(why, {}).setdefault(where, [])
            uncovered = " (never run)" if result.output == "uncovered" else ""
            changes.append(f"`{before}` → `{after}`{uncovered}")
    print("| file | " + " | ".join(COLUMNS) + " | score |")
    print("| --- |" + " ---: |" * (len(COLUMNS) + 1))
    for path, counts in sorted(files.items()):
        print(_row(path, counts))
    print(_row("all", {c: sum(f[c] for f in files.values()) for c in COLUMNS}))
    for why in [*(r["why"] for r in reasons), UNEXPLAINED]:
        lines = survivors.get(why, {})
        if lines:
            print(f"\n### {sum(map(len, lines.values()))}: {why}\n")
        for (path, number, line), changes in sorted(lines.items()):
            print(f"- {path}:{number} `{line}`: {', '.join(sorted(changes))}")
    return sum(map(len, survivors.get(UNEXPLAINED, {}).values()))
