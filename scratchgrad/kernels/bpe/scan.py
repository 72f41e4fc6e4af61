"""Cutting a text into pieces, on all threads: `expressions` says where a piece ends.

A byte-pair tokenizer never merges across pieces. A long text is cut where no expression could tell
(`find_cuts`), and the threads share what lies between; many short ones are shared as they are.

The text is in a buffer that has PADDING zero bytes after its end.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.bpe.expressions import APOSTROPHE, cl100k, gpt2, o200k
from scratchgrad.kernels.bpe.kinds import SIGN, WHITE, WORD, Bytes, Kinds, character
from scratchgrad.kernels.bpe.table import PADDING
from scratchgrad.kernels.jit import kernel

SLICE = 1 << 15  # bytes that one thread scans at a time, about
GROUP = 32  # slices between which the threads may choose

GPT2, CL100K, O200K = range(3)


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
                i = gpt2(text, i, size, points, ascii)
            elif family == CL100K:
                i = cl100k(text, i, size, limit, whole_end, points, ascii)
            else:
                i = o200k(text, i, size, limit, whole_end, points, ascii)
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
