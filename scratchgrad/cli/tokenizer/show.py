"""``scratchgrad tokenizer show``: what is in a vocabulary, and what it is worth."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.names import counted
from scratchgrad.cli.output import write_output
from scratchgrad.cli.tokenizer.sources import check_out
from scratchgrad.errors import ConfigError, DataError

if TYPE_CHECKING:
    from scratchgrad.tokenizer import BPETokenizer, CharTokenizer

_EPILOG = """\
examples:
  scratchgrad tokenizer show tokenizer.json --merges 100
  scratchgrad tokenizer show tokenizer.json --text book.txt --picture compression.png
  scratchgrad tokenizer show runs/book-char/tokenizer.json
  scratchgrad tokenizer show tokenizer.json --merges 1000000 --json -

columns of the merges: the rank, the two tokens, what they become and its id, and how often the two
stood side by side in the text they were learned from when it came to them, if the file says so."""


def add_parser(actions: Any) -> None:
    """Describe the options."""
    parser = actions.add_parser(
        "show",
        help="look inside a tokenizer",
        description="Show the merges in order, the longest tokens, and how short a text becomes.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("tokenizer", metavar="TOKENIZER", help="a saved tokenizer")
    parser.add_argument(
        "--text", metavar="FILE", help="encode this and say how short it becomes (default: no)"
    )
    parser.add_argument(
        "--merges", type=int, default=20, metavar="N", help="the first N merges (default: 20)"
    )
    parser.add_argument(
        "--longest", type=int, default=10, metavar="N", help="the N longest tokens (default: 10)"
    )
    parser.add_argument(
        "--picture",
        metavar="FILE.png",
        help="draw bytes a token of --text against the size of the vocabulary (default: no)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write it all; - for stdout only (default: no)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Look, and print."""
    for option in ("merges", "longest"):
        if getattr(arguments, option) < 0:
            raise ConfigError(f"--{option} must be 0 or more; got {getattr(arguments, option)}")
    picture = arguments.picture
    if picture is not None and arguments.text is None:
        raise ConfigError("--picture: needs a --text to compress")
    json_file = None if arguments.json == "-" else arguments.json
    read = [arguments.tokenizer, *([] if arguments.text is None else [arguments.text])]
    check_out(json_file, read, "--json")
    check_out(picture, read, "--picture")
    if picture and json_file and Path(picture).resolve() == Path(json_file).resolve():
        raise ConfigError(f"--json and --picture both name {picture}; name another file for one")
    if picture and not picture.lower().endswith(".png"):
        raise ConfigError(f"--picture: expected a name that ends in .png, got {picture}")

    from scratchgrad.tokenizer import BPETokenizer, load_tokenizer

    tokenizer = load_tokenizer(arguments.tokenizer)
    if picture and not isinstance(tokenizer, BPETokenizer):
        raise ConfigError(f"--picture: {arguments.tokenizer} has characters, and no merges to draw")
    text = None if arguments.text is None else _read(arguments.text)
    if isinstance(tokenizer, BPETokenizer):
        report = _byte_pairs(tokenizer, arguments.merges, arguments.longest)
    else:
        report = _characters(tokenizer)
    report = {"schema": 1, "file": arguments.tokenizer, **report}
    if text is not None:
        report["text"] = _worth(tokenizer, arguments.text, text)
    if picture and text is not None and isinstance(tokenizer, BPETokenizer):
        report["compression"] = _draw(tokenizer, arguments.text, text, picture)
    if arguments.json == "-":
        print(json.dumps(report, indent=2))
        return 0
    if arguments.json:
        write_output(arguments.json, (json.dumps(report, indent=2) + "\n").encode())
    print("\n".join(_lines(report)))
    if picture:
        print(f"\npicture: {picture}")
    return 0


def _read(path: str) -> bytes:
    if path != "-" and Path(path).is_dir():
        raise DataError(f"{path} is a folder; --text takes one file, or - for stdin")
    text = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    if not text:
        raise DataError(f"{path} is empty; expected a file with some text")
    return text


def _byte_pairs(tokenizer: BPETokenizer, merges: int, longest_count: int) -> dict[str, Any]:
    from scratchgrad.tokenizer.inspect import longest, merge_order

    vocabulary, pattern = tokenizer.vocabulary, tokenizer.pattern
    counts = vocabulary.counts
    rows = []
    for row in merge_order(vocabulary)[:merges].tolist():
        left, right, result, rank = vocabulary.merges[row].tolist()
        rows.append(
            {
                "rank": rank,
                "left": _token(tokenizer, left),
                "right": _token(tokenizer, right),
                "result": _token(tokenizer, result),
                "count": None if counts is None else int(counts[row]),
            }
        )
    return {
        "kind": "byte pairs",
        "vocab_size": tokenizer.vocab_size,
        "tokens": sum(token is not None for token in vocabulary.tokens),
        "merge_count": len(vocabulary.merges),
        "pattern": {"name": pattern.name, "string": pattern.string},
        "special_tokens": dict(tokenizer.special_tokens),
        "merges": rows,
        "longest": [_token(tokenizer, id_) for id_ in longest(vocabulary, longest_count)],
    }


