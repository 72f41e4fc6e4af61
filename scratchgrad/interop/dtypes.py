"""bfloat16 and float16 to float32 and back, by moving bits.

==========  ====  ========  ========  ======================================
format      sign  exponent  fraction  value of a normal number
==========  ====  ========  ========  ======================================
float32        1         8        23  (-1)^s 2^(e - 127) (1 + f / 2^23)
bfloat16       1         8         7  the upper half of a float32
float16        1         5        10  (-1)^s 2^(e - 15) (1 + f / 2^10)
==========  ====  ========  ========  ======================================

An exponent of all ones is an infinity (f = 0) or no number; one of zero is a denormal, with no
leading 1. Both formats fit into float32 without a loss. The way back rounds to the nearest, and of
two that are as near to the even one, as IEEE 754 (2019), section 4.3.1, says.

NumPy has a float16 and no bfloat16. Here both are arrays of their bits, uint16.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The work on the bits of a float16 needs some arrays of the length that is converted. In pieces of
# this many numbers they are small beside the result, and stay in the cache.
_PIECE = 1 << 15

_INFINITY = 0x7F800000  # of float32: all that is larger, without the sign, is no number
_BIAS = (127 - 15) << 23  # between the exponents of float16 and float32, where float32 has its own

Bits = NDArray[np.uint16]
Words = NDArray[np.uint32]


def bfloat16_to_float32(bits: Bits) -> NDArray[np.float32]:
    """The numbers whose upper halves these are. Exact.

    >>> import numpy as np
    >>> bfloat16_to_float32(np.array([0x3F80, 0xC000, 0x7F80], dtype=np.uint16))
    array([ 1., -2., inf], dtype=float32)
    """
    words = bits.astype(np.uint32)
    words <<= np.uint32(16)
    return words.view(np.float32)


def float32_to_bfloat16(numbers: NDArray[np.float32]) -> Bits:
    """The nearest bfloat16 of each number; of two as near, the even one.

    >>> import numpy as np
    >>> one_and_a_bit = np.array([1, 1 + 2**-8, 1 + 2**-8 + 2**-20, np.nan], dtype=np.float32)
    >>> [hex(bits) for bits in float32_to_bfloat16(one_and_a_bit)]
    ['0x3f80', '0x3f80', '0x3f81', '0x7fc0']
    """
    return _in_pieces(_words_to_bfloat16, _words(numbers), np.uint16)


def _words_to_bfloat16(words: Words) -> Words:
    # To add one less than half of the last place that stays, and one more where that place is odd,
    # carries into it exactly when the number is to be rounded up; a carry out of the fraction is
    # the next power of two, and out of the last power infinity.
    odd = (words >> np.uint32(16)) & np.uint32(1)
    rounded = (words + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    # What is no number must not be carried into infinity, or beyond it.
    quiet = (words >> np.uint32(16)) | np.uint32(0x0040)
    return np.where(_is_nan(words), quiet, rounded)


def float16_to_float32(bits: Bits) -> NDArray[np.float32]:
    """The same numbers in float32. Exact, denormals too.

    >>> import numpy as np
    >>> float16_to_float32(np.array([0x3C00, 0xC000, 0x0001, 0xFC00], dtype=np.uint16))
    array([ 1.0000000e+00, -2.0000000e+00,  5.9604645e-08,           -inf],
          dtype=float32)
    """

    # No index is out of range; to wrap round is the mode that checks least.
    def look_up(piece: Bits) -> NDArray[Any]:
        return np.asarray(_table().take(piece, mode="wrap"))

    return _in_pieces(look_up, bits, np.float32)


@functools.cache
def _table() -> NDArray[np.float32]:
    """Every float16, by its bits: to look one up takes a fifth of the time to work it out."""
    return _float16_to_words(np.arange(1 << 16).astype(np.uint16)).view(np.float32)


def _float16_to_words(bits: Bits) -> Words:
    words = bits.astype(np.uint32)
    sign = (words & np.uint32(0x8000)) << np.uint32(16)
    size = words & np.uint32(0x7FFF)
    # The fraction moves to the upper end of its new place, and the exponent counts from 127.
    normal = (size << np.uint32(13)) + np.uint32(_BIAS)
    # All ones stay all ones.
    special = (size << np.uint32(13)) | np.uint32(_INFINITY)
    # Without a leading 1: f 2^-24, a normal number of float32.
    small = (size.astype(np.float32) * np.float32(2**-24)).view(np.uint32)
    found = np.where(size >= 0x7C00, special, np.where(size < 0x0400, small, normal))
    return found | sign


def float32_to_float16(numbers: NDArray[np.float32]) -> Bits:
    """The nearest float16 of each number; of two as near, the even one. Infinity from 65,520 on.

    >>> import numpy as np
    >>> numbers = np.array([1, 65519, 65520, 2**-24, 2**-25], dtype=np.float32)
    >>> [hex(bits) for bits in float32_to_float16(numbers)]
    ['0x3c00', '0x7bff', '0x7c00', '0x1', '0x0']
    """
    return _in_pieces(_words_to_float16, _words(numbers), np.uint16)


def _words_to_float16(words: Words) -> Words:
    sign = (words >> np.uint32(16)) & np.uint32(0x8000)
    size = words & np.uint32(0x7FFFFFFF)
    odd = (size >> np.uint32(13)) & np.uint32(1)
    # As for bfloat16. Where the exponent is too small for this the subtraction wraps round, and
    # the value is not taken; where it is too large, infinity is the smaller of the two.
    normal = (size - np.uint32(_BIAS) + np.uint32(0x0FFF) + odd) >> np.uint32(13)
    normal = np.minimum(normal, np.uint32(0x7C00))
    quiet = np.uint32(0x7E00) | ((size >> np.uint32(13)) & np.uint32(0x03FF))
    small = _denormal(size)
    found = np.where(size < np.uint32(113 << 23), small, normal)  # below 2^-14
    return np.where(_is_nan(words), quiet, found) | sign


def _denormal(size: Words) -> Words:
    """The multiple of 2^-24 nearest to a number below 2^-14."""
    exponent = np.minimum(size >> np.uint32(23), np.uint32(112))
    fraction = (size & np.uint32(0x7FFFFF)) | np.uint32(0x800000)
    # The number is fraction 2^(exponent - 150): so many places fall off; with 25, all do.
    places = np.minimum(np.uint32(126) - exponent, np.uint32(25))
    kept = fraction >> places
    lost = fraction & ((np.uint32(1) << places) - np.uint32(1))
    half = np.uint32(1) << (places - np.uint32(1))
    up = (lost > half) | ((lost == half) & ((kept & np.uint32(1)) == 1))
    return kept + up.astype(np.uint32)


def _is_nan(words: Words) -> NDArray[np.bool_]:
    return (words & np.uint32(0x7FFFFFFF)) > np.uint32(_INFINITY)


def _words(numbers: NDArray[np.float32]) -> Words:
    return (
        np.ascontiguousarray(numbers, dtype=np.float32).reshape(np.shape(numbers)).view(np.uint32)
    )


def _in_pieces(convert: Callable[..., NDArray], source: NDArray, dtype: type) -> NDArray[Any]:
    """convert(source), piece by piece, so that no array but the result is as long as it."""
    flat = source.reshape(-1)
    result: NDArray[Any] = np.empty(flat.shape, dtype=dtype)
    for start in range(0, flat.size, _PIECE):
        result[start : start + _PIECE] = convert(flat[start : start + _PIECE])
    return result.reshape(source.shape)
