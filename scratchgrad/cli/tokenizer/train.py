"""``scratchgrad tokenizer train``: text in, a vocabulary out."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.names import counted, no_such
from scratchgrad.cli.output import replacing
from scratchgrad.cli.special import as_given
from scratchgrad.cli.threads import add_threads_option, set_threads_of
from scratchgrad.cli.tokenizer.sources import check_out, check_sources, is_stream, read_stream
from scratchgrad.errors import ConfigError

if TYPE_CHECKING:
    from scratchgrad.tokenizer import BPETokenizer

# Repeated here, for --help must not import what knows them; a test holds them together.
PATTERNS = ("gpt2", "cl100k", "o200k", "none")
DEFAULT_PATTERN = "gpt2"

_EPILOG = """\
examples:
  scratchgrad tokenizer train book.txt --out tokenizer.json
  scratchgrad tokenizer train books/ --vocab-size 32768 --pattern cl100k \\
      --special '<|endoftext|>' --special '<|pad|>' --out tokenizer.json
  zcat books.gz | scratchgrad tokenizer train - --out tokenizer.json

A vocabulary counts the 256 bytes, the merges and the special tokens. Files may be larger than
memory; what comes through - or a pipe is read whole."""


def add_parser(actions: Any) -> None:
    """Describe the options."""
    parser = actions.add_parser(
        "train",
        help="learn a vocabulary from text",
        description="Learn a byte-pair vocabulary from files, folders or, where TEXT is -, stdin.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run, rest="text")
    parser.add_argument("text", nargs="+", metavar="TEXT", help="files and folders; - for stdin")
    parser.add_argument("--out", required=True, metavar="FILE.json", help="the tokenizer to write")
    parser.add_argument(
        "--vocab-size", type=int, default=4096, metavar="N", help="tokens (default: 4096)"
    )
    parser.add_argument(
        "--pattern",
        default=DEFAULT_PATTERN,
        metavar="NAME",
        help=f"how text is cut before pairs are counted: {', '.join(PATTERNS)}, or a regular "
        f"expression whose matches are the pieces (default: {DEFAULT_PATTERN})",
    )
    parser.add_argument(
        "--special",
        action="append",
        default=[],
        metavar="TOKEN",
        help="a special token such as <|endoftext|>, may be repeated (default: none)",
    )
    parser.add_argument(
        "--min-frequency",
        type=int,
        default=1,
        metavar="N",
        help="merge no pair that is rarer (default: 1)",
    )
    parser.add_argument(
        "--tie-break",
        choices=("smallest", "greatest"),
        default="smallest",
        help="of pairs that are as frequent: the smallest pair of ids, or the lexicographically "
        "greatest (default: smallest)",
    )
    add_threads_option(parser)
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="print only a note if there are fewer merges (default: progress and the result)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Learn a vocabulary, and say what came of it."""
    check_out(arguments.out, arguments.text)
    for number, special in enumerate(arguments.special):
        try:
            special.encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigError(f"--special: expected UTF-8; got {as_given(special)!r}") from None
        if special in arguments.special[:number]:
            raise ConfigError(f"--special: {special!r} is given twice; once is enough")
    if arguments.min_frequency < 1:
        raise ConfigError(f"--min-frequency must be at least 1; got {arguments.min_frequency}")
    lowest = 256 + len(arguments.special)
    if arguments.vocab_size < lowest:
        special = counted(len(arguments.special), "special token")
        raise ConfigError(
            f"--vocab-size must be at least {lowest}, for 256 bytes and {special}; "
            f"got {arguments.vocab_size}"
        )
    # A word is meant as a name: as an expression it would match itself alone.
    if arguments.pattern not in PATTERNS and re.fullmatch(r"[\w.-]+", arguments.pattern):
        known = f"there are {', '.join(PATTERNS)}; an expression needs more than a word"
        raise no_such("pattern", arguments.pattern, PATTERNS, known)
    check_sources(arguments.text)

    from scratchgrad.cli.stages import stages
    from scratchgrad.tokenizer import BPETokenizer

    set_threads_of(arguments)
    tokenizer = BPETokenizer(pattern=arguments.pattern, special_tokens=arguments.special)
    sources = [read_stream(t) if is_stream(t) else Path(t) for t in arguments.text]
    began = time.perf_counter()
    with stages(quiet=arguments.quiet) as bar, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        watch = _Watch(bar)
        tokenizer.train(
            sources,
            arguments.vocab_size,
            min_frequency=arguments.min_frequency,
            tie_break=arguments.tie_break,
            progress=watch,
        )
    seconds = time.perf_counter() - began
    with replacing(arguments.out) as place:
        tokenizer.save(place)
    for warning in caught:
        print(f"note: {warning.message}", file=sys.stderr)
    if not arguments.quiet:
        _say_learned(tokenizer, watch.size, seconds, arguments.out)
    return 0


class _Watch:
    """Passes the progress on, and remembers how long the text was."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self.size = 0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if stage == "counting":
            self.size = done
        if self._bar is not None:
            self._bar(stage, done, total)


def _say_learned(tokenizer: BPETokenizer, size: int, seconds: float, out: str) -> None:
    vocabulary = tokenizer.vocabulary
    merges, special = len(vocabulary.merges), len(vocabulary.special_tokens)
    parts = [f"{tokenizer.vocab_size - merges - special} bytes", counted(merges, "merge")]
    if special:
        parts.append(f"{special} special")
    print(f"{tokenizer.vocab_size:,} tokens: {', '.join(parts)}; {seconds:.1f} s")
    # If the last merge is rare, the vocabulary is larger than the text bears.
    counts = [] if vocabulary.counts is None else vocabulary.counts.tolist()
    rare = f"; the last merge occurs {counted(counts[-1], 'time')}" if counts else ""
    print(f"text   {counted(size, 'byte')}{rare}")
    print(f"wrote  {out}")
    print(f"next:  scratchgrad tokenizer show {shlex.quote(out)}")
    print(f"       scratchgrad train TEXT --tokenizer {shlex.quote(out)}")
