"""Matrix products: blocks that fit the caches, cut into tiles that fit the registers.

The ladder, each step measured in docs/matmul.md:

1. `reference.matmul`, the sum as it is defined;
2. a loop over k outside and over the columns inside, which LLVM turns into vectors: as fast as
   loads and stores of C allow, two fifths of the machine;
3. `simd.tile`: C stays in registers. It wants the rows of B side by side: each block of B of
   DEPTH x `column_block` numbers is first copied into panels as wide as a tile, which stay in the
   second cache while all rows of A pass over them. A is read where it lies, transposed or not.

What follows a product in a network (`linear.py`) is done to each strip of C while it is in the
first cache: adding a bias, adding a residual, GELU, and on the way back its slope. One pass over
memory for each is saved.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from scratchgrad.errors import DtypeError, ShapeError
from scratchgrad.kernels.activation import (
    gelu,
    gelu_backward,
    gelu_by_tanh,
    gelu_exact,
    slope_by_tanh,
    slope_exact,
)
from scratchgrad.kernels.buffers import empty
from scratchgrad.kernels.jit import EXACT, FAST, get_threads, kernel, plain, routine
from scratchgrad.kernels.moving import claim, expect, move, move_step, turn
from scratchgrad.kernels.simd import ROWS, VECTOR, WIDTH, columns, tile

Array = NDArray[np.floating]

DEPTH = 512  # steps k of a block, at most: a strip of A is 16 KB of float32, half a first cache
PANELS = 8  # that a block of B is wide: 256 columns of float32, half of a second cache of 1 MB
LONG = 1 << 22  # multiplications in a unit, 40 µs
FEW = 12  # rows of A for which copying B would take longer than the product
FEW_COLUMNS = 64  # in a unit of their product
PATCH = 16  # of a depth: squares of B are turned whole
LINE = 64  # bytes of a cache line; a vector across two takes two loads
APART = 2048  # bytes: lines that lie such steps apart share a few places of a cache

# What is done to C, by another array of its size, once a sum is complete and its bias added:
# nothing; C += other; other = gelu(C); C = C gelu'(other). The last two also by the form of tanh.
NOTHING, RESIDUAL, GELU, GELU_BACKWARD, GELU_TANH, GELU_BACKWARD_TANH = range(6)


# -- the blocked product -----------------------------------------------------------------------


@routine
def _pack(b, b0, bk, bj, depth, n, panel, p0):
    """B[:depth, :n] at b0 -> a panel at p0: the rows of a tile's width, 0 beyond n."""
    width = WIDTH // b.itemsize
    if n < width:
        panel[p0 : p0 + depth * width] = 0
    if bj == 1 and n == width:
        for k in range(depth):
            move(b, b0 + k * bk, panel, p0 + k * width)
    elif bj == 1:
        for k in range(depth):
            row, copy = b[b0 + k * bk : b0 + k * bk + n], panel[p0 + k * width :]
            for j in range(row.size):
                copy[j] = row[j]
    else:
        square = VECTOR // b.itemsize
        for k in range(0, depth, square):
            for j in range(0, n, square):
                at, to = b0 + k * bk + j * bj, p0 + k * width + j
                if bk == 1 and k + square <= depth and j + square <= n:
                    turn(b, at, bj, panel, to, width)
                else:
                    for r in range(min(square, depth - k)):
                        for s in range(min(square, n - j)):
                            panel[to + r * width + s] = b[at + r * bk + s * bj]


