"""The command line: ``scratchgrad COMMAND …``. One file a command; parses, calls, prints.

A command's module imports nothing slow at its top, so that ``--help`` answers at once. Each has
``add_parser(commands)``, which describes its options, and ``run(arguments)``, which returns the
exit code. Exit codes: 0 done, 1 a gradient or a kernel is wrong, 2 a mistake of the user's, 130
stopped by Ctrl-C, 141 the reader of the output went away.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from scratchgrad import __version__
from scratchgrad.cli import (
    bench,
    chat,
    doctor,
    export,
    gradcheck,
    import_,
    sample,
    tokenizer,
    train,
)
from scratchgrad.errors import ConfigError, ScratchgradError

MISTAKE, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all the others."""

    def __init__(self, **options: Any) -> None:
        # An abbreviation would change its meaning when an option is added.
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        self.exit(MISTAKE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def make_parser() -> Parser:
    """Describe every command and option."""
    parser = Parser(
        prog="scratchgrad",
        description="Train a GPT from raw text, every gradient computed by hand-written code.",
        epilog="Begin with:  scratchgrad train",
    )
    parser.add_argument("--version", action="version", version=f"scratchgrad {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for command in (train, sample, chat, tokenizer, import_, export, gradcheck, bench, doctor):
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr."""
    if not _has_streams():
        return MISTAKE
    for stream in (sys.stdout, sys.stderr):
        # A console with few characters shows a question mark instead of ending the run.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        arguments, unknown = make_parser().parse_known_args(argv)
    except SystemExit as finished:  # after --help, --version and argparse's own errors
        return finished.code if isinstance(finished.code, int) else MISTAKE
    # A command may have actions of its own: scratchgrad tokenizer train.
    words = ["scratchgrad", arguments.command, getattr(arguments, "action", None)]
    name = " ".join(filter(None, words))
    try:
        _take_rest(arguments, unknown, f"see {name} --help")
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except ScratchgradError as error:
        # Who says it in the library is of no use here.
        return _complain(f"{name}: error: " + re.sub(r"\b\w+Tokenizer\.\w+: ", "", str(error)))
    except BrokenPipeError:
        # Python would try to flush once more at its end, and complain.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _complain(f"{name}: error: {error.strerror or error}{where}")
    except MemoryError as error:
        return _complain(f"{name}: error: out of memory ({error}); take a smaller model or batch")
    except KeyboardInterrupt as abort:
        _complain("; ".join([f"{name}: aborted", *map(str, abort.args)]))
        return INTERRUPTED


class _Closed(io.RawIOBase):
    """A closed standard input, which says so to whoever reads it."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> NoReturn:
        raise ConfigError("standard input is closed; give one, such as < FILE")


def _has_streams() -> bool:
    """Whether there is a standard output; what else a shell may have closed is stood in for.

    Python has None for a stream that was closed before it began (``>&-``).
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Closed()), encoding="utf-8")
    if sys.stdout is None:
        print(
            "scratchgrad: error: standard output is closed; give one, such as > FILE",
            file=sys.stderr,
        )
        return False
    return True


def _take_rest(arguments: argparse.Namespace, unknown: list[str], advice: str) -> None:
    """Give a command the words that stand after options between them.

    argparse fills a row of words, such as ``TEXT …``, once: ``encode TOKENIZER --count TEXT``
    leaves TEXT over. A parser that has such a row names it in its default ``rest``.
    """
    words, ended = [], False
    for place, word in enumerate(unknown):
        if not ended and word == "--":
            ended = True
        elif not ended and word.startswith("-") and not re.fullmatch(r"-\d*", word):
            raise ConfigError(f"no such option: {' '.join(unknown[place:])}; {advice}")
        else:
            words.append(word)
    if words:
        if (row := getattr(arguments, "rest", None)) is None:
            raise ConfigError(f"one word too many: {words[0]}; {advice}")
        getattr(arguments, row).extend(words)


def _complain(message: str) -> int:
    with contextlib.suppress(OSError):  # the reader of the output may be gone
        sys.stdout.flush()
    # A message is one line, whatever stands in a file name or in the text of an error below.
    print(" ".join(message.split()), file=sys.stderr)
    return MISTAKE
