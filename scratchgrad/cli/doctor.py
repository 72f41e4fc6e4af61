"""``scratchgrad doctor``: whether this installation computes what it should, on this machine."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.names import no_such
from scratchgrad.cli.output import check_output, write_output

if TYPE_CHECKING:
    from scratchgrad.doctor import Checked, Report

ILL = 1  # exit code: something is wrong

# What training shows while it compiles, and is reached through another: its cases have both.
_WITHIN = {"few_rows": "matmul"}

_EPILOG = """\
examples:
  scratchgrad doctor                      everything
  scratchgrad doctor softmax attention    of the kernels, these only
  scratchgrad doctor --prune              delete compiled kernels of other versions first
  scratchgrad doctor --json -             for a report of a fault

columns: the largest error relative to the largest number of a result, in each dtype; whether one
and two threads give the same bits.
exit codes: 0 healthy, 1 something is wrong (and what to do), 2 a mistake in what was asked."""


def add_parser(commands: Any) -> None:
    """Describe the command's options."""
    parser = commands.add_parser(
        "doctor",
        help="check this installation: versions, cache, every kernel",
        description="Show what scratchgrad runs on, and compare every kernel with its formula.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("names", nargs="*", metavar="KERNEL", help="kernels (default: all)")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="delete compiled kernels of other versions (default: keep them)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the findings; - for stdout only (default: no)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Examine, print, return the exit code."""
    to_file = arguments.json not in (None, "-")
    if to_file:
        check_output("--json", arguments.json)
    from scratchgrad import doctor

    cases = _cases(arguments.names)
    quiet = arguments.json == "-"
    pruned = doctor.prune() if arguments.prune else None
    report = doctor.begin()
    if not quiet:
        print(_surroundings(report), flush=True)
        if pruned is not None:
            gone = doctor.folders(pruned[0], "other versions")
            print(f"pruned: {gone}, {pruned[1] / 2**20:.1f} MB")
        width = max(len(str(case)) for case in cases)
        print(f"\n{'kernel':{width}}  cases  float32  float64  threads  verdict", flush=True)
    for checked in doctor.examine(report, cases):
        if not quiet:
            print(_line(checked, width), flush=True)
    if not quiet:
        print(_summary(report))
    if quiet:
        print(json.dumps(report.record(), indent=2))
    elif to_file:
        write_output(arguments.json, (json.dumps(report.record(), indent=2) + "\n").encode())
    return 0 if report.healthy else ILL


def _cases(names: list[str]) -> list[Any]:
    from scratchgrad.doctor import EVERYTHING

    known = list(dict.fromkeys(name for case in EVERYTHING for name in (str(case), case.name)))
    for name in names:
        if name not in known and name not in _WITHIN:
            everything = "scratchgrad doctor without a name checks and lists all"
            raise no_such("kernel", name, [*known, *_WITHIN], everything)
    wanted = {_WITHIN.get(name, name) for name in names}
    return [case for case in EVERYTHING if not names or {str(case), case.name} & wanted]


def _surroundings(report: Report) -> str:
    of, cache = report.machine, report.cache
    lines = [
        f"scratchgrad {of['scratchgrad']}, Python {of['python']}, NumPy {of['numpy']}, "
        f"Numba {of['numba']}, llvmlite {of['llvmlite']}, {of['system']}",
        f"processor: {of['cpu']} ({of['llvm_cpu']}), {' '.join(report.features)}",
        f"vectors: {of['vector_bits']} bits; threads: {of['threads']}; "
        f"compiler: {'on' if of['jit'] else 'off'}",
    ]
    if cache.path is None:
        lines.append("cache: none")
    else:
        state = "writable" if cache.writable else "not writable"
        lines.append(
            f"cache: {cache.path}, {cache.entries} entries, {cache.bytes / 2**20:.1f} MB, {state}"
        )
    return "\n".join(lines)


def _line(checked: Checked, width: int) -> str:
    errors = "  ".join(
        f"{error:7.1e}" if math.isfinite(error) else f"{'-':>7}" for error in checked.worst.values()
    )
    bits = {True: "same", False: "DIFFER", None: "-"}[checked.same_bits]
    verdict = "WRONG" if checked.fault else "equal"
    return f"{checked.name:{width}}  {checked.cases:5}  {errors}  {bits:>7}  {verdict}"


def _summary(report: Report) -> str:
    good = sum(not checked.fault for checked in report.kernels)
    made = f"; {report.compiled} compiled now" if report.compiled else ""
    lines = [f"\n{good} of {len(report.kernels)} kernels equal their formula{made}"]
    for finding in report.findings:
        mend = f"\n  {finding.mend}" if finding.mend else ""
        lines.append(f"{finding.state}: {finding.text}{mend}")
    lines.append("healthy" if report.healthy else "NOT HEALTHY")
    return "\n".join(lines)
