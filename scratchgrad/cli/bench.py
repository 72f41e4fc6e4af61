"""``scratchgrad bench``: the machine's limits, kernels and training steps against them."""

from __future__ import annotations

import argparse
import io
import json
import sys
from typing import Any

from scratchgrad.cli.names import counted, no_such
from scratchgrad.cli.opening import MODEL_HELP
from scratchgrad.cli.output import check_output, write_output
from scratchgrad.cli.threads import add_threads_option, set_threads_of
from scratchgrad.errors import ConfigError

DIFFER = 1  # exit code: the two sides of a comparison did not compute the same

# Repeated here, for --help must not import what knows them; a test holds them together.
KERNELS = (
    "matmul", "attention", "loss", "activation", "norm", "softmax", "optimiser", "embedding"
)  # fmt: skip
PARTS = ("peak", *KERNELS, "step", "memory")
STEPS = ("char", "baby", "gpt2")
RIVALS = ("torch", "numpy", "tokenizers", "transformers")
TOKENIZER_PARTS = ("train", "encode", "memory")  # of --vs tokenizers
DECODING_PARTS = ("decode", "prefill")  # of --vs transformers
PARTS_OF = {"tokenizers": TOKENIZER_PARTS, "transformers": DECODING_PARTS}
MOST_TOKENS, MOST_ROUNDS = 1_000_000, 1000  # beyond that it is a slip of the keyboard

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
        help=f"{', '.join(PARTS)}; with --vs tokenizers {', '.join(TOKENIZER_PARTS)}; with "
        f"--vs transformers {', '.join(DECODING_PARTS)} (default: all)",
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
    parts = PARTS_OF.get(arguments.vs, PARTS)
    for part in arguments.parts:
        if part not in parts:
            raise no_such("part", part, parts, f"there are {', '.join(parts)}")
    if arguments.roofline is not None and arguments.vs:
        raise ConfigError("--roofline: goes with our own figures, not with --vs")
    if arguments.no_compile and arguments.vs != "torch":
        raise ConfigError("--no-compile: goes with --vs torch")
    if arguments.model is not None and arguments.vs != "transformers":
        raise ConfigError("--model: goes with --vs transformers")
    if arguments.vs == "tokenizers":
        _check_tokenizers(arguments)
    elif arguments.vs == "transformers":
        _check_transformers(arguments)
    else:
        _check_use(arguments)
    if arguments.json != "-":
        check_output("--json", arguments.json)
    check_output("--roofline", arguments.roofline)
    if arguments.roofline and not arguments.roofline.lower().endswith(".png"):
        raise ConfigError(
            f"--roofline: expected a name that ends in .png, got {arguments.roofline}"
        )

    from scratchgrad.bench import machine
    from scratchgrad.kernels import jit

    if not jit.compiles():
        raise ConfigError("kernels are interpreted: unset NUMBA_DISABLE_JIT to measure them")
    set_threads_of(arguments)
    report: dict[str, Any] = {"schema": 1, "machine": machine.facts()}
    say = _Printer(quiet=arguments.json == "-")
    if arguments.vs == "tokenizers":
        code = _tokenizers(arguments, report, say)
    elif arguments.vs == "transformers":
        code = _transformers(arguments, report, say)
    else:
        say(machine.heading(report["machine"]))
        code = (_versus if arguments.vs else _measure)(arguments, report, say)
    if arguments.json == "-":
        print(json.dumps(report, indent=2))
    elif arguments.json:
        write_output(arguments.json, (json.dumps(report, indent=2) + "\n").encode())
    return code


def _check_use(arguments: argparse.Namespace) -> None:
    """Refuse an option that nothing of what is measured would heed."""
    for option, value in (("--text", arguments.text), ("--vocab-size", arguments.vocab_size)):
        if value is not None:
            raise ConfigError(f"{option}: goes with --vs tokenizers")
    _check_rounds(arguments)
    parts, rival, dtype = arguments.parts or PARTS, arguments.vs, arguments.dtype
    if arguments.preset and (rival == "numpy" or not {"step", "memory"} & set(parts)):
        raise ConfigError("--preset: goes with the parts step and memory, and not with --vs numpy")
    if rival == "torch" and dtype == "float64":
        raise ConfigError("--dtype: --vs torch compares in float32; leave it out")
    if dtype == "float64" and not set(KERNELS) & set(parts):
        raise ConfigError(
            f"--dtype: goes with kernels ({', '.join(KERNELS)}); steps and memory are float32, "
            f"and peak is measured in both"
        )


def _check_rounds(arguments: argparse.Namespace) -> None:
    if arguments.rounds is None:
        return
    if not arguments.vs:
        raise ConfigError("--rounds: goes with --vs")
    if not 1 <= arguments.rounds <= MOST_ROUNDS:
        raise ConfigError(f"--rounds: expected 1 to {MOST_ROUNDS}, got {arguments.rounds}")


def _check_tokenizers(arguments: argparse.Namespace) -> None:
    """Refuse what does not go with --vs tokenizers, before anything is imported."""
    for option in ("preset", "dtype"):
        if getattr(arguments, option):
            raise ConfigError(f"--{option}: does not go with --vs tokenizers")
    if not arguments.text:
        given = "an empty name" if arguments.text == "" else "nothing"
        raise ConfigError(f"--vs tokenizers: expected --text and a file or folder, got {given}")
    size = arguments.vocab_size
    if size is not None and not 257 <= size <= MOST_TOKENS:
        raise ConfigError(
            f"--vocab-size: expected 257 (the bytes and a merge) to {MOST_TOKENS}, got {size}"
        )
    _check_rounds(arguments)


