"""Operations that fold axes together: sums, means, extremes, products.

A reduction's backward stretches dy back over the axes that were folded. ``axis`` is None (all), one
axis or several; ``keepdims`` leaves the folded axes in place with size 1.

Where several elements tie for an extreme, they share its gradient evenly, as torch.amax does.
"""

import numpy as np

from scratchgrad.errors import ShapeError
from scratchgrad.operation import differentiable
from scratchgrad.ops.arguments import as_float, axes_of, axis_of


def _kept(dy, axes, ndim):
    """dy with the folded axes put back at size 1, so that it broadcasts against the input."""
    return dy if dy.ndim == ndim else np.expand_dims(dy, axes)


def _not_empty(name, x, axes):
    if any(x.shape[a] == 0 for a in axes):
        raise ShapeError(f"{name}: shape {x.shape} has no element along the axes {axes}")


@differentiable
def sum(x, /, axis=None, keepdims=False):
    """The sum over the axes."""
    axes = axes_of("sum", axis, x.ndim)
    shape, ndim = x.shape, x.ndim
    return np.sum(x, axes, keepdims=keepdims), lambda dy: np.broadcast_to(
        _kept(dy, axes, ndim), shape
    )


@differentiable
def mean(x, /, axis=None, keepdims=False):
    """The mean over the axes."""
    x = as_float(x)
    axes = axes_of("mean", axis, x.ndim)
    _not_empty("mean", x, axes)
    y = np.mean(x, axes, keepdims=keepdims)
    shape, ndim, n = x.shape, x.ndim, _count(x, axes)
    return y, lambda dy: np.broadcast_to(_kept(dy, axes, ndim) / n, shape)


@differentiable
def var(x, /, axis=None, correction=0, keepdims=False):
    """The variance over the axes: the mean squared distance from the mean.

    The divisor is n - correction: 0 gives the population's variance (NumPy's default), 1 the
    unbiased estimate from a sample (PyTorch's).
    """
    x = as_float(x)
    axes = axes_of("var", axis, x.ndim)
    n = _divisor("var", x, axes, correction)
    centred = x - np.mean(x, axes, keepdims=True)
    y = np.sum(centred * centred, axes, keepdims=keepdims) / n
    # d/dx of the mean inside contributes sum(centred) = 0.
    return y, lambda dy: (2 / n) * _kept(dy, axes, x.ndim) * centred


@differentiable
def std(x, /, axis=None, correction=0, keepdims=False):
    """The standard deviation over the axes, sqrt(var). Where it is 0, its gradient is 0 too."""
    x = as_float(x)
    axes = axes_of("std", axis, x.ndim)
    n = _divisor("std", x, axes, correction)
    centred = x - np.mean(x, axes, keepdims=True)
    s = np.sqrt(np.sum(centred * centred, axes, keepdims=True) / n)
    y = s if keepdims else np.squeeze(s, axes)
    return y, lambda dy: np.where(s == 0, 0, _kept(dy, axes, x.ndim) * centred / (n * s))


def _count(x, axes):
    return int(np.prod([x.shape[a] for a in axes], dtype=np.int64))


def _divisor(name, x, axes, correction):
    n = _count(x, axes) - correction
    if n <= 0:
        raise ShapeError(
            f"{name}: expected more than {correction} elements along the axes {axes}, "
            f"received shape {x.shape}"
        )
    return n


@differentiable
def max(x, /, axis=None, keepdims=False):
    """The largest element over the axes."""
    return _extreme("max", np.max, x, axis, keepdims)


@differentiable
def min(x, /, axis=None, keepdims=False):
    """The smallest element over the axes."""
    return _extreme("min", np.min, x, axis, keepdims)


def _extreme(name, fold, x, axis, keepdims):
    axes = axes_of(name, axis, x.ndim)
    _not_empty(name, x, axes)
    kept = fold(x, axes, keepdims=True)

    def dx(dy):
        ties = x == kept
        # nan equals nothing, itself neither: with one among them, 0/0 says so.
        return np.where(ties, _kept(dy, axes, x.ndim), 0) / np.sum(ties, axes, keepdims=True)

    return (kept if keepdims else np.squeeze(kept, axes)), dx


@differentiable
def prod(x, /, axis=None, keepdims=False):
    """The product over the axes.

    The gradient of an element is the product of the others. Dividing the product by the element
    would do, but for zeros: with one zero only that element has a gradient, with two none has.
    """
    axes = axes_of("prod", axis, x.ndim)
    y = np.prod(x, axes, keepdims=keepdims)

    def dx(dy):
        zero = x == 0
        zeros = np.sum(zero, axes, keepdims=True)
        rest = np.prod(np.where(zero, 1, x), axes, keepdims=True)  # the product without its zeros
        others = np.where(zero, np.where(zeros == 1, rest, 0), np.where(zeros == 0, rest / x, 0))
        return _kept(dy, axes, x.ndim) * others

    return y, dx


@differentiable
def logsumexp(x, /, axis=None, keepdims=False):
    """ln sum exp(x) over the axes, without overflow. Its gradient is the softmax."""
    x = as_float(x)
    axes = axes_of("logsumexp", axis, x.ndim)
    _not_empty("logsumexp", x, axes)
    top = np.max(x, axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)  # inf - inf would be nan
    with np.errstate(divide="ignore"):  # ln 0 = -inf is the answer for a row of -inf
        kept = top + np.log(np.sum(np.exp(x - top), axes, keepdims=True))
    return (
        kept if keepdims else np.squeeze(kept, axes)
    ), lambda dy: _kept(dy, axes, x.ndim) * np.exp(x - kept)


@differentiable
def cumulative_sum(x, /, axis=None, include_initial=False):
    """The running sum along one axis (which may be left out for one dimension).

    With ``include_initial`` it starts with a 0, and so is one longer.
    """
    if axis is None and x.ndim != 1:
        raise ShapeError(f"cumulative_sum: expected an axis for {x.ndim} dimensions")
    axis = axis_of("cumulative_sum", 0 if axis is None else axis, x.ndim)
    y = np.cumsum(x, axis)
    if include_initial:
        first = np.zeros_like(x, shape=(*x.shape[:axis], 1, *x.shape[axis + 1 :]))
        y = np.concatenate([first, y], axis)

    def dx(dy):
        if include_initial:
            dy = np.delete(dy, 0, axis)
        # An element is in all the sums from its own on: a running sum from the other end.
        return np.flip(np.cumsum(np.flip(dy, axis), axis), axis)

    return y, dx
