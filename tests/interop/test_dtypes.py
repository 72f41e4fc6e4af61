"""Every pattern of 16 bits, and every boundary between two of them, against a definition."""

import warnings

import numpy as np
import pytest

from scratchgrad.interop.dtypes import (
    bfloat16_to_float32,
    float16_to_float32,
    float32_to_bfloat16,
    float32_to_float16,
)

EVERY = np.arange(1 << 16).astype(np.uint16)
LAYOUT = {"float16": (5, 10), "bfloat16": (8, 7)}
WIDEN = {"float16": float16_to_float32, "bfloat16": bfloat16_to_float32}
NARROW = {"float16": float32_to_float16, "bfloat16": float32_to_bfloat16}


def value(bits: int, kind: str) -> float:
    """What IEEE 754 says a pattern is, with Python's floats, which hold all of them."""
    exponent_bits, fraction_bits = LAYOUT[kind]
    sign = -1.0 if bits >> 15 else 1.0
    exponent = bits >> fraction_bits & (1 << exponent_bits) - 1
    fraction = (bits & (1 << fraction_bits) - 1) / (1 << fraction_bits)
    bias = (1 << exponent_bits - 1) - 1
    if exponent == (1 << exponent_bits) - 1:
        return float("nan") if fraction else sign * float("inf")
    if exponent == 0:
        return sign * fraction * 2.0 ** (1 - bias)
    return sign * (1 + fraction) * 2.0 ** (exponent - bias)


def same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal numbers of equal sign, zeros too; and no number where there is none."""
    nan = np.isnan(theirs)
    np.testing.assert_array_equal(np.isnan(ours), nan)
    np.testing.assert_array_equal(ours[~nan], theirs[~nan])
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(theirs))


@pytest.mark.parametrize("kind", LAYOUT)
def test_every_pattern_has_the_value_of_its_definition(kind: str) -> None:
    expected = np.array([value(bits, kind) for bits in range(1 << 16)])
    found = WIDEN[kind](EVERY)
    assert found.dtype == np.float32
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    np.testing.assert_array_equal(found[~nan], expected[~nan].astype(np.float32))
    np.testing.assert_array_equal(np.signbit(found), EVERY >> 15 == 1)


def test_float16_is_numpys() -> None:
    same(float16_to_float32(EVERY), EVERY.view(np.float16).astype(np.float32))


@pytest.mark.parametrize("kind", LAYOUT)
def test_there_and_back(kind: str) -> None:
    """Also the payload of what is no number: only the bit that makes it a quiet one is set."""
    quiet = 0x0200 if kind == "float16" else 0x0040
    numbers = WIDEN[kind](EVERY)
    expected = np.where(np.isnan(numbers), EVERY | quiet, EVERY)
    np.testing.assert_array_equal(NARROW[kind](numbers), expected)


def boundaries(kind: str) -> np.ndarray:
    """Each number of the kind, the midpoint to its neighbour, and one float32 below and above."""
    numbers = WIDEN[kind](EVERY)
    finite = np.unique(numbers[np.isfinite(numbers)].astype(np.float64))
    # Past the largest, a midpoint would be half a step on: where rounding goes to infinity.
    step = finite[-1] - finite[-2]
    finite = np.concatenate([[finite[0] - step], finite, [finite[-1] + step]])
    middle = (finite[1:] + finite[:-1]) / 2
    with np.errstate(over="ignore"):
        exact = np.concatenate([finite, middle]).astype(np.float32)
        below = np.nextafter(exact, np.float32(-np.inf))
        above = np.nextafter(exact, np.float32(np.inf))
    return np.concatenate([exact, below, above])


def test_rounding_to_float16_is_numpys(rng: np.random.Generator) -> None:
    anything = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32).view(np.float32)
    numbers = np.concatenate([boundaries("float16"), anything])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        expected = numbers.astype(np.float16)
    same(float32_to_float16(numbers).view(np.float16), expected)


def test_rounding_to_bfloat16_is_to_the_nearest_even(rng: np.random.Generator) -> None:
    """By search among all bfloat16, in float64, which is exact."""
    anything = rng.integers(0, 1 << 32, 50_000, dtype=np.uint32).view(np.float32)
    numbers = np.concatenate([boundaries("bfloat16"), anything[np.isfinite(anything)]])
    positive = np.abs(numbers[np.isfinite(numbers)]).astype(np.float64)
    # Patterns of positive numbers are in order of value; infinity stands one step past the last.
    ladder = np.array([value(bits, "bfloat16") for bits in range(0x7F81)])
    ladder[0x7F80] = 2.0**128
    low = np.searchsorted(ladder, positive, side="right") - 1
    low = np.minimum(low, 0x7F7F)
    down, up = positive - ladder[low], ladder[low + 1] - positive
    expected = np.where((up < down) | ((up == down) & (low % 2 == 1)), low + 1, low)
    np.testing.assert_array_equal(float32_to_bfloat16(positive.astype(np.float32)), expected)
    negative = float32_to_bfloat16(-positive.astype(np.float32))
    np.testing.assert_array_equal(negative, expected | 0x8000)


@pytest.mark.parametrize("kind", LAYOUT)
def test_what_is_no_number_stays_none(kind: str) -> None:
    words = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7F810000], dtype=np.uint32)
    back = WIDEN[kind](NARROW[kind](words.view(np.float32)))
    assert np.isnan(back).all()
    np.testing.assert_array_equal(np.signbit(back), words >> 31 == 1)


@pytest.mark.parametrize("kind", LAYOUT)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3, 5), ((1 << 15) + 1,)])
def test_any_shape(kind: str, shape: tuple[int, ...]) -> None:
    ones = np.ones(shape, dtype=np.float32)
    bits = NARROW[kind](ones)
    assert (bits.shape, bits.dtype) == (shape, np.uint16)
    np.testing.assert_array_equal(WIDEN[kind](bits), ones)
