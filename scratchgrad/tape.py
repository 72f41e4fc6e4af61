"""The tape: what is recorded, and the walk back along it.

* ``Node``: one recorded operation: the edges to where its inputs came from and the function that
  turns the gradient of its outputs, dy, into the gradients of its inputs.
* ``walk``: visits nodes newest first. A node is made after everything it reads, so when the walk
  reaches it, all that it fed has already been visited and its dy is complete.

A gradient lives from the node that makes it to the node that uses it up; then its memory goes to
the next of that size (``kernels/buffers.py``). The gradient of a leaf is written straight to its
home, where an optimiser has given it one.

Source: Griewank and Walther, Evaluating Derivatives (2008), chapter 3.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchgrad.errors import GraphError, ShapeError
from scratchgrad.kernels.buffers import empty


def read_only(array: np.ndarray) -> np.ndarray:
    """The array as a view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


# ----------------------------------------------------------------------------------------- leaves


class Home:
    """Where the gradient of one leaf belongs: its part of a buffer that an optimiser keeps.

    The first gradient after ``grad = None`` overwrites what is there, the others are added in
    place. So the gradient of a leaf needs no second array on the way, and those of all leaves are
    one array for the optimiser.
    """

    __slots__ = ("array", "buffer", "leaf", "start", "stop")

    def __init__(self, leaf: Any, buffer: np.ndarray, start: int) -> None:
        array = leaf._array
        self.leaf = weakref.ref(leaf)  # a copy of the leaf must not write to the same place
        self.buffer, self.start, self.stop = buffer, start, start + array.size
        self.array = buffer[start : self.stop].reshape(array.shape)

    def __deepcopy__(self, memo: Any) -> None:
        return None


def home_of(leaf: Any) -> Home | None:
    """The home of a leaf, unless the leaf has become a copy, or another dtype, since."""
    home: Home | None = leaf._home
    if home is None or home.array.dtype != leaf._array.dtype or home.leaf() is not leaf:
        return None
    return home


class into:
    """A backward function that can write its gradient where it belongs: f(dy, out, add).

    Where out is None it returns its gradient, like any other. Else out has the shape and the dtype
    of the input: it adds its gradient to out or, where add is False, overwrites what is there,
    which is arbitrary then; and returns out. It never overlaps dy or what was saved.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., np.ndarray]) -> None:
        self.function = function

    def __call__(self, dy: Any, out: np.ndarray | None = None, add: bool = False) -> np.ndarray:
        return self.function(dy, out, add)


# ------------------------------------------------------------------------------------------ nodes


class Memory:
    """One block of memory: how many live nodes may have saved it, and how often it was rewritten.

    Shared by all Variables that view the block, so that a write through one is seen by all.
    """

    __slots__ = ("readers", "writes")

    def __init__(self) -> None:
        self.readers = 0
        self.writes = 0


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

    ``edges`` has one entry an input: None (no gradient wanted), a leaf, or the (node, output) that
    made the input. Nodes point at nodes, never at intermediate Variables, so an array lives on
    only if a closure saved it.
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
        edges: Sequence[Any],
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
        self.edges = tuple(edges)
        self.specs: list[Any] = [
            (x._array.shape, x._array.dtype) if edge is not None else None
            for x, edge in zip(inputs, self.edges, strict=True)
        ]
        self.outputs = [(y.shape, y.dtype) for y in outputs]
        self.several = several  # whether the operation returned a tuple, if only of one
        self.retained: dict[int, weakref.ref[Any]] = {}
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

    def cotangent(self, dys: Sequence[np.ndarray | None]) -> Any:
        """dy as the operation's backward takes it: one array, or a tuple of them."""
        filled = [
            np.zeros(shape, dtype) if dy is None else dy
            for dy, (shape, dtype) in zip(dys, self.outputs, strict=True)
        ]
        if self.op.guarded:  # another operation may be waiting for the same dy
            filled = [read_only(dy) for dy in filled]
        return tuple(filled) if self.several else filled[0]

    def pulls(self, dy: Any) -> tuple[Any, ...]:
        """One function of dy an input, or None; one function for all of them is called here.

        What it returns for an input may be a function of dy in its turn: so what they share is
        computed once, is gone with them when the node has been visited, and one that is ``into``
        still writes to the gradient's home.
        """
        pulls = self.backward
        if isinstance(pulls, into):
            pulls = (pulls,)
        elif callable(pulls):
            gradients = pulls(dy)
            if isinstance(gradients, list) and len(self.edges) > 1:
                gradients = tuple(gradients)
            if not isinstance(gradients, tuple):
                gradients = (gradients,)
            pulls = tuple(g if g is None or callable(g) else (lambda _, g=g: g) for g in gradients)
        if len(pulls) != len(self.edges):
            raise GraphError(
                f"{self.op.name}: its backward returned {len(pulls)} gradients for "
                f"{len(self.edges)} inputs"
            )
        return pulls

    def fitted(self, i: int, g: Any) -> np.ndarray:
        """The gradient of input i in the input's shape and dtype."""
        return _fit(self.op, i, np.asarray(g), *self.specs[i])


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


