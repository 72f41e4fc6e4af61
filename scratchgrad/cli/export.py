"""``scratchgrad export``: a model into a folder that transformers loads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from scratchgrad.cli.opening import add_model_options

_EPILOG = """\
examples:
  scratchgrad export runs/book-char --to gpt2 --out exported/book
  scratchgrad export stories260K.bin --to llama --out exported/stories260K

then, in Python:
  model = transformers.AutoModelForCausalLM.from_pretrained("exported/book")"""


def add_parser(commands: Any) -> None:
    """Describe the command's options."""
    parser = commands.add_parser(
        "export",
        help="write a model for transformers",
        description="Write a trained model in Hugging Face's layout of GPT-2 or Llama (with a\n"
        "sliding window: Mistral), which transformers loads. A model that the layout\n"
        "cannot say exactly is refused.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    add_model_options(parser)
    parser.add_argument(
        "--to", required=True, choices=("gpt2", "llama"), help="the layout to write"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a model that is there (default: refuse)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read, and write."""
    from scratchgrad.cli.opening import described, open_any
    from scratchgrad.interop.huggingface import write_folder
    from scratchgrad.interop.model_folder import check_free

    out = Path(arguments.out)
    check_free(out, arguments.overwrite, arguments.model)  # before the work
    opened = open_any(arguments.model, arguments.checkpoint)
    notes = write_folder(opened, arguments.to, out, overwrite=arguments.overwrite)
    for line in described(opened):
        print(line)
    for note in opened.notes + notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"written to {out}")
    return 0
