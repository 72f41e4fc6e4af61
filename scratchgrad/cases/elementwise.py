"""The table's rows for ops/elementwise.py."""

import math
from functools import partial
from typing import Any

import numpy as np

from scratchgrad.cases.call import Call, entry
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import broadcastable, numbers, shape_of, side

_vector_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: Any) -> Any:
    return _vector_erf(x).astype(x.dtype)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def one(choose: Choices, **domain: Any) -> Call:
    return Call(numbers(choose.rng(), shape_of(choose), **domain))


def two(choose: Choices, scalars: bool = True, **domain: Any) -> Call:
    """Two arrays that broadcast; or an array and a Python number, on either side."""
    a, b = numbers(choose.rng(), *broadcastable(choose, 2), **domain)
    kinds = ["arrays", "arrays", "number left", "number right"] if scalars else ["arrays"]
    kind = choose.one_of(kinds)
    if kind == "number left":
        return Call((choose.one_of([3, 2.5]), b))  # out of the way of all drawn numbers
    if kind == "number right":
        return Call((a, choose.one_of([3, 2.5])))
    return Call((a, b))


def power(choose: Choices) -> Call:
    """Any real exponent of a positive base; whole exponents of a base of either sign."""
    rng = choose.rng()
    if choose.flag():
        base, exponent = numbers(rng, *broadcastable(choose, 2))
        return Call((np.asarray(np.abs(base)), exponent))
    if choose.flag():
        (exponent,) = numbers(rng, shape_of(choose))
        return Call((choose.one_of([2, 0.5, 3.0]), exponent))
    (base,) = numbers(rng, shape_of(choose))
    whole = choose.one_of([0, 1, 2, 3, -1, -2, 2.0, -3.0])
    return Call((base, whole)) if choose.flag() else Call((np.asarray(np.abs(base)), 0.5))


def clipped(choose: Choices) -> Call:
    """Bounds that are numbers, arrays, missing, or crossed."""
    rng = choose.rng()
    x, low, high = numbers(rng, *broadcastable(choose, 3))
    kind = choose.one_of(["arrays", "low array", "high array", "numbers", "low", "high"])
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


def chosen(choose: Choices) -> Call:
    a, b, c = broadcastable(choose, 3)
    rng = choose.rng()
    x, y = numbers(rng, a, b)
    condition = rng.random(c) < 0.5
    kind = choose.one_of(["arrays", "number left", "number right"])
    return Call(
        (condition, 0.5 if kind == "number left" else x, 2 if kind == "number right" else y)
    )


def gelus(choose: Choices) -> Call:
    approximate = choose.one_of(["none", "tanh"])
    return Call(one(choose, high=4.0).inputs, {"approximate": approximate})


def halves(choose: Choices) -> Call:
    """An even number on the last axis."""
    shape = (*shape_of(choose, max_dims=2), 2 * side(choose))
    return Call(numbers(choose.rng(), shape, high=4.0))


def swiglu(x: Any) -> Any:
    gate, up = np.split(x, 2, axis=-1)
    return gate * sigmoid(gate) * up


ENTRIES = dict(
    [
        entry("add", two, np.add),
        entry("subtract", two, np.subtract),
        entry("multiply", two, np.multiply),
        entry("divide", partial(two, low=0.4), np.divide),
        entry("negative", one, np.negative),
        entry("pow", power, np.power, rtol32=2e-5),
        entry("square", one, np.square),
        entry("sqrt", partial(one, signs=False), np.sqrt),
        entry("abs", one, np.abs),
        entry("exp", one, np.exp),
        entry("expm1", one, np.expm1),
        entry("log", partial(one, signs=False), np.log),
        entry("log1p", partial(one, low=-0.6, signs=False), np.log1p),
        entry("sin", partial(one, high=6.0), np.sin),
        entry("cos", partial(one, high=6.0), np.cos),
        entry("tanh", one, np.tanh),
        entry("erf", partial(one, high=3.0), erf),
        entry("sigmoid", partial(one, high=6.0), sigmoid),
        entry("relu", one, lambda x: np.where(x > 0, x, 0)),
        entry("gelu", gelus, gelu),
        entry("silu", partial(one, high=6.0), lambda x: x * sigmoid(x)),
        entry("swiglu", halves, swiglu),
        entry("maximum", two, np.maximum),
        entry("minimum", two, np.minimum),
        entry("clip", clipped, clip_reference),
        entry("where", chosen, np.where),
    ]
)
