r"""Pre-tokenisation: the pieces of a text, which no token ever reaches across.

The three patterns that most models use, and the other spellings of them that are in circulation,
are run by the scanner in `scratchgrad.kernels.bpe.scan`; every other pattern by `regex`, the
package. Both give the same pieces, but the scanner is twenty to thirty times as fast.

All of it is about bytes. For a pattern they are characters: well-formed UTF-8 as usual; a byte that
is no part of any, one character that is neither letter nor number nor space; and the three bytes
that would be a surrogate, that surrogate.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import chain

import numpy as np
import regex
from numpy.typing import NDArray

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import ConfigError
from scratchgrad.kernels.bpe import kinds, scan
from scratchgrad.kernels.bpe.scan import CL100K, GPT2, O200K, Scanner
from scratchgrad.kernels.bpe.table import PADDING, padded

__all__ = ["NAMED", "PADDING", "Pattern", "to_buffer"]

# As tiktoken 0.14 spells them. x++ is x+ that gives nothing back, which changes no match here.
_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# "none": the whole text is one piece.
NAMED = {"gpt2": _GPT2, "cl100k": _CL100K, "o200k": _O200K, "none": ""}

# Older spellings. Those of GPT-2's mean the same. Those of cl100k leave out \s++$, so that spaces
# at the end of a text are not in one piece with the newline before them.
_OLD_GPT2 = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_OLD_WORD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_OLD_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_MID_WORD = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+"
_MID_REST = r" ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"

_SCANNERS = {
    _GPT2: Scanner(GPT2, 0, True),
    rf"'s|'t|'re|'ve|'m|'ll|'d|{_OLD_GPT2}": Scanner(GPT2, 0, True),  # GPT-2's own repository
    rf"'(?:[sdmt]|ll|ve|re)|{_OLD_GPT2}": Scanner(GPT2, 0, True),  # tiktoken's first
    _CL100K: Scanner(CL100K, 3, True),
    rf"{_OLD_WORD}|\p{{N}}{{1,3}}|{_OLD_REST}": Scanner(CL100K, 3, False),  # its first; Llama 3
    rf"{_OLD_WORD}|\p{{N}}|{_OLD_REST}": Scanner(CL100K, 1, False),  # Qwen2
    rf"{_MID_WORD}|\p{{N}}{{1,3}}|{_MID_REST}": Scanner(CL100K, 3, False),  # minbpe
    rf"{_MID_WORD}|\p{{N}}{{1,2}}|{_MID_REST}": Scanner(CL100K, 2, False),  # nanochat
    _O200K: Scanner(O200K, 3, False),
}

# "gpt4", "cl100k_base", "nope": expressions, too, but ones that nobody means.
_LIKE_A_NAME = regex.compile(r"\w[\w.-]*")

_SURROGATES = "surrogatepass"

# An expression may come with somebody's file, and there are some that would run for years. Usual
# ones do millions of characters a second.
PATIENCE, SLOWEST = 10, 50_000  # seconds, and characters a second


@functools.cache
def _kinds() -> kinds.Kinds:
    """What `regex` says about every code point; made once a process, in some 50 ms."""
    everything = np.arange(0x110000, dtype="<u4").tobytes().decode("utf-32-le", _SURROGATES)
    points = np.full(len(everything), kinds.SIGN, np.uint8)
    for kind, characters in (
        (kinds.NEWLINE, r"[\r\n]+"),
        (kinds.SPACE, r"[^\S\r\n]+"),
        (kinds.UPPER, r"[\p{Lu}\p{Lt}]+"),
        (kinds.LOWER, r"\p{Ll}+"),
        (kinds.OTHER, r"[\p{Lm}\p{Lo}]+"),
        (kinds.MARK, r"\p{M}+"),
        (kinds.NUMBER, r"\p{N}+"),
    ):
        for found in regex.finditer(characters, everything):
            points[found.start() : found.end()] = kind
    ascii = np.zeros(256, np.uint8)
    ascii[:0x80] = points[:0x80]
    return kinds.Kinds(points, ascii)


def to_buffer(text: bytes) -> tuple[NDArray[np.uint8], int]:
    """A buffer for `Pattern.ends`, with the zeros after the text, and the length of the text."""
    return padded(text), len(text)


class Pattern:
    r"""A regular expression that cuts text into pieces.

    Parameters
    ----------
    pattern : str
        "gpt2", "cl100k" (GPT-4), "o200k" (GPT-4o), "none", or any expression that `regex` takes.

    Attributes
    ----------
    name : str or None
        One of the four names, also where the expression itself was given, or another that means
        exactly the same; None for all others.
    string : str
        The expression, as it was given; "" for "none".

    Raises
    ------
    ConfigError
        The expression does not compile; or it looks like the name of a pattern that is not here.

    >>> Pattern("gpt2").split(b"It's 10 o'clock.")
    [b'It', b"'s", b' 10', b' o', b"'", b'clock', b'.']
    >>> Pattern(r"\d").split(b"in 1984")
    [b'in ', b'1', b'9', b'8', b'4']
    """

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise ConfigError(f"pattern: expected a name or an expression, a str; got {pattern!r}")
        self.string = NAMED.get(pattern, pattern)
        self._scanner = _SCANNERS.get(self.string)
        self.name = next((name for name, other in NAMED.items() if self._means(other)), None)
        if self._scanner is None and self.string:
            if _LIKE_A_NAME.fullmatch(pattern):
                raise ConfigError(
                    f"there is no pattern {shorten(pattern)}; expected {', '.join(NAMED)} or an "
                    f"expression of `regex` (if it is one, put it in brackets)"
                )
            try:
                self._regex = regex.compile(self.string)
            except (regex.error, ValueError, OverflowError, RecursionError) as error:
                raise self._complain("does not compile", error) from None

    @property
    def scanned(self) -> bool:
        """Whether the fast scanner runs it."""
        return self._scanner is not None

    def _means(self, string: str) -> bool:
        same = self._scanner is not None and self._scanner == _SCANNERS.get(string)
        return self.string == string or same

    def _complain(self, what: str, error: Exception) -> ConfigError:
        shown = repr(self.string)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        names = ", ".join(NAMED)
        return ConfigError(
            f"pattern {shown} {what}: {reason}; expected {names} or an expression of `regex`"
        )

    def __repr__(self) -> str:
        return f"Pattern({self.name or self.string!r})"

    def split(self, text: bytes) -> list[bytes]:
        """The pieces themselves: for people, and for short texts."""
        ends = self.ends(*to_buffer(text)).tolist()
        return [text[i:j] for i, j in zip([0, *ends], ends, strict=False)]

    def ends(self, text: NDArray[np.uint8], stop: int) -> NDArray[np.int64]:
        """The end of each piece.

        What the expression leaves out between two matches is a piece too, so the pieces add up to
        the text; an empty match is none.

        Parameters
        ----------
        text : array of uint8
            C-contiguous and writable, with at least PADDING zeros after the text.
        stop : int
            Where the text ends; or a place that `cut` gave, and then more may follow than zeros.

        Returns
        -------
        array of int64
            Ascending; the last one is stop. Empty for an empty text.

        Raises
        ------
        ConfigError
            `regex` fails on this text, or does not come to an end with it.
        ShapeError
            The array is not such a buffer.
        """
        if self._scanner is not None:
            return scan.scan(text, stop, self._scanner, _kinds())
        if not stop or not self.string:
            return np.full(min(stop, 1), stop, np.int64)
        characters, starts = _characters(text[:stop])
        seconds = PATIENCE + len(characters) / SLOWEST
        try:
            matches = map(regex.Match.span, self._regex.finditer(characters, timeout=seconds))
            spans = np.fromiter(chain.from_iterable(matches), np.int64).reshape(-1, 2)
        except TimeoutError:
            what = f"takes more than {seconds:.0f} s on a text of {len(characters)} characters"
            reason = "it goes back over them again and again; x++ for x+ gives nothing back"
            raise self._complain(what, RuntimeError(reason)) from None
        except (regex.error, RuntimeError) as error:
            raise self._complain("fails on this text", error) from None
        places = spans[spans[:, 0] < spans[:, 1]].ravel()
        ends = places if starts is None else starts[places]
        ends = np.append(ends, stop)
        ends.sort(kind="stable")  # no work but for (?r), which finds the last match first
        return ends[np.diff(ends, prepend=0) > 0]

    def ends_of_texts(self, texts: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ends of the pieces of many texts, which take longer one by one.

        Returns
        -------
        ends : array of int64
            As places in the texts put end to end.
        counts : array of int64, shape (len(texts),)
            How many pieces each text has.
        """
        lengths = np.array([len(text) for text in texts], np.int64)
        stops = np.cumsum(lengths)
        if self._scanner is None:
            found = [self.ends(*to_buffer(text)) for text in texts]
            counts = np.array([len(ends) for ends in found], np.int64)
            begins = np.repeat(stops - lengths, counts)
            return np.concatenate([np.zeros(0, np.int64), *found]) + begins, counts
        gaps = PADDING * np.arange(len(texts))
        buffer, _ = to_buffer(bytes(PADDING).join(texts))
        starts = stops - lengths + gaps
        ends, counts = scan.scan_texts(buffer, starts, stops + gaps, self._scanner, _kinds())
        return ends - np.repeat(gaps, counts), counts

    def cut(self, text: NDArray[np.uint8], stop: int) -> int:
        """A place where the text may be cut and give the same pieces, whatever follows.

        It is the last such place that is easily seen. 0 if there is none, or none can be known:
        an expression of the user's may look at anything. Why it is safe for the others, see
        `scratchgrad.kernels.bpe.scan.find_cuts`.
        """
        if self._scanner is None:
            return 0
        cut, last, stretch = 0, stop, 1 << 10
        while last > 0 and not cut:
            first = max(last - stretch, 0)
            cut = int(scan.find_cuts(text, np.array([first, last], np.int64), _kinds())[0])
            # the next stretch ends with the first byte of this one, before which no cut was tried
            last, stretch = first + 1 if first else 0, 4 * stretch
        return cut


