"""``scratchgrad gradcheck``: a proof of every gradient of the package, or of a user's own."""

from __future__ import annotations

import argparse
from typing import Any

from scratchgrad.cli.names import no_such
from scratchgrad.errors import ConfigError

WRONG = 1  # exit code: a gradient is wrong

_EPILOG = """\
examples:
  scratchgrad gradcheck                          every operation and layer, every variant of GPT
  scratchgrad gradcheck softmax GPT GPT.mlp=swiglu
  scratchgrad gradcheck --file my_ops.py:swish --inputs 3x4
  scratchgrad gradcheck --file my_ops.py:forward,vjp        a pair of NumPy functions
  scratchgrad gradcheck --module my_layers.py:Gate --inputs 2x8

A function of Tensors, or forward and vjp(dy, *inputs) of arrays. A module is a class or function
that is called without arguments, or a layer made in the file; every parameter is checked.
An input is a shape, 2x8, or, for ids below 50, 50:2x8; a single number is written 0d.

columns: worst, the largest relative error to five-point differences in float64, beyond the rounding
of those; Taylor, the power
of h with which |f(x+hd) - f(x) - h g.d| falls, 2 or more if g is right ("linear": none is left).
exit codes: 0 all proved, 1 a gradient is wrong, 2 a mistake in what was asked."""


def add_parser(commands: Any) -> None:
    """Describe the command's options."""
    parser = commands.add_parser(
        "gradcheck",
        help="prove the gradients of operations and layers, or of your own",
        description="Compare gradients with finite differences, and say what is wrong with them.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="operations, layers and variants (default: all)"
    )
    own = parser.add_mutually_exclusive_group()
    own.add_argument(
        "--file",
        metavar="PATH:FN",
        help="check this function of yours, or forward,vjp (default: the package's own)",
    )
    own.add_argument(
        "--module",
        metavar="PATH:NAME",
        help="check this layer of yours (default: the package's own)",
    )
    parser.add_argument(
        "--inputs",
        nargs="+",
        metavar="SHAPE",
        help="shapes of the inputs of --file (default: 3x4 for each parameter) or --module",
    )
    parser.add_argument(
        "--cases",
        type=int,
        metavar="N",
        help="cases of each (default: 20; of layers and variants 5)",
    )
    parser.add_argument(
        "--seed", type=int, default=1337, metavar="N", help="of the cases (default: 1337)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check, print the table and what failed, return the exit code."""
    from scratchgrad.cases import OPERATIONS, prove

    if arguments.cases is not None and arguments.cases < 1:
        raise ConfigError(f"--cases: expected 1 or more, received {arguments.cases}")
    if arguments.seed < 0:
        raise ConfigError(f"--seed: expected 0 or more, received {arguments.seed}")
    rows = _rows(arguments)
    width = max(len("name"), *map(len, rows))
    print(f"{'name':{width}}  cases  compared    worst   Taylor  verdict")
    wrong = []
    for name, row in rows.items():
        cases = arguments.cases or (20 if name in OPERATIONS else 5)
        proof = prove(name, row, cases, arguments.seed)
        slope = "linear" if proof.slope is None else f"{proof.slope:.2f}"
        slope = slope if proof.holds else "-"
        verdict = "proved" if proof.holds else "WRONG"
        print(
            f"{name:{width}}  {proof.cases:5}  {proof.entries:8}  {proof.worst:7.1e}  "
            f"{slope:>6}  {verdict}",
            flush=True,
        )
        if not proof.holds:
            wrong.append(proof)
    print(f"\n{len(rows) - len(wrong)} of {len(rows)} proved")
    for proof in wrong:
        print(f"\n{proof.name}: {proof.error}")
    return WRONG if wrong else 0


def _rows(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is asked for, by name."""
    from scratchgrad.cases import LAYERS, OPERATIONS, VARIANTS

    spec = arguments.file or arguments.module
    if spec:
        from scratchgrad.cases.own import own_row

        if arguments.names:
            raise ConfigError(
                f"expected names or --{'file' if arguments.file else 'module'}, received both"
            )
        name, row = own_row(spec, arguments.inputs, module=bool(arguments.module))
        return {name: row}
    if arguments.inputs:
        raise ConfigError("--inputs: goes with --file or --module; the others draw their own")
    table = {**OPERATIONS, **LAYERS, **VARIANTS}
    rows = {}
    for name in arguments.names or table:
        if name not in table:
            everything = "scratchgrad gradcheck without a name checks and lists all"
            raise no_such("operation, layer or variant", name, table, everything)
        rows[name] = table[name]
    return rows
