"""A model's speed in turn with transformers on PyTorch."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from scratchgrad.cli.bench.parts import DIFFER, Printer
from scratchgrad.cli.names import counted
from scratchgrad.cli.opening import MODEL_HELP, open_any
from scratchgrad.errors import ConfigError

PARTS = ("decode", "prefill")


def check(arguments: argparse.Namespace) -> None:
    """Refuse to begin without a model."""
    if not arguments.model:
        given = "an empty name" if arguments.model == "" else "nothing"
        raise ConfigError(f"--vs transformers: expected --model and a {MODEL_HELP}; got {given}")


def measure(arguments: argparse.Namespace, report: dict[str, Any], say: Printer) -> int:
    """Measure both sides in turn, print, fill the report; returns the exit code."""
    from scratchgrad.bench import against_transformers, machine, tables, versus
    from scratchgrad.kernels.threads import get_threads

    threads, parts = get_threads(), arguments.parts or PARTS
    rounds = arguments.rounds or (3 if arguments.quick else versus.ROUNDS)
    say.doing(f"opening {arguments.model}")
    pretrained = open_any(arguments.model)
    layout = against_transformers.layout_of(pretrained.model.config, arguments.model)
    works = against_transformers.works(pretrained.model, parts, arguments.quick)
    found = report["decoding"] = {
        "model": arguments.model,
        "parameters": pretrained.model.config.num_parameters,
    }
    report["compared"] = []
    with (
        against_transformers.rival_side(threads) as rival,
        against_transformers.our_side(threads) as ours,
        tempfile.TemporaryDirectory() as name,
    ):
        say(machine.heading(report["machine"]))  # not before all that is needed is there
        report["rival"] = rival.about
        say(f"{arguments.model}: {found['parameters']:,} parameters, in float32 on both sides")
        turns = counted(rounds, "round")
        say(f"against {rival.about}; {turns} in turn, each side in a process of its own")
        say.doing("writing the model for both sides")
        against_transformers.export(pretrained, Path(name), layout)
        del pretrained
        for work in works:
            say.doing(work["label"])
            one, reads = against_transformers.compare(ours, rival, work, Path(name), rounds)
            report["compared"].append(one.record())
            if reads:
                found |= against_transformers.summary(one, reads, work["bytes"])
    say("\n" + tables.compared(report["compared"], "transformers"))
    if "share" in found:
        say("\n" + tables.decoding(found, threads))
    return 0 if all(record["agree"] for record in report["compared"]) else DIFFER
