"""The table's rows for ops/elementwise.py."""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.case import Call, entry
from tests.strategies import groups, numbers, rngs, shapes

_vector_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: Any) -> Any:
    return _vector_erf(x).astype(x.dtype)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


@st.composite
def one(draw: Any, **domain: Any) -> Call:
    return Call(numbers(draw(rngs), draw(shapes()), **domain))


@st.composite
def two(draw: Any, scalars: bool = True, **domain: Any) -> Call:
    """Two arrays that broadcast; or an array and a Python number, on either side."""
    a, b = numbers(draw(rngs), *draw(groups(2)), **domain)
    kinds = ["arrays", "arrays", "number left", "number right"] if scalars else ["arrays"]
    kind = draw(st.sampled_from(kinds))
    if kind == "number left":
        return Call((draw(st.sampled_from([3, 2.5])), b))  # out of the way of all drawn numbers
    if kind == "number right":
        return Call((a, draw(st.sampled_from([3, 2.5]))))
    return Call((a, b))


@st.composite
def power(draw: Any) -> Call:
    """Any real exponent of a positive base; whole exponents of a base of either sign."""
    rng = draw(rngs)
    if draw(st.booleans()):
        base, exponent = numbers(rng, *draw(groups(2)))
        return Call((np.asarray(np.abs(base)), exponent))
    if draw(st.booleans()):
        (exponent,) = numbers(rng, draw(shapes()))
        return Call((draw(st.sampled_from([2, 0.5, 3.0])), exponent))
    (base,) = numbers(rng, draw(shapes()))
    whole = draw(st.sampled_from([0, 1, 2, 3, -1, -2, 2.0, -3.0]))
    return Call((base, whole)) if draw(st.booleans()) else Call((np.asarray(np.abs(base)), 0.5))


@st.composite
def clipped(draw: Any) -> Call:
    """Bounds that are numbers, arrays, missing, or crossed."""
    rng = draw(rngs)
    x, low, high = numbers(rng, *draw(groups(3)))
    kind = draw(st.sampled_from(["arrays", "low array", "high array", "numbers", "low", "high"]))
    bounds = {
        "arrays": (low, high),
        "low array": (low, None),
        "high array": (None, high),
        "numbers": (-2.5, 2.5),
        "low": (-2.5, None),
        "high": (None, 3),
    }
    return Call((x, *bounds[kind]))


def clip_reference(x: Any, low: Any, high: Any) -> Any:
    y = x if low is None else np.maximum(x, low)
    return y if high is None else np.minimum(y, high)


@st.composite
def chosen(draw: Any) -> Call:
    a, b, c = draw(groups(3))
    rng = draw(rngs)
    x, y = numbers(rng, a, b)
    condition = rng.random(c) < 0.5
    kind = draw(st.sampled_from(["arrays", "number left", "number right"]))
    return Call(
        (condition, 0.5 if kind == "number left" else x, 2 if kind == "number right" else y)
    )


@st.composite
def gelus(draw: Any) -> Call:
    approximate = draw(st.sampled_from(["none", "tanh"]))
    return Call(draw(one(high=4.0)).inputs, {"approximate": approximate})


ENTRIES = dict(
    [
        entry("add", two(), np.add),
        entry("subtract", two(), np.subtract),
        entry("multiply", two(), np.multiply),
        entry("divide", two(low=0.4), np.divide),
        entry("negative", one(), np.negative),
        entry("pow", power(), np.power, rtol32=2e-5),
        entry("square", one(), np.square),
        entry("sqrt", one(signs=False), np.sqrt),
        entry("abs", one(), np.abs),
        entry("exp", one(), np.exp),
        entry("expm1", one(), np.expm1),
        entry("log", one(signs=False), np.log),
        entry("log1p", one(low=-0.6, signs=False), np.log1p),
        entry("sin", one(high=6.0), np.sin),
        entry("cos", one(high=6.0), np.cos),
        entry("tanh", one(), np.tanh),
        entry("erf", one(high=3.0), erf),
        entry("sigmoid", one(high=6.0), sigmoid),
        entry("relu", one(), lambda x: np.where(x > 0, x, 0)),
        entry("gelu", gelus(), gelu),
        entry("silu", one(high=6.0), lambda x: x * sigmoid(x)),
        entry("maximum", two(), np.maximum),
        entry("minimum", two(), np.minimum),
        entry("clip", clipped(), clip_reference),
        entry("where", chosen(), np.where),
    ]
)
