"""The one place that configures Numba: what is compiled, how, and the cache on disk.

Why a cache of our own: Numba's stores a kernel under the hash of the file it stands in, and so
misses an edit in a file that the kernel calls into; it trusts what it reads; and it warns where
it cannot write. Ours is keyed by all kernel sources, all versions and the processor; each entry
carries a checksum, for a damaged one may hold machine code; and where it cannot be written there
is no cache and nothing else changes.

The flags: ``reassoc`` lets a sum be split over vector lanes, ``contract`` fuses a multiply and an
add, ``nsz arcp afn`` let go of the sign of zero, exact division by constants and exact library
calls. Never ``nnan`` or ``ninf`` (so never ``fastmath=True``): with them, the compiler may delete
a test for nan and give any value for exp(-inf).
"""

import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba import cloudpickle
from numba.core.caching import NullCache
from numba.core.compiler import Compiler, CompileResult
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.serialize import dumps
from numba.core.typed_passes import NativeLowering
from numba.extending import overload

from scratchgrad.kernels import threads
from scratchgrad.kernels.board import join, look, together
from scratchgrad.kernels.threads import get_threads, set_threads

__all__ = [
    "COMPILED",
    "EXACT",
    "FAST",
    "cache_folder",
    "compiles",
    "damaged",
    "device",
    "get_threads",
    "host",
    "kernel",
    "observe",
    "on_compile",
    "overload",
    "plain",
    "prepare_helpers",
    "routine",
    "set_threads",
]

_njit: Any = numba.njit  # its type stubs leave out some of the options
_config: Any = numba.config

COMPILED = not _config.DISABLE_JIT

FAST = frozenset({"reassoc", "contract", "nsz", "arcp", "afn"})
EXACT = frozenset({"contract"})  # where the order of operations is the point, as in elementary.py


_COMMON = {"error_model": "numpy", "no_cfunc_wrapper": True}  # no C program calls these
# Without an entry for Python, which would crash if it called one; it compiles much faster.
_INNER = {**_COMMON, "no_cpython_wrapper": True}


def compiles() -> bool:
    """Whether kernels are compiled: not with NUMBA_DISABLE_JIT=1."""
    return not _config.DISABLE_JIT


def host() -> tuple[str, list[str]]:
    """LLVM's name for this processor, and the features of it that compiled code may use."""
    features = llvmlite.binding.get_host_cpu_features()
    return llvmlite.binding.get_host_cpu_name(), sorted(f for f, there in features.items() if there)


def device(function: Callable[..., Any] | None = None, *, counted: bool = True) -> Any:
    """A helper that kernels call, inlined so that the loop round it can be vectorised.

    It is compiled EXACT, and its operations stay so within a FAST kernel.

    Numba counts the references to the arrays that a function is given, at each call. Where calls
    are short, as in a loop over bytes, that can be four fifths of the time. A function that
    allocates no array may do without (counted=False), and then so must all that it calls.
    """
    if function is None:  # @device(counted=False)
        return partial(device, counted=counted)
    options = {**_COMMON, "_nrt": counted}
    return _njit(function, fastmath=set(EXACT), forceinline=True, **options)


class _LowerApart(Lower):
    def setup_function(self, fndesc: Any) -> None:
        fndesc.noalias = True
        super().setup_function(fndesc)
        self.function.attributes.add("noinline")


class _LowerDistinct(Lower):
    def setup_function(self, fndesc: Any) -> None:
        fndesc.noalias = True
        super().setup_function(fndesc)


def _compiler(lower: type, name: str) -> type:
    """Numba's compiler with another class to write the machine code's first form."""

    @register_pass(mutates_CFG=True, analysis_only=False)
    class Lowering(NativeLowering):
        _name = name

        @property
        def lowering_class(self) -> type:
            return lower

    class OwnCompiler(Compiler):
        def define_pipelines(self) -> Any:
            managers = super().define_pipelines()
            for manager in managers:
                manager.passes = [
                    (Lowering if step is NativeLowering else step, text)
                    for step, text in manager.passes
                ]
                manager.finalize()
            return managers

    return OwnCompiler


_Apart = _compiler(_LowerApart, "native_lowering_apart")
_Distinct = _compiler(_LowerDistinct, "native_lowering_distinct")


