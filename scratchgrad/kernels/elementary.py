"""exp, tanh, erf, sigmoid and the normal distribution of one number, free of branches, so that
LLVM does 4 to 16 at once.

Numba's own exp, tanh and erf call the C library, one number and about 17 ns a call. These bring
the argument to a short interval and evaluate a polynomial there; every special case is a select.
Other kernels call them by name, on float32 or float64; with the JIT disabled they run on NumPy
scalars as they stand. The numbers of the polynomials are in `coefficients.py`.

Largest errors measured, in units in the last place, in float32 and float64 alike: exp 1.1,
tanh 2.4, erf 2.4, sigmoid 2.8 (tests/kernels/test_elementary.py holds them there); normal is off
by 1.2e-7 at most, two units in the last place of 1.

exp: x = k ln 2 + r with k a whole number and |r| <= ln(2) / 2, so exp(x) = 2^k (1 + p) with
p = exp(r) - 1 = r + r² q(r). Multiplying by 2^k is writing k into the exponent bits of a float.
"""

from typing import Any

import numpy as np

from scratchgrad.kernels.coefficients import (
    ERF_LARGE32,
    ERF_LARGE64,
    ERF_SMALL32,
    ERF_SMALL64,
    EXP2_32,
    EXP2_64,
    EXP32,
    EXP64,
    NORMAL32,
)
from scratchgrad.kernels.jit import device, overload


@device
def _horner(x, coefficients):
    y = coefficients[0]
    for c in coefficients[1:]:
        y = y * x + c
    return y


# -- exp ---------------------------------------------------------------------------------------

# Adding 1.5 · 2^23 to a small float rounds it to a whole number, which then stands in the low
# bits of the sum: no conversion to an integer, which would be undefined for nan.
ROUND32, ROUND64 = np.float32(1.5 * 2**23), np.float64(1.5 * 2**52)
ROUND32_BITS, ROUND64_BITS = ROUND32.view(np.int32), ROUND64.view(np.int64)
LOG2_E32, LOG2_E64 = np.float32(1.4426950408889634), np.float64(1.4426950408889634)
# ln 2 in two parts, the high one with so few bits that k times it is exact (Cody and Waite)
LN2_HIGH32, LN2_LOW32 = np.float32(0.693359375), np.float32(-2.12194440054690583e-4)
LN2_HIGH64, LN2_LOW64 = np.float64(0.693147180369123816490), np.float64(1.90821492927058770e-10)
ZERO32, ZERO64 = np.float32(0), np.float64(0)
ONE32, ONE64 = np.float32(1), np.float64(1)
TWO32, TWO64 = np.float32(2), np.float64(2)


@device
def _reduce32(x):
    """x -> k, exp(r) - 1."""
    shifted = x * LOG2_E32 + ROUND32
    whole = shifted - ROUND32
    r = (x - whole * LN2_HIGH32) - whole * LN2_LOW32
    # np.int32 at each step: Numba makes int64 of their sums, half as many of which fit a vector
    k = np.int32(np.float32(shifted).view(np.int32) - ROUND32_BITS)
    return k, r + r * r * _horner(r, EXP32)


@device
def _reduce64(x):
    shifted = x * LOG2_E64 + ROUND64
    whole = shifted - ROUND64
    r = (x - whole * LN2_HIGH64) - whole * LN2_LOW64
    return np.float64(shifted).view(np.int64) - ROUND64_BITS, r + r * r * _horner(r, EXP64)


@device
def _power_of_two32(k):
    """2^k for k in [-126, 127]: k in the exponent bits, zeros in the fraction."""
    return np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@device
def _power_of_two64(k):
    return np.int64((k + np.int64(1023)) << np.int64(52)).view(np.float64)


@device
def _exp32(x):
    # 'limit if beyond else x' and not min(): every comparison with nan is false, so nan stays
    x = np.float32(-104) if x < np.float32(-104) else x  # exp of it rounds to 0
    x = np.float32(89) if x > np.float32(89) else x  # exp of it is above the largest float
    k, p = _reduce32(x)
    half = np.int32(k >> 1)  # 2^k itself may be out of range where the product is not
    return (ONE32 + p) * _power_of_two32(half) * _power_of_two32(np.int32(k - half))


