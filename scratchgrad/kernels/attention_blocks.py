"""The pieces of attention: one block of queries against one block of keys.

Scores stand transposed, (keys, queries): the sums of the softmax then run down the columns, as
many queries at once as a vector holds, and no sum goes across a vector. A block is a flat array
of BLOCK x BLOCK numbers, of which the first m rows and n columns count.

On a block of the diagonal, key j meets the queries from j on. A product takes for each tile what
all of its rows may see, and the corner that is left with `triangle`. What is hidden is not read,
not even to be multiplied by 0: it might be nan.

C is (rows, columns) of a flat array: element (i, j) is c[c0 + i ci + j]; likewise A and B.
"""

import math

import numpy as np

from scratchgrad.kernels.elementary import weight
from scratchgrad.kernels.jit import COMPILED, device, routine
from scratchgrad.kernels.moving import turn
from scratchgrad.kernels.random import uniform_bits
from scratchgrad.kernels.simd import ROWS, VECTOR, WIDTH, tile, triangle

# A strip is what one pass of the softmax takes: whole tiles, a constant for the compiler. A block
# is as large as fits the first cache with the keys or the values beside it (16 KB of float32).
STRIP = math.lcm(ROWS, WIDTH // 4)
BLOCK = 2 * STRIP
TAKEN = math.lcm(ROWS, 4)  # rows of scores are taken in multiples of it


@device
def across(n, whole):
    """How far to go along a row: a constant makes vectors of the loop. Interpreted, n is enough."""
    return whole if COMPILED else min(n, whole)


# -- in and out --------------------------------------------------------------------------------


@routine
def turned(x, x0, xi, n, D, scale, y):
    """y (D, BLOCK) = scale Xᵀ, where X is (n, D); the columns from n on are 0."""
    lanes = VECTOR // x.itemsize
    whole = D // lanes * lanes
    for i in range(0, n, lanes):
        done = whole if i + lanes <= n else 0
        for d in range(0, done, lanes):
            turn(x, x0 + i * xi + d, xi, y, d * BLOCK + i, BLOCK)
        for d in range(done, D):
            for j in range(i, min(i + lanes, n)):
                y[d * BLOCK + j] = x[x0 + j * xi + d]
    for d in range(D):
        row = y[d * BLOCK : (d + 1) * BLOCK]
        for i in range(n, BLOCK):
            row[i] = 0
        if scale != 1:
            for i in range(BLOCK):
                row[i] *= scale


@routine
def padded(x, x0, xi, n, D, y, wide):
    """y (n rounded up to whole tiles, wide) = X (n, D), and 0 around it."""
    y[: (n + ROWS - 1) // ROWS * ROWS * wide] = 0
    moved(x, x0, xi, y, 0, wide, n, D)


@device
def fits(n, D, wide):
    """Whether (n, D) is made of whole tiles as it stands: D is, where rounding up left it alone."""
    return n % ROWS == 0 and wide == D


@device
def whole(x, x0, xi, n, D, y, wide):
    """X (n, D) for products, which take whole tiles: x0, xi where it lies, or padded into y."""
    if fits(n, D, wide):
        return x, x0, xi
    padded(x, x0, xi, n, D, y, wide)
    return y, 0, wide


@routine
def moved(x, x0, xi, y, y0, yi, n, D):
    """Y = X, both (n, D)."""
    for i in range(n):
        row, out = x[x0 + i * xi : x0 + i * xi + D], y[y0 + i * yi : y0 + i * yi + D]
        for d in range(D):
            out[d] = row[d]


# -- products ----------------------------------------------------------------------------------


@routine
def scores(x, x0, xi, D, qt, s, m, n, diagonal):
    """S (m, n) = X Qᵀ: s = K Qᵀ, or dP = V dOᵀ. Of a tile that is all hidden, nothing."""
    columns = WIDTH // x.itemsize
    for i in range(0, n, columns):
        keys = min(m, i + columns) if diagonal else m
        for j in range(0, keys, ROWS):
            tile(x, x0 + j * xi, xi, 1, qt, i, BLOCK, D, s, j * BLOCK + i, BLOCK, False)


@routine
def over_keys(s, b, b0, bk, c, wide, m, n, diagonal, add):
    """C (n, wide) = Sᵀ B or C += Sᵀ B, where B is (m, wide): O from V, dQ from K."""
    columns = WIDTH // s.itemsize
    for d in range(0, wide, columns):
        for i in range(0, n, ROWS):
            K = min(m, i) if diagonal else m  # all of a tile's queries see the keys before i
            tile(s, i, 1, BLOCK, b, b0 + d, bk, K, c, i * wide + d, wide, add)
            if diagonal and i < m:
                at, row = i * BLOCK + i, b0 + i * bk + d
                triangle(s, at, 1, BLOCK, b, row, bk, c, i * wide + d, wide)


@routine
def over_queries(s, b, b0, bk, c, c0, ci, wide, m, n, diagonal):
    """C (m, wide) += S B, where B is (n, wide): dV from dO, dK from Q."""
    columns = WIDTH // s.itemsize
    for d in range(0, wide, columns):
        for j in range(0, m, ROWS):
            i = j + ROWS if diagonal else 0  # all of a tile's keys are seen by the queries from i
            row = b0 + i * bk + d
            tile(s, j * BLOCK + i, BLOCK, 1, b, row, bk, n - i, c, c0 + j * ci + d, ci, True)
            if diagonal and j < n:  # from the last row and step up: it sees the last query only
                last = j + ROWS - 1
                at, row = last * BLOCK + last, b0 + last * bk + d
                triangle(s, at, -BLOCK, -1, b, row, -bk, c, c0 + last * ci + d, -ci)


# -- the softmax, down the columns of a strip --------------------------------------------------


@routine
def hide_future(s, m):
    """s = -inf where the key comes after the query, in the strips that have such a key."""
    for j in range(m):
        s[j * BLOCK + j // STRIP * STRIP : j * BLOCK + j] = -np.inf


@routine
def hide_past(s, m, n, reach):
    """s = -inf where query i has left key j behind its window: from i = j + reach on."""
    for j in range(m):
        s[j * BLOCK + min(n, max(0, j + reach)) : j * BLOCK + n] = -np.inf


@routine
def hide_masked(s, m, n, mask, at, of_query, of_key):
    """s = -inf where the mask is False."""
    for j in range(m):
        row = s[j * BLOCK : j * BLOCK + n]
        for i in range(n):
            row[i] = row[i] if mask[at + i * of_query + j * of_key] else -np.inf


@routine
def hide_rest(s, m):
    """s = -inf in the rows after m that make up whole tiles and fours; the number with them."""
    rows = (m + TAKEN - 1) // TAKEN * TAKEN
    s[m * BLOCK : rows * BLOCK] = -np.inf
    return rows


@routine
def largest(s, i0, m, n, top):
    """top = the largest of itself and m scores, for each query of the strip at i0.

    nan is larger than nothing: it is left to come back as the weight of nan.
    """
    high = top[i0 : i0 + STRIP]
    for j in range(0, m, 4):  # four rows at a time, for a row that waits for the one before is slow
        at = j * BLOCK + i0
        row0, row1 = s[at : at + STRIP], s[at + BLOCK : at + BLOCK + STRIP]
        at += 2 * BLOCK
        row2, row3 = s[at : at + STRIP], s[at + BLOCK : at + BLOCK + STRIP]
        for i in range(across(n - i0, STRIP)):
            x = row0[i] if row0[i] > high[i] else high[i]
            x = row1[i] if row1[i] > x else x
            x = row2[i] if row2[i] > x else x
            high[i] = row3[i] if row3[i] > x else x


@routine
def weights(s, i0, m, n, top, total):
    """s = 2^(s - top), and total += the sum down each column, for the strip at i0."""
    high, sums = top[i0 : i0 + STRIP], total[i0 : i0 + STRIP]
    for j in range(0, m, 2):
        at = j * BLOCK + i0
        row0, row1 = s[at : at + STRIP], s[at + BLOCK : at + BLOCK + STRIP]
        for i in range(across(n - i0, STRIP)):
            x, y = weight(row0[i] - high[i]), weight(row1[i] - high[i])
            row0[i], row1[i] = x, y
            sums[i] += x + y


@routine
def dots(x, y, D, total):
    """total = the sum down each column of X Y, both (D, BLOCK).

    In the order in which a tile adds: where a query sees one key only, delta is dP to the bit.
    """
    total[:] = 0
    for d in range(D):
        left, right = x[d * BLOCK : (d + 1) * BLOCK], y[d * BLOCK : (d + 1) * BLOCK]
        for i in range(BLOCK):
            total[i] += left[i] * right[i]


@routine
def score_gradients(s, ds, i0, m, n, lse, delta, scale):
    """p = 2^(s - lse) in place of s, and dS = p (dP - delta) scale in place of dP."""
    shift, mean = lse[i0 : i0 + STRIP], delta[i0 : i0 + STRIP]
    for j in range(m):
        at = j * BLOCK + i0
        row, drow = s[at : at + STRIP], ds[at : at + STRIP]
        for i in range(across(n - i0, STRIP)):
            row[i] = weight(row[i] - shift[i])
            drow[i] = row[i] * (drow[i] - mean[i]) * scale


@routine
def drop(s, m, n, seed, first, keys, cut, kept):
    """s = kept s, or 0 with the probability that bits are below cut: the same bits every time.

    Query i and key j have the index first + i keys + j.
    """
    for j in range(m):
        row = s[j * BLOCK : j * BLOCK + n]
        for i in range(n):
            index = first + np.uint64(i) * keys + np.uint64(j)
            row[i] *= kept if uniform_bits(seed, index) >= cut else s.dtype.type(0)
