"""``scratchgrad bench``: the machine's limits, kernels and training steps against them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from scratchgrad.cli.bench import ours, tokenizers, transformers, versus
from scratchgrad.cli.bench.parts import PARTS, STEPS, Printer
from scratchgrad.cli.names import no_such
from scratchgrad.cli.opening import MODEL_HELP
from scratchgrad.cli.output import check_output, write_output
from scratchgrad.cli.threads import add_threads_option, set_threads_of
from scratchgrad.errors import ConfigError

# What there is to compare with; each module says its parts, checks what was asked, and measures.
SIDES: dict[str | None, Any] = {
    None: ours,
    "torch": versus,
    "numpy": versus,
    "tokenizers": tokenizers,
    "transformers": transformers,
}
RIVALS = tuple(name for name in SIDES if name is not None)
# Which of them heed an option.
GOES_WITH: dict[str, tuple[str | None, ...]] = {
    "preset": (None, "torch"),
    "dtype": (None, "torch", "numpy"),
    "roofline": (None,),
    "no_compile": ("torch",),
    "text": ("tokenizers",),
    "vocab_size": ("tokenizers",),
    "model": ("transformers",),
    "rounds": RIVALS,
}
MOST_ROUNDS = 1000  # beyond that it is a slip of the keyboard

_EPILOG = """\
examples:
  scratchgrad bench                             all parts; steps of the preset baby
  scratchgrad bench matmul attention            these kernels only
  scratchgrad bench step --preset gpt2          a step of GPT-2 124M taken apart (2 GB)
  scratchgrad bench --json - --quick            for a program that keeps watch
  scratchgrad bench --roofline roofline.png
  scratchgrad bench --vs torch                  against PyTorch, in turn (minutes)
  scratchgrad bench --vs numpy matmul           products against NumPy's BLAS
  scratchgrad bench --vs tokenizers --text DIR  BPE against tokenizers, rustbpe, tiktoken (minutes)
  scratchgrad bench train --vs tokenizers --text DIR --rounds 3      its parts: train encode memory
  scratchgrad bench --vs transformers --model smollm2   a model's speed; its parts: decode prefill

presets: char, 65 ids, context 64, 4 layers, 4 heads, 128 channels, batch 12; baby, 65, 256, 6, 6,
384, 4; gpt2, 50257, 256, 12, 12, 768, 1. docs/bench.md says what each figure means.
exit codes: 0 done, 1 a rival's results differ from ours, 2 a mistake in what was asked."""


def add_parser(commands: Any) -> None:
    """Describe the command's options."""
    parser = commands.add_parser(
        "bench",
        help="measure kernels and training steps, against the machine or a rival",
        description="Time kernels and training steps, and hold them against what is possible.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(PARTS)}; with --vs tokenizers {', '.join(tokenizers.PARTS)}; with "
        f"--vs transformers {', '.join(transformers.PARTS)} (default: all)",
    )
    parser.add_argument(
        "--preset",
        action="append",
        choices=STEPS,
        help="training step, may be repeated (default: baby; with --quick char; with --vs all)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        help="of the kernels (default: float32; with --vs numpy both)",
    )
    add_threads_option(parser)
    parser.add_argument(
        "--quick", action="store_true", help="fewer runs, and no long ones (default: thorough)"
    )
    parser.add_argument(
        "--vs", choices=RIVALS, help="run the same work by a rival, in turn (default: ours alone)"
    )
    parser.add_argument(
        "--text",
        metavar="PATH",
        help="--vs tokenizers: a file, or a folder of files (default: none, it must be given)",
    )
    parser.add_argument(
        "--vocab-size", type=int, metavar="N", help="--vs tokenizers: ids (default: 32768)"
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"--vs transformers: {MODEL_HELP} (default: none, it must be given)",
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="--vs: turns of each side (default: 5; --quick 3)"
    )
    parser.add_argument(
        "--no-compile", action="store_true", help="--vs torch: eager only (default: both)"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the figures; - for stdout only (default: no)"
    )
    parser.add_argument("--roofline", metavar="FILE.png", help="draw the roofline (default: no)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, return the exit code."""
    side = SIDES[arguments.vs]
    for part in arguments.parts:
        if part not in side.PARTS:
            raise no_such("part", part, side.PARTS, f"there are {', '.join(side.PARTS)}")
    _check_options(arguments)
    side.check(arguments)
    if arguments.json != "-":
        check_output("--json", arguments.json)
    check_output("--roofline", arguments.roofline)

    from scratchgrad.bench import machine
    from scratchgrad.kernels import jit

    if not jit.compiles():
        raise ConfigError("kernels are interpreted: unset NUMBA_DISABLE_JIT to measure them")
    set_threads_of(arguments)
    report: dict[str, Any] = {"schema": 1, "machine": machine.facts()}
    code: int = side.measure(arguments, report, Printer(quiet=arguments.json == "-"))
    if arguments.json == "-":
        print(json.dumps(report, indent=2))
    elif arguments.json:
        write_output(arguments.json, (json.dumps(report, indent=2) + "\n").encode())
    return code


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse an option that what is measured would not heed."""
    for name, sides in GOES_WITH.items():
        given = getattr(arguments, name)
        if given is None or given is False or arguments.vs in sides:
            continue
        option = "--" + name.replace("_", "-")
        if arguments.vs is None or (len(sides) == 1 and None not in sides):
            raise ConfigError(f"{option}: goes with --vs {' or '.join(map(str, sides))}")
        raise ConfigError(f"{option}: does not go with --vs {arguments.vs}")
    rounds = arguments.rounds
    if rounds is not None and not 1 <= rounds <= MOST_ROUNDS:
        raise ConfigError(f"--rounds: expected 1 to {MOST_ROUNDS}, got {rounds}")
