"""``scratchgrad sample``: text from a trained model, as it comes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from scratchgrad.cli.special import add_special_options, advising, as_given, special_rule
from scratchgrad.errors import ConfigError

_EPILOG = """\
examples:
  scratchgrad sample runs/python-tiny
  scratchgrad sample runs/book-char --prompt "Once upon" --temperature 0.7 --top-k 20
  scratchgrad sample runs/chat --prompt '<|user|>Hello<|end|>' --allow-special all"""


def add_parser(commands: Any) -> None:
    """Describe the command's options."""
    parser = commands.add_parser(
        "sample",
        help="print text from a trained model",
        description="Continue a prompt with a trained model, printing it as it comes.",
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("folder", metavar="RUN", help="run folder that scratchgrad train made")
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        help='text to continue, printed too (default: a new line, or "The ")',
    )
    add_special_options(parser)
    parser.add_argument(
        "--length", type=int, default=500, metavar="N", help="tokens (default: 500)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        metavar="X",
        help="lower is more certain, 0 always takes the likeliest (default: 0.8)",
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="choose among the K likeliest (default: all)"
    )
    parser.add_argument(
        "--seed", type=int, default=1337, metavar="N", help="of the choices (default: 1337)"
    )
    parser.add_argument(
        "--num-samples", type=int, default=1, metavar="N", help="texts to print (default: 1)"
    )
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="best (lowest validation loss), last, or a step that was kept (default: best)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """Print the samples."""
    if arguments.num_samples < 1:
        raise ConfigError(f"--num-samples must be at least 1; got {arguments.num_samples}")
    if arguments.seed < 0:
        raise ConfigError(f"--seed must be 0 or more; got {arguments.seed}")

    import numpy as np

    from scratchgrad.generate import check_sampling, generate
    from scratchgrad.kernels.jit import on_compile
    from scratchgrad.kernels.threads import set_threads
    from scratchgrad.tokenizer import BPETokenizer
    from scratchgrad.train.progress import printable
    from scratchgrad.train.session import open_model

    check_sampling(arguments.length, arguments.temperature, arguments.top_k)
    if arguments.threads is not None:
        set_threads(arguments.threads, name="--threads")
    opened = open_model(arguments.folder, arguments.checkpoint)
    for note in opened.notes:
        print(f"note: {note}", file=sys.stderr)
    tokenizer = opened.tokenizer
    special = special_rule(arguments, tokenizer)
    if isinstance(tokenizer, BPETokenizer):
        with advising():
            prompt = tokenizer.encode(as_given(arguments.prompt or opened.prompt), **special)
    else:
        prompt = tokenizer.encode(arguments.prompt or opened.prompt)
    # A terminal obeys control characters that a text may hold; a file receives them as they are.
    show = printable if sys.stdout.isatty() else str
    with on_compile(_Notice()):
        for number in range(arguments.num_samples):
            if number:
                print("\n---------------")
            stream = tokenizer.stream()
            start = "".join([stream.push(token) for token in prompt.tolist()])
            # A new line that nobody asked for begins no text.
            shown = start if arguments.prompt else start.removeprefix("\n")
            print(show(shown), end="", flush=True)
            # A generator for each sample: the second does not depend on the first's length.
            rng = np.random.default_rng([arguments.seed, number])
            for token in generate(
                opened.model,
                prompt,
                arguments.length,
                rng=rng,
                temperature=arguments.temperature,
                top_k=arguments.top_k,
            ):
                print(show(stream.push(token)), end="", flush=True)
            print(show(stream.flush()), end="", flush=True)
    print()
    return 0


class _Notice:
    """Says once, and not in the text, why the first character takes its time."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, kernel: str) -> None:
        if not self._said:
            print("compiling kernels (first time only)", file=sys.stderr, flush=True)
            self._said = True
