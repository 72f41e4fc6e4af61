"""Blocks of small whole numbers, and the float32 that they stand for.

The numbers of a row are stored in blocks of 32, each with a scale of its own:

=====  =============  =================================  ===============  ==============
type   bytes a block  what is in them                    number i         bits a number
=====  =============  =================================  ===============  ==============
F32    4 (1 number)   the number                         x                32
F16    2 (1 number)   the number in half the bits        x                16
BF16   2 (1 number)   the upper half of a float32        x                16
Q8_0   34             scale d, 32 signed bytes q         d q              8.5
Q4_0   18             scale d, 32 half bytes q           d (q - 8)        4.5
Q4_1   20             scale d, minimum m, 32 half bytes  d q + m          5
=====  =============  =================================  ===============  ==============

d and m are float16. A byte of half bytes holds numbers j (its lower four bits) and j + 16 (its
upper four), j from 0 to 15: the first half of the block is in the lower halves of the bytes.

The arithmetic is float32, as it is in ggml, each operation rounded once: the same bits.

Source: ggml, src/ggml-quants.c, ``dequantize_row_q8_0`` and its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchgrad.interop.dtypes import bfloat16_to_float32, float16_to_float32

# Blocks that are read and turned at a time: of the largest blocks, half a megabyte of float32.
PIECE_BLOCKS = 4096

_Bytes = NDArray[np.uint8]
_Out = NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """A type of block.

    Attributes
    ----------
    name : str
    numbers, nbytes : int
        In one block.
    dequantise : callable
        dequantise(blocks (N, nbytes), out (N, numbers)) writes the numbers.
    """

    name: str
    numbers: int
    nbytes: int
    dequantise: Callable[[_Bytes, _Out], None]


def _words(data: _Bytes, dtype: str) -> NDArray:
    """Some columns of the blocks, little-endian, as one number a row: (N, 1)."""
    return np.ascontiguousarray(data).view(dtype)


def f32(blocks: _Bytes, out: _Out) -> None:
    """The number itself.

    >>> out = np.empty((1, 1), np.float32)
    >>> f32(np.array([[0x00, 0x00, 0x20, 0xC0]], np.uint8), out)
    >>> out
    array([[-2.5]], dtype=float32)
    """
    out[...] = _words(blocks, "<f4")


def f16(blocks: _Bytes, out: _Out) -> None:
    """The same number in float16.

    >>> out = np.empty((1, 1), np.float32)
    >>> f16(np.array([[0x00, 0xC1]], np.uint8), out)  # 0xC100: -, exponent 16 - 15, 1 + 256 / 1024
    >>> out
    array([[-2.5]], dtype=float32)
    """
    out[...] = float16_to_float32(_words(blocks, "<u2"))


def bf16(blocks: _Bytes, out: _Out) -> None:
    """The upper half of the number's bits.

    >>> out = np.empty((1, 1), np.float32)
    >>> bf16(np.array([[0x20, 0xC0]], np.uint8), out)
    >>> out
    array([[-2.5]], dtype=float32)
    """
    out[...] = bfloat16_to_float32(_words(blocks, "<u2"))


def q8_0(blocks: _Bytes, out: _Out) -> None:
    """x_i = d q_i, q from -128 to 127.

    >>> out = np.empty((1, 32), np.float32)
    >>> q8_0(np.array([[0x00, 0x38, 1, 0x80, 0xFF] + [0] * 29], np.uint8), out)  # d = 0.5
    >>> out[0, :4]
    array([  0.5, -64. ,  -0.5,   0. ], dtype=float32)
    """
    d = float16_to_float32(_words(blocks[:, :2], "<u2"))  # (N, 1)
    np.multiply(d, blocks[:, 2:].view(np.int8), out=out)  # q becomes float32 on the way


def q4_0(blocks: _Bytes, out: _Out) -> None:
    """x_i = d (q_i - 8), q from 0 to 15.

    >>> out = np.empty((1, 32), np.float32)
    >>> q4_0(np.array([[0x00, 0x38, 0x9F, 0x80] + [0x88] * 14], np.uint8), out)  # d = 0.5
    >>> out[0, [0, 1, 2, 16, 17, 18]]  # q: F, 0, 8 and 9, 8, 8
    array([ 3.5, -4. ,  0. ,  0.5,  0. ,  0. ], dtype=float32)
    """
    d = float16_to_float32(_words(blocks[:, :2], "<u2"))
    _half_bytes(blocks[:, 2:], out)
    out -= np.float32(8)  # exact, so that the one rounding is that of the product
    out *= d


def q4_1(blocks: _Bytes, out: _Out) -> None:
    """x_i = d q_i + m, q from 0 to 15.

    >>> out = np.empty((1, 32), np.float32)
    >>> block = [0x00, 0x38, 0x00, 0xBC, 0x9F, 0x20] + [0] * 14  # d = 0.5, m = -1
    >>> q4_1(np.array([block], np.uint8), out)
    >>> out[0, [0, 1, 2, 16, 17, 18]]  # q: F, 0, 0 and 9, 2, 0
    array([ 6.5, -1. , -1. ,  3.5,  0. , -1. ], dtype=float32)
    """
    d = float16_to_float32(_words(blocks[:, :2], "<u2"))
    m = float16_to_float32(_words(blocks[:, 2:4], "<u2"))
    _half_bytes(blocks[:, 4:], out)
    out *= d
    out += m


def _half_bytes(data: _Bytes, out: _Out) -> None:
    """Write the lower halves of 16 bytes, then the upper ones: (N, 16) -> (N, 32)."""
    out[:, :16] = data & np.uint8(0x0F)
    out[:, 16:] = data >> np.uint8(4)


# By ggml's numbers for them.
BLOCKS = {
    0: Block("F32", 1, 4, f32),
    1: Block("F16", 1, 2, f16),
    30: Block("BF16", 1, 2, bf16),
    8: Block("Q8_0", 32, 34, q8_0),
    2: Block("Q4_0", 32, 18, q4_0),
    3: Block("Q4_1", 32, 20, q4_1),
}
