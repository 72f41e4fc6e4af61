"""What a tile needs of memory: rows copied, squares turned, lines asked for before their time.

Like the tile these are a few of LLVM's instructions each, which no loop turns into. Without the
JIT, they are the plain Python below.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from scratchgrad.kernels.simd import ROWS, VECTOR, WIDTH, address, load, store, vector_of

# -- copying --------------------------------------------------------------------------------------


def move(x, x0, y, y0):
    """Copy one row of a tile, WIDTH bytes: y[y0 + j] = x[x0 + j], in flat arrays."""
    n = WIDTH // x.itemsize
    y[y0 : y0 + n] = x[x0 : x0 + n]


def move_step(x, x0, y, y0):
    """Copy what a tile takes of A in one step, ROWS numbers: y[y0 + i] = x[x0 + i]."""
    y[y0 : y0 + ROWS] = x[x0 : x0 + ROWS]


def _copying(lanes: Any, times: int) -> Any:
    """An intrinsic that copies one or two vectors of the type that lanes(number) gives."""

    def copy(typingctx, x, x0, y, y0):
        signature = types.void(x, types.intp, y, types.intp)

        def generate(context, builder, signature, arguments):
            x, x0, y, y0 = arguments
            source = address(context, builder, signature.args[0], x, x0)
            target = address(context, builder, signature.args[2], y, y0)
            vector = lanes(source.type.pointee)
            for offset in range(0, times * vector.count, vector.count):
                store(builder, load(builder, source, vector, offset), target, offset)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(copy)


_compiled_move = _copying(vector_of, 2)
_compiled_step = _copying(lambda number: ir.VectorType(number, ROWS), 1)


@overload(move)
def _choose_move(x, x0, y, y0):
    def call(x, x0, y, y0):
        _compiled_move(x, x0, y, y0)

    return call


@overload(move_step)
def _choose_step(x, x0, y, y0):
    def call(x, x0, y, y0):
        _compiled_step(x, x0, y, y0)

    return call


# -- asking for memory early -------------------------------------------------------------------


def expect(x, at):
    """Ask for the cache line of x[at], soon to be read. It may lie outside the array."""


def claim(x, at):
    """Ask for the cache line of x[at], soon to be written. It may lie outside the array."""


def _asking(write: int, cache: int) -> Any:
    """An intrinsic that asks for a line in the second (2) or the first cache (3)."""

    def ask(typingctx, x, at):
        signature = types.void(x, types.intp)

        def generate(context, builder, signature, arguments):
            flag, byte = ir.IntType(32), ir.IntType(8).as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            line = builder.bitcast(address(context, builder, signature.args[0], *arguments), byte)
            builder.call(function, [line, flag(write), flag(cache), flag(1)])
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(ask)


_compiled_expect = _asking(write=0, cache=2)
_compiled_claim = _asking(write=1, cache=3)


@overload(expect)
def _choose_expect(x, at):
    def call(x, at):
        _compiled_expect(x, at)

    return call


@overload(claim)
def _choose_claim(x, at):
    def call(x, at):
        _compiled_claim(x, at)

    return call


# -- turning a square --------------------------------------------------------------------------


def turn(x, x0, xj, y, y0, yk):
    """y[k, j] = x[j, k] for a square as wide as a vector: VECTOR bytes by as many rows.

    x[j, k] is x[x0 + j xj + k] and y[k, j] is y[y0 + k yk + j], in flat arrays.
    """
    n = VECTOR // x.itemsize
    for j in range(n):
        for k in range(n):
            y[y0 + k * yk + j] = x[x0 + j * xj + k]


def _turn(typingctx, x, x0, xj, y, y0, yk):
    """As a loop, LLVM scatters: 2.7 ns a number. Between registers it takes 0.1 ns."""
    whole = types.intp
    signature = types.void(x, whole, whole, y, whole, whole)

    def generate(context, builder, signature, arguments):
        x, x0, xj, y, y0, yk = arguments
        index, lane = ir.IntType(64), ir.IntType(32)

        source = address(context, builder, signature.args[0], x, x0)
        target = address(context, builder, signature.args[3], y, y0)
        number = source.type.pointee
        n = VECTOR // (4 if isinstance(number, ir.FloatType) else 8)
        vector = ir.VectorType(number, n)
        rows = [
            load(builder, builder.gep(source, [builder.mul(index(j), xj)]), vector, 0)
            for j in range(n)
        ]
        step = 1
        while step < n:  # swap the off-diagonal blocks of step x step in each 2 step x 2 step
            for i in range(n):
                if i & step:
                    continue
                upper, lower = rows[i], rows[i + step]
                lanes = range(n)
                left = [k if not k & step else n + k - step for k in lanes]
                right = [k + step if not k & step else n + k for k in lanes]
                rows[i], rows[i + step] = (
                    builder.shuffle_vector(
                        upper, lower, ir.Constant(ir.VectorType(lane, n), [lane(k) for k in take])
                    )
                    for take in (left, right)
                )
            step *= 2
        for k, row in enumerate(rows):
            store(builder, row, builder.gep(target, [builder.mul(index(k), yk)]), 0)
        return context.get_dummy_value()

    return signature, generate


_compiled_turn: Any = intrinsic(_turn)


@overload(turn)
def _choose_turn(x, x0, xj, y, y0, yk):
    def call(x, x0, xj, y, y0, yk):
        _compiled_turn(x, x0, xj, y, y0, yk)

    return call