def routine(function: Callable[..., Any] | None = None, *, counted: bool = True) -> Any:
    """A helper with loops of its own: compiled once a kernel, however often it is called there.

    LLVM would inline it at each call, and the compile time of a kernel of ten products with it. As
    in a kernel, what it writes to may not overlap another of its arrays. Only compiled code may
    call it.
    """
    if function is None:
        return partial(routine, counted=counted)
    # Numba hands forceinline down, from a device function that calls this one, if nothing is said
    options = {**_INNER, "_nrt": counted, "pipeline_class": _Apart}
    return _njit(function, fastmath=set(EXACT), forceinline=False, **options)


# -- kernels -----------------------------------------------------------------------------------

_listeners: list[Callable[[str], None]] = []
_observers: list[Callable[[str, tuple[Any, ...], float], None]] = []

# Roughly in multiplications: below the first, telling a thread takes longer than the work; above
# the second there are several pieces for each thread, so that none waits long for the last.
SHARED_WORK, LARGE_WORK, PIECES = 1 << 15, 1 << 21, 8


def _serve_loop(board, number, seen, looks, later_looks):
    idle = 0
    while idle < looks:
        rung = look(board)
        if rung == seen:
            idle += 1
        else:
            seen, idle, looks = rung, 0, later_looks
            join(board, number)
    return seen


_serve = _njit(_serve_loop, nogil=True, **_COMMON)


def prepare_helpers() -> None:
    """Compile, or load, what helpers do, before there is work for them."""
    if not _config.DISABLE_JIT:
        threads.prepare(_serve)


def plain(x: np.ndarray) -> np.ndarray:
    """x itself if it is C-contiguous, aligned and writeable, else a copy that is.

    Numba compiles a kernel anew for every layout and for read-only arrays. All that is given to
    kernels goes through here, so that each is compiled once for a dtype.
    """
    flags = x.flags
    if flags.c_contiguous and flags.writeable and flags.aligned and x.dtype.isnative:
        return x
    return np.array(x, dtype=x.dtype.newbyteorder("="), order="C")


