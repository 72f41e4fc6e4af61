"""``scratchgrad tokenizer encode``: text in, ids out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.names import counted
from scratchgrad.cli.output import replacing
from scratchgrad.cli.special import add_special_options, advising, as_given, special_rule
from scratchgrad.cli.tokenizer.sources import check_out, check_sources
from scratchgrad.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scratchgrad.tokenizer import BPETokenizer, CharTokenizer

_EPILOG = """\
examples:
  scratchgrad tokenizer encode tokenizer.json --text "hello world"
  scratchgrad tokenizer encode tokenizer.json book.txt --out ids.npy
  scratchgrad tokenizer encode tokenizer.json book.txt --count
  scratchgrad tokenizer encode tokenizer.json chat.txt --allow-special all"""


def add_parser(actions: Any) -> None:
    """Describe the options."""
    parser = actions.add_parser(
        "encode",
        help="turn text into ids",
        description="Turn text into ids, on stdout one line a text, or into a NumPy file.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run, rest="text")
    parser.add_argument("tokenizer", metavar="TOKENIZER", help="a saved tokenizer")
    parser.add_argument("text", nargs="*", metavar="TEXT", help="files; - for stdin")
    parser.add_argument(
        "--text", dest="string", metavar="STRING", help="this text (default: the files)"
    )
    parser.add_argument(
        "--out",
        metavar="IDS.npy",
        help="write all ids to one file, which can be memory-mapped (default: stdout)",
    )
    add_special_options(parser)
    parser.add_argument(
        "--count", action="store_true", help="print how many ids, and not which (default: which)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print ids, or write them to a file."""
    with advising():
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    texts, string = arguments.text, arguments.string
    if bool(texts) == (string is not None):
        raise ConfigError("expected either text files or --text, and not both")
    if arguments.out is not None and arguments.count:
        raise ConfigError("--count prints a number and --out writes ids; leave out one of them")
    check_out(arguments.out, [arguments.tokenizer, *texts])
    check_sources(texts)

    import numpy as np

    from scratchgrad.cli.stages import stages
    from scratchgrad.tokenizer import BPETokenizer, load_tokenizer

    tokenizer = load_tokenizer(arguments.tokenizer)
    special = special_rule(arguments, tokenizer)
    if arguments.out is None:
        for source in [None] if string is not None else texts:
            ids = _encode(tokenizer, string if source is None else source, source, special)
            print(len(ids) if arguments.count else " ".join(map(str, ids.tolist())))
        return 0
    with replacing(arguments.out) as place:
        if isinstance(tokenizer, BPETokenizer) and string is None and "-" not in texts:
            paths = [Path(text) for text in texts]
            with stages() as bar:
                ids = tokenizer.encode_file(paths, place, progress=bar, **special)
        else:
            rows = [_encode(tokenizer, string, None, special)] if string is not None else []
            rows += [_encode(tokenizer, text, text, special) for text in texts]
            ids = np.concatenate(rows)
            with open(place, "wb") as file:
                np.save(file, ids)
        count = len(ids)
        del ids  # Windows does not move a file that is still mapped
    print(f"{counted(count, 'id')}, written to {arguments.out}")
    return 0


def _encode(
    tokenizer: CharTokenizer | BPETokenizer, text: str, source: str | None, special: dict[str, Any]
) -> NDArray[Any]:
    """Encode a text, or, where it is the name of a source, what that holds."""
    from scratchgrad.tokenizer import BPETokenizer

    content: str | bytes = text
    if source is not None:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    if isinstance(tokenizer, BPETokenizer):
        if isinstance(content, str):
            content = as_given(content)
        return tokenizer.encode(content, **special)
    if isinstance(content, bytes):
        try:
            content = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{source} is not UTF-8: byte 0x{content[error.start]:02x} at offset "
                f"{error.start}; a character tokenizer needs text"
            ) from None
    return tokenizer.encode(content)
