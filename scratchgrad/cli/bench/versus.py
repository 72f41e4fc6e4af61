"""Kernels and steps in turn with PyTorch's or NumPy's."""

from __future__ import annotations

import argparse
from typing import Any

from scratchgrad.cli.bench import ours
from scratchgrad.cli.bench.parts import DIFFER, PARTS, STEPS, Printer
from scratchgrad.errors import ConfigError

__all__ = ["PARTS", "check", "measure"]


def check(arguments: argparse.Namespace) -> None:
    """Refuse what nothing of what is compared would heed."""
    if arguments.vs == "torch" and arguments.dtype == "float64":
        raise ConfigError("--dtype: --vs torch compares in float32; leave it out")
    ours.check(arguments)


def measure(arguments: argparse.Namespace, report: dict[str, Any], say: Printer) -> int:
    """Measure both sides in turn, print, fill the report; returns the exit code."""
    from scratchgrad.bench import machine, tables, versus
    from scratchgrad.kernels.threads import get_threads

    rival, threads, quick = arguments.vs, get_threads(), arguments.quick
    presets = list(dict.fromkeys(arguments.preset or (["char"] if quick else STEPS)))
    works = versus.works(rival, arguments.parts, presets, arguments.dtype)
    memory = rival == "torch" and (not arguments.parts or "memory" in arguments.parts)
    if not works and not memory:
        have = ", ".join(dict.fromkeys(work["part"] for work in versus.works(rival, (), presets)))
        raise ConfigError(f"nothing of this is compared with {rival}; what is: {have}")
    report["compared"], report["compared_memory"] = [], []
    with versus.our_side(threads) as us, versus.rival_side(rival, threads) as other:
        say(machine.heading(report["machine"]))  # not before all that is needed is there
        report["rival"] = other.about
        rounds = arguments.rounds or (3 if quick else versus.ROUNDS)
        say(f"against {other.about}; {rounds} rounds in turn, each side in a process of its own")
        for work in works:
            say.doing(work["label"])
            work["compile"] = not arguments.no_compile
            work["seconds"] /= 5 if quick else 1
            report["compared"].append(versus.compare(us, other, work, rounds=rounds).record())
    if report["compared"]:
        say("\n" + tables.compared(report["compared"], rival))
    for preset in presets if memory else []:
        say.doing(f"memory of a step, {preset}")
        report["compared_memory"].append(versus.compare_memory(rival, preset, threads))
        say(tables.compared_memory(report["compared_memory"][-1], rival))
    return 0 if all(record["agree"] for record in report["compared"]) else DIFFER
