"""Kinds of characters: all that the expressions of `scan` ask about one, in a bit.

A set of kinds is a sum, so that "white space" is WHITE and "neither letter nor number nor space" is
MARK | SIGN. A table has the kind of every code point, and a small one that of every byte below
0x80; in English, the large one is hardly touched.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchgrad.kernels.jit import device, routine

Bytes = NDArray[np.uint8]

# The kinds of characters; each has exactly one.
NEWLINE = 1  # \r and \n
SPACE = 2  # the rest of \s
UPPER = 4  # \p{Lu} and \p{Lt}: capital letters, and the like of U+01C5 (capital D, small z)
LOWER = 8  # \p{Ll}
OTHER = 16  # \p{Lm} and \p{Lo}: letters of a script that knows no capitals, and modifiers
MARK = 32  # \p{M}: an accent, say, that belongs to the character before it
NUMBER = 64  # \p{N}
SIGN = 128  # all others: punctuation, symbols, controls, what is unassigned, what is not UTF-8

WHITE = NEWLINE | SPACE  # \s
LETTER = UPPER | LOWER | OTHER  # \p{L}
WORD = LETTER | NUMBER


class Kinds(NamedTuple):
    """The kind of every code point, shape (0x110000,), and of every byte below 0x80.

    ``bytes``, shape (256,), is 0 for the other bytes: the kind depends on those that follow.
    """

    points: Bytes
    bytes: Bytes


@routine(counted=False)
def _beyond_ascii(text, i, points):
    """The kind of the character that begins with the byte at i, 0x80 or above, and its length."""
    first, second, third = int(text[i]), int(text[i + 1]) ^ 0x80, int(text[i + 2]) ^ 0x80
    # the bytes that continue a character are 0x80 … 0xBF: 0 … 0x3F now
    if second < 0x40:
        if 0xC2 <= first < 0xE0:
            return int(points[(first & 0x1F) << 6 | second]), 2
        if 0xE0 <= first < 0xF0 and third < 0x40:
            point = (first & 0x0F) << 12 | second << 6 | third
            if point >= 0x800:  # else it should have been two bytes; U+D800 … U+DFFF are signs
                return int(points[point]), 3
        fourth = int(text[i + 3]) ^ 0x80
        if 0xF0 <= first < 0xF5 and third < 0x40 and fourth < 0x40:
            point = (first & 0x07) << 18 | second << 12 | third << 6 | fourth
            if 0x10000 <= point < 0x110000:
                return int(points[point]), 4
    return SIGN, 1


@device(counted=False)
def character(text, i, points, ascii):
    """The kind and the length of the character at i. After the end of the text it is a SIGN."""
    kind = int(ascii[text[i]])
    if kind:
        return kind, 1
    return _beyond_ascii(text, i, points)


@device(counted=False)
def run(text, i, stop, kinds, points, ascii):
    """The end of the run of characters of these kinds that begins at i."""
    while i < stop:
        kind, length = character(text, i, points, ascii)
        if not kind & kinds:
            break
        i += length
    return i