# --------------------------------------------------------------------------------- the walk back


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


# The gradients on their way: one slot an output of each node, until its turn.
Pending = dict[Node, list[np.ndarray | None]]


def walk(root: Node, dys: list[np.ndarray | None], retain_graph: bool) -> None:
    """From the root, whose outputs' gradients are dys, to the leaves. See ``Variable.backward``."""
    pending: Pending = {root: dys}
    summed: set[tuple[Node, int]] = set()  # whose waiting gradient is an array of the walk's own
    ours: set[int] = set()  # leaves whose .grad was made in this walk: no one else holds it yet
    with np.errstate(all="ignore"):  # 1/sqrt(0) is inf here, as in any other engine
        for node in _reachable(root):
            if node in pending:
                _visit(node, pending, summed, ours)
            if not retain_graph:
                node.free()


def _visit(node: Node, pending: Pending, summed: set[tuple[Node, int]], ours: set[int]) -> None:
    """Use up the gradients of a node's outputs: they are gone when this returns."""
    dys = pending.pop(node)
    _keep_retained(node, dys)
    dy = node.cotangent(dys)
    dys.clear()  # nor is it kept by a caller who holds the list
    for i, (edge, pull) in enumerate(zip(node.edges, node.pulls(dy), strict=True)):
        if edge is None or pull is None:
            continue
        if isinstance(edge, tuple):
            _wait(pending, summed, edge, node.fitted(i, pull(dy)))
        elif isinstance(pull, into) and (home := home_of(edge)) is not None:
            if pull(dy, home.array, _occupied(home, edge)) is not home.array:
                raise GraphError(f"{node.op.name}: its backward did not return the array given")
            edge.grad = home.array
        else:
            give(edge, node.fitted(i, pull(dy)), ours)


def _wait(
    pending: Pending, summed: set[tuple[Node, int]], edge: tuple[Node, int], g: np.ndarray
) -> None:
    """Add to the gradient that waits for the node at the other end."""
    source, output = edge
    slots = pending.setdefault(source, [None] * len(source.outputs))
    earlier = slots[output]
    if earlier is None:
        slots[output] = g
        return
    # An operation may have saved what it gave, or given it twice: the first sum is a new array.
    if edge not in summed:
        summed.add(edge)
        slots[output] = empty(g.shape, g.dtype)
    np.add(earlier, g, out=slots[output])


def _keep_retained(node: Node, dys: Sequence[np.ndarray | None]) -> None:
    for output, reference in node.retained.items():
        variable, dy = reference(), dys[output]
        if variable is not None and dy is not None:
            variable.grad = np.array(dy if variable.grad is None else variable.grad + dy)


def _occupied(home: Home, leaf: Any) -> bool:
    """Whether the leaf has a gradient to add to; it is at home then."""
    if (
        leaf.grad is not None and leaf.grad is not home.array
    ):  # the caller assigned it: it is theirs
        home.array[...] = leaf.grad
    return leaf.grad is not None


def give(leaf: Any, g: np.ndarray, ours: set[int]) -> None:
    """Add to leaf.grad, which is always a copy: the operation may have saved g, or given it twice,
    and what is added to one leaf's gradient must not change anything else.
    """
    home = home_of(leaf)
    if home is not None:
        if _occupied(home, leaf):
            np.add(home.array, g, out=home.array)
        else:
            home.array[...] = g
        leaf.grad = home.array
    elif leaf.grad is None:
        leaf.grad = empty(g.shape, g.dtype)
        leaf.grad[...] = g
    elif id(leaf) in ours:
        leaf.grad += g
    else:  # the caller may hold the old array: leave it as it is
        leaf.grad = np.asarray(leaf.grad + g)  # the sum of two single numbers is no array
    ours.add(id(leaf))
