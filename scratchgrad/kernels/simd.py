"""A tile of a matrix product that never leaves the registers, in LLVM's own instructions.

Every fast product is made of one piece of work, C = A B or C += A B, with ROWS rows of A, as many
columns of B as fill two vector registers, and any number of steps k between them::

    for k in range(K):
        for i in range(ROWS):
            for j in range(columns):
                c[i, j] += a[i, k] * b[k, j]

Written as such a loop, LLVM keeps c in memory: each multiplication waits for a load and a store,
and half of the machine's speed is the most it reaches. Here the ROWS x 2 vectors of c are values
of their own, which LLVM must hold in registers; a step k loads two vectors of b, spreads one
number of a after the other over a vector, and does nothing else but multiply and add. On a core
that starts one 512-bit multiply-add a cycle, 16 of them hide the loads and the latency: 117 of
118 GFLOP/s measured (docs/matmul.md).

A may lie in memory in any way: its strides over i and over k are arguments. So a product with a
transposed A needs no transposed copy. B is read a row at a time, so its rows are contiguous.

`triangle` is the same for the ROWS steps in which row i takes only the steps 0 to i: what a causal
mask leaves of a tile on the diagonal. What it leaves out is never read.

Without the JIT, they are the plain Python below.
"""

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

# The bytes of a vector, and how many rows of two such vectors fit the registers, beside the
# operands: of 32 registers 16 + 3, of 16 registers 12 + 3.
_features = llvmlite.binding.get_host_cpu_features()
_wide = bool(_features.get("avx512f"))
VECTOR = 64 if _wide else 32 if _features.get("avx") else 16
ROWS = 8 if _wide or not _features.get("sse2") else 6

WIDTH = 2 * VECTOR  # the bytes of a row of the tile


def columns(dtype: Any) -> int:
    """How many columns a tile has: 32 of float32 and 16 of float64 where a vector is 64 bytes."""
    return WIDTH // np.dtype(dtype).itemsize


def tile(a, a0, ai, ak, b, b0, bk, K, c, c0, ci, add):
    """C = A B, or C += A B if add, for one tile: ROWS rows, `columns` columns.

    Parameters
    ----------
    a, a0, ai, ak
        A flat array, and where in it A[i, k] stands: a[a0 + i ai + k ak].
    b, b0, bk
        B[k, j] is b[b0 + k bk + j].
    K : int
        The steps, in order: each C[i, j] is one chain of fused multiply-adds.
    c, c0, ci
        C[i, j] is c[c0 + i ci + j].
    add : bool
    """
    n = WIDTH // a.itemsize
    for i in range(ROWS):
        total = np.zeros(n, a.dtype)
        for k in range(K):
            row = b0 + k * bk
            total += a[a0 + i * ai + k * ak] * b[row : row + n]
        out = c[c0 + i * ci : c0 + i * ci + n]
        out[:] = out + total if add else total


def triangle(a, a0, ai, ak, b, b0, bk, c, c0, ci):
    """C += A B for one tile and ROWS steps, of which row i takes the steps 0 … i and no others.

    With all three starts at the last row or step, and strides below zero, it is row i that takes
    the steps i … ROWS - 1. The arguments are those of `tile`.
    """
    n = WIDTH // a.itemsize
    for i in range(ROWS):
        out = c[c0 + i * ci : c0 + i * ci + n]
        for k in range(i + 1):
            row = b0 + k * bk
            out += a[a0 + i * ai + k * ak] * b[row : row + n]