def _characters(raw: NDArray[np.uint8]) -> tuple[str, NDArray[np.int64] | None]:
    """The characters of some bytes, and the offset of each and of the end; None if they agree."""
    data = raw.tobytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _wrong_characters(data)
    if len(text) == len(raw):  # ASCII
        return text, None
    starts = np.flatnonzero((raw & 0xC0) != 0x80)
    return text, np.append(starts, len(raw))


def _wrong_characters(data: bytes) -> tuple[str, NDArray[np.int64]]:
    """The same for bytes that are not all UTF-8."""
    # Python's way to carry a wrong byte 0x80 … 0xFF is as the lone surrogate U+DC80 … U+DCFF
    escaped = data.decode("utf-8", "surrogateescape")
    points = np.frombuffer(escaped.encode("utf-32-le", _SURROGATES), "<u4").astype(np.int64)
    wrong = (points & ~0x7F) == 0xDC80
    lengths = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    lengths[wrong] = 1
    # ED A0 80 … ED BF BF, which are three wrong bytes now, are one surrogate
    first, second, third = points[:-2], points[1:-1], points[2:]
    at = np.flatnonzero((first == 0xDCED) & (second & ~0x1F == 0xDCA0) & (third & ~0x3F == 0xDC80))
    points[at] = 0xD000 | (second[at] & 0x3F) << 6 | (third[at] & 0x3F)
    lengths[at] = 3
    keep = np.ones(len(points), bool)
    keep[at + 1] = keep[at + 2] = False
    text = points[keep].astype("<u4").tobytes().decode("utf-32-le", _SURROGATES)
    return text, np.concatenate(([0], np.cumsum(lengths[keep])))
