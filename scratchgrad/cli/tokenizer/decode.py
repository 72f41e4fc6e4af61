"""``scratchgrad tokenizer decode``: ids in, text out."""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.output import replacing
from scratchgrad.cli.tokenizer.sources import check_out
from scratchgrad.errors import DataError, IdRangeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scratchgrad.tokenizer import BPETokenizer, CharTokenizer

# Ids that are decoded at once.
_BLOCK = 1 << 20

_EPILOG = """\
examples:
  scratchgrad tokenizer decode tokenizer.json 72 105
  scratchgrad tokenizer decode tokenizer.json ids.npy --out book.txt
  scratchgrad tokenizer encode tokenizer.json book.txt | scratchgrad tokenizer decode \\
      tokenizer.json -

The bytes are written exactly, without a new line after them."""


def add_parser(actions: Any) -> None:
    """Describe the options."""
    parser = actions.add_parser(
        "decode",
        help="turn ids into text",
        description="Turn ids into the bytes that they stand for.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run, rest="ids")
    parser.add_argument("tokenizer", metavar="TOKENIZER", help="a saved tokenizer")
    parser.add_argument(
        "ids",
        nargs="+",
        metavar="IDS",
        help="a .npy file, or a text file of numbers; - for numbers on stdin; or numbers",
    )
    parser.add_argument("--out", metavar="FILE", help="write the bytes here (default: stdout)")


def run(arguments: argparse.Namespace) -> int:
    """Write the bytes of ids."""
    check_out(arguments.out, [arguments.tokenizer, *arguments.ids])

    from scratchgrad.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(arguments.tokenizer)
    ids = _read_ids(arguments.ids)
    _check_range(ids, tokenizer.vocab_size)
    blocks = _decoded(tokenizer, ids)
    if arguments.out is not None:
        with replacing(arguments.out) as place, open(place, "wb") as file:
            for block in blocks:
                file.write(block)
        return 0
    sys.stdout.flush()
    for block in blocks:
        rest = memoryview(block)
        while rest:  # with python -u, one write may take only a part
            rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()
    return 0


def _read_ids(words: list[str]) -> NDArray[Any]:
    import numpy as np

    if len(words) > 1 or re.fullmatch(r"[+-]?\d+", words[0]):
        return _numbers(words, "the command line")
    (name,) = words
    if name == "-":
        return _numbers(sys.stdin.read().split(), "stdin")
    path = Path(name)
    if not path.exists():
        raise DataError(f"{name} is neither a number nor a file; expected ids")
    if path.is_dir():
        raise DataError(f"{name} is a folder; expected a .npy file, or a text file of numbers")
    with open(path, "rb") as file:
        start = file.read(6)
        if start != b"\x93NUMPY":  # read on: a pipe has each byte once
            return _numbers((start + file.read()).decode("utf-8", "replace").split(), name)
        piped = None if path.is_file() else io.BytesIO(start + file.read())
    try:
        # No pickle: an array of objects is refused.
        ids: NDArray[Any] = (
            np.load(path, mmap_mode="r", allow_pickle=False)
            if piped is None
            else np.load(piped, allow_pickle=False)
        )
    except (ValueError, OSError, EOFError):
        raise DataError(
            f"cannot read ids from {name}: it is cut short or damaged, or holds Python objects"
        ) from None
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise DataError(
            f"{name}: expected a row of whole numbers; got dtype {ids.dtype}, shape {ids.shape}"
        )
    return ids


def _numbers(words: list[str], where: str) -> NDArray[np.int64]:
    import numpy as np

    for place, word in enumerate(words):
        # 18 digits fit into 64 bits; no vocabulary is larger.
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", word):
            raise DataError(f"{where}: {word[:40]!r} at position {place} is no id")
    return np.array([int(word) for word in words], dtype=np.int64)


def _check_range(ids: NDArray[Any], size: int) -> None:
    """Look at all ids before the first byte is written."""
    for start in range(0, len(ids), _BLOCK):
        block = ids[start : start + _BLOCK]
        outside = (block < 0) | (block >= size)
        if outside.any():
            place = int(outside.argmax())
            raise IdRangeError(
                f"id {block[place]} at position {start + place} is outside the vocabulary; "
                f"expected 0 to {size - 1}"
            )


def _decoded(tokenizer: CharTokenizer | BPETokenizer, ids: NDArray[Any]) -> Iterator[bytes]:
    from scratchgrad.tokenizer import BPETokenizer

    if not isinstance(tokenizer, BPETokenizer):
        for start in range(0, len(ids), _BLOCK):
            text = tokenizer.decode(ids[start : start + _BLOCK])
            yield text.encode("utf-8", "surrogatepass")
        return
    # A space that was put before the text is taken away once, so that text is decoded whole.
    block = len(ids) if tokenizer.vocabulary.prefix_space else _BLOCK
    for start in range(0, len(ids), max(block, 1)):
        yield tokenizer.decode_bytes(ids[start : start + block])
