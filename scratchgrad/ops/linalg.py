"""Matrix products.

If Y = A B, then dA = dY B^T and dB = A^T dY: the shapes leave no other choice.
"""

from typing import Any

import numpy as np

from scratchgrad.errors import ShapeError
from scratchgrad.kernels.matmul import matmul as product
from scratchgrad.operation import differentiable
from scratchgrad.ops.arguments import as_floats, rows_of


@differentiable
def matmul(a, b):
    """The matrix product: (..., M, K) by (..., K, N) gives (..., M, N).

    As in NumPy: the axes in front broadcast; a vector on the left is a row, one on the right a
    column, and that axis is gone from the result.
    """
    a, b = as_floats(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError("matmul: expected vectors or matrices, received a single number; use *")
    row, column = a.ndim == 1, b.ndim == 1
    a = a[None, :] if row else a  # (..., M, K)
    b = b[:, None] if column else b  # (..., K, N)
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: the last axis of a {a.shape} and the last but one of b {b.shape} differ"
        )
    y = product(a, b)  # (..., M, N)
    gone = ((-2,) if row else ()) + ((-1,) if column else ())

    def da(dy):
        dy = np.expand_dims(dy, gone)
        da = product(dy, b.swapaxes(-1, -2))  # dA = dY B^T
        return da[..., 0, :] if row else da

    def db(dy):
        dy = np.expand_dims(dy, gone)
        if b.ndim == 2:  # one B for the whole batch: its rows of dY and A are summed over anyway
            db = product(rows_of(a).T, rows_of(dy))
        else:
            db = product(a.swapaxes(-1, -2), dy)  # dB = A^T dY
        return db[..., 0] if column else db

    return np.squeeze(y, gone), (da, db)


@differentiable
def _einsum(*operands, subscripts):
    terms, target = _spelled_out(subscripts, operands)
    y = np.einsum(f"{','.join(terms)}->{target}", *operands, optimize=len(operands) > 2)

    def d(i, dy):
        """dy times the other operands, summed onto the letters of operand i."""
        letters = "".join(dict.fromkeys(terms[i]))  # each once: "iij" -> "ij"
        others = [t for k, t in enumerate(terms) if k != i]
        known = set(target).union(*others)
        kept = "".join(c for c in letters if c in known)
        arrays = [a for k, a in enumerate(operands) if k != i]
        g = np.einsum(f"{','.join([target, *others])}->{kept}", dy, *arrays, optimize=True)
        # A letter that stands nowhere else was summed over: its gradient is the same all along.
        own = dict(zip(terms[i], operands[i].shape, strict=True))
        g = np.expand_dims(g, tuple(k for k, c in enumerate(letters) if c not in known))
        # So is that of one which is 1 everywhere else: there it was stretched over this operand.
        sizes = [own[c] if n == 1 else n for n, c in zip(g.shape, letters, strict=True)]
        g = np.broadcast_to(g, sizes)
        if letters == terms[i]:
            return g
        back = np.zeros(operands[i].shape, g.dtype)
        np.einsum(f"{terms[i]}->{letters}", back)[...] = g  # a view of the diagonal
        return back

    return y, tuple(lambda dy, i=i: d(i, dy) for i in range(len(operands)))


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation, with NumPy's subscripts: ``einsum("bij,bjk->bik", a, b)``.

    Repeated letters (diagonals), an ellipsis and an implicit right side are understood.
    """
    return _einsum(*operands, subscripts=subscripts)


def _spelled_out(subscripts: str, operands: tuple[np.ndarray, ...]) -> tuple[list[str], str]:
    """The terms and the target with no ellipsis and no implicit right side."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ShapeError(
            f"einsum: {subscripts!r} has {len(terms)} terms for {len(operands)} operands"
        )
    if not arrow:
        once = sorted(c for c in set(left) - set(".,") if left.count(c) == 1)
        right = ("..." if "..." in left else "") + "".join(once)
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in left]
    widest = 0
    spelled = []
    for term, operand in zip(terms, operands, strict=True):
        hidden = operand.ndim - len(term.replace("...", ""))
        if hidden < 0 or ("..." not in term and hidden > 0):
            raise ShapeError(
                f"einsum: the term {term!r} names {len(term.replace('...', ''))} axes, its operand "
                f"has shape {operand.shape}"
            )
        widest = hidden if hidden > widest else widest
        spelled.append(term.replace("...", "".join(free[:hidden][::-1])))
    sizes: dict[str, int] = {}
    for term, operand in zip(spelled, operands, strict=True):
        for letter, n in zip(term, operand.shape, strict=True):
            if n != 1 and sizes.setdefault(letter, n) != n:
                raise ShapeError(
                    f"einsum: {letter!r} in {subscripts!r} has two sizes, {sizes[letter]} and {n}"
                )
    return spelled, right.replace("...", "".join(free[:widest][::-1]))