def _check_transformers(arguments: argparse.Namespace) -> None:
    """Refuse what does not go with --vs transformers, before anything is imported."""
    for option in ("preset", "dtype", "text", "vocab_size"):
        if getattr(arguments, option) is not None:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name}: does not go with --vs transformers")
    if not arguments.model:
        given = "an empty name" if arguments.model == "" else "nothing"
        raise ConfigError(f"--vs transformers: expected --model and a {MODEL_HELP}; got {given}")
    _check_rounds(arguments)


class _Printer:
    """Sections to stdout as they are ready; to a terminal also what is being done."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        self.doing("")
        if not self._quiet:
            print(text, flush=True)

    def doing(self, what: str) -> None:
        """Show this until the next section is ready."""
        if self._live:
            print(f"\r\x1b[K{what[:78]}", end="", file=sys.stderr, flush=True)


def _measure(arguments: argparse.Namespace, report: dict[str, Any], say: _Printer) -> int:
    from scratchgrad.bench import kernels, machine, memory, steps, tables
    from scratchgrad.kernels.threads import get_threads

    parts, quick = arguments.parts or PARTS, arguments.quick
    presets = list(dict.fromkeys(arguments.preset or (["char"] if quick else ["baby"])))
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


def _versus(arguments: argparse.Namespace, report: dict[str, Any], say: _Printer) -> int:
    from scratchgrad.bench import tables, versus
    from scratchgrad.kernels.threads import get_threads

    rival, threads, quick = arguments.vs, get_threads(), arguments.quick
    presets = list(dict.fromkeys(arguments.preset or (["char"] if quick else STEPS)))
    works = versus.works(rival, arguments.parts, presets, arguments.dtype)
    memory = rival == "torch" and (not arguments.parts or "memory" in arguments.parts)
    if not works and not memory:
        have = ", ".join(dict.fromkeys(work["part"] for work in versus.works(rival, (), presets)))
        raise ConfigError(f"nothing of this is compared with {rival}; what is: {have}")
    report["compared"], report["compared_memory"] = [], []
    with versus.our_side(threads) as ours, versus.rival_side(rival, threads) as other:
        report["rival"] = other.about
        rounds = arguments.rounds or (3 if quick else versus.ROUNDS)
        say(f"against {other.about}; {rounds} rounds in turn, each side in a process of its own")
        for work in works:
            say.doing(work["label"])
            work["compile"] = not arguments.no_compile
            work["seconds"] /= 5 if quick else 1
            report["compared"].append(versus.compare(ours, other, work, rounds=rounds).record())
    if report["compared"]:
        say("\n" + tables.compared(report["compared"], rival))
    for preset in presets if memory else []:
        say.doing(f"memory of a step, {preset}")
        report["compared_memory"].append(versus.compare_memory(rival, preset, threads))
        say(tables.compared_memory(report["compared_memory"][-1], rival))
    return 0 if all(record["agree"] for record in report["compared"]) else DIFFER


def _tokenizers(arguments: argparse.Namespace, report: dict[str, Any], say: _Printer) -> int:
    from pathlib import Path

    from scratchgrad.bench import against_tokenizers, machine, tables, tokenizer_memory, versus
    from scratchgrad.kernels.threads import get_threads

    path, parts = Path(arguments.text), arguments.parts or TOKENIZER_PARTS
    size = arguments.vocab_size or against_tokenizers.VOCAB_SIZE
    rounds = arguments.rounds or (3 if arguments.quick else versus.ROUNDS)
    others, missing = against_tokenizers.rivals(parts)
    corpus = against_tokenizers.Corpus.read(path)
    say(machine.heading(report["machine"]))  # not before all that is needed is there
    found = report["tokenizers"] = {
        "bytes": corpus.size,
        "files": len(corpus.files),
        "vocab_size": size,
        "rivals": [other.about for other in others],
        "left_out": missing,
        "rows": [],
        "memory": [],
    }
    say(f"{corpus.size / 1e6:,.1f} MB in {len(corpus.files)} file(s), {size:,} tokens")
    if {"train", "encode"} & set(parts):
        say(f"{rounds} round(s), in turn, in one process; ratio: time divided by the first line's")
    for line in missing:
        say(line)

    def tell(rows: list[against_tokenizers.Row]) -> None:
        records = [row.record(rows[0], corpus.size) for row in rows]
        found["rows"] += records
        say("\n" + tables.tokenizers(records))

    tokenizer = None
    if "train" in parts:
        rows, tokenizer = against_tokenizers.train(corpus, size, others, rounds, say.doing)
        tell(rows)
    if "encode" in parts:
        tokenizer = tokenizer or against_tokenizers.learn(corpus.texts, size)
        tell(against_tokenizers.encode(corpus, tokenizer, others, rounds, say.doing))
    if "memory" in parts:
        say.doing("memory of training")
        found["memory"] = [
            tokenizer_memory.measure_apart(path, size, times, get_threads()) for times in (1, 2)
        ]
        say("\n" + tables.tokenizer_memory(found["memory"]))
    return 0 if all(row["agree"] for row in found["rows"]) else DIFFER


def _transformers(arguments: argparse.Namespace, report: dict[str, Any], say: _Printer) -> int:
    import tempfile
    from pathlib import Path

    from scratchgrad.bench import against_transformers, machine, tables, versus
    from scratchgrad.cli.opening import open_any
    from scratchgrad.kernels.threads import get_threads

    threads, parts = get_threads(), arguments.parts or DECODING_PARTS
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