class Kernel:
    """A compiled function of (start, stop, arrays and scalars …), run over a number of units.

    Nothing that it writes may be reached through another of its arrays: the compiler is told so
    (arrays may share memory of which each touches its own part). Otherwise it would
    look at the addresses at run time, and take a slower loop, which adds up in another order,
    where two small arrays lie side by side: the same call would give other bits.
    """

    def __init__(
        self, function: Callable[..., Any], fastmath: frozenset[str], counted: bool = True
    ):
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__.lstrip('_')}"
        options = {**_INNER, "_nrt": counted, "pipeline_class": _Distinct}
        part = _njit(function, fastmath=set(fastmath), **options)

        def shared(board, start, stop, size, threads, *args):
            return together(board, start, stop, size, threads, part, args)

        self.compiled = _njit(shared, nogil=True, **_COMMON)
        if not _config.DISABLE_JIT:
            self.compiled._cache = _Cache(self.name)

    def __call__(self, units: int, *args: Any, work: int) -> None:
        """Do all the units, on several threads if work, about the multiplications, is worth it."""
        if not _observers:
            self._run(units, args, work)
            return
        began = time.perf_counter()
        self._run(units, args, work)
        seconds = time.perf_counter() - began
        for observer in _observers:
            observer(self.name, args, seconds)

    def _run(self, units: int, args: tuple[Any, ...], work: int) -> None:
        n = min(threads.get_threads(), units)
        if _config.DISABLE_JIT or n < 2 or work < SHARED_WORK or not threads.borrow(_serve):
            self.part(0, units, *args)
            return
        try:
            pieces = n * (PIECES if work > LARGE_WORK else 1)
            failed = self.compiled(threads.BOARD, 0, units, -(-units // pieces), n, *args)
        finally:
            threads.give_back()
        if failed:
            raise MemoryError(f"{self.__name__}: no memory for its own working space")

    def part(self, start: int, stop: int, *args: Any) -> None:
        """Do the units start … stop - 1 on this thread."""
        if _config.DISABLE_JIT:
            with np.errstate(all="ignore"):  # machine code gives no floating-point warnings
                self.__wrapped__(start, stop, *args)
        elif self.compiled(threads.BOARD, start, stop, stop - start, 1, *args):
            raise MemoryError(f"{self.__name__}: no memory for its own working space")


def kernel(
    *, fastmath: frozenset[str] = FAST, counted: bool = True
) -> Callable[[Callable[..., Any]], Kernel]:
    """Compile a function on its first call for each dtype, or load it from the cache."""
    return lambda function: Kernel(function, fastmath, counted)


@contextlib.contextmanager
def on_compile(callback: Callable[[str], None]) -> Iterator[None]:
    """Within the block, call callback(name) before a kernel is compiled, not when it is loaded."""
    _listeners.append(callback)
    try:
        yield
    finally:
        _listeners.remove(callback)


@contextlib.contextmanager
def observe(callback: Callable[[str, tuple[Any, ...], float], None]) -> Iterator[None]:
    """Within the block, call callback(name, arguments, seconds) after each call of a kernel."""
    _observers.append(callback)
    try:
        yield
    finally:
        _observers.remove(callback)


# -- the cache ---------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """The folder of the compiled kernels: $SCRATCHGRAD_CACHE, else the user's cache folder.

    It is made when the first kernel is stored, and may be deleted at any time. None where the
    user has no home.
    """
    chosen = os.environ.get("SCRATCHGRAD_CACHE")
    try:
        if chosen:
            root = Path(chosen).expanduser()  # of a settings file, which no shell read
        elif sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            root = (Path(local) if local else Path.home() / "AppData" / "Local") / "scratchgrad"
        elif sys.platform == "darwin":
            root = Path.home() / "Library" / "Caches" / "scratchgrad"
        else:
            xdg = os.environ.get("XDG_CACHE_HOME", "")
            # the XDG standard says to ignore a relative path
            root = (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "scratchgrad"
        return root / "jit" / _state()
    except (OSError, RuntimeError):  # no home; sources that cannot be read
        return None


def _state() -> str:
    """A hash of all that a compiled kernel depends on beside its own name and types."""
    state = hashlib.sha256()
    room = Path(__file__).parent
    for path in sorted(room.rglob("*.py")):
        state.update(path.relative_to(room).as_posix().encode() + path.read_bytes())
    # Numba's own switches (optimisation level, debugging) change the code as well
    switches = {
        k: v for k, v in os.environ.items() if k.startswith("NUMBA_") and k != "NUMBA_NUM_THREADS"
    }
    features = llvmlite.binding.get_host_cpu_features().flatten()
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    cpu = (llvmlite.binding.get_host_cpu_name(), features, sys.platform)
    state.update(repr((versions, cpu, sorted(switches.items()))).encode())
    return state.hexdigest()[:20]


def damaged(entry: bytes) -> bool:
    """Whether the bytes of a cache entry are not those that were written."""
    return hashlib.sha256(entry[32:]).digest() != entry[:32]


class _Cache(NullCache):
    """What Numba asks for before it compiles one kernel, and gives after it did.

    An entry is a SHA-256 followed by what it was made of: Numba's own serialised form, which is a
    pickle. There is none elsewhere in the package; Numba has no other form for machine code, and
    the folder is the user's own. Nothing here may stop a run: whatever goes wrong, the kernel is
    compiled again.
    """

    def __init__(self, name: str):
        self.name = name

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        folder = cache_folder()
        key = hashlib.sha256(repr((signature, codegen.magic_tuple())).encode()).hexdigest()[:16]
        return folder and folder / f"{self.name}-{key}.bin"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel, or None."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            if path is not None and path.exists():
                entry = path.read_bytes()
                if not damaged(entry):
                    return CompileResult._rebuild(target_context, *cloudpickle.loads(entry[32:]))
        except Exception:  # damaged or foreign: the reason does not matter
            pass
        for listener in _listeners:
            listener(self.name)
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Store a compiled kernel; a damaged entry of the same name is replaced."""
        if cres.library.has_dynamic_globals:  # holds addresses of this very process
            return
        path = self._path(sig, cres.codegen)
        if path is None:
            return
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            body = dumps(cres._reduce())
            temporary.write_bytes(hashlib.sha256(body).digest() + body)
            os.replace(temporary, path)  # another process sees all of it or nothing
        except Exception:  # unwritable, full: no cache then
            with contextlib.suppress(OSError):
                temporary.unlink()


if not _config.DISABLE_JIT:
    _serve._cache = _Cache("jit.serve")
