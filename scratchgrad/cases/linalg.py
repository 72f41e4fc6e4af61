"""The table's rows for ops/linalg.py, and for the multi-layer perceptron made of its products."""

from typing import Any

import numpy as np

import scratchgrad as sg
from scratchgrad.cases.call import Call, entry
from scratchgrad.cases.choices import Choices
from scratchgrad.cases.draw import broadcastable, numbers, shape_of, side
from scratchgrad.cases.elementwise import gelu


def multiplied(choose: Choices) -> Call:
    """Matrices in stacks that broadcast; vectors on either side or both."""
    m, k, n = (side(choose) for _ in range(3))
    kind = choose.one_of(["stacks", "one b", "row", "column", "dot"])
    front, other = broadcastable(choose, 2)
    pair = {
        "stacks": ((*front, m, k), (*other, k, n)),
        "one b": ((*front, m, k), (k, n)),
        "row": ((k,), (*front, k, n)),
        "column": ((*front, m, k), (k,)),
        "dot": ((k,), (k,)),
    }
    return Call(numbers(choose.rng(), *pair[kind]))


# Subscripts, and the axes of each operand; the sizes of the letters are drawn. A dot in the axes
# stands for what the ellipsis hides.
EINSUMS = [
    ("ij->ji", ["ij"]),
    ("ij->", ["ij"]),
    ("ii->i", ["ii"]),
    ("ii", ["ii"]),
    ("iij->j", ["iij"]),
    ("ij,jk->ik", ["ij", "jk"]),
    ("ij,jk", ["ij", "jk"]),
    ("ba", ["ba"]),
    ("i,j->ij", ["i", "j"]),
    ("i,i->i", ["i", "i"]),
    ("ij,kj->i", ["ij", "kj"]),
    ("bij,bjk->bik", ["bij", "bjk"]),
    ("...ij,...jk->...ik", ["...ij", ".jk"]),
    ("...i,i", ["..i", "i"]),
    ("i...,...j->...", ["i.", "..j"]),
    ("...->...", ["..."]),
    ("ij,jk,kl->il", ["ij", "jk", "kl"]),
    ("ii,ij,j->", ["ii", "ij", "j"]),
    (" b h t d , b h s d -> b h t s ", ["bhtd", "bhsd"]),
]


def summed(choose: Choices) -> Call:
    subscripts, terms = choose.one_of(EINSUMS)
    sizes = {c: side(choose, high=3) for c in sorted(set("".join(terms)))}
    hidden = [side(choose, 1, 3) for _ in range(3)]
    operands = []
    for term in terms:
        dots = term.count(".")
        front = iter(hidden[3 - dots :])
        operands.append(tuple(next(front) if c == "." else sizes[c] for c in term))
    return Call(numbers(choose.rng(), *operands), {"subscripts": subscripts})


def affine(choose: Choices) -> Call:
    n, out = side(choose), side(choose)
    front = shape_of(choose, max_dims=2, max_side=3)
    shapes = (*front, n), (out, n), (out,), (*front, out)
    x, weight, bias, residual = numbers(choose.rng(), *shapes)
    return Call((x, weight, choose.one_of([bias, None]), choose.one_of([residual, None])))


def widened(choose: Choices) -> Call:
    """Two layers with GELU between them, each with a bias or without."""
    n, inner, out = (side(choose) for _ in range(3))
    front = shape_of(choose, max_dims=2, max_side=3)
    shapes = (*front, n), (inner, n), (inner,), (out, inner), (out,), (*front, out)
    x, up, up_bias, down, down_bias, residual = numbers(choose.rng(), *shapes)
    return Call(
        (
            x,
            up,
            choose.one_of([up_bias, None]),
            down,
            choose.one_of([down_bias, None]),
            choose.one_of([residual, None]),
        ),
        {"approximate": choose.one_of(["none", "tanh"])},
    )


def mlp(x: Any, up: Any, up_bias: Any, down: Any, down_bias: Any, residual: Any, **how: Any) -> Any:
    h = x @ up.T if up_bias is None else x @ up.T + up_bias
    y = gelu(h, **how) @ down.T
    return y + sum(r for r in (down_bias, residual) if r is not None)


ENTRIES = dict(
    [
        entry("matmul", multiplied, np.matmul),
        entry(
            "einsum",
            summed,
            lambda *operands, subscripts: np.einsum(subscripts, *operands),
            function=lambda *operands, subscripts: sg.einsum(subscripts, *operands),
        ),
        entry(
            "linear",
            affine,
            lambda x, weight, *rest: x @ weight.T + sum(r for r in rest if r is not None),
            function=sg.nn.functional.linear,
        ),
        entry("mlp", widened, mlp, function=sg.nn.functional.mlp, rtol32=1e-4),
    ]
)