@device
def _exp64(x):
    x = np.float64(-746) if x < np.float64(-746) else x
    x = np.float64(710) if x > np.float64(710) else x
    k, p = _reduce64(x)
    half = k >> 1
    return (ONE64 + p) * _power_of_two64(half) * _power_of_two64(k - half)


# -- a weight of softmax -----------------------------------------------------------------------

# 2^x = 2^k 2^r with k whole and |r| <= 1/2, for arguments of at most 0 or little above: half of
# the steps of exp are not needed. The number added to round x is such that the low bits of the
# sum are the exponent bits of 2^k.
SHIFT32, SHIFT64 = ROUND32 + np.float32(127), ROUND64 + np.float64(1023)


@device
def _weight32(x):
    lower = np.float32(-126) if x < np.float32(-126) else x  # false for nan, which stays
    shifted = lower + SHIFT32
    r = lower - (shifted - SHIFT32)
    power = np.int32(np.float32(shifted).view(np.int32) << np.int32(23)).view(np.float32)
    y = (ONE32 + r * _horner(r, EXP2_32)) * power
    return ZERO32 if x < np.float32(-126) else y


@device
def _weight64(x):
    lower = np.float64(-1022) if x < np.float64(-1022) else x
    shifted = lower + SHIFT64
    r = lower - (shifted - SHIFT64)
    power = np.int64(np.float64(shifted).view(np.int64) << np.int64(52)).view(np.float64)
    y = (ONE64 + r * _horner(r, EXP2_64)) * power
    return ZERO64 if x < np.float64(-1022) else y


# -- tanh --------------------------------------------------------------------------------------

# tanh(a) = e / (e + 2) with e = exp(2a) - 1 = 2^k p + (2^k - 1), which does not cancel for a >= 0


@device
def _tanh32(x):
    a = abs(x)
    a = np.float32(10) if a > np.float32(10) else a  # tanh of it rounds to 1
    k, p = _reduce32(a + a)
    power = _power_of_two32(k)
    e = power * p + (power - ONE32)
    y = e / (e + TWO32)
    return -y if x < 0 else y


@device
def _tanh64(x):
    a = abs(x)
    a = np.float64(20) if a > np.float64(20) else a
    k, p = _reduce64(a + a)
    power = _power_of_two64(k)
    e = power * p + (power - ONE64)
    y = e / (e + TWO64)
    return -y if x < 0 else y


# -- erf ---------------------------------------------------------------------------------------

# erf(x) = x P(x²) up to 1, and 1 - exp(-x²) G((x - 2) / (x + 2)) beyond, where the error in the
# second term is made small by its own smallness. Both are evaluated, and weighed by 1 and 0: LLVM
# would turn a choice between two long expressions into a branch and do one number at a time.


@device
def _erf32(x):
    a = abs(x)
    a = np.float32(4) if a > np.float32(4) else a  # erf of it rounds to 1
    small = a * _horner(a * a, ERF_SMALL32)
    large = ONE32 - _exp32(-a * a) * _horner((a - TWO32) / (a + TWO32), ERF_LARGE32)
    weight = ONE32 if a < ONE32 else ZERO32
    y = weight * small + (ONE32 - weight) * large
    return -y if x < 0 else y


@device
def _erf64(x):
    a = abs(x)
    a = np.float64(6) if a > np.float64(6) else a
    small = a * _horner(a * a, ERF_SMALL64)
    large = ONE64 - _exp64(-a * a) * _horner((a - TWO64) / (a + TWO64), ERF_LARGE64)
    weight = ONE64 if a < ONE64 else ZERO64
    y = weight * small + (ONE64 - weight) * large
    return -y if x < 0 else y


# -- normal ------------------------------------------------------------------------------------

# Φ(x) = (1 + erf(x / √2)) / 2 needs no digits that adding 1 loses. So one polynomial does for all
# of [-5.3, 5.3], without exp and without a division: 1/2 + x h(t), where t = 2 (x / 5.3)² - 1.
# Float64 takes the long way: it is there for checks, and would need 40 terms.

