"""Mutation testing of the engine, the operations, the layers, the optimiser and the kernels.

python -m tests.mutation init      list the mutants in a session, with those that are noise
python -m tests.mutation run       test them; may be stopped and started again
python -m tests.mutation report    what became of them, file by file; the survivors with reasons

Needs the extra `mutation`, and an operating system that can fork.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import traceback
import uuid
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

# Before NumPy is imported: a fork must not lose threads, and kernels run as plain Python.
os.environ.update(NUMBA_DISABLE_JIT="1", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
os.environ.pop("CI", None)

import toml
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult

CONFIGURATION = Path(__file__).with_name("mutation.toml")


def init(database: WorkDB, configuration: dict[str, Any]) -> None:
    """List all mutants; those that are noise are given a result at once: skipped, and why."""
    from tests.mutation.mutants import Noise, modules, mutants, operators

    chosen = operators(configuration["mutation"])
    database.clear()
    skipped = []
    items = []
    for path in modules(configuration["cosmic-ray"]["module-path"]):
        compiler = configuration["mutation"]["compiler"].get(str(path), [])
        noise = Noise.of(path.read_text(encoding="utf-8"), compiler)
        for spec in mutants(path, chosen):
            items.append(WorkItem.single(uuid.uuid4().hex, spec))
            reason = noise.reason(spec.start_pos, spec.end_pos)
            if reason:
                skipped.append((items[-1].job_id, reason))
    database.add_work_items(items)
    for job, reason in skipped:
        database.set_result(job, WorkResult(WorkerOutcome.SKIPPED, reason))
    print(f"{len(items)} mutants, {len(skipped)} of them noise")


def run(database: WorkDB, configuration: dict[str, Any], args: argparse.Namespace) -> None:
    """Test what has no result yet, or the survivors again."""
    os.environ["HYPOTHESIS_PROFILE"] = args.profile
    from tests.mutation.mutants import operators
    from tests.mutation.report import UNEXPLAINED, known_reasons, reason
    from tests.mutation.run import Runner, forked, measure

    settings = configuration["mutation"]
    chosen, reasons = operators(settings), known_reasons()
    results = dict(database.results)
    work = []
    for item in database.work_items:
        (spec,) = item.mutations
        result = results.get(item.job_id)
        wanted = result is None or result.worker_outcome == WorkerOutcome.EXCEPTION
        if result is not None and result.test_outcome == TestOutcome.SURVIVED:
            wanted = args.again == "survivors" or (
                args.again == "unexplained" and reason(spec, chosen, reasons) == UNEXPLAINED
            )
        if wanted and fnmatch(str(spec.module_path), args.only):
            work.append((item.job_id, spec))
    if args.sample < len(work):
        work = random.Random(args.seed).sample(work, args.sample)
    # neighbours one after another: what killed one is likely to kill the next
    work.sort(key=lambda pair: (str(pair[1].module_path), pair[1].start_pos))
    kept = Path(f"{args.session}.{args.profile}.json")  # to be deleted after a change of tests
    if not kept.exists():
        print("measuring the tests first", flush=True)
        measured = forked(lambda: measure(settings))
        if not isinstance(measured, dict):
            sys.exit(f"the tests could not be measured: {measured}")
        if measured["failed"]:
            sys.exit("these tests fail without any mutant:\n" + "\n".join(measured["failed"]))
        kept.write_text(json.dumps(measured), encoding="utf-8")
    measured = json.loads(kept.read_text(encoding="utf-8"))
    print(f"{len(work)} mutants to run", flush=True)
    total = sum(measured["seconds"].values())
    print(f"{len(measured['seconds'])} tests in {total:.0f} s", flush=True)

    def share(worker: int) -> None:
        """Every so-many-th mutant, in a process of its own."""
        own = WorkDB(args.session, WorkDB.Mode.open)
        began = time.perf_counter()
        part = work[worker :: args.workers]
        outcomes: dict[str, int] = {}

        def done(job: str, result: WorkResult) -> None:
            own.set_result(job, result)
            outcome = str(result.test_outcome and result.test_outcome.value)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            count = sum(outcomes.values())
            if count % 50 == 0 or count == len(part):
                spent = time.perf_counter() - began
                with open(f"{args.session}.log", "a", encoding="utf-8") as log:
                    log.write(f"{worker} {count}/{len(part)} {spent:.0f} s {outcomes}\n")

        try:
            Runner(settings, measured, args.budget).run(part, done)
        except Exception:
            with open(f"{args.session}.log", "a", encoding="utf-8") as log:
                traceback.print_exc(file=log)

    children = []
    for worker in range(args.workers):
        child = os.fork()
        if child == 0:
            share(worker)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def main() -> None:
    """Parse and call."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("command", choices=["init", "run", "report"])
    parser.add_argument("--session", default="mutation.sqlite", help="the file of the session")
    parser.add_argument("--only", default="*", help="files to run or report, as a pattern")
    parser.add_argument(
        "--again", choices=["survivors", "unexplained"], help="run these again, after new tests"
    )
    parser.add_argument("--profile", default="mutation", help="Hypothesis profile: mutation-wide")
    parser.add_argument("--budget", type=float, default=15, help="seconds of tests a mutant")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sample", type=int, default=10**9, help="at most so many, drawn")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    configuration = toml.load(CONFIGURATION)
    database = WorkDB(args.session, WorkDB.Mode.create)
    if args.command == "init":
        init(database, configuration)
    elif args.command == "run":
        run(database, configuration, args)
    else:
        from tests.mutation.report import report

        if report(database, configuration, args.only):
            sys.exit("some survivors have no reason")


if __name__ == "__main__":
    main()
