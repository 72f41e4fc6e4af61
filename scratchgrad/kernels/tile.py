"""The inner loops of every matrix product: C[i:i+4, j0:j0+n] += A[i:i+4, k0:k1] B[k0:k1, j0:j0+n].

Four rows of A and four steps of k at a time: each number of B that is loaded serves four rows,
each number of C that is loaded and stored takes four products. The loop over j runs along
contiguous memory, and LLVM turns it into vector instructions.
"""

import numpy as np

from scratchgrad.kernels.jit import routine

# For 0 as an argument of a routine: Numba compiles one anew for a literal number.
ORIGIN = np.int64(0)


@routine
def tile4(a, b, c, i, k0, k1, j0, n):
    """Four rows, from row i."""
    c0, c1 = c[i, j0 : j0 + n], c[i + 1, j0 : j0 + n]
    c2, c3 = c[i + 2, j0 : j0 + n], c[i + 3, j0 : j0 + n]
    k = k0
    while k + 4 <= k1:
        b0, b1 = b[k, j0 : j0 + n], b[k + 1, j0 : j0 + n]
        b2, b3 = b[k + 2, j0 : j0 + n], b[k + 3, j0 : j0 + n]
        a00, a01, a02, a03 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
        a10, a11, a12, a13 = a[i + 1, k], a[i + 1, k + 1], a[i + 1, k + 2], a[i + 1, k + 3]
        a20, a21, a22, a23 = a[i + 2, k], a[i + 2, k + 1], a[i + 2, k + 2], a[i + 2, k + 3]
        a30, a31, a32, a33 = a[i + 3, k], a[i + 3, k + 1], a[i + 3, k + 2], a[i + 3, k + 3]
        for j in range(n):
            # read b before any c is written, or each write forces another read of b
            s, t, u, v = b0[j], b1[j], b2[j], b3[j]
            c0[j] += a00 * s + a01 * t + a02 * u + a03 * v
            c1[j] += a10 * s + a11 * t + a12 * u + a13 * v
            c2[j] += a20 * s + a21 * t + a22 * u + a23 * v
            c3[j] += a30 * s + a31 * t + a32 * u + a33 * v
        k += 4
    while k < k1:
        b0 = b[k, j0 : j0 + n]
        a00, a10, a20, a30 = a[i, k], a[i + 1, k], a[i + 2, k], a[i + 3, k]
        for j in range(n):
            s = b0[j]
            c0[j] += a00 * s
            c1[j] += a10 * s
            c2[j] += a20 * s
            c3[j] += a30 * s
        k += 1


@routine
def tile1(a, b, c, i, k0, k1, j0, n):
    """One row, for the rows that are left over."""
    c0 = c[i, j0 : j0 + n]
    k = k0
    while k + 4 <= k1:
        b0, b1 = b[k, j0 : j0 + n], b[k + 1, j0 : j0 + n]
        b2, b3 = b[k + 2, j0 : j0 + n], b[k + 3, j0 : j0 + n]
        a00, a01, a02, a03 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
        for j in range(n):
            c0[j] += a00 * b0[j] + a01 * b1[j] + a02 * b2[j] + a03 * b3[j]
        k += 4
    while k < k1:
        b0, a00 = b[k, j0 : j0 + n], a[i, k]
        for j in range(n):
            c0[j] += a00 * b0[j]
        k += 1


@routine
def tile_rows(a, b, c, i0, i1, k0, k1, j0, n):
    """The rows i0 … i1 - 1, by four while they last."""
    i = i0
    while i + 4 <= i1:
        tile4(a, b, c, i, k0, k1, j0, n)
        i += 4
    while i < i1:
        tile1(a, b, c, i, k0, k1, j0, n)
        i += 1