NORMAL_LIMIT32, NORMAL_SCALE32 = np.float32(5.3), np.float32(2 / 5.3**2)
HALF32, HALF64, ROOT_HALF64 = np.float32(0.5), np.float64(0.5), np.float64(0.7071067811865476)


@device
def _normal32(x):
    y = HALF32 + x * _horner(x * x * NORMAL_SCALE32 - ONE32, NORMAL32)
    y = ONE32 if x > NORMAL_LIMIT32 else y
    return ZERO32 if x < -NORMAL_LIMIT32 else y


@device
def _normal64(x):
    return HALF64 + HALF64 * _erf64(x * ROOT_HALF64)


# -- sigmoid -----------------------------------------------------------------------------------

# by exp(-|x|): neither end overflows, and results near 0 keep their digits


@device
def _sigmoid32(x):
    e = _exp32(-abs(x))
    y = ONE32 / (ONE32 + e)
    return e * y if x < 0 else y


@device
def _sigmoid64(x):
    e = _exp64(-abs(x))
    y = ONE64 / (ONE64 + e)
    return e * y if x < 0 else y


# -- the names that kernels call ---------------------------------------------------------------


def exp(x):
    """exp(x) of a float32 or float64 scalar; 0 and inf beyond the range, nan for nan."""
    return _exp32(x) if isinstance(x, np.float32) else _exp64(x)


def weight(x):
    """2^x for x of at most 1: 0 where that is below the smallest normal number, nan for nan."""
    return _weight32(x) if isinstance(x, np.float32) else _weight64(x)


def tanh(x):
    """tanh(x) of a float32 or float64 scalar."""
    return _tanh32(x) if isinstance(x, np.float32) else _tanh64(x)


def erf(x):
    """erf(x) of a float32 or float64 scalar."""
    return _erf32(x) if isinstance(x, np.float32) else _erf64(x)


def normal(x):
    """Φ(x), the probability that a standard normal number lies below a float32 or float64."""
    return _normal32(x) if isinstance(x, np.float32) else _normal64(x)


def sigmoid(x):
    """1 / (1 + exp(-x)) of a float32 or float64 scalar."""
    return _sigmoid32(x) if isinstance(x, np.float32) else _sigmoid64(x)


def _choose(name: Any, single: Any, double: Any) -> None:
    """In compiled code, a call of name is a call of one of the two, by the argument's type."""

    def choose(x):
        if str(x) in ("float32", "int32"):
            return lambda x: single(x)
        if str(x) in ("float64", "int64"):
            return lambda x: double(x)
        return None

    overload(name, jit_options={"forceinline": True})(choose)


_choose(exp, _exp32, _exp64)
_choose(weight, _weight32, _weight64)
_choose(tanh, _tanh32, _tanh64)
_choose(erf, _erf32, _erf64)
_choose(normal, _normal32, _normal64)
_choose(sigmoid, _sigmoid32, _sigmoid64)


# -- the largest of a row ----------------------------------------------------------------------

# Comparing floats one after the other is a chain that LLVM may not cut into lanes, for with nan
# among them the order matters. Whole numbers it may. The bits of a float, read as a whole number,
# sort as the float does if it is positive; if negative, with all bits but the sign turned over.


@device
def _sorting32(x):
    bits = np.float32(x).view(np.int32)
    return np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))


@device
def _sorting64(x):
    bits = np.float64(x).view(np.int64)
    return np.int64(bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF))


@device
def _unsorting32(key):
    return np.int32(key ^ ((key >> 31) & 0x7FFFFFFF)).view(np.float32)


@device
def _unsorting64(key):
    return np.int64(key ^ ((key >> 63) & 0x7FFFFFFFFFFFFFFF)).view(np.float64)


def _sorting(x):
    return _sorting32(x) if isinstance(x, np.float32) else _sorting64(x)


def _unsorting(key):
    return _unsorting32(key) if isinstance(key, np.int32) else _unsorting64(key)


_choose(_sorting, _sorting32, _sorting64)
_choose(_unsorting, _unsorting32, _unsorting64)


@device
def largest(row):
    """The largest of (C,) floats, C at least 1. A nan counts as beyond either infinity."""
    top = _sorting(row[0])
    for j in range(1, row.size):
        key = _sorting(row[j])
        top = key if key > top else top
    return _unsorting(top)
