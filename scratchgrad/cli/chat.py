"""``scratchgrad chat``: talk to a model that has learned to answer."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.opening import add_model_options, open_any
from scratchgrad.cli.printing import print_pieces, tell, telling_why_it_waits
from scratchgrad.cli.sampling import add_sampling_options, sampling_of
from scratchgrad.cli.threads import add_threads_option, set_threads_of
from scratchgrad.errors import ConfigError, DataError

if TYPE_CHECKING:
    from scratchgrad.interop.conversation import Conversation

MISTAKE, INTERRUPTED = 2, 130

_EPILOG = """\
A line is a message. An empty line is none. The end of the input (Ctrl-D) ends the conversation;
Ctrl-C stops an answer, and at your turn ends it too. A message that cannot be answered, being too
long say, is named, and the next one is taken; if it did not come from a terminal, the exit code is
2 then.

examples:
  scratchgrad chat smollm2
  scratchgrad chat models/smollm2 --system "Answer in one sentence." --temperature 0.2
  scratchgrad chat smollm2 --greedy --prompt "What is the capital of France?"
  scratchgrad chat smollm2 < questions.txt > answers.txt"""


def add_parser(commands: Any) -> None:
    """Describe the command's options."""
    parser = commands.add_parser(
        "chat",
        help="talk to a model",
        description="Talk to a model, in the form that its chat template says; answers are printed "
        "as they come.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    add_model_options(parser)
    parser.add_argument(
        "--system", metavar="TEXT", help="what the model is told first (default: the template's)"
    )
    parser.add_argument(
        "--prompt", metavar="TEXT", help="answer this and end (default: read messages, a line each)"
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=512,
        metavar="N",
        help="the longest answer (default: 512)",
    )
    add_sampling_options(parser)
    add_threads_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer what is said."""
    if arguments.max_tokens < 1:
        raise ConfigError(f"--max-tokens must be at least 1; got {arguments.max_tokens}")
    if arguments.prompt is not None and not arguments.prompt.strip():
        raise ConfigError("--prompt: expected a message; got an empty one")

    import numpy as np

    from scratchgrad.interop.conversation import Conversation

    sampling = sampling_of(arguments)
    set_threads_of(arguments)
    pretrained = open_any(arguments.model, arguments.checkpoint)
    for note in pretrained.notes:
        tell(note)
    conversation = Conversation(pretrained, arguments.system, tell)
    settings = {
        "rng": np.random.default_rng(arguments.seed),
        "sampling": sampling,
        "max_new_tokens": arguments.max_tokens,
    }
    if arguments.prompt is not None:
        _print_answer(conversation, arguments.prompt, settings)
        return 0
    return _talk(conversation, settings)


def _talk(conversation: Conversation, settings: dict[str, Any]) -> int:
    terminal, code = sys.stdin.isatty(), 0
    try:
        for number, line in enumerate(_lines(terminal), 1):
            if not line.strip():
                continue
            try:
                _print_answer(conversation, line, settings)
            except DataError as error:  # what is wrong with one message ends no conversation
                if terminal:
                    tell(str(error))
                else:
                    tell(f"line {number} is not answered: {error}")
                    code = MISTAKE  # a script should know
            except KeyboardInterrupt:
                if not terminal:
                    raise
                print()
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    return code


def _lines(terminal: bool) -> Iterator[str]:
    """The messages, without the newlines at their ends."""
    if not terminal:
        # Of bytes that are no text something is shown, and the rest is answered.
        with contextlib.suppress(AttributeError, ValueError):
            sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
        for line in sys.stdin:
            yield line.removesuffix("\n")
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (lines can be edited, and former ones called up)
    with contextlib.suppress(EOFError):
        while True:
            yield input("> ")
    print()


def _print_answer(conversation: Conversation, message: str, settings: dict[str, Any]) -> None:
    answer = conversation.answer(message, **settings)
    with telling_why_it_waits(), contextlib.closing(answer) as pieces:
        print_pieces(pieces)
    print(flush=True)
