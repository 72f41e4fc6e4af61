"""The notice board by which threads share a kernel's work, in machine code from end to end.

A caller writes on the board what is to be done, a function and where its arguments are, and rings a
bell; helpers who watch the bell join in. All take pieces off one counter until there are none;
then the caller wipes the board and waits until the last helper has left. No thread needs the
interpreter for any of it: asking for its lock, which the caller may hold at that moment, puts a
thread to sleep, and waking takes 30 µs where all of this takes less than one.

The board is a few int64 in memory, each on a cache line of its own where threads contend.
"""

import sys
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LINE = 8  # int64 in a cache line
# The places on the board.
BELL, OPEN, NEXT, INSIDE = 0 * LINE, 1 * LINE, 2 * LINE, 3 * LINE
STOP, SIZE, THREADS, FAILED, WORKER, ARGUMENTS = (4 * LINE + i for i in range(6))
PLACES = 5 * LINE

_index, _nothing, _bytes = ir.IntType(64), ir.VoidType(), ir.IntType(8).as_pointer()
_worker = ir.FunctionType(_nothing, [_bytes, _index.as_pointer()])  # (arguments, board)
_pauses = bool(llvmlite.binding.get_host_cpu_features().get("sse2"))

PATIENCE = 4096  # looks, about 100 µs, before the core is offered to other programs


def new_board() -> np.ndarray:
    """An empty board."""
    return np.zeros(PLACES, np.int64)


def _place(builder: Any, board: Any, place: int) -> Any:
    return builder.gep(board, [_index(place)])


def _read(builder: Any, board: Any, place: int) -> Any:
    return builder.load_atomic(_place(builder, board, place), "seq_cst", 8)


def _write(builder: Any, board: Any, place: int, value: Any) -> None:
    builder.store_atomic(value, _place(builder, board, place), "seq_cst", 8)


def _slots(builder: Any, board: Any) -> list[Any]:
    """The addresses of the worker and of its arguments, as places for pointers."""
    places = ((WORKER, _worker.as_pointer()), (ARGUMENTS, _bytes))
    return [
        builder.bitcast(_place(builder, board, place), kind.as_pointer()) for place, kind in places
    ]


def _add(builder: Any, board: Any, place: int, value: Any) -> Any:
    """Returns what was there before."""
    return builder.atomic_rmw("add", _place(builder, board, place), value, "seq_cst")


def _pause(builder: Any) -> None:
    """Tell the core that this is a waiting loop."""
    if _pauses:
        kind = ir.FunctionType(_nothing, [])
        builder.call(
            cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), []
        )


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return cgutils.create_struct_proxy(kind)(context, builder, array).data


def _make_worker(context: Any, builder: Any, compiled: Any, signature: Any, kind: Any) -> Any:
    """A function (arguments, board) that takes pieces until there are none."""
    worker = ir.Function(builder.module, _worker, f"{builder.function.name}.worker")
    worker.linkage = "internal"
    block = ir.IRBuilder(worker.append_basic_block("entry"))
    arguments, board = worker.args
    place = block.bitcast(arguments, context.get_value_type(kind).as_pointer())
    values = cgutils.unpack_tuple(block, block.load(place))
    stop = block.load(_place(block, board, STOP))
    size = block.load(_place(block, board, SIZE))

    again, piece = worker.append_basic_block("again"), worker.append_basic_block("piece")
    failed, done = worker.append_basic_block("failed"), worker.append_basic_block("done")
    block.branch(again)
    block.position_at_end(again)
    first = _add(block, board, NEXT, size)
    block.cbranch(block.icmp_signed("<", first, stop), piece, done)
    block.position_at_end(piece)
    end = block.add(first, size)
    last = block.select(block.icmp_signed("<", end, stop), end, stop)
    status, _ = context.call_internal_no_propagate(
        block, compiled.fndesc, signature, [first, last, *values]
    )
    block.cbranch(status.is_error, failed, again)
    block.position_at_end(failed)
    _write(block, board, FAILED, _index(1))
    _write(block, board, NEXT, stop)
    block.branch(done)
    block.position_at_end(done)
    block.ret_void()
    return worker


