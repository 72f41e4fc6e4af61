"""``scratchgrad tokenizer ACTION``: one file an action, as elsewhere one file a command."""

from __future__ import annotations

from typing import Any

from scratchgrad.cli.tokenizer import decode, encode, show, train

_DESCRIPTION = """\
Byte-pair encoding: learn a vocabulary from text, turn text into ids and back, look inside one."""

_EPILOG = """\
examples:
  scratchgrad tokenizer train books/ --vocab-size 8192 --out tokenizer.json
  scratchgrad tokenizer show tokenizer.json --text book.txt
  scratchgrad tokenizer encode tokenizer.json book.txt --out ids.npy
  scratchgrad tokenizer decode tokenizer.json ids.npy --out again.txt

TOKENIZER is a file that scratchgrad wrote, characters or byte pairs, or any other that it reads.
exit codes: 0 done, 2 a mistake in what was asked."""


def add_parser(commands: Any) -> None:
    """Describe the command and what it can do."""
    parser = commands.add_parser(
        "tokenizer",
        help="learn a byte-pair vocabulary, encode, decode, look inside",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    for action in (train, encode, decode, show):
        action.add_parser(actions)
