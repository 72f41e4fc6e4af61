"""Our parameters out of other names and shapes, and back, by one table for both ways.

A layout says for each of our parameters which tensors of a file hold its rows, one block of rows
below the other. So Llama's three projections become one ``c_attn``:

    h.0.attn.c_attn.weight   <-  layers.0.self_attn.q_proj.weight   rows of the queries
                                 layers.0.self_attn.k_proj.weight   of the keys
                                 layers.0.self_attn.v_proj.weight   of the values

and GPT-2's, which are stored (in, out), are turned as they are read. A parameter that stands in no
tensor is zero: a bias where the other side has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import CheckpointError
from scratchgrad.gpt import GPTConfig
from scratchgrad.gpt.shapes import Shape, parameter_shapes
from scratchgrad.interop.files import listed
from scratchgrad.interop.tensor_file import FLOATS, Tensors

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Part:
    """Rows of one of our parameters: a tensor of a file, its shape there, and if it is turned."""

    name: str
    shape: Shape
    turned: bool = False

    @property
    def rows(self) -> int:
        """How many rows of ours it holds."""
        return self.shape[-1 if self.turned else 0]


# The longest contexts in use have a million tokens, or four.
MAX_CONTEXT = 1 << 22
MAX_WAVES = 1 << 26

Layout = Mapping[str, tuple[Part, ...]]


def own_layout(config: GPTConfig) -> Layout:
    """The layout of a file with our own names."""
    return {name: (Part(name, shape),) for name, shape in parameter_shapes(config).items()}


def check_size(config: GPTConfig, tensors: int, path: str) -> None:
    """Refuse what would take memory because a number says so, before a table of names is made."""
    if config.n_layer > tensors:
        raise CheckpointError(
            f"{path} has {tensors} tensors, too few for the {config.n_layer:,} layers that its "
            f"configuration says"
        )
    # Learned positions stand in the file. Others are computed, and the cache has a place for each.
    waves = config.position == "sinusoidal" and config.block_size * config.n_embd > MAX_WAVES
    if config.position != "learned" and (config.block_size > MAX_CONTEXT or waves):
        raise CheckpointError(
            f"{path}: its configuration says a context of {config.block_size:,}; expected "
            f"at most {MAX_CONTEXT:,}, or {MAX_WAVES:,} numbers of sinusoidal positions"
        )


def read_state(
    tensors: Tensors,
    layout: Layout,
    config: GPTConfig,
    *,
    ignored: str | None = None,
    dtype: Any = np.float32,
) -> dict[str, NDArray[Any]]:
    """Read every parameter of a model, after all names, shapes and dtypes have been checked.

    Parameters
    ----------
    tensors : Tensors
    layout : Layout
    config : GPTConfig
    ignored : regular expression, optional
        Names of tensors that hold nothing a model learns, and are left where they are.
    dtype : float32 or float64

    Raises
    ------
    CheckpointError
        Listing the tensors that are missing, left over, or of another shape or dtype.
    """
    parts = [part for several in layout.values() for part in several]
    check(tensors, {part.name: part.shape for part in parts}, ignored)
    state = {}
    for ours, shape in parameter_shapes(config).items():
        state[ours] = out = (np.empty if layout[ours] else np.zeros)(shape, dtype)
        start = 0
        for part in layout[ours]:
            rows = out[start : start + part.rows]
            start += part.rows
            if part.turned and len(part.shape) == 2:
                turned = np.empty(part.shape, dtype)
                tensors.read_into(part.name, turned)
                rows[...] = turned.T
            else:
                tensors.read_into(part.name, rows)
    return state


def check(tensors: Tensors, expected: Mapping[str, Shape], ignored: str | None = None) -> None:
    """Hold the names, shapes and dtypes of what is there to what is expected."""
    present = {
        name: entry
        for name, entry in tensors.entries.items()
        if name in expected or not (ignored and re.fullmatch(ignored, name))
    }
    faults = []
    if missing := sorted(expected.keys() - present.keys()):
        faults.append(f"missing: {listed(missing)}")
    if left := sorted(present.keys() - expected.keys()):
        faults.append(f"left over: {listed(left)}")
    both = [name for name in expected if name in present]
    wrong = [n for n in both if present[n].shape != expected[n]]
    if wrong:
        shown = [f"{n} has shape {present[n].shape}; expected {expected[n]}" for n in wrong[:4]]
        faults.append("; ".join(shown) + (f" and {len(wrong) - 4} more" if wrong[4:] else ""))
    if others := [n for n in both if present[n].dtype not in FLOATS]:
        shown = [f"{n} holds {present[n].dtype}; expected {', '.join(FLOATS)}" for n in others[:4]]
        faults.append("; ".join(shown))
    if faults:
        raise CheckpointError(
            f"{tensors.path} is not the model of its configuration: " + "; ".join(faults)
        )


def check_tied(tensors: Tensors, head: str, table: NDArray[Any]) -> None:
    """Refuse a head that is said to be the token table, and is another."""
    if tensors.entries[head].shape == table.shape:
        found = np.empty_like(table)
        tensors.read_into(head, found)
        if np.array_equal(found, table, equal_nan=True):
            return
    raise CheckpointError(
        f"{tensors.path}: the configuration says that the head is tied, but {head} is not the "
        f"token table; expected tie_word_embeddings false, or the same numbers"
    )


def split_state(state: State, layout: Layout) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the tensors of a file, as views of our parameters.

    A parameter of no parts has no place in the file.
    """
    for ours, parts in layout.items():
        start = 0
        for part in parts:
            rows = state[ours][start : start + part.rows]
            start += part.rows
            yield part.name, rows.T if part.turned else rows


def half_split_state(config: GPTConfig, state: State) -> dict[str, NDArray[Any]]:
    """Regroup the rows of queries and keys from RoPE on neighbours to RoPE on halves.

    Neighbours are the rows 2i and 2i + 1 of a head; for Hugging Face a pair is i and i + D / 2.
    Attention compares queries with keys, so it does not matter in which order both have their
    numbers: put in another order, the model gives the same logits.
    """
    heads = config.n_head + config.kv_heads
    turned = heads * config.head_size
    changed = dict(state)
    for name, array in state.items():
        if ".c_attn." in name:
            changed[name] = np.concatenate([half_split(array[:turned], heads), array[turned:]])
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            changed[name] = half_split(array, 1)
    return changed


def half_split(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Put the rows of some heads, whose pairs are neighbours, into halves.

    Parameters
    ----------
    rows : (H D, …)
    heads : int
        H: of queries for Q, of keys for K.

    Returns
    -------
    (H D, …)
        A copy.

    >>> half_split(np.array([0, 2, 1, 3, 4, 6, 5, 7]), heads=2).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    return rows[half_order(heads, len(rows) // heads)]


def half_order(heads: int, size: int) -> NDArray[np.intp]:
    """Which row goes where: first the even rows of a head, then the odd ones.

    >>> half_order(2, 4).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    rows = np.arange(heads * size).reshape(heads, size // 2, 2)
    return rows.transpose(0, 2, 1).reshape(-1)