@routine
def _ahead(a, a0, ai, ak, depth):
    """Ask for a strip of A, to be there when the one before it is done."""
    if ai == 1:
        for k in range(depth):
            expect(a, a0 + k * ak)
    else:
        for i in range(ROWS):
            for k in range(0, depth, LINE // a.itemsize):
                expect(a, a0 + i * ai + k * ak)


@routine
def _gather(a, a0, ak, depth, strips, pair):
    """One or two whole strips of a transposed A, side by side: pair[s, k, i] = A[s ROWS + i, k].

    For an A whose steps k lie APART: where it stands, each tile would wait for lines that drove
    each other out of the cache. Two strips, for a line of float32 holds a step of both.
    """
    for k in range(depth):
        for s in range(strips):
            move_step(a, a0 + k * ak + s * ROWS, pair, (s * depth + k) * ROWS)
            expect(a, a0 + k * ak + (strips + s) * ROWS)


@routine
def _strip(a, a0, ai, ak, m, panels, n, depth, c, c0, ci, add, rows, corner):
    """m <= ROWS rows of C, n columns, (+)= A times the panels."""
    width = WIDTH // a.itemsize
    if m < ROWS:  # a tile reads ROWS rows: repeat the last one
        for i in range(ROWS):
            for k in range(depth):
                rows[i * depth + k] = a[a0 + min(i, m - 1) * ai + k * ak]
        a, a0, ai, ak = rows, 0, depth, 1
    for j in range(0, n, width):
        for i in range(m):  # the tile writes when it is done: C can be on its way meanwhile
            claim(c, c0 + i * ci + j)
            claim(c, c0 + i * ci + j + width // 2)
        if m == ROWS and j + width <= n:
            tile(a, a0, ai, ak, panels, j * depth, width, depth, c, c0 + j, ci, add)
        else:  # the edge of C: a whole tile beside it, of which the inner part is kept
            tile(a, a0, ai, ak, panels, j * depth, width, depth, corner, 0, width, False)
            for i in range(m):
                inner = c[c0 + i * ci + j : c0 + i * ci + min(j + width, n)]
                for s in range(inner.size):
                    old = inner[s] if add else inner.dtype.type(0)
                    inner[s] = old + corner[i * width + s]


@kernel(fastmath=EXACT)
def _matmul(
    start, stop, a, b, c, bias, other, then, a_at, b_at, M, N, K, ai, ak, bk, bj, add, blocks
):
    width = WIDTH // a.itemsize
    row_block, column_block = blocks[0], blocks[1]
    # all blocks as deep as each other, to a line: a short last one would only cost a pass over C
    parts = max(1, (K + DEPTH - 1) // DEPTH)
    deep = max(1, (K + parts * PATCH - 1) // (parts * PATCH) * PATCH)
    down, across = (M + row_block - 1) // row_block, (N + column_block - 1) // column_block
    block = PANELS * width
    space = np.empty(LINE + deep * min(block, column_block), a.dtype)
    panels = space[-space.ctypes.data % LINE // a.itemsize :]
    rows, corner = np.empty(ROWS * deep, a.dtype), np.empty(ROWS * width, a.dtype)
    pair, apart = np.empty(2 * ROWS * deep, a.dtype), ai == 1 and ak * a.itemsize % APART == 0
    for unit in range(start, stop):
        p, i0 = unit // (down * across), unit // across % down * row_block
        first = unit % across * column_block
        i1, end = min(M, i0 + row_block), min(N, first + column_block)
        for j0 in range(first, end, block):
            n = min(block, end - j0)
            for k0 in range(0, max(K, 1), deep):
                depth = min(deep, K - k0)
                for j in range(0, n, width):
                    at = b_at[p] + k0 * bk + (j0 + j) * bj
                    _pack(b, at, bk, bj, depth, min(width, n - j), panels, j * depth)
                for i in range(i0, i1, ROWS):
                    m = min(ROWS, i1 - i)
                    a0, c0 = a_at[p] + i * ai + k0 * ak, (p * M + i) * N + j0
                    more = add or k0 > 0
                    if apart and m == ROWS:
                        second = (i - i0) // ROWS % 2
                        if not second:
                            _gather(a, a0, ak, depth, min((i1 - i) // ROWS, 2), pair)
                        at = second * depth * ROWS
                        _strip(pair, at, 1, ROWS, m, panels, n, depth, c, c0, N, more, rows, corner)
                    else:
                        _ahead(a, a0 + ROWS * ai, ai, ak, depth)
                        _strip(a, a0, ai, ak, m, panels, n, depth, c, c0, N, more, rows, corner)
                    if k0 + depth < K or (bias.size == 0 and then == NOTHING):
                        continue
                    for r in range(m):  # C is complete here
                        row = c[c0 + r * N : c0 + r * N + n]
                        if bias.size:
                            shift = bias[j0 : j0 + n]
                            for j in range(n):
                                row[j] += shift[j]
                        if then == NOTHING:
                            continue
                        beside = other[c0 + r * N : c0 + r * N + n]
                        if then == RESIDUAL:
                            for j in range(n):
                                row[j] += beside[j]
                        elif then == GELU:
                            for j in range(n):
                                beside[j] = gelu_exact(row[j])
                        elif then == GELU_TANH:
                            for j in range(n):
                                beside[j] = gelu_by_tanh(row[j])
                        elif then == GELU_BACKWARD:
                            for j in range(n):
                                row[j] *= slope_exact(beside[j])
                        else:
                            for j in range(n):
                                row[j] *= slope_by_tanh(beside[j])


# -- the product of few rows -------------------------------------------------------------------


@kernel(fastmath=FAST)
def _few_rows(start, stop, a, b, c, bias, a_at, b_at, M, N, K, ai, ak, bk, bj, add, block):
    """As a loop over B as it lies: each number of it is read once a row of A."""
    across = (N + block - 1) // block
    line = np.empty(K, a.dtype)
    for unit in range(start, stop):
        p, j0 = unit // across, unit % across * block
        n = min(block, N - j0)
        for i in range(M):
            row = c[(p * M + i) * N + j0 : (p * M + i) * N + j0 + n]
            if not add:
                row[:] = 0
            right = b_at[p] + j0 * bj
            for k in range(K):
                line[k] = a[a_at[p] + i * ai + k * ak]
            if bk == 1:  # Bᵀ row-major: a dot product for each column
                for j in range(n):
                    column = b[right + j * bj : right + j * bj + K]
                    total = a.dtype.type(0)
                    for k in range(K):
                        total += line[k] * column[k]
                    row[j] += total
            else:
                for k in range(K):
                    times, across_b = line[k], b[right + k * bk : right + k * bk + n]
                    for j in range(across_b.size):
                        row[j] += times * across_b[j]
            if bias.size:
                for j in range(n):
                    row[j] += bias[j0 + j]


# -- what the rest of the package calls --------------------------------------------------------


def _matrices(x: Array) -> tuple[Array, int, int]:
    """The memory of x (..., R, C) as a flat array, and the steps to the next row and column."""
    if not x.flags.c_contiguous:
        turned = x.swapaxes(-1, -2)
        if turned.flags.c_contiguous:
            return plain(turned).reshape(-1), 1, x.shape[-2]
    return plain(x).reshape(-1), x.shape[-1], 1


@functools.lru_cache(maxsize=256)
def _starts(batch: tuple[int, ...], own: tuple[int, ...], size: int) -> NDArray[np.int64]:
    """For each matrix of the result, in order, where the operand's matrix begins."""
    index = np.arange(math.prod(own), dtype=np.int64).reshape(own) * size
    return plain(np.broadcast_to(index, batch).reshape(-1))


@functools.cache
def _nothing(dtype: np.dtype) -> Array:
    return np.empty(0, dtype)


@functools.lru_cache(maxsize=1024)
def _blocks(
    M: int, N: int, K: int, width: int, matrices: int, threads: int
) -> tuple[int, NDArray[np.int64]]:
    """The units of work, and the rows and columns of each.

    Two for each thread, or eight where each is still long: none waits long for the last one. Of
    the ways to cut C, the one in which the units read least: each reads its rows of A, and copies
    its columns of B, which is to read and to write. How the work is cut does not change the
    results: each number of C is one chain over k, cut where K alone says.
    """
    wanted = -(-threads * (2 if matrices * M * N * K < LONG * 8 * threads else 8) // matrices)
    strips, panels = -(-M // ROWS), -(-N // width)
    ways = [(n, min(strips, -(-wanted // n))) for n in range(1, min(panels, wanted) + 1)]
    most = max(across * down for across, down in ways)
    ways = [way for way in ways if way[0] * way[1] >= min(wanted, most)]
    across, down = min(ways, key=lambda way: way[0] * M + 2 * way[1] * N)
    wide, tall = -(-panels // across) * width, -(-strips // down) * ROWS
    return matrices * -(-N // wide) * -(-M // tall), np.array([tall, wide])


def _follow(c: Array, other: Array, then: int) -> None:
    """What the blocked kernel does in its store, for a result of few rows."""
    form = "tanh" if then in (GELU_TANH, GELU_BACKWARD_TANH) else "none"
    if then == RESIDUAL:
        c += other
    elif then in (GELU, GELU_TANH):
        other[...] = gelu(c, form)
    else:
        c[...] = gelu_backward(c, other, form)


def multiply(
    a: Array,
    b: Array,
    c: Array,
    add: bool = False,
    bias: Array | None = None,
    other: Array | None = None,
    then: int = NOTHING,
) -> None:
    """C (+)= A B + bias, and then what is to be done with other, of C's shape.

    c is contiguous, and so is other where it is written.
    """
    (M, K), N = a.shape[-2:], b.shape[-1]
    batch, count = c.shape[:-2], math.prod(c.shape[:-2])
    (left, ai, ak), (right, bk, bj) = _matrices(a), _matrices(b)
    starts = _starts(batch, a.shape[:-2], M * K), _starts(batch, b.shape[:-2], K * N)
    sizes = (*starts, M, N, K, ai, ak, bk, bj, bool(add))
    none = _nothing(c.dtype)
    vector = none if bias is None else plain(bias)
    flat, work = c.reshape(-1), c.size * max(K, 1)
    if M <= FEW:
        units = count * -(-N // FEW_COLUMNS)
        _few_rows(units, left, right, flat, vector, *sizes, FEW_COLUMNS, work=work)
        if other is not None:
            _follow(c, other, then)
        return
    units, blocks = _blocks(M, N, K, columns(c.dtype), count, get_threads())
    beside = none if other is None else plain(other).reshape(-1)
    _matmul(units, left, right, flat, vector, beside, then, *sizes, blocks, work=work)


def one_float(name: str, *arrays: Array | None) -> None:
    """Refuse arrays that are not of one float dtype: a kernel would read the bytes as if.

    Raises
    ------
    DtypeError
    """
    dtypes = {x.dtype for x in arrays if x is not None}
    if len(dtypes) > 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        received = ", ".join(sorted(map(str, dtypes)))
        raise DtypeError(f"{name}: expected float32 or float64 for all, got {received}")


def matmul(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """Multiply matrices: C = A B over the last two axes.

    Transposed views (x @ W.T, dy.T @ x) are read as they lie.

    Parameters
    ----------
    a : (..., M, K)
    b : (..., K, N)
        The leading axes are equal or broadcast by NumPy's rules.
    out : (..., M, N), C-contiguous, optional
        Where to write C. It must not overlap a or b.
    add : bool
        Add C to what is in out.

    Returns
    -------
    (..., M, N)

    Raises
    ------
    ShapeError
        If an operand has fewer than two axes, or the shapes do not fit.
    DtypeError
        If the operands are not all float32 or all float64.

    Examples
    --------
    >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [3., 4.]])
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: expected (..., M, K) and (..., K, N), got {a.shape} and {b.shape}"
        )
    one_float("matmul", a, b)
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous and out is None:
        # one product with all rows of the batch: (..., M, K) -> (1, ... M, K)
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return matmul(rows, b).reshape(*a.shape[:-1], b.shape[-1])
    try:
        batch = () if a.ndim == b.ndim == 2 else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError as error:
        raise ShapeError(
            f"matmul: the leading axes of {a.shape} and {b.shape} do not broadcast"
        ) from error
    shape = (*batch, a.shape[-2], b.shape[-1])
    c = empty(shape, a.dtype) if out is None else out
    flags = c.flags
    if c.shape != shape or c.dtype != a.dtype or not (flags.c_contiguous and flags.writeable):
        raise ShapeError(
            f"matmul: expected out {shape}, C-contiguous {a.dtype} to write to, got {c.shape} "
            f"{c.dtype}"
        )
    if c.size:
        multiply(a, b, c, add)
    return c
