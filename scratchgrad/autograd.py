"""Variables: arrays with a place on the tape.

A ``Variable`` is an array that may want a gradient. A *leaf* was made by hand; any other came out
of an operation and knows the ``Node`` that made it. The tape itself, and the walk back along it,
are in ``tape.py``; how an operation gets a node of its own is in ``operation.py``.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from scratchgrad.errors import DtypeError, GraphError, ShapeError
from scratchgrad.tape import Home, Memory, Node, give, read_only, walk

_recording: ContextVar[bool] = ContextVar("recording", default=True)


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside the block: for evaluation, sampling, and weight updates.

    Also usable as a decorator: ``@sg.no_grad()``.

    >>> import scratchgrad as sg
    >>> x = sg.tensor([1.0, 2.0], requires_grad=True)
    >>> with sg.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Whether operations are recorded here: not under ``no_grad``."""
    return _recording.get()


def as_array(data: Any, dtype: Any = None) -> np.ndarray:
    """A fresh array the engine can work on: float32 unless the data says otherwise.

    Python numbers have no width, so floats among them become float32; a NumPy array keeps its
    float32 or float64, its integers, its booleans. float16 is widened, since nothing here
    computes in it.
    """
    if isinstance(data, Variable):
        data = data._array
    elif _holds_gradient(data):
        raise DtypeError(
            "tensor: a list of Tensors would lose their gradients; join them with stack or concat"
        )
    wide = isinstance(data, (np.ndarray, np.generic))
    try:
        array = np.array(data, dtype=dtype, copy=True, order="C")
    except ValueError as error:
        raise ShapeError(f"tensor: the nested lists do not form a rectangle ({error})") from None
    if dtype is None and (array.dtype == np.float16 or (array.dtype == np.float64 and not wide)):
        array = array.astype(np.float32)
    if array.dtype not in (np.float32, np.float64) and array.dtype.kind not in "biu":
        raise DtypeError(
            f"tensor: expected float32, float64, integers or booleans, received "
            f"{array.dtype} from {type(data).__name__}; convert it first"
        )
    return array


def _holds_gradient(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return any(_holds_gradient(item) for item in data)
    return isinstance(data, Variable) and data._requires_grad


class Variable:
    """An array with a place on the tape. ``Tensor`` adds the operators."""

    __slots__ = (
        "__weakref__",
        "_array",
        "_home",
        "_memory",
        "_node",
        "_output",
        "_requires_grad",
        "grad",
    )

    def __init__(self, array: np.ndarray, requires_grad: bool = False) -> None:
        self._array = array
        self._memory = Memory()
        self._node: Node | None = None
        self._output = 0
        self._requires_grad = False
        self._home: Home | None = None
        self.grad: np.ndarray | None = None
        if requires_grad:
            self.requires_grad = True

    @property
    def data(self) -> np.ndarray:
        """The array. Read-only while a recorded graph may still need the value for its backward.

        That holds for what is read from here while there is a graph; an array that was read
        before is writable still, and a write through it is not seen.
        """
        if self._memory.readers == 0:
            return self._array
        return read_only(self._array)

    @data.setter
    def data(self, value: Any) -> None:
        if value is self._array:  # `t.data -= step` reads, writes in place, then assigns back
            return
        array = as_array(value).astype(self._array.dtype, copy=False)
        if array.shape != self._array.shape:
            raise ShapeError(f"data: expected shape {self._array.shape}, received {array.shape}")
        self._array, self._memory = array, Memory()

    def writable(self) -> np.ndarray:
        """The array itself, for one write in place by an optimiser or a loader.

        The tape is told: a graph that was recorded before the write and is walked after it raises
        GraphError instead of using the new value in the place of the old.
        """
        self._memory.writes += 1
        return self._array

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self._node is not None:
            raise GraphError(
                f"requires_grad: this is the result of {self._node.op.name}, not a leaf; "
                "use .detach() for a copy outside the graph"
            )
        if wanted and self._array.dtype.kind != "f":
            raise DtypeError(
                f"requires_grad: expected a float32 or float64 tensor, received "
                f"{self._array.dtype}; write 1.0 instead of 1, or pass dtype='float32'"
            )
        self._requires_grad = bool(wanted)

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate result in ``.grad`` too (leaves always do)."""
        if self._node is None:
            return
        if self._node.freed:
            raise GraphError("retain_grad: the graph is already freed; call it before backward")
        self._node.retained[self._output] = weakref.ref(self)

    def backward(self, cotangent: Any = None, retain_graph: bool = False) -> None:
        """Add d(self . cotangent)/d(leaf) to ``leaf.grad`` of every leaf that this came from.

        Parameters
        ----------
        cotangent : array, shape of self, optional
            The gradient of whatever is being differentiated with respect to self. May be left out
            for a single number, where it is 1.
        retain_graph : bool
            Keep what the forward pass saved, so that backward can be called again.

        Raises
        ------
        GraphError
            If nothing was recorded, the graph was already freed by an earlier backward, or a
            saved value was changed in place since.
        ShapeError
            If the cotangent is missing for a non-scalar, or its shape is not self's.
        """
        backward(self, cotangent, retain_graph)


def edge_of(x: Any) -> Variable | tuple[Node, int] | None:
    """Where the gradient of an operation's input goes: nowhere, to a leaf, or on to a node."""
    if not isinstance(x, Variable) or not x._requires_grad:
        return None
    return x if x._node is None else (x._node, x._output)


def backward(root: Variable, cotangent: Any, retain_graph: bool) -> None:
    """Walk the tape from the root. See ``Variable.backward``."""
    node = root._node
    if node is None:
        give(root, _first_cotangent(root, cotangent), set())
        return
    dys: list[np.ndarray | None] = [None] * len(node.outputs)
    dys[root._output] = _first_cotangent(root, cotangent)
    walk(node, dys, retain_graph)


def _first_cotangent(root: Variable, cotangent: Any) -> np.ndarray:
    if not root._requires_grad:
        raise GraphError(
            "backward: nothing was recorded for this tensor; make an input with "
            "requires_grad=True, and do not compute it under no_grad"
        )
    array = root._array
    if cotangent is None:
        if array.size != 1:
            raise ShapeError(
                f"backward: expected a cotangent of shape {array.shape} for a tensor that is not "
                "a single number; pass one, or reduce with .sum() or .mean() first"
            )
        return np.ones_like(array)
    dy = as_array(cotangent).astype(array.dtype, copy=False)
    if dy.shape != array.shape:
        raise ShapeError(
            f"backward: expected a cotangent of shape {array.shape}, received {dy.shape}"
        )
    return dy
