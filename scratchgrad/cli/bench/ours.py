"""Our own kernels and steps, against the machine's limits."""

from __future__ import annotations

import argparse
import io
from typing import Any

from scratchgrad.cli.bench.parts import KERNELS, PARTS, Printer
from scratchgrad.cli.output import write_output
from scratchgrad.errors import ConfigError


def check(arguments: argparse.Namespace) -> None:
    """Refuse what nothing of what is measured would heed."""
    parts = arguments.parts or PARTS
    if arguments.preset and not {"step", "memory"} & set(parts):
        raise ConfigError("--preset: goes with the parts step and memory")
    if arguments.dtype == "float64" and not set(KERNELS) & set(parts):
        raise ConfigError(
            f"--dtype: goes with kernels ({', '.join(KERNELS)}); steps and memory are float32, "
            f"and peak is measured in both"
        )
    if arguments.roofline and not arguments.roofline.lower().endswith(".png"):
        raise ConfigError(
            f"--roofline: expected a name that ends in .png, got {arguments.roofline}"
        )


def measure(arguments: argparse.Namespace, report: dict[str, Any], say: Printer) -> int:
    """Measure, print, fill the report; returns the exit code."""
    from scratchgrad.bench import kernels, machine, memory, steps, tables
    from scratchgrad.kernels.threads import get_threads

    parts, quick = arguments.parts or PARTS, arguments.quick
    presets = list(dict.fromkeys(arguments.preset or (["char"] if quick else ["baby"])))
    say(machine.heading(report["machine"]))
    say.doing("the machine's limits")
    roofs = report["roofs"] = machine.roofs(quick)
    say(tables.limits(roofs))

    measured, left_out = [], []
    for work in kernels.table():
        if work.part not in parts:
            continue
        if quick and work.heavy:
            left_out.append(f"{work.name} {work.size}")
            continue
        say.doing(f"{work.name} {work.size}")
        seconds = 0.03 if quick else 0.3
        measured.append(kernels.measure(work, arguments.dtype or "float32", roofs, seconds))
    report["kernels"] = [one.record() for one in measured]
    report["left_out"] = left_out
    if report["kernels"]:
        say("\n" + tables.kernels(report["kernels"]))
    if left_out:
        say(f"\n--quick leaves out what takes long: {', '.join(left_out)}")

    report["steps"], report["memory"] = [], []
    for preset in presets if "step" in parts else []:
        say.doing(f"training steps, {preset}")
        apart = steps.take_apart(preset, roofs, quick)
        machine.raise_peak(roofs, 0.1 if quick else 0.4)
        report["steps"].append(apart.record())
        say("\n" + tables.step(report["steps"][-1]))
    for preset in presets if "memory" in parts else []:
        say.doing(f"memory of a step, {preset}")
        report["memory"].append(memory.measure_apart(preset, get_threads()))
        say("\n" + tables.memory(report["memory"][-1]))
    if arguments.roofline:
        from scratchgrad.bench.roofline import draw

        picture = io.BytesIO()
        draw(report, picture)
        write_output(arguments.roofline, picture.getvalue())
        say(f"\nroofline: {arguments.roofline}")
    return 0