def _characters(tokenizer: CharTokenizer) -> dict[str, Any]:
    return {
        "kind": "characters",
        "vocab_size": tokenizer.vocab_size,
        "characters": list(tokenizer.characters),
    }


def _token(tokenizer: BPETokenizer, id_: int) -> dict[str, Any]:
    from scratchgrad.tokenizer.inspect import visible

    token = tokenizer.token_bytes(id_)
    return {"id": id_, "shown": visible(token), "hex": token.hex()}


def _worth(tokenizer: CharTokenizer | BPETokenizer, name: str, text: bytes) -> dict[str, Any]:
    from scratchgrad.tokenizer import BPETokenizer

    if isinstance(tokenizer, BPETokenizer):
        # A special token in the text is ordinary text here: it is measured, not used.
        tokens = len(tokenizer.encode(text, disallowed_special=()))
    else:
        try:
            tokens = len(tokenizer.encode(text.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise DataError(f"{name} is not UTF-8 at offset {error.start}") from None
    return {"name": name, "bytes": len(text), "tokens": tokens, "per_token": len(text) / tokens}


def _draw(tokenizer: BPETokenizer, name: str, text: bytes, picture: str) -> list[dict[str, Any]]:
    from scratchgrad.cli.stages import stages
    from scratchgrad.tokenizer.inspect import compression

    points = []
    with stages() as bar:
        for point in compression(tokenizer, text):
            points.append(point)
            if bar is not None:
                bar("encoding", point.vocab_size, tokenizer.vocab_size)
    # Matplotlib takes its time to import, and only a picture needs it.
    from scratchgrad.tokenizer.picture import draw_compression

    content = io.BytesIO()
    title = "stdin" if name == "-" else Path(name).name
    draw_compression(points, len(text), content, title=f"Bytes a token on {title}")
    write_output(picture, content.getvalue())
    return [
        {
            "vocab_size": point.vocab_size,
            "tokens": point.tokens,
            "per_token": len(text) / point.tokens,
        }
        for point in points
    ]


def _lines(report: dict[str, Any]) -> list[str]:
    from scratchgrad.train.progress import printable

    if report["kind"] == "characters":
        # Quotes apart: a new line is to be seen, and not obeyed.
        shown = " ".join(repr(character)[1:-1] for character in report["characters"])
        lines = [f"{report['file']}: {counted(report['vocab_size'], 'character')}", "", shown]
    else:
        lines = _byte_pair_lines(report)
    if "text" in report:
        text = report["text"]
        lines += [
            "",
            f"text {text['name']}: {counted(text['bytes'], 'byte')}, "
            f"{counted(text['tokens'], 'token')}, {text['per_token']:.2f} bytes a token",
        ]
    if "compression" in report:
        lines += ["", "  tokens in the vocabulary   bytes a token"]
        lines += [
            f"  {point['vocab_size']:>24,} {point['per_token']:>15.2f}"
            for point in report["compression"]
        ]
    return [printable(line) for line in lines]


def _byte_pair_lines(report: dict[str, Any]) -> list[str]:
    merges, special = report["merges"], report["special_tokens"]
    pattern = report["pattern"]
    name = pattern["name"] or "a pattern of its own"
    lines = [
        f"{report['file']}: {report['tokens']:,} tokens, "
        f"{counted(report['merge_count'], 'merge')}, {len(special)} special",
        f"pattern  {name}" + (f": {pattern['string']}" if pattern["string"] else ""),
    ]
    lines += [f"special  {text!r} {id_}" for text, id_ in special.items()]
    if merges:
        lines += ["", f"merges: the first {len(merges):,} of {report['merge_count']:,}"]
        table = [("rank", "left", "right", "becomes", "id", "count")] + [
            (
                f"{merge['rank']:,}",
                merge["left"]["shown"],
                merge["right"]["shown"],
                merge["result"]["shown"],
                str(merge["result"]["id"]),
                "" if merge["count"] is None else f"{merge['count']:,}",
            )
            for merge in merges
        ]
        lines += _table(table, right=(0, 4, 5))
    if report["longest"]:
        lines += ["", "longest tokens"]
        table = [("bytes", "token", "id")] + [
            (str(len(token["hex"]) // 2), token["shown"], str(token["id"]))
            for token in report["longest"]
        ]
        lines += _table(table, right=(0, 2))
    return lines


def _table(rows: list[tuple[str, ...]], right: tuple[int, ...]) -> list[str]:
    """Lay rows out in columns; those of numbers are flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