def _together(typingctx, board, start, stop, size, threads, kernel, arguments):
    """Do kernel(first, last, *arguments) for all pieces of start … stop; whether one failed."""
    whole = types.int64
    inner = kernel.get_call_type(typingctx, (whole, whole, *arguments.types), {})
    result = types.boolean(board, whole, whole, whole, whole, kernel, arguments)

    def generate(context, builder, signature, values):
        array, start, stop, size, threads, _, packed = values
        compiled = kernel.dispatcher.overloads[inner.args]
        context.active_code_library.add_linking_library(compiled.library)
        worker = _make_worker(context, builder, compiled, inner, arguments)
        board = _data(context, builder, signature.args[0], array)
        place = builder.bitcast(cgutils.alloca_once_value(builder, packed), _bytes)
        own = cgutils.alloca_once(builder, _index, PLACES)

        shared = builder.icmp_signed(">", threads, _index(1))
        with builder.if_then(builder.not_(shared)):  # all pieces alone, on a board of its own
            _announce(builder, own, start, stop, size)
            builder.call(worker, [place, own])
        with builder.if_then(shared):
            _announce(builder, board, start, stop, size)
            builder.store(threads, _place(builder, board, THREADS))
            for kind, where, what in (
                (_worker.as_pointer(), WORKER, worker),
                (_bytes, ARGUMENTS, place),
            ):
                slot = builder.bitcast(_place(builder, board, where), kind.as_pointer())
                builder.store(what, slot)
            _write(builder, board, OPEN, _index(1))
            _add(builder, board, BELL, _index(1))
            builder.call(worker, [place, board])
            # A helper first enters, then looks whether the board is open: so one that is not
            # inside after it was wiped will not touch the arguments any more.
            _write(builder, board, OPEN, _index(0))
            _wait(builder, board)
        used = builder.select(shared, board, own)
        failed = builder.load(_place(builder, used, FAILED))
        return builder.icmp_signed("!=", failed, _index(0))

    return result, generate


def _announce(builder: Any, board: Any, start: Any, stop: Any, size: Any) -> None:
    for place, value in ((NEXT, start), (STOP, stop), (SIZE, size), (FAILED, _index(0))):
        builder.store(value, _place(builder, board, place))


def _wait(builder: Any, board: Any) -> None:
    """Until nobody is inside."""
    looks = cgutils.alloca_once_value(builder, _index(0))
    waiting, left = (builder.append_basic_block(name) for name in ("waiting", "left"))
    offer, pause = (builder.append_basic_block(name) for name in ("offer", "pause"))
    builder.branch(waiting)
    builder.position_at_end(waiting)
    inside = _read(builder, board, INSIDE)
    builder.cbranch(builder.icmp_signed("==", inside, _index(0)), left, pause)
    builder.position_at_end(pause)
    _pause(builder)
    seen = builder.add(builder.load(looks), _index(1))
    builder.store(seen, looks)
    builder.cbranch(builder.icmp_signed(">", seen, _index(PATIENCE)), offer, waiting)
    builder.position_at_end(offer)
    if sys.platform != "win32":
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
    builder.branch(waiting)
    builder.position_at_end(left)


def _join(typingctx, board, number):
    """As helper `number`: enter, work if the board is open and asks for so many, leave."""

    def generate(context, builder, signature, values):
        board, number = _data(context, builder, signature.args[0], values[0]), values[1]
        _add(builder, board, INSIDE, _index(1))
        is_open = builder.icmp_signed("==", _read(builder, board, OPEN), _index(1))
        with builder.if_then(is_open):
            threads = builder.load(_place(builder, board, THREADS))
            with builder.if_then(builder.icmp_signed("<", number, threads)):
                worker, arguments = (builder.load(slot) for slot in _slots(builder, board))
                builder.call(worker, [arguments, board])
        _add(builder, board, INSIDE, _index(-1))
        return context.get_dummy_value()

    return types.void(board, types.int64), generate


def _look(typingctx, board):
    """How often the bell was rung."""

    def generate(context, builder, signature, values):
        _pause(builder)
        return _read(builder, _data(context, builder, signature.args[0], values[0]), BELL)

    return types.int64(board), generate


together: Any = intrinsic(_together)  # its type stub forgets that the first argument is not given
join: Any = intrinsic(_join)
look: Any = intrinsic(_look)
