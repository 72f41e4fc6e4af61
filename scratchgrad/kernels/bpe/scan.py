r"""Cutting a text into pieces: three regular expressions, written out as loops over bytes.

A byte-pair tokenizer never merges across pieces, and the pieces are what a regular expression
finds. A general matcher tries one alternative after the other and goes back when one fails; here
the next character or two say which alternative will match. Each function below has the
alternatives of its expression in comments beside the lines that do them. The order matters: the
first alternative that matches is taken, not the longest.

What the expressions ask about a character is its *kind* (`kinds`): ``\s`` is WHITE,
``[^\s\p{L}\p{N}]`` is MARK | SIGN.

The text is UTF-8 in a buffer that has PADDING zero bytes after its end. A byte that is no part of
well-formed UTF-8 is a character of its own, a SIGN; the three bytes that a lone surrogate would
have are one character, a SIGN too.

No run of characters is looked at more than three times, whatever the text: where the expression
takes a part of a run only, the next piece takes all of the rest, or all but the last character.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.bpe.kinds import (
    LETTER,
    LOWER,
    MARK,
    NEWLINE,
    NUMBER,
    OTHER,
    SIGN,
    UPPER,
    WHITE,
    WORD,
    Bytes,
    Kinds,
    character,
    run,
)
from scratchgrad.kernels.bpe.table import PADDING
from scratchgrad.kernels.jit import device, kernel, routine

SLICE = 1 << 15  # bytes that one thread scans at a time, about
GROUP = 32  # slices between which the threads may choose

GPT2, CL100K, O200K = range(3)

APOSTROPHE, BLANK, SLASH, CR, LF = b"' /\r\n"
S, D, M, T, L, V, R, E = b"sdmtlvre"  # of the contractions


class Scanner(NamedTuple):
    r"""Which of the three expressions, and how it differs from its first form.

    Attributes
    ----------
    family : int
        GPT2, CL100K or O200K.
    digits : int
        At most so many characters of a number are one piece: ``\p{N}{1,3}``; 0 is no limit.
    whole_end : bool
        White space at the end of the text is one piece, ``\s++$``, newlines or not.
    """

    family: int
    digits: int
    whole_end: bool


# -- what the expressions share ----------------------------------------------------------------


@device(counted=False)
def _contraction(text, i, any_case):
    """The length of an apostrophe at i with one of s d m t ll ve re after it; else 0."""
    if text[i] != APOSTROPHE:
        return 0
    first, second = int(text[i + 1]), int(text[i + 2])
    if any_case:  # (?i:…)
        if first == 0xC5 and second == 0xBF:
            return 3  # U+017F, the long s, is an s to who ignores case
        first |= 0x20
        second |= 0x20
    if first in (S, D, M, T):
        return 2
    if first == L and second == L:
        return 3
    if first in (V, R) and second == E:
        return 3
    return 0


@routine(counted=False)
def _digits(text, i, stop, most, points, ascii):
    r"""The end of ``\p{N}{1,most}``; there is a number at i."""
    for _ in range(most):
        kind, length = character(text, i, points, ascii)
        if i >= stop or kind != NUMBER:
            break
        i += length
    return i


@device(counted=False)
def _all_but_the_last(text, i, end, stop):
    r"""``\s+(?!\S)|\s``: white space i … end, but the last of it belongs to what follows.

    If it is a space, the word that follows takes it; in any case it is a piece with nothing else
    of this run. One character alone is taken: the second alternative.
    """
    last = end - 1
    while text[last] & 0xC0 == 0x80:
        last -= 1
    return end if end == stop or last == i else last


@routine(counted=False)
def _white(text, i, stop, whole_end, points, ascii):
    r"""``\s++$|\s*[\r\n]|\s+(?!\S)|\s``, the first of them only if whole_end."""
    end, after_newline = i, 0
    while end < stop:
        kind, length = character(text, end, points, ascii)
        if not kind & WHITE:
            break
        end += length
        if kind == NEWLINE:
            after_newline = end
    if whole_end and end == stop:  # \s++$
        return end
    if after_newline:  # \s*[\r\n]: as far as the last newline of the run
        return after_newline
    return _all_but_the_last(text, i, end, stop)  # \s+(?!\S)|\s


# -- the expressions: the end of the piece that begins at i ------------------------------------


@device(counted=False)
def _gpt2(text, i, stop, points, ascii):
    r"""GPT-2: words with the space before them."""
    # '(?:[sdmt]|ll|ve|re)
    length = _contraction(text, i, False)
    if length:
        return i + length
    # ` ?`, at the beginning of each of the next three
    j = i + (text[i] == BLANK)
    kind, length = character(text, j, points, ascii)
    if j < stop and not kind & WHITE:
        if kind & LETTER:  # \p{L}++
            kinds = LETTER
        elif kind == NUMBER:  # \p{N}++
            kinds = NUMBER
        else:  # [^\s\p{L}\p{N}]++
            kinds = MARK | SIGN
        return run(text, j + length, stop, kinds, points, ascii)
    # \s++$|\s+(?!\S)|\s
    return _all_but_the_last(text, i, run(text, i, stop, WHITE, points, ascii), stop)


@device(counted=False)
def _cl100k(text, i, stop, digits, whole_end, points, ascii):
    r"""GPT-4: any sign may stand before a word, numbers are short, newlines stay together."""
    # '(?i:[sdmt]|ll|ve|re)
    length = _contraction(text, i, True)
    if length:
        return i + length
    # [^\r\n\p{L}\p{N}]?+\p{L}++
    kind, length = character(text, i, points, ascii)
    j = i if kind & LETTER else i + length
    after, length = character(text, j, points, ascii)
    if after & LETTER and not kind & (NEWLINE | NUMBER):
        return run(text, j + length, stop, LETTER, points, ascii)
    # \p{N}{1,3}+
    if kind == NUMBER:
        return _digits(text, i, stop, digits, points, ascii)
    #  ?[^\s\p{L}\p{N}]++[\r\n]*+
    j = i + (text[i] == BLANK)
    end = run(text, j, stop, MARK | SIGN, points, ascii)
    if end > j:
        while text[end] == LF or text[end] == CR:
            end += 1
        return end
    # \s++$|\s*[\r\n]|\s+(?!\S)|\s
    return _white(text, i, stop, whole_end, points, ascii)


@device(counted=False)
def _o200k_word(text, i, stop, points, ascii):
    r"""The first two alternatives of o200k but for the contraction; i if neither matches.

    With U for ``[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`` and L for ``[\p{Ll}\p{Lm}\p{Lo}\p{M}]``, which
    have ``\p{Lm}\p{Lo}\p{M}`` in common, they are ``[^\r\n\p{L}\p{N}]?U*L+`` and
    ``[^\r\n\p{L}\p{N}]?U+L*``.
    """
    kind, length = character(text, i, points, ascii)
    if kind & (NEWLINE | NUMBER):
        return i
    # [^\r\n\p{L}\p{N}]?
    j = i if kind & LETTER else i + length
    # U*, as far as it goes; and the end of the last character on the way that could be an L
    end, common = j, 0
    while end < stop:
        after, length = character(text, end, points, ascii)
        if not after & (UPPER | OTHER | MARK):
            if after == LOWER:  # L+
                return run(text, end + length, stop, LOWER | OTHER | MARK, points, ascii)
            break
        end += length
        if after != UPPER:
            common = end
    # There is no L after U*. So U* gives back characters, up to the first that L+ can take; that
    # is one character, for those after it are capitals.
    if common:
        return common
    # The same without a character before it: that is a mark then, which L+ takes alone.
    if kind == MARK:
        return j
    # U+L*, capitals only; without any, the end is j and nothing matched.
    return end if end > j else i


@device(counted=False)
def _o200k(text, i, stop, digits, whole_end, points, ascii):
    r"""GPT-4o: as GPT-4, but a capital begins a word, and a contraction stays with its word."""
    end = _o200k_word(text, i, stop, points, ascii)
    if end > i:
        # (?i:'s|'t|'re|'ve|'m|'ll|'d)?
        return end + _contraction(text, end, True)
    # \p{N}{1,3}
    kind, _ = character(text, i, points, ascii)
    if kind == NUMBER:
        return _digits(text, i, stop, digits, points, ascii)
    #  ?[^\s\p{L}\p{N}]+[\r\n/]*
    j = i + (text[i] == BLANK)
    end = run(text, j, stop, MARK | SIGN, points, ascii)
    if end > j:
        while text[end] == LF or text[end] == CR or text[end] == SLASH:
            end += 1
        return end
    # \s*[\r\n]+|\s+(?!\S)|\s+
    return _white(text, i, stop, whole_end, points, ascii)


# -- the kernels -------------------------------------------------------------------------------


@kernel(counted=False)
def _scan(
    start, stop, text, starts, stops, sizes, points, ascii, family, digits, whole_end, ends, counts
):  # fmt: skip
    # unit n is starts[n] … stops[n] - 1 of a text that goes on to sizes[n]
    for unit in range(start, stop):
        i, last, size, count = starts[unit], stops[unit], sizes[unit], 0
        limit = digits if digits > 0 else size
        to = i - starts[0]
        while i < last:
            if family == GPT2:
                i = _gpt2(text, i, size, points, ascii)
            elif family == CL100K:
                i = _cl100k(text, i, size, limit, whole_end, points, ascii)
            else:
                i = _o200k(text, i, size, limit, whole_end, points, ascii)
            ends[to + count] = i
            count += 1
        counts[unit] = count


@kernel(counted=False)
def _cut(start, stop, text, limits, points, ascii, cuts):
    for unit in range(start, stop):
        cuts[unit] = 0
        for i in range(limits[unit + 1] - 1, limits[unit], -1):
            # after the cut: one of ASCII's signs or white space, but for the apostrophe
            if not ascii[text[i]] & (WHITE | SIGN) or text[i] == APOSTROPHE:
                continue
            # before it: a letter or a number
            before = i - 1
            while before > 0 and before > i - 4 and text[before] & 0xC0 == 0x80:
                before -= 1
            kind, length = character(text, before, points, ascii)
            if kind & WORD and before + length == i:
                cuts[unit] = i
                break


def _check(text: Bytes, stop: int, kinds: Kinds) -> None:
    """What kernels rely on, for they read wherever they are told to."""
    flags = text.flags
    if (
        text.dtype != np.uint8
        or not (flags.c_contiguous and flags.writeable)
        or not 0 <= stop <= text.size - PADDING
        or text.ndim != 1
    ):
        raise ShapeError(
            f"scan: expected a writable row of uint8, {PADDING} longer than the text of {stop} "
            f"bytes; got {text.dtype} of shape {text.shape}"
        )
    if stop and text[stop : stop + PADDING].any():
        around = np.array([stop - 1, stop + 1], np.int64)
        if find_cuts(text, around, kinds)[0] != stop:
            raise ShapeError(f"scan: expected {PADDING} zeros after the text of {stop} bytes")


def find_cuts(text: Bytes, limits: NDArray[np.int64], kinds: Kinds) -> NDArray[np.int64]:
    r"""The last place in each stretch where the text may be cut and give the same pieces.

    Such a place is between a letter or a number and one of ASCII's characters that is neither,
    nor an apostrophe. In all expressions of `scan`:

    * A piece ends there. The only thing that follows a letter or a number within a piece is a
      letter, a mark, a number or a contraction, which begins with an apostrophe.
    * What stands after it does not change the pieces before it. They could depend on more than
      the character after their end only where white space looks for what follows it, or where a
      contraction is cut in two; but the white space before the place is followed by the letter
      or the number, and the character after the place is no letter.
    * What stands before it does not change the pieces after it: no expression looks back.

    Parameters
    ----------
    text : buffer
        With the PADDING.
    limits : (N + 1,)
        Stretch n is limits[n] … limits[n + 1] - 1; a cut is before one of its bytes but the first.

    Returns
    -------
    (N,) int64
        0 where there is no such place.
    """
    cuts = np.empty(len(limits) - 1, np.int64)
    _cut(len(cuts), text, limits, kinds.points, kinds.bytes, cuts, work=8 * len(cuts))
    return cuts


def scan(text: Bytes, stop: int, scanner: Scanner, kinds: Kinds) -> NDArray[np.int64]:
    """The end of each piece, ascending; the last one is stop. Empty for an empty text.

    Parameters
    ----------
    text : buffer
        With the PADDING after its stop bytes; instead of zeros there may be more of the text if
        stop is one of the places that `find_cuts` finds.

    Raises
    ------
    ShapeError
        The buffer is not such an array of bytes.
    """
    _check(text, stop, kinds)
    if not stop:
        return np.empty(0, np.int64)
    nominal = np.arange(0, stop, SLICE, dtype=np.int64)
    cuts = find_cuts(text, nominal, kinds) if len(nominal) > 1 else nominal[1:]
    starts = np.concatenate((nominal[:1], cuts[cuts > 0], np.array([stop])))
    slices = [starts[first : first + GROUP + 1] for first in range(0, len(starts) - 1, GROUP)]
    # A piece has at least one byte. The same small memory serves one group after the other.
    ends = np.empty(max(int(part[-1] - part[0]) for part in slices), np.int64)
    counts = np.zeros(GROUP, np.int64)
    found, done = np.empty(stop // 4 + 1, np.int64), 0  # text has fewer; digits and signs, more
    for part in slices:
        begins, units = part[:-1], len(part) - 1
        _units(text, begins, part[1:], np.full(units, stop), scanner, kinds, ends, counts)
        for first, count in zip((begins - begins[0]).tolist(), counts.tolist(), strict=False):
            while done + count > len(found):
                found = np.concatenate((found, np.empty_like(found)))
            found[done : done + count] = ends[first : first + count]
            done += count
    return found[:done]


def scan_texts(
    text: Bytes,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    scanner: Scanner,
    kinds: Kinds,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ends of the pieces of many texts in one buffer, each with its own PADDING after it.

    Returns
    -------
    ends : (P,) int64
        Text after text, as places in the buffer.
    counts : (N,) int64
        How many of them each text has.
    """
    _check(text, int(stops[-1]) if len(stops) else 0, kinds)
    counts = np.zeros(len(starts), np.int64)
    if len(starts) == 0:
        return np.empty(0, np.int64), counts
    ends = np.empty(int(stops[-1] - starts[0]), np.int64)
    _units(text, starts, stops, stops, scanner, kinds, ends, counts)
    # text n has its ends from starts[n] - starts[0] on
    skipped = starts - starts[0] - (np.cumsum(counts) - counts)
    return ends[np.arange(counts.sum()) + np.repeat(skipped, counts)], counts


def _units(
    text: Bytes,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    sizes: NDArray[np.int64],
    scanner: Scanner,
    kinds: Kinds,
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    family, digits, whole_end = scanner
    work = int(stops[-1] - starts[0])
    _scan(
        len(starts), text, starts, stops, sizes, kinds.points, kinds.bytes,
        family, digits, whole_end, ends, counts, work=work,
    )  # fmt: skip
