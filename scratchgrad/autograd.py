"""The tape: what is recorded, the walk back through it, and how an operation joins.

Reverse-mode differentiation in three pieces:

* ``Variable``: an array that may want a gradient. A *leaf* was made by hand; any other came out of
  an operation and knows the ``Node`` that made it.
* ``Node``: one recorded operation: the edges to where its inputs came from and the function that
  turns the gradient of its outputs, dy, into the gradients of its inputs.
* ``backward``: visits nodes newest first. A node is made after everything it reads, so when the
  walk reaches it, all that it fed has already been visited and its dy is complete.

How an operation gets a node of its own is in ``operation.py``. What it saves for its backward is
what its closure captures, and nothing else.

Source: Griewank and Walther, Evaluating Derivatives (2008), chapter 3.
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad.errors import DtypeError, GraphError, ShapeError

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


def read_only(array: np.ndarray) -> np.ndarray:
    """The array as a view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


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


# ------------------------------------------------------------------------------------- variables


class Memory:
    """One block of memory: how many live nodes may have saved it, and how often it was rewritten.

    Shared by all Variables that view the block, so that a write through one is seen by all.
    """

    __slots__ = ("readers", "writes")

    def __init__(self) -> None:
        self.readers = 0
        self.writes = 0


class Variable:
    """An array with a place on the tape. ``Tensor`` adds the operators."""

    __slots__ = ("__weakref__", "_array", "_memory", "_node", "_output", "_requires_grad", "grad")

    def __init__(self, array: np.ndarray, requires_grad: bool = False) -> None:
        self._array = array
        self._memory = Memory()
        self._node: Node | None = None
        self._output = 0
        self._requires_grad = False
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


# ------------------------------------------------------------------------------------------ tape


@dataclass(frozen=True, eq=False)
class Op:
    """One differentiable operation: its name and its plain function on arrays."""

    name: str
    function: Callable[..., tuple[Any, Any]]
    inputs: tuple[str, ...]
    variadic: bool
    changes_dtype: bool
    guarded: bool
    """Its arrays are handed over read-only: for functions that are not this package's own."""


_sequence = itertools.count()


