"""The options that rule how tokens are chosen and where a text ends, for each command that does."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.names import no_such
from scratchgrad.errors import ConfigError

if TYPE_CHECKING:
    from scratchgrad.generate import Sampling, StopStrings
    from scratchgrad.tokenizer import Tokenizer

TEMPERATURE = 0.8

# What other people's tokenizers call the token that ends a text.
END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "<|eot|>", "</s>", "<eos>")


def add_sampling_options(parser: Any) -> None:
    """Describe the options of how a token is chosen."""
    group = parser.add_argument_group("how each token is chosen (docs/sampling.md)")

    def number(flag: str, metavar: str, text: str, kind: type = float, default: Any = None) -> None:
        group.add_argument(flag, type=kind, metavar=metavar, default=default, help=text)

    group.add_argument(
        "--greedy",
        action="store_true",
        help="always take the likeliest, by no chance at all (default: draw one)",
    )
    text = f"above 0; lower is more certain, higher more varied (default: {TEMPERATURE})"
    number("--temperature", "X", text)
    number("--top-k", "K", "draw from the K likeliest (default: all)", int)
    text = "draw from the fewest likeliest that have this probability together (default: all)"
    number("--top-p", "P", text)
    text = "draw from those with this share of the likeliest one's probability (default: all)"
    number("--min-p", "P", text)
    text = "above 1: what the prompt or the text has becomes less likely (default: 1)"
    number("--repetition-penalty", "X", text, default=1.0)
    text = "taken off the logit of what the new text has, from -2 to 2 (default: 0)"
    number("--presence-penalty", "X", text, default=0.0)
    text = "taken off it for each time that it came, from -2 to 2 (default: 0)"
    number("--frequency-penalty", "X", text, default=0.0)
    number("--seed", "N", "of the choices (default: 1337)", int, 1337)


def sampling_of(arguments: argparse.Namespace) -> Sampling:
    """The rules that the options ask for.

    Raises
    ------
    ConfigError
        One is out of its range, or two contradict each other; the message names the options.
    """
    if arguments.seed < 0:
        raise ConfigError(f"--seed must be 0 or more; got {arguments.seed}")
    from scratchgrad.generate import Sampling

    temperature = arguments.temperature
    if temperature is None:
        temperature = 1.0 if arguments.greedy else TEMPERATURE
    try:
        return Sampling(
            greedy=arguments.greedy,
            temperature=temperature,
            top_k=arguments.top_k,
            top_p=arguments.top_p,
            min_p=arguments.min_p,
            repetition_penalty=arguments.repetition_penalty,
            presence_penalty=arguments.presence_penalty,
            frequency_penalty=arguments.frequency_penalty,
        )
    except ConfigError as error:
        raise ConfigError(_with_options(str(error))) from None


_FIELDS = (
    r"greedy=True|\b(?:greedy|temperature|top_k|top_p|min_p"
    r"|repetition_penalty|presence_penalty|frequency_penalty)\b"
)


def _with_options(message: str) -> str:
    """A message with the options in place of the settings: top_k becomes --top-k."""

    def option(found: re.Match[str]) -> str:
        return "--" + found[0].removesuffix("=True").replace("_", "-")

    return re.sub(_FIELDS, option, message.replace(", or None for every token;", ";"))


def add_stop_options(parser: Any) -> None:
    """Describe the options of where a text ends."""
    group = parser.add_argument_group("where a text ends")
    group.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="end before this text, which is not printed; may be repeated (default: none)",
    )
    group.add_argument(
        "--stop-token",
        action="append",
        default=[],
        metavar="NAME",
        help="end at this special token, may be repeated; none for at no token (default: the "
        "model's own, or the tokenizer's end-of-text token, such as <|endoftext|>)",
    )


def stop_strings_of(arguments: argparse.Namespace) -> StopStrings:
    """A filter of what is printed; to be made for each text."""
    from scratchgrad.generate import StopStrings

    try:
        return StopStrings(arguments.stop)
    except ConfigError as error:
        raise ConfigError(re.sub("^stop strings", "--stop", str(error))) from None


def stop_tokens_of(
    arguments: argparse.Namespace,
    tokenizer: Tokenizer | None,
    known: Iterable[int] = (),
    rows: float = math.inf,
) -> tuple[int, ...]:
    """The ids that end a text.

    Parameters
    ----------
    known : iterable of int
        Those that the model is known to end a text with, where no option says which.
    rows : int
        The ids that the model has; its tokenizer may know more.

    Raises
    ------
    ConfigError
        A name that is no special token of the tokenizer, or one that the model cannot choose.
    """
    special: dict[str, int] = getattr(tokenizer, "special_tokens", {})
    names: Sequence[str] = arguments.stop_token
    if not names:
        ends = tuple(known) or tuple(special[name] for name in END_OF_TEXT if name in special)
        return tuple(id_ for id_ in ends if id_ < rows)
    if "none" in names and "none" not in special:
        if len(names) > 1:
            raise ConfigError("--stop-token none goes alone; leave out it or the others")
        return ()
    for name in names:
        if name not in special:
            there = (
                f"the tokenizer has {', '.join(special)}" if special else "the tokenizer has none"
            )
            raise no_such("special token", name, special, there)
        if special[name] >= rows:
            raise ConfigError(
                f"--stop-token {name}: its id is {special[name]}, and the model has {rows:,} ids, "
                f"so it never ends a text; leave it out"
            )
    return tuple(special[name] for name in names)
