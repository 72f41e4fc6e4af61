"""Property-based tests of gradients, for Hypothesis: strategies, and a test from an op.

Strategies draw what is good to test an operation with: shapes (sizes 0 and 1 among them), groups
of shapes that broadcast, memory layouts, numbers away from ties and kinks, the inputs of attention,
token ids. ``check_op`` makes a whole test of an operation and a reference. What fails is shrunk by
Hypothesis to the smallest shapes that still fail.

This module alone needs Hypothesis; nothing else in the package imports it.

Source: the idea of one decorator for a whole test, MyGrad's test suite.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

try:
    from hypothesis import given
    from hypothesis import settings as hypothesis_settings
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover
    raise ImportError("scratchgrad.testing needs Hypothesis: pip install hypothesis") from error

from scratchgrad.cases import draw
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import LAYOUTS, laid_out
from scratchgrad.errors import ConfigError
from scratchgrad.gradcheck import gradcheck
from scratchgrad.gradcheck.differences import cotangent_like
from scratchgrad.gradcheck.subject import as_tuple
from scratchgrad.tensor import Tensor

__all__ = [
    "LAYOUTS",
    "arrays",
    "attention_inputs",
    "axes",
    "broadcastable_arrays",
    "broadcastable_shapes",
    "check_op",
    "drawn",
    "laid_out",
    "layouts",
    "rngs",
    "shapes",
    "token_ids",
]

T = TypeVar("T")


# ---------------------------------------------------------------------------------- strategies


class _Drawn:
    """Choices made by Hypothesis, which moves to the first option when it shrinks."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def one_of(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def flag(self) -> bool:
        return self._draw(st.booleans())

    def permutation(self, items: Sequence[T]) -> list[T]:
        return self._draw(st.permutations(items))

    def rng(self) -> np.random.Generator:
        return self._draw(rngs)


def drawn(case: Callable[..., T], *args: Any, **options: Any) -> st.SearchStrategy[T]:
    """The strategy for a case that is described as a function of Choices."""

    @st.composite
    def strategy(draw: Any) -> T:
        choose: Choices = _Drawn(draw)
        return case(choose, *args, **options)

    return strategy()


rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)
"""NumPy generators. Numbers inside an array come from one of these: that keeps a draw small."""