class Node:
    """One recorded operation.

    ``edges`` has one entry an input: None (no gradient wanted), a leaf Variable, or the
    (node, output) that made the input. Nodes point at nodes, never at intermediate Variables, so
    an array lives on only if a closure saved it.
    """

    __slots__ = (
        "backward",
        "edges",
        "freed",
        "number",
        "op",
        "outputs",
        "retained",
        "several",
        "specs",
        "watched",
    )

    def __init__(
        self,
        op: Op,
        inputs: Sequence[Any],
        backward: Any,
        outputs: Sequence[np.ndarray],
        several: bool,
        memories: Sequence[Memory],
    ) -> None:
        self.freed = False
        self.watched: list[tuple[Memory, int]] = []
        self.op = op
        self.backward = backward
        self.number = next(_sequence)
        self.edges: tuple[Any, ...] = tuple(_edge(x) for x in inputs)
        self.specs = [
            (x._array.shape, x._array.dtype) if edge is not None else None
            for x, edge in zip(inputs, self.edges, strict=True)
        ]
        self.outputs = [(y.shape, y.dtype) for y in outputs]
        self.several = several  # whether the operation returned a tuple, if only of one
        self.retained: dict[int, weakref.ref[Variable]] = {}
        self.watched = [(memory, memory.writes) for memory in memories]
        for memory in memories:
            memory.readers += 1

    def free(self) -> None:
        """Forget all that was saved; what nobody else holds is returned to the allocator."""
        if not self.freed:
            self.freed = True
            self.backward = None
            self.edges = ()
            for memory, _ in self.watched:
                memory.readers -= 1
            self.watched = []

    __del__ = free

    def check(self) -> None:
        """Raise if this node can no longer give a right gradient."""
        if self.freed:
            raise GraphError(
                f"backward: the graph behind {self.op.name} was freed by an earlier backward; "
                "run the forward pass again, or call the first with retain_graph=True"
            )
        for memory, writes in self.watched:
            if memory.writes != writes:
                raise GraphError(
                    f"backward: an array that {self.op.name} read was changed in place after the "
                    "forward pass; run the forward pass again after the change"
                )

    def pull(self, dys: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        """The gradients of the inputs from the gradients of the outputs."""
        filled = [
            np.zeros(shape, dtype) if dy is None else dy
            for dy, (shape, dtype) in zip(dys, self.outputs, strict=True)
        ]
        if self.op.guarded:  # another operation may be waiting for the same dy
            filled = [read_only(dy) for dy in filled]
        dy: Any = tuple(filled) if self.several else filled[0]
        gradients = self.backward
        if callable(gradients):
            gradients = gradients(dy)
            if isinstance(gradients, list) and len(self.edges) > 1:
                gradients = tuple(gradients)
            if not isinstance(gradients, tuple):
                gradients = (gradients,)
        if len(gradients) != len(self.edges):
            raise GraphError(
                f"{self.op.name}: its backward returned {len(gradients)} gradients for "
                f"{len(self.edges)} inputs"
            )
        if not callable(self.backward):
            gradients = [
                pull(dy) if edge is not None and pull is not None else None
                for pull, edge in zip(gradients, self.edges, strict=True)
            ]
        return [
            None if spec is None or g is None else _fit(self.op, i, np.asarray(g), *spec)
            for i, (g, spec) in enumerate(zip(gradients, self.specs, strict=True))
        ]


def _edge(x: Any) -> Variable | tuple[Node, int] | None:
    if not isinstance(x, Variable) or not x._requires_grad:
        return None
    return x if x._node is None else (x._node, x._output)


def _fit(op: Op, i: int, g: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The gradient in the shape and dtype of its input: undoes what broadcasting stretched.

    Broadcasting copies an entry to many places; the gradient of a copy is the sum over the copies.
    """
    if g.shape != shape:
        extra = g.ndim - len(shape)
        stretched = tuple(
            axis
            for axis in range(g.ndim)
            if axis < extra or (shape[axis - extra] == 1 and g.shape[axis] != 1)
        )
        received = g.shape
        g = g.sum(axis=stretched, keepdims=True) if stretched else g
        if extra < 0 or g.shape[extra:] != shape:
            raise ShapeError(
                f"{op.name}: the gradient of input {i} ({_input_name(op, i)}) should have shape "
                f"{shape}, its backward returned {received}"
            )
        g = g.reshape(shape)
    return g.astype(dtype, copy=False)


def _input_name(op: Op, i: int) -> str:
    return op.inputs[i] if i < len(op.inputs) else f"{op.inputs[-1]}[{i - len(op.inputs) + 1}]"


def _reachable(root: Node) -> list[Node]:
    """Every node that the root came from, newest first. A loop, not recursion: graphs are deep."""
    seen = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        node.check()
        for edge in node.edges:
            if isinstance(edge, tuple) and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    return sorted(seen, key=lambda node: node.number, reverse=True)


def backward(root: Variable, cotangent: Any, retain_graph: bool) -> None:
    """Walk the tape from the root. See ``Variable.backward``."""
    dy = _first_cotangent(root, cotangent)
    ours: set[int] = set()  # leaves whose .grad was made in this walk: no one else holds it yet
    if root._node is None:
        _accumulate(root, dy, ours)
        return
    order = _reachable(root._node)
    # A gradient waits here, one slot an output, until its node's turn; then it is dropped.
    pending: dict[Node, list[np.ndarray | None]] = {root._node: [None] * len(root._node.outputs)}
    pending[root._node][root._output] = dy
    with np.errstate(all="ignore"):  # 1/sqrt(0) is inf here, as in any other engine
        for node in order:
            dys = pending.pop(node, None)
            if dys is not None:
                _keep_retained(node, dys)
                for edge, g in zip(node.edges, node.pull(dys), strict=True):
                    if edge is None or g is None:
                        continue
                    if isinstance(edge, tuple):
                        source, output = edge
                        slots = pending.setdefault(source, [None] * len(source.outputs))
                        earlier = slots[output]
                        slots[output] = g if earlier is None else np.asarray(earlier + g)
                    else:
                        _accumulate(edge, g, ours)
            if not retain_graph:
                node.free()


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


def _keep_retained(node: Node, dys: Sequence[np.ndarray | None]) -> None:
    for output, reference in node.retained.items():
        variable, dy = reference(), dys[output]
        if variable is not None and dy is not None:
            variable.grad = np.array(dy if variable.grad is None else variable.grad + dy)


def _accumulate(leaf: Variable, g: np.ndarray, ours: set[int]) -> None:
    """Add to leaf.grad, which is always a copy: the operation may have saved g, or given it twice,
    and what is added to one leaf's gradient must not change anything else.
    """
    if leaf.grad is None:
        leaf.grad = g.copy()
    elif id(leaf) in ours:
        leaf.grad += g
    else:  # the caller may hold the old array: leave it as it is
        leaf.grad = np.asarray(leaf.grad + g)  # the sum of two single numbers is no array
    ours.add(id(leaf))
