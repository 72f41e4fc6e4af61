"""What can be checked, brought into one form: leaves to move, outputs to look at, gradients.

* a function of Tensors: its float inputs are the leaves;
* a Module: its parameters are leaves too, each under its own name;
* a pair of NumPy functions (forward, vjp): nobody needs our Tensor to have a gradient checked.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad.autograd import Variable, no_grad
from scratchgrad.errors import ConfigError, DtypeError
from scratchgrad.gradcheck.report import failed
from scratchgrad.tape import Memory
from scratchgrad.tensor import Tensor


@dataclass(frozen=True)
class Leaf:
    """Something to differentiate by: its name, and the float64 array that is moved in place."""

    name: str
    array: np.ndarray


class Subject(ABC):
    """A function with a gradient. The leaves are read anew at every call."""

    def __init__(self, name: str, inputs: Sequence[Any]) -> None:
        self.name = name
        self.inputs = inputs
        self.leaves: list[Leaf] = []

    @abstractmethod
    def outputs(self) -> list[np.ndarray]:
        """The float outputs at the leaves' present values."""

    @abstractmethod
    def gradients(self, cotangents: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One forward and one backward pass; the gradient of each leaf."""

    @abstractmethod
    def watched(self) -> list[tuple[str, np.ndarray]]:
        """Every input array, integers too, which no pass may write to."""

    def _kept(self, values: Sequence[Any]) -> list[np.ndarray]:
        """The outputs that have a derivative: the floats, which must be finite and float64."""
        kept = []
        for i, y in enumerate(values):
            if y.dtype.kind == "f":
                if y.dtype != np.float64:
                    raise failed(
                        "dtype",
                        self.name,
                        f"output {i} is {y.dtype} though every input is float64; something inside "
                        "narrows it (a constant, an astype, an array made without a dtype)",
                    )
                kept.append(y.copy())  # a view of an input would move with it
        if not kept:
            raise failed("call", self.name, "no output holds floats, so there is no gradient")
        return kept


# ------------------------------------------------------------------------- Tensors and Modules


class TensorSubject(Subject):
    """A function of Tensors, or a Module with its parameters."""

    def __init__(self, fn: Callable[..., Any], inputs: Sequence[Any]) -> None:
        super().__init__(_name_of(fn), _as_leaves(inputs))
        self.fn = fn
        labels = _labels(fn, len(inputs))
        named = [(label, x) for label, x in zip(labels, self.inputs, strict=True) if _wanted(x)]
        named += [(f"parameter {n}", p) for n, p in _parameters(fn).items() if _wanted(p)]
        once = {id(x): (label, x) for label, x in reversed(named)}  # one given twice is one leaf
        named = list(reversed(once.values()))
        self.variables = [x for _, x in named]
        self.leaves = [Leaf(label, x.writable()) for label, x in named]
        self.labels = labels
        if not self.leaves:
            raise failed("call", self.name, "no input is float64, so there is no gradient")

    def outputs(self) -> list[np.ndarray]:
        with no_grad():
            return self._kept([y._array for y in self._call()])

    def gradients(self, cotangents: Sequence[np.ndarray]) -> list[np.ndarray]:
        # Without a home: what an optimiser keeps there is not touched, and each result is an array
        # of its own.
        before = [(x.grad, x._home) for x in self.variables]
        try:
            for x in self.variables:
                x.grad = x._home = None
            ys = [y for y in self._call() if y._array.dtype.kind == "f"]
            with self._told():
                for y, c in zip(ys, cotangents, strict=True):
                    if y.requires_grad:
                        y.backward(c, retain_graph=True)
            return [np.zeros(x.shape) if x.grad is None else x.grad for x in self.variables]
        finally:
            for x, (gradient, home) in zip(self.variables, before, strict=True):
                x.grad, x._home = gradient, home

    def watched(self) -> list[tuple[str, np.ndarray]]:
        arrays = [(label, _array(x)) for label, x in zip(self.labels, self.inputs, strict=True)]
        inputs = [(label, a) for label, a in arrays if isinstance(a, np.ndarray)]
        return inputs + [(leaf.name, leaf.array) for leaf in self.leaves]

    def _call(self) -> tuple[Any, ...]:
        with self._told():
            ys = tuple(y for y in as_tuple(self.fn(*self.inputs)) if y is not None)
        for y in ys:
            if not isinstance(y, Variable):
                raise failed(
                    "call",
                    self.name,
                    "expected the function to return a Tensor or a tuple of them, received "
                    f"{type(y).__name__}; for plain NumPy functions pass a pair (forward, vjp)",
                )
        return ys

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Two errors of the engine, in words that fit a check."""
        try:
            yield
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            message = f"an operation wrote into its input or into dy ({error}); copy it first"
            raise failed("mutation", self.name, message) from error
        except DtypeError as error:
            if "float dtype" not in str(error):
                raise
            raise DtypeError(
                f"{error}. Inside a check all is float64: pass a layer itself, and its parameters "
                "are widened for it; make constants float64"
            ) from error


def _array(x: Any) -> Any:
    return x._array if isinstance(x, Variable) else x


def _wanted(x: Any) -> bool:
    return isinstance(x, Variable) and x.requires_grad


def _parameters(fn: Any) -> dict[str, Any]:
    """Those of a Module; known by its method, for modules live in a room above this one."""
    is_module = hasattr(fn, "named_parameters") and not isinstance(fn, type)
    return dict(fn.named_parameters()) if is_module else {}


def _as_leaves(inputs: Sequence[Any]) -> list[Any]:
    """The inputs, with float arrays made into Tensors that want a gradient."""
    some_wanted = any(_wanted(x) for x in inputs)
    leaves: list[Any] = []
    for i, x in enumerate(inputs):
        array = _checked_array(x, i)
        if array is None or (isinstance(x, Variable) and (x.requires_grad or some_wanted)):
            leaves.append(x)
        else:
            leaves.append(Tensor(array.copy(order="K"), True))
    return leaves


def _checked_array(x: Any, i: int) -> np.ndarray | None:
    """The array of a float input, which must be float64; None for anything else."""
    array = _array(x)
    if isinstance(array, (float, np.floating)):
        array = np.asarray(array)
    if isinstance(array, (list, tuple)) and array and _is_numbers(array):
        try:
            array = np.asarray(array)
        except ValueError:
            raise DtypeError(
                f"gradcheck: input {i} is a list with rows of unequal length"
            ) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return None
    if array.dtype != np.float64:
        raise DtypeError(
            f"gradcheck: expected float64, received {array.dtype} for input {i}; in float32 "
            "a finite difference is mostly rounding"
        )
    return array


def _is_numbers(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return all(_is_numbers(item) for item in data)
    return isinstance(data, (int, float)) and not isinstance(data, bool)


@contextmanager
def in_float64(fn: Any) -> Iterator[None]:
    """The parameters of a Module as float64 copies for the time of a check."""
    kept = [(p, p._array, p._memory, p.grad) for p in _parameters(fn).values()]
    try:
        for p, array, _, _ in kept:
            # A copy in memory of its own: neither the array nor a graph that saved it is touched.
            p._array, p._memory, p.grad = array.astype(np.float64), Memory(), None
        yield
    finally:
        for p, array, memory, gradient in kept:
            p._array, p._memory, p.grad = array, memory, gradient


# ------------------------------------------------------------------------------ NumPy functions


class PairSubject(Subject):
    """forward(*arrays) -> array or arrays, and vjp(dy, *arrays) -> gradient or gradients."""

    def __init__(
        self,
        forward: Callable[..., Any],
        vjp: Callable[..., Any],
        inputs: Sequence[Any],
    ) -> None:
        arrays = []
        for i, x in enumerate(inputs):
            array = _checked_array(x, i)
            kept = np.array(x) if isinstance(x, np.ndarray) else _array(x)
            arrays.append(kept if array is None else array.copy(order="K"))
        super().__init__(_name_of(forward), arrays)
        self.forward, self.vjp = forward, vjp
        labels = _labels(forward, len(arrays))
        self.labels = labels
        self.places = [
            i for i, x in enumerate(arrays) if isinstance(x, np.ndarray) and x.dtype.kind == "f"
        ]
        self.leaves = [Leaf(labels[i], arrays[i]) for i in self.places]
        if not self.leaves:
            raise failed("call", self.name, "no input is float64, so there is no gradient")

    def outputs(self) -> list[np.ndarray]:
        return self._kept([np.asarray(y) for y in as_tuple(self.forward(*self.inputs))])

    def gradients(self, cotangents: Sequence[np.ndarray]) -> list[np.ndarray]:
        dys = [c.copy() for c in cotangents]
        result = self.vjp(dys[0] if len(dys) == 1 else tuple(dys), *self.inputs)
        for dy, c in zip(dys, cotangents, strict=True):
            if not np.array_equal(dy, c):
                raise failed("mutation", self.name, "the vjp wrote into dy, which others may hold")
        gradients = as_tuple(result)
        if len(gradients) == len(self.leaves) and len(gradients) != len(self.inputs):
            by_place: dict[int, Any] = dict(zip(self.places, gradients, strict=True))
        elif len(gradients) == len(self.inputs):
            by_place = dict(enumerate(gradients))
        else:
            raise failed(
                "shape",
                self.name,
                f"expected the vjp to return one gradient for each of {len(self.inputs)} inputs "
                f"(None for one without), received {len(gradients)}",
            )
        for i, g in by_place.items():
            if i not in self.places and g is not None:
                raise failed(
                    "integer",
                    self.name,
                    f"{self.labels[i]} holds no floats and must get no gradient, but the vjp "
                    "returned one; return None in its place",
                    where=self.labels[i],
                )
        return [self._checked(by_place[i], i) for i in self.places]

    def watched(self) -> list[tuple[str, np.ndarray]]:
        pairs = zip(self.labels, self.inputs, strict=True)
        return [(label, x) for label, x in pairs if isinstance(x, np.ndarray)]

    def _checked(self, g: Any, i: int) -> np.ndarray:
        label, expected = self.labels[i], self.inputs[i].shape
        if g is None:
            return np.zeros(expected)
        g = np.asarray(g)
        if g.shape != expected:
            raise failed(
                "shape",
                self.name,
                f"the gradient of {label} should have shape {expected}, received {g.shape}",
                where=label,
                cause=_shape_cause(g.shape, expected),
            )
        if g.dtype != np.float64:
            raise failed(
                "dtype",
                self.name,
                f"the gradient of {label} should be float64 like the input, received {g.dtype}",
                where=label,
            )
        return g


def _shape_cause(received: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Broadcasting copies an entry to many places; its gradient is the sum over the copies."""
    extra = len(received) - len(expected)
    if extra >= 0:
        stretched = [
            a
            for a in range(len(received))
            if a < extra or (expected[a - extra] == 1 and received[a] != 1)
        ]
        folded = tuple(1 if a in stretched else n for a, n in enumerate(received))
        if stretched and folded[extra:] == expected:
            axes = ", ".join(map(str, stretched))
            many = "axes" if len(stretched) > 1 else "axis"
            return f"missing sum over the broadcast {many} {axes} of the vjp's result"
    if received == expected[::-1]:
        return "transposed"
    return ""


# --------------------------------------------------------------------------------------- names


def make_subject(fn: Any, inputs: Sequence[Any]) -> Subject:
    """Tell the three kinds apart."""
    if isinstance(fn, (tuple, list)):
        if len(fn) != 2 or not all(callable(f) for f in fn):
            raise ConfigError(
                "gradcheck: expected a function, a Module or a pair (forward, vjp) of functions, "
                f"received a {type(fn).__name__} of {len(fn)}"
            )
        return PairSubject(fn[0], fn[1], inputs)
    if isinstance(fn, type):
        raise ConfigError(
            f"gradcheck: expected a function, a layer or a pair, received the class "
            f"{fn.__name__}; make one: {fn.__name__}(...)"
        )
    if not callable(fn):
        raise ConfigError(
            "gradcheck: expected a function, a Module or a pair (forward, vjp) of functions, "
            f"received {type(fn).__name__}"
        )
    return TensorSubject(fn, inputs)


def _name_of(fn: Any) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _labels(fn: Any, n: int) -> list[str]:
    """For each input "input 0 (x)", with the parameter's name where the signature tells it."""
    try:
        parameters = inspect.signature(getattr(fn, "forward", fn)).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [f"input {i} ({names[i]})" if i < len(names) else f"input {i}" for i in range(n)]


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """One output, or several, always as a tuple."""
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