def layouts() -> st.SearchStrategy[str]:
    """Names of memory layouts; ``laid_out(array, layout)`` makes an array of that layout."""
    return st.sampled_from(LAYOUTS)


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes; sides 0 and 1 come, but seldom."""
    return drawn(draw.shape_of, min_dims, max_dims, min_side, max_side)


def broadcastable_shapes(
    n: int, max_dims: int = 3, max_side: int = 3
) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """n shapes that broadcast together, by axes of size 1 and by axes left away."""
    return drawn(draw.broadcastable, n, max_dims, max_side)


def axes(ndim: int, none: bool = True, several: bool = True) -> st.SearchStrategy[Any]:
    """An ``axis`` argument: an integer of either sign; None if wanted; tuples if wanted."""
    return drawn(draw.axes, ndim, none, several)


def arrays(
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]] | None = None,
    **values: Any,
) -> st.SearchStrategy[np.ndarray]:
    """A float64 array whose numbers differ in magnitude by a good part of their mean distance.

    ``values`` are ``low`` and ``high``, the magnitudes (0.2 to 2), and ``signs``, whether of
    either sign. No two are tied and none is near 0, where abs, relu or max have a kink.
    """
    if shape is not None and not isinstance(shape, (tuple, st.SearchStrategy)):
        raise ConfigError(
            f"arrays: expected a shape as a tuple, or a strategy for one, received {shape!r}"
        )
    return _arrays([shapes() if shape is None else shape], values).map(lambda group: group[0])


def broadcastable_arrays(n: int, **values: Any) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    """n arrays that broadcast together; no two numbers in all of them are tied. See ``arrays``."""

    @st.composite
    def strategy(draw: Any) -> tuple[np.ndarray, ...]:
        return draw(_arrays(draw(broadcastable_shapes(n)), values))

    return strategy()


def _arrays(
    shapes: Sequence[Any], values: dict[str, Any]
) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    @st.composite
    def strategy(pick: Any) -> tuple[np.ndarray, ...]:
        sizes = [s if isinstance(s, tuple) else pick(s) for s in shapes]
        return draw.numbers(pick(rngs), *sizes, **values)

    return strategy()


def attention_inputs(
    max_time: int = 5, grouped: bool = True
) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """q (B, H, T, D), k (B, Hk, S, D), v (B, Hk, S, Dv).

    H is a multiple of Hk (grouped-query and multi-query attention) unless ``grouped`` is False; T
    and S differ, as do D and Dv; T may be 0.
    """
    return drawn(draw.attention_inputs, max_time, grouped)


def token_ids(
    vocab_size: int, shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]] | None = None
) -> st.SearchStrategy[np.ndarray]:
    """int64 ids from 0 to vocab_size - 1; in all but the smallest arrays some occur twice."""
    sizes = shape if isinstance(shape, st.SearchStrategy) else st.just(shape)

    @st.composite
    def strategy(draw: Any) -> np.ndarray:
        size = draw(shapes(max_dims=2) if shape is None else sizes)
        return draw(rngs).integers(0, vocab_size, size)

    return strategy()


# ------------------------------------------------------------------------------------ check_op


def check_op(
    op: Callable[..., Any],
    *,
    inputs: st.SearchStrategy[Any] | None = None,
    values: dict[str, Any] | None = None,
    rtol: float = 1e-10,
    rtol32: float = 1e-5,
    profile: hypothesis_settings | None = None,
    **settings: st.SearchStrategy[Any],
) -> Callable[[Callable[..., Any]], Callable[[], None]]:
    """Make a property test of an op; what is decorated is its reference, in plain NumPy.

    For each example Hypothesis draws inputs, a memory layout and settings. The test then asserts
    that the value equals the reference; that every gradient passes ``gradcheck``, of all inputs
    and of one alone; that inputs in float32 give values and gradients in float32 that agree with
    float64; and that no input is written to.

    Parameters
    ----------
    op : the operation, a function of Tensors
    inputs : strategy for a tuple of arrays or one array; float arrays are differentiated
        The default is as many arrays that broadcast together as the reference has parameters
        that are not among the settings.
    values : ``low``, ``high`` and ``signs`` of the default inputs; see ``arrays``
    rtol, rtol32 : how near float64 is to the reference, and float32 to float64, relative to the
        largest number of a result; gradients in float32 may be ten times further off
    profile : Hypothesis's ``settings(...)`` for this test, which is why they are not stacked on it
        There is no deadline, whatever it says: a first call may compile for seconds.
    settings : strategies for the other arguments, by name

    Returns
    -------
    A decorator, which makes the reference a test.

    >>> import numpy as np, scratchgrad as sg
    >>> from hypothesis import strategies as st
    >>> @sg.differentiable
    ... def damp(x, /, rate=1.0):
    ...     y = np.exp(-rate * x)
    ...     return y, lambda dy: -rate * dy * y
    >>> @check_op(damp, rate=st.sampled_from([0.5, 2.0]))
    ... def test_damp(x, rate):
    ...     return np.exp(-rate * x)
    >>> test_damp()
    """

    if not callable(op):
        raise ConfigError(f"check_op: expected a function, received {type(op).__name__}")
    if inputs is not None and values is not None:
        raise ConfigError("check_op: values are for the default inputs; received inputs as well")
    for name, strategy in {"inputs": inputs, **settings}.items():
        if strategy is not None and not isinstance(strategy, st.SearchStrategy):
            raise ConfigError(
                f"check_op: expected a strategy for {name}, received {type(strategy).__name__}; "
                "for one value write st.just(value)"
            )

    def decorate(reference: Callable[..., Any]) -> Callable[[], None]:
        names = [n for n in inspect.signature(reference).parameters if n not in settings]
        strategy = inputs
        if strategy is None and not names:
            raise ConfigError(
                "check_op: the reference takes no array, so there is no input to draw"
            )
        if strategy is None:
            strategy = broadcastable_arrays(len(names), **(values or {}))

        @hypothesis_settings(profile, deadline=None)
        @given(strategy, st.fixed_dictionaries(settings), layouts(), rngs)
        def test(group: Any, chosen: Any, layout: str, rng: np.random.Generator) -> None:
            group = tuple(group) if isinstance(group, (tuple, list)) else (group,)
            _check(op, reference, group, chosen, layout, rng, rtol, rtol32)

        # Not functools.wraps: pytest would take the reference's parameters for fixtures.
        test.__name__ = getattr(reference, "__name__", "test")
        test.__qualname__ = getattr(reference, "__qualname__", test.__name__)
        test.__doc__, test.__module__ = reference.__doc__, reference.__module__
        return test

    return decorate


def _check(
    op: Callable[..., Any],
    reference: Callable[..., Any],
    group: tuple[Any, ...],
    settings: dict[str, Any],
    layout: str,
    rng: np.random.Generator,
    rtol: float,
    rtol32: float,
) -> None:
    """One example of ``check_op``."""
    floats = [i for i, x in enumerate(group) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]

    def tensors(dtype: Any, wanted: Sequence[int]) -> list[Any]:
        return [
            Tensor(laid_out(x.astype(dtype), layout), i in wanted) if i in floats else x
            for i, x in enumerate(group)
        ]

    @functools.wraps(op)  # for its name in messages
    def function(*inputs: Any) -> Any:
        return op(*inputs, **settings)

    wide = tensors(np.float64, [])
    ys = as_tuple(function(*wide))
    expected = as_tuple(reference(*group, **settings))
    if len(ys) != len(expected):
        raise AssertionError(f"{len(ys)} outputs, but the reference has {len(expected)}")
    for i, (y, e) in enumerate(zip(ys, expected, strict=True)):
        e = np.asarray(e)
        if y.shape != e.shape:
            raise AssertionError(f"output {i} has shape {y.shape}, the reference {e.shape}")
        _close(y.numpy(), e, rtol, f"output {i} and the reference, {layout} inputs")
    for x, original in zip(wide, group, strict=True):
        if isinstance(x, Tensor):
            np.testing.assert_array_equal(x.numpy(), original, "an input was written to")
    gradcheck(function, tensors(np.float64, floats))
    if len(floats) > 1:  # the others are constants then, and take another path
        gradcheck(function, tensors(np.float64, [int(rng.choice(floats))]))
    _check_float32(function, tensors, floats, rng, rtol32)


def _check_float32(
    function: Callable[..., Any],
    tensors: Callable[..., list[Any]],
    floats: Sequence[int],
    rng: np.random.Generator,
    rtol32: float,
) -> None:
    narrow = tensors(np.float32, floats)
    ys = as_tuple(function(*narrow))
    wide = [  # the same numbers: rounded to float32 first
        Tensor(x.numpy().astype(np.float64), True) if i in floats else x
        for i, x in enumerate(narrow)
    ]
    expected = as_tuple(function(*wide))
    for i, (y, e) in enumerate(zip(ys, expected, strict=True)):
        if e.dtype.kind != "f":
            continue
        if y.dtype != np.float32:
            raise AssertionError(
                f"output {i} is {y.dtype} for float32 inputs; something inside widens it"
            )
        _close(y.numpy(), e.numpy(), rtol32, f"output {i} in float32 and in float64")
        c = cotangent_like(rng, e.shape).astype(np.float32)
        if y.requires_grad:
            y.backward(c, retain_graph=True)
            e.backward(c, retain_graph=True)
    for i in floats:
        g, expected_g = narrow[i].grad, wide[i].grad
        if expected_g is None:
            continue
        if g is None:
            raise AssertionError(f"input {i} has a gradient in float64 and none in float32")
        where = f"the gradient of input {i} in float32 and in float64"
        _close(g, expected_g, 10 * rtol32, where)


def _close(a: np.ndarray, b: np.ndarray, rtol: float, what: str) -> None:
    scale = float(np.abs(b).max(initial=1.0))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=what)
