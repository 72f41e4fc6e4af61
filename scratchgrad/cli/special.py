"""Special tokens in a text: the options that say what is meant, and the advice to give them."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scratchgrad.cli.names import no_such
from scratchgrad.errors import DataError

if TYPE_CHECKING:
    from scratchgrad.tokenizer import Tokenizer

ADVICE = "--allow-special takes it for one, --special-as-text for its characters"


def add_special_options(parser: Any) -> None:
    """Describe the two options."""
    parser.add_argument(
        "--allow-special",
        action="append",
        default=[],
        metavar="NAME",
        help="take this special token in the text for one, may be repeated; all for every one "
        "(default: refuse a text that has any)",
    )
    parser.add_argument(
        "--special-as-text",
        action="store_true",
        help="take the other special tokens in the text for their characters (default: refuse)",
    )


def special_rule(arguments: argparse.Namespace, tokenizer: Tokenizer) -> dict[str, Any]:
    """What to pass on to the `encode` of a tokenizer; a tokenizer of characters has no choice.

    Raises
    ------
    ConfigError
        A name that is no special token of it.
    """
    from scratchgrad.tokenizer import BPETokenizer

    names = arguments.allow_special
    known = tokenizer.special_tokens if isinstance(tokenizer, BPETokenizer) else {}
    for name in [] if "all" in names else names:
        if name not in known:
            there = f"the tokenizer has {', '.join(known)}" if known else "the tokenizer has none"
            raise no_such("special token", name, known, there)
    if not isinstance(tokenizer, BPETokenizer):
        return {}
    return {
        "allowed_special": "all" if "all" in names else set(names),
        "disallowed_special": () if arguments.special_as_text else "all",
    }


def as_given(word: str) -> str | bytes:
    """The bytes of a word of the command line, which may be no UTF-8.

    Python hides such bytes in lone surrogates. Windows may have others: such a word stays a str.
    """
    with contextlib.suppress(UnicodeEncodeError):
        return word.encode("utf-8", "surrogateescape")
    return word


@contextlib.contextmanager
def advising(advice: str = ADVICE) -> Iterator[None]:
    """Within the block, let a refusal of a special token advise an option, not an argument."""
    try:
        yield
    except DataError as error:
        refusal, argument, _ = str(error).partition("; pass allowed_special")
        if not argument:
            raise
        raise DataError(f"{refusal}; {advice}") from None
