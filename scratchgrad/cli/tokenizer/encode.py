"""``scratchgrad tokenizer encode``: text in, ids out."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.names import counted
from scratchgrad.cli.output import replacing
from scratchgrad.cli.special import add_special_options, advising, as_given, special_rule
from scratchgrad.cli.tokenizer.sources import check_out, check_sources, is_stream, read_source
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
    parser.add_argument("text", nargs="*", metavar="TEXT", help="files and folders; - for stdin")
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
    # Of each text the names and contents of its files: a folder has many.
    contents: Iterable[Iterable[tuple[str, str | bytes]]] = map(read_source, texts)
    if string is not None:
        contents = [[("--text", string)]]
    if arguments.out is None:
        for content in contents:
            ids = _encode(tokenizer, content, special)
            print(len(ids) if arguments.count else " ".join(map(str, ids.tolist())))
        return 0
    with replacing(arguments.out) as place:
        if isinstance(tokenizer, BPETokenizer) and texts and not any(map(is_stream, texts)):
            paths = [Path(text) for text in texts]
            with stages() as bar:
                ids = tokenizer.encode_file(paths, place, progress=bar, **special)
        else:
            ids = np.concatenate([_encode(tokenizer, content, special) for content in contents])
            with open(place, "wb") as file:
                np.save(file, ids)
        count = len(ids)
        del ids  # Windows does not move a file that is still mapped
    print(f"{counted(count, 'id')}, written to {arguments.out}")
    return 0


def _encode(
    tokenizer: CharTokenizer | BPETokenizer,
    contents: Iterable[tuple[str, str | bytes]],
    special: dict[str, Any],
) -> NDArray[Any]:
    """Encode named contents, one after the other, into one row of ids."""
    import numpy as np

    from scratchgrad.tokenizer import BPETokenizer

    rows = []
    for name, content in contents:
        if isinstance(tokenizer, BPETokenizer):
            given = as_given(content) if isinstance(content, str) else content
            rows.append(tokenizer.encode(given, **special))
        else:
            rows.append(tokenizer.encode(_characters(name, content)))
    return np.concatenate(rows)


def _characters(name: str, content: str | bytes) -> str:
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8: byte 0x{content[error.start]:02x} at offset "
            f"{error.start}; a character tokenizer needs text"
        ) from None
