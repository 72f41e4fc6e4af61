"""Operations that act on each element alone, with NumPy's broadcasting.

At a kink or a tie there is no one derivative; the value taken there is PyTorch's:

=================  ==============================================
relu at 0          0
abs at 0           0
maximum, minimum   half to each input where they are equal
clip at a bound    1 to x (the bound gets nothing)
sqrt at 0          infinity
pow(0, 0)          0 for the base; 0 for the exponent
=================  ==============================================
"""

import numpy as np

from scratchgrad.errors import ConfigError, DtypeError
from scratchgrad.kernels import activation
from scratchgrad.operation import differentiable
from scratchgrad.ops.arguments import as_float, memory_for

# ------------------------------------------------------------------------------------ arithmetic


@differentiable
def add(a, b):
    """a + b."""
    return np.add(a, b, out=memory_for(a, b)), (lambda dy: dy, lambda dy: dy)


@differentiable
def subtract(a, b):
    """a - b."""
    return np.subtract(a, b), (lambda dy: dy, lambda dy: -dy)


@differentiable
def multiply(a, b):
    """a * b."""
    return np.multiply(a, b), (lambda dy: dy * b, lambda dy: dy * a)


@differentiable
def divide(a, b):
    """a / b."""
    y = np.divide(a, b)
    return y, (lambda dy: dy / b, lambda dy: -dy * y / b)


@differentiable
def negative(x):
    """-x."""
    return np.negative(x), lambda dy: -dy


@differentiable
def pow(a, b):
    """a to the power b.

    d(a^b)/da = b a^(b-1), and 0 where b is 0, for a^0 is the constant 1 even at a = 0.
    d(a^b)/db = a^b ln a, and 0 where a is 0 and b >= 0, for 0^b is 0 around there.
    A negative a has no real ln a: its exponent's gradient is nan.
    """
    y = np.power(a, b)
    return y, (
        lambda dy: dy * np.where(np.equal(b, 0), 0, b * np.power(a, b - 1)),
        lambda dy: dy * np.where(np.equal(a, 0) & np.greater_equal(b, 0), 0, y * np.log(a)),
    )


@differentiable
def square(x):
    """x * x."""
    return np.square(x), lambda dy: dy * (2 * x)


@differentiable
def sqrt(x):
    """The square root."""
    y = np.sqrt(x)
    return y, lambda dy: dy / (2 * y)


@differentiable
def abs(x):
    """The absolute value."""
    return np.abs(x), lambda dy: dy * np.sign(x)


# ------------------------------------------------------------- exponentials and trigonometry


@differentiable
def exp(x):
    """e to the power x."""
    y = np.exp(x)
    return y, lambda dy: dy * y


@differentiable
def expm1(x):
    """e^x - 1, exact for small x."""
    y = np.expm1(x)
    return y, lambda dy: dy * (y + 1)


@differentiable
def log(x):
    """The natural logarithm."""
    return np.log(x), lambda dy: dy / x


@differentiable
def log1p(x):
    """ln(1 + x), exact for small x."""
    return np.log1p(x), lambda dy: dy / (1 + x)


@differentiable
def sin(x):
    """The sine of x, in radians."""
    return np.sin(x), lambda dy: dy * np.cos(x)


@differentiable
def cos(x):
    """The cosine of x, in radians."""
    return np.cos(x), lambda dy: -dy * np.sin(x)


@differentiable
def tanh(x):
    """The hyperbolic tangent."""
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


@differentiable
def erf(x):
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    slope = 2 / np.pi**0.5
    return activation.erf(as_float(x)), lambda dy: dy * (slope * np.exp(-x * x))


# ----------------------------------------------------------------------------------- activations


@differentiable
def sigmoid(x):
    """1 / (1 + e^-x), without overflow at either end."""
    y = activation.sigmoid(as_float(x))
    return y, lambda dy: dy * y * (1 - y)


@differentiable
def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0), lambda dy: np.where(x <= 0, 0, dy)  # nan stays nan


@differentiable
def gelu(x, /, approximate="none"):
    """The Gaussian error linear unit, x Phi(x), Phi the standard normal's distribution function.

    ``approximate="tanh"`` is GPT-2's x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units (2016), equations 1 and 2.
    """
    if approximate not in ("none", "tanh"):
        raise ConfigError(f"gelu: expected approximate 'none' or 'tanh', received {approximate!r}")
    x = as_float(x)
    return activation.gelu(x, approximate), lambda dy: activation.gelu_backward(dy, x, approximate)


@differentiable
def silu(x):
    """x sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya, Sigmoid-weighted linear units (2018), equation 4.
    """
    x = as_float(x)
    return activation.silu(x), lambda dy: activation.silu_backward(dy, x)


@differentiable
def swiglu(x, /):
    """silu(gate) up, where gate and up are the two halves of the last axis: (..., 2 F) -> (..., F).

    The two linear layers before it are then one product: ``swiglu(linear(x, weight))`` with a
    weight (2 F, C), whose upper half makes the gates.

    Source: Shazeer, GLU Variants Improve Transformer (2020), equation 6.
    """
    x = as_float(x)
    return activation.swiglu(x), lambda dy: activation.swiglu_backward(dy, x)


# ------------------------------------------------------------------------------------- selection


@differentiable
def maximum(a, b):
    """The larger of each pair; nan where either is nan."""
    da = lambda dy: np.where(np.equal(a, b), dy / 2, np.where(np.less(a, b), 0, dy))  # noqa: E731
    db = lambda dy: np.where(np.equal(a, b), dy / 2, np.where(np.less(b, a), 0, dy))  # noqa: E731
    return np.maximum(a, b), (da, db)


@differentiable
def minimum(a, b):
    """The smaller of each pair; nan where either is nan."""
    da = lambda dy: np.where(np.equal(a, b), dy / 2, np.where(np.less(b, a), 0, dy))  # noqa: E731
    db = lambda dy: np.where(np.equal(a, b), dy / 2, np.where(np.less(a, b), 0, dy))  # noqa: E731
    return np.minimum(a, b), (da, db)


@differentiable
def clip(x, min=None, max=None, /):
    """x, but no smaller than min and no larger than max; max wins where they cross.

    Each element's gradient goes to the one of the three that it came from.
    """
    low = -np.inf if min is None else min
    high = np.inf if max is None else max
    y = x if min is None else np.maximum(x, min)
    y = y if max is None else np.minimum(y, max)
    # Written with >= and <= so that x keeps its gradient on a bound.
    return y, (
        lambda dy: np.where(np.greater_equal(x, low) & np.less_equal(x, high), dy, 0),
        lambda dy: np.where(np.less(x, low) & (np.less(low, high) | (max is None)), dy, 0),
        lambda dy: np.where(np.greater(x, high) | np.less(high, low), dy, 0),
    )


@differentiable
def where(condition, a, b):
    """a where the condition holds, else b. The condition is boolean and has no gradient."""
    c = np.asarray(condition)
    if c.dtype != bool:
        raise DtypeError(f"where: expected a boolean condition, received {c.dtype}; compare first")
    return np.where(c, a, b), (
        None,
        lambda dy: np.where(c, dy, 0),
        lambda dy: np.where(c, 0, dy),
    )
