"""``scratchgrad sample``: text from a trained model, as it comes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.opening import add_model_options, open_any
from scratchgrad.cli.printing import print_pieces, tell, telling_why_it_waits
from scratchgrad.cli.sampling import (
    add_sampling_options,
    add_stop_options,
    sampling_of,
    stop_strings_of,
    stop_tokens_of,
)
from scratchgrad.cli.special import add_special_options, advising, as_given, special_rule
from scratchgrad.cli.threads import add_threads_option, set_threads_of
from scratchgrad.errors import ConfigError, DataError

if TYPE_CHECKING:
    from scratchgrad.generate import Sampling
    from scratchgrad.interop.pretrained import Pretrained
    from scratchgrad.tokenizer import Tokenizer

# Several texts are made at once, but no more than this: each has keys and values of its own, and
# products of more rows sum in another order, so that a text could depend on how many there are.
TOGETHER = 12

_EPILOG = """\
examples:
  scratchgrad sample runs/python-tiny
  scratchgrad sample runs/book-char --prompt "Once upon" --temperature 0.7 --top-k 20
  scratchgrad sample runs/book-char --prompt "Once upon" --min-p 0.1 --num-samples 5
  scratchgrad sample runs/book-char --prompt "Q: Why?" --greedy --stop "Q:"
  scratchgrad sample smollm2 --prompt "The capital of France is" --greedy --length 20
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
    add_model_options(parser)
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        help="text to continue, printed too (default: what the model's texts begin with)",
    )
    parser.add_argument(
        "--tokenizer", metavar="FILE", help="tokenizer file (default: the model's own)"
    )
    add_special_options(parser)
    parser.add_argument(
        "--length", type=int, default=500, metavar="N", help="most tokens (default: 500)"
    )
    parser.add_argument(
        "--num-samples",
        type=int,
        default=1,
        metavar="N",
        help="texts to print; several are made at once (default: 1)",
    )
    add_sampling_options(parser)
    add_stop_options(parser)
    add_threads_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the samples."""
    if arguments.num_samples < 1:
        raise ConfigError(f"--num-samples must be at least 1; got {arguments.num_samples}")
    if arguments.length < 0:
        raise ConfigError(f"--length must be 0 or more tokens; got {arguments.length}")
    if arguments.prompt == "":
        raise ConfigError(
            "--prompt: expected a text; got an empty one; leave --prompt out for the default"
        )
    sampling = sampling_of(arguments)
    stop_strings_of(arguments)  # refuses what will not do before a model is read
    set_threads_of(arguments)
    opened = open_any(arguments.model, arguments.checkpoint, arguments.tokenizer)
    for note in opened.notes:
        tell(note)
    writer = _Writer(arguments, opened, sampling)
    try:
        with telling_why_it_waits():
            for number, pieces in enumerate(writer.texts()):
                if number:
                    print("\n---------------")
                print_pieces(pieces)
        print()
    finally:
        if writer.slid:
            tell(writer.slid)
    return 0


def _prompt(
    arguments: argparse.Namespace, opened: Pretrained, tokenizer: Tokenizer
) -> tuple[list[int], list[int]]:
    """The ids to continue, and those of them that are shown.

    The user's text must fit the context; a default one is cut to it.
    """
    from scratchgrad.interop.known import check_known
    from scratchgrad.tokenizer import BPETokenizer

    block_size = opened.model.config.block_size
    special = special_rule(arguments, tokenizer)
    given = arguments.prompt is not None
    text = arguments.prompt if given else opened.prompt
    # A new text begins with the token for that, or else as after the end of another one.
    begin = [opened.begin] if opened.begin is not None else []
    if not text and not begin:
        begin, text = list(opened.stop[:1]), "" if opened.stop else "\n"
    if isinstance(tokenizer, BPETokenizer):
        with advising():
            shown = tokenizer.encode(as_given(text), **special).tolist()
    else:
        shown = tokenizer.encode(text).tolist()
    check_known(opened, shown, "--prompt" if given else "the default prompt")
    ids = begin + shown
    if not given:
        return ids[-block_size:], shown[-block_size:]
    if len(ids) > block_size:
        raise DataError(
            f"--prompt: expected at most {block_size} tokens, the model's context; got {len(ids)}; "
            f"shorten it"
        )
    return ids, shown


class _Writer:
    """Texts from one prompt, in pieces.

    Attributes
    ----------
    slid : str
        What to say of a text that has outgrown the context, once one has.
    """

    def __init__(
        self, arguments: argparse.Namespace, opened: Pretrained, sampling: Sampling
    ) -> None:
        self._arguments, self._model, self._sampling = arguments, opened.model, sampling
        if opened.tokenizer is None:
            raise ConfigError(f"{opened.source} has no tokenizer; give one with --tokenizer FILE")
        self._tokenizer = opened.tokenizer
        self._prompt, self._shown = _prompt(arguments, opened, opened.tokenizer)
        self._stops = stop_tokens_of(
            arguments, opened.tokenizer, opened.stop, opened.model.config.vocab_size
        )
        self.slid = ""

    def texts(self) -> Iterator[Iterator[str]]:
        """The pieces of each text: one alone as they come, several as they are done."""
        wanted = self._arguments.num_samples
        if wanted == 1:
            yield self._one()
            return
        for first in range(0, wanted, TOGETHER):
            for text in self._several(range(first, min(first + TOGETHER, wanted))):
                yield iter([text])

    def _on_slide(self, block_size: int) -> None:
        self.slid = (
            f"the text outgrew the context of {block_size} tokens: beyond it the model saw the "
            f"last {block_size} only, and each token cost a pass over all of them"
        )

    def _rng(self, number: int) -> Any:
        """A generator for each sample: the second does not depend on the first's length."""
        import numpy as np

        return np.random.default_rng([self._arguments.seed, number])

    def _one(self) -> Iterator[str]:
        from scratchgrad.generate import generate

        text = self._new_text()
        yield text.begin(self._shown)
        for token in generate(
            self._model,
            self._prompt,
            self._arguments.length,
            rng=self._rng(0),
            sampling=self._sampling,
            stop_tokens=self._stops,
            on_slide=self._on_slide,
        ):
            yield text.push(token)
            if text.ended:
                break
        yield text.flush()

    def _several(self, numbers: range) -> list[str]:
        import numpy as np

        from scratchgrad.generate import generate_rows

        texts = [self._new_text() for _ in numbers]
        pieces = [[text.begin(self._shown)] for text in texts]
        for tokens in generate_rows(
            self._model,
            np.tile(self._prompt, (len(texts), 1)),
            self._arguments.length,
            rngs=[self._rng(number) for number in numbers],
            sampling=self._sampling,
            stop_tokens=self._stops,
            on_slide=self._on_slide,
        ):
            for text, so_far, token in zip(texts, pieces, tokens.tolist(), strict=True):
                so_far.append(text.push(token))
            if all(text.ended for text in texts):
                break
        for text, so_far in zip(texts, pieces, strict=True):
            so_far.append(text.flush())
        return ["".join(so_far) for so_far in pieces]

    def _new_text(self) -> _Text:
        begins = str if self._arguments.prompt is not None else _without_new_line
        return _Text(self._tokenizer, stop_strings_of(self._arguments), self._stops, begins)


def _without_new_line(text: str) -> str:
    """A new line that nobody asked for begins no text."""
    return text.removeprefix("\n")


class _Text:
    """One text: ids in, what may be printed out, until something ends it."""

    def __init__(
        self, tokenizer: Tokenizer, until: Any, stops: tuple[int, ...], begins: Callable[[str], str]
    ) -> None:
        self._stream, self._until, self._stops = tokenizer.stream(), until, stops
        self._begins = begins
        self.ended = False

    def begin(self, prompt: list[int]) -> str:
        """The prompt as text, in which no stop string is looked for."""
        return self._begins("".join([self._stream.push(token) for token in prompt]))

    def push(self, token: int) -> str:
        """Take a token, and return what may be printed now."""
        if self.ended or token in self._stops:
            self.ended = True
            return ""
        from scratchgrad.interop.known import text_of

        shown: str = self._until.push(text_of(token, self._stream))
        self.ended = self._until.found is not None
        return shown

    def flush(self) -> str:
        """Return what was held back, if nothing of it is part of a stop string."""
        shown: str = self._until.push(self._stream.flush()) + self._until.flush()
        return shown