def vector_of(number: Any) -> Any:
    """The type of a vector register full of such numbers."""
    return ir.VectorType(number, VECTOR // (4 if isinstance(number, ir.FloatType) else 8))


def _spread(builder: Any, value: Any) -> Any:
    """A vector with one number in every place."""
    lane = ir.IntType(32)
    vector = vector_of(value.type)
    none = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(none, value, lane(0))
    everywhere = ir.Constant(ir.VectorType(lane, vector.count), None)  # lane 0, in each place
    return builder.shuffle_vector(first, none, everywhere)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c of three vectors, rounded once where the processor can."""
    vector = c.type
    bits = 32 if isinstance(vector.element, ir.FloatType) else 64
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fmuladd.v{vector.count}f{bits}",
    )
    return builder.call(function, [a, b, c])


def _emit(builder: Any, number: Any, rows: list[Any], K: Any, ak: Any, b: Any, bk: Any) -> Any:
    """The loop over k; returns the sums, ROWS x 2 vectors."""
    index, vector = ir.IntType(64), vector_of(number)
    zero = ir.Constant(vector, None)

    before = builder.block
    loop, after = builder.append_basic_block("steps"), builder.append_basic_block("summed")
    builder.cbranch(builder.icmp_signed(">", K, index(0)), loop, after)

    builder.position_at_end(loop)
    k = builder.phi(index)
    sums = [builder.phi(vector) for _ in range(2 * len(rows))]
    new = []
    row = builder.gep(b, [builder.mul(k, bk)])
    right = [load(builder, row, vector, half * vector.count) for half in range(2)]
    along = builder.mul(k, ak)
    for i, start in enumerate(rows):
        left = _spread(builder, builder.load(builder.gep(start, [along])))
        pairs = zip(right, sums[2 * i : 2 * i + 2], strict=True)
        new += [_multiply_add(builder, left, b, total) for b, total in pairs]
    following = builder.add(k, index(1))
    builder.cbranch(builder.icmp_signed("<", following, K), loop, after)

    k.add_incoming(index(0), before)
    k.add_incoming(following, loop)
    for old, value in zip(sums, new, strict=True):
        old.add_incoming(zero, before)
        old.add_incoming(value, loop)

    builder.position_at_end(after)
    results = [builder.phi(vector) for _ in sums]
    for result, value in zip(results, new, strict=True):
        result.add_incoming(zero, before)
        result.add_incoming(value, loop)
    return results


def address(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    """Of an element of a flat array."""
    return builder.gep(cgutils.create_struct_proxy(kind)(context, builder, array).data, [offset])


def load(builder: Any, pointer: Any, vector: Any, offset: int) -> Any:
    """A vector from any address: alignment is that of one number."""
    at = builder.gep(pointer, [ir.IntType(64)(offset)])
    value = builder.load(builder.bitcast(at, vector.as_pointer()))
    value.align = 4 if isinstance(vector.element, ir.FloatType) else 8
    return value


def store(builder: Any, value: Any, pointer: Any, offset: int) -> None:
    """A vector to any address."""
    at = builder.gep(pointer, [ir.IntType(64)(offset)])
    stored = builder.store(value, builder.bitcast(at, value.type.as_pointer()))
    stored.align = 4 if isinstance(value.type.element, ir.FloatType) else 8


def _tile(typingctx, a, a0, ai, ak, b, b0, bk, K, c, c0, ci, add):
    whole = types.intp
    signature = types.void(
        a, whole, whole, whole, b, whole, whole, whole, c, whole, whole, types.boolean
    )

    def generate(context, builder, signature, arguments):
        a, a0, ai, ak, b, b0, bk, K, c, c0, ci, add = arguments

        index, kinds = ir.IntType(64), signature.args
        a = address(context, builder, kinds[0], a, a0)
        b = address(context, builder, kinds[4], b, b0)
        c = address(context, builder, kinds[8], c, c0)
        rows = [builder.gep(a, [builder.mul(index(i), ai)]) for i in range(ROWS)]
        sums = _emit(builder, a.type.pointee, rows, K, ak, b, bk)
        lanes = sums[0].type.count
        out = [builder.gep(c, [builder.mul(index(i), ci)]) for i in range(ROWS)]
        with builder.if_else(context.cast(builder, add, types.boolean, types.boolean)) as (yes, no):
            with yes:
                for i, value in enumerate(sums):
                    old = load(builder, out[i // 2], value.type, i % 2 * lanes)
                    store(builder, builder.fadd(old, value), out[i // 2], i % 2 * lanes)
            with no:
                for i, value in enumerate(sums):
                    store(builder, value, out[i // 2], i % 2 * lanes)
        return context.get_dummy_value()

    return signature, generate


_compiled: Any = intrinsic(_tile)  # its type stub forgets that the first argument is not given


@overload(tile)
def _choose(a, a0, ai, ak, b, b0, bk, K, c, c0, ci, add):
    def call(a, a0, ai, ak, b, b0, bk, K, c, c0, ci, add):
        _compiled(a, a0, ai, ak, b, b0, bk, K, c, c0, ci, add)

    return call


# -- what is left of a tile on the diagonal ----------------------------------------------------


def _triangle(typingctx, a, a0, ai, ak, b, b0, bk, c, c0, ci):
    whole = types.intp
    signature = types.void(a, whole, whole, whole, b, whole, whole, c, whole, whole)

    def generate(context, builder, signature, arguments):
        a, a0, ai, ak, b, b0, bk, c, c0, ci = arguments

        index, kinds = ir.IntType(64), signature.args
        a = address(context, builder, kinds[0], a, a0)
        b = address(context, builder, kinds[4], b, b0)
        c = address(context, builder, kinds[7], c, c0)
        number = a.type.pointee
        vector = vector_of(number)
        left = [builder.gep(a, [builder.mul(index(i), ai)]) for i in range(ROWS)]
        out = [builder.gep(c, [builder.mul(index(i), ci)]) for i in range(ROWS)]
        halves = (0, vector.count)
        sums = [load(builder, out[i], vector, half) for i in range(ROWS) for half in halves]
        for k in range(ROWS):
            row = builder.gep(b, [builder.mul(index(k), bk)])
            right = [load(builder, row, vector, half) for half in halves]
            along = builder.mul(index(k), ak)
            for i in range(k, ROWS):
                one = _spread(builder, builder.load(builder.gep(left[i], [along])))
                for at, two in zip((2 * i, 2 * i + 1), right, strict=True):
                    sums[at] = _multiply_add(builder, one, two, sums[at])
        for i, value in enumerate(sums):
            store(builder, value, out[i // 2], i % 2 * vector.count)
        return context.get_dummy_value()

    return signature, generate


_compiled_triangle: Any = intrinsic(_triangle)


@overload(triangle)
def _choose_triangle(a, a0, ai, ak, b, b0, bk, c, c0, ci):
    def call(a, a0, ai, ak, b, b0, bk, c, c0, ci):
        _compiled_triangle(a, a0, ai, ak, b, b0, bk, c, c0, ci)

    return call
