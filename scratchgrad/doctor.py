"""Is this installation sound? What it runs on, the kernel cache, every kernel against its formula.

A kernel is machine code made for this processor by the compiler that is installed here. The tests
were run elsewhere; this asks the same on the user's own machine.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scratchgrad.bench import machine
from scratchgrad.cases.byte_pairs import BYTE_PAIRS
from scratchgrad.cases.kernels import CASES, ROUNDING, Case, error
from scratchgrad.kernels import jit

DTYPES = ("float32", "float64")
EVERYTHING = [*CASES, *BYTE_PAIRS]

# Five sizes each, which every case reads in its own way: small, single, empty, across blocks.
EDGES = ([3, 4, 5, 6, 7], [1, 1, 1, 1, 1], [0, 3, 2, 4, 5], [4, 0, 3, 2, 1], [9, 1, 70, 64, 2])
RANDOM = 4  # further sizes, drawn
# Of these, each case finds some at which its work is worth sharing among threads.
LARGE = (
    [13, 300, 200, 70, 33],
    [5, 9, 203, 66, 33],
    [500, 300, 129, 0, 0],
    [9, 400, 400, 0, 0],
)
INTERPRETED = ([2, 3, 4, 5, 3], [1, 1, 1, 1, 1], [0, 3, 2, 4, 5])

# What decides how fast compiled code is, among the hundred features a processor reports.
_TELLING = ("sse2", "avx", "avx2", "fma", "avx512f", "avx512vl", "avx512bf16", "neon", "sve")
_STATE = re.compile(r"[0-9a-f]{20}")
# module.kernel-hash.bin; with numbers after it: left behind by a process that ended
_ENTRY = re.compile(r"\w+\.\w+-[0-9a-f]{16}\.bin(\.\d+\.\d+)?")


@dataclass(frozen=True)
class Finding:
    """Something to know: ``wrong`` or only a ``note``; ``mend`` says what to do."""

    state: str
    text: str
    mend: str = ""


# -- the cache ---------------------------------------------------------------------------------


@dataclass
class Cache:
    """The folder of compiled kernels, and its neighbours of other versions."""

    path: str | None
    entries: int = 0
    bytes: int = 0
    writable: bool = False
    damaged: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    stale_bytes: int = 0


def _files(folder: Path) -> Iterator[Path]:
    """Files of ours in a folder of the cache; nothing where it cannot be read."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if _ENTRY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                yield path


def _stale(folder: Path) -> list[Path]:
    """The folders beside it that have the name of a state, as other versions make them."""
    with contextlib.suppress(OSError):
        return [
            path
            for path in sorted(folder.parent.iterdir())
            if _STATE.fullmatch(path.name)
            and path.name != folder.name
            and path.is_dir()
            and not path.is_symlink()
        ]
    return []


def _empty(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return next(folder.iterdir(), None) is None
    return False


def _writable(folder: Path) -> bool:
    """Whether a file can be written there, tried by writing one."""
    probe = folder / f"doctor.probe-{0:016x}.bin.{os.getpid()}.0"  # a name that prune knows
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError:
        return False
    return True


def look_at_cache() -> Cache:
    """Read every entry and compare its checksum."""
    folder = jit.cache_folder() if jit.compiles() else None
    if folder is None:
        return Cache(None)
    cache = Cache(str(folder), writable=_writable(folder))
    for path in _files(folder):
        if path.suffix != ".bin":
            continue
        try:
            entry = path.read_bytes()
        except OSError:
            cache.damaged.append(path.name)
            continue
        cache.entries += 1
        cache.bytes += len(entry)
        if jit.damaged(entry):
            cache.damaged.append(path.name)
    for other in _stale(folder):
        ours = list(_files(other))
        if ours or _empty(other):  # else there is nothing to prune
            cache.stale.append(other.name)
            cache.stale_bytes += sum(path.stat().st_size for path in ours)
    return cache


def drop_damaged(cache: Cache) -> list[str]:
    """Delete the damaged entries; the names of those that would not go."""
    paths = [Path(str(cache.path)) / name for name in cache.damaged]
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
    return [path.name for path in paths if path.exists()]


def folders(n: int, of: str) -> str:
    """A number of folders, in words."""
    return f"{n} folder{'s' * (n != 1)} of {of}"


def prune() -> tuple[int, int]:
    """Delete the entries of other versions; how many folders went, and how many bytes.

    Only files that look like entries are deleted, and a folder only when it is empty then. A
    process of another version that runs meanwhile compiles again what it misses.
    """
    folder = jit.cache_folder()
    gone = freed = 0
    for other in _stale(folder) if folder is not None else []:
        for path in _files(other):
            with contextlib.suppress(OSError):
                size = path.stat().st_size
                path.unlink()
                freed += size
        with contextlib.suppress(OSError):
            other.rmdir()
            gone += 1
    return gone, freed


def _cache_findings(cache: Cache) -> Iterator[Finding]:
    if not jit.compiles():
        yield Finding(
            "note",
            "NUMBA_DISABLE_JIT is set: kernels run as plain Python, a thousand times slower",
            "unset NUMBA_DISABLE_JIT to compile them",
        )
    elif cache.path is None:
        yield Finding(
            "note",
            "no place for compiled kernels: no home folder",
            "set SCRATCHGRAD_CACHE to a folder, or each process compiles for half a minute",
        )
    elif not cache.writable:
        yield Finding(
            "note",
            f"compiled kernels cannot be kept: {cache.path} cannot be written",
            "set SCRATCHGRAD_CACHE to another folder, or each process compiles what is missing",
        )
    if cache.stale:
        yield Finding(
            "note",
            f"{folders(len(cache.stale), 'other versions or settings')}: "
            f"{cache.stale_bytes / 2**20:.1f} MB of compiled kernels",
            "scratchgrad doctor --prune deletes them",
        )


# -- the kernels -------------------------------------------------------------------------------


@dataclass
class Checked:
    """A kernel beside its formula.

    ``worst`` is the largest relative error by dtype, ``same_bits`` whether one and two threads
    gave the same, None where kernels are interpreted; ``fault`` says what is wrong, if anything.
    """

    name: str
    cases: int = 0
    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys(DTYPES, 0.0))
    same_bits: bool | None = None
    fault: str = ""


def _all_sizes(rng: np.random.Generator) -> list[list[int]]:
    if not jit.compiles():
        return [list(sizes) for sizes in INTERPRETED]
    drawn = rng.integers(0, 24, (RANDOM, 5)).tolist()
    return [*map(list, EDGES), *drawn]


def check(case: Case, seed: int = 1337) -> Checked:
    """Hold a kernel to its reference, and its bits to the number of threads."""
    result = Checked(str(case))
    try:
        for dtype in DTYPES:
            rng = np.random.default_rng(seed)
            for sizes in _all_sizes(rng):
                args = case.make(rng, dtype, sizes)
                with np.errstate(all="ignore"):
                    wanted = case.run(case.twin, args)
                got = case.run(case.module, args)
                result.cases += 1
                worst = max(error(g, w) for g, w in zip(got, wanted, strict=True))
                result.worst[dtype] = max(result.worst[dtype], worst)
        if jit.compiles():
            result.same_bits = all(_same_bits(case, seed, list(sizes)) for sizes in LARGE)
    except Exception as problem:  # whatever it is, the other kernels must be looked at too
        result.fault = f"{type(problem).__name__}: {problem}"
        return result
    wrong = [d for d in DTYPES if result.worst[d] > ROUNDING * np.finfo(d).eps]
    if wrong:
        result.fault = f"differs from its formula in {' and '.join(wrong)}"
    elif result.same_bits is False:
        result.fault = "one and two threads give different bits"
    return result


def _same_bits(case: Case, seed: int, sizes: list[int]) -> bool:
    before = jit.get_threads()
    args = case.make(np.random.default_rng(seed), "float32", sizes)
    try:
        given = []
        for threads in (1, 2, 2):
            jit.set_threads(threads)
            given.append([np.asarray(x).tobytes() for x in case.run(case.module, args)])
    finally:
        jit.set_threads(before)
    return given[0] == given[1] == given[2]


# -- all of it ---------------------------------------------------------------------------------


@dataclass
class Report:
    """Everything the doctor found out."""

    machine: dict[str, Any]
    features: list[str]
    cache: Cache
    kernels: list[Checked] = field(default_factory=list)
    compiled: int = 0
    rebuilt: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong. A note is no wrong."""
        return not any(finding.state == "wrong" for finding in self.findings)

    def record(self) -> dict[str, Any]:
        """As JSON has it; an error that is not a number is null."""
        kernels = [asdict(kernel) for kernel in self.kernels]
        for kernel in kernels:
            worst = kernel["worst"]
            kernel["worst"] = {d: e if np.isfinite(e) else None for d, e in worst.items()}
        return {
            "schema": 1,
            "healthy": self.healthy,
            "machine": self.machine,
            "features": self.features,
            "cache": asdict(self.cache),
            "compiled": self.compiled,
            "rebuilt": self.rebuilt,
            "kernels": kernels,
            "findings": [asdict(finding) for finding in self.findings],
        }


def begin() -> Report:
    """All but the kernels, which take longer; damaged cache entries are dropped."""
    features = set(jit.host()[1])
    cache = look_at_cache()
    report = Report(machine.facts(), [f for f in _TELLING if f in features], cache)
    report.findings += _cache_findings(cache)
    left = drop_damaged(cache)
    report.findings += [
        Finding(
            "wrong",
            f"the cache entry {name} is damaged and cannot be deleted",
            f"delete {cache.path}, or set SCRATCHGRAD_CACHE to a folder that you may write to",
        )
        for name in left
    ]
    return report


def examine(report: Report, cases: Iterable[Case] = EVERYTHING) -> Iterator[Checked]:
    """Check kernels one after the other, adding to the report."""
    compiled: list[str] = []
    with jit.on_compile(compiled.append):
        for case in cases:
            checked = check(case)
            report.kernels.append(checked)
            if checked.fault:
                report.findings.append(
                    Finding(
                        "wrong",
                        f"{checked.name}: {checked.fault}",
                        "do not trust results; delete the cache folder and try again; if it stays, "
                        "report it with the output of scratchgrad doctor --json -",
                    )
                )
            yield checked
    report.compiled = len(compiled)
    for name in report.cache.damaged:
        path = Path(str(report.cache.path)) / name
        if any(finding.state == "wrong" and name in finding.text for finding in report.findings):
            continue
        again = path.is_file() and not jit.damaged(path.read_bytes())
        if again:
            report.rebuilt.append(name)
        text = "was compiled again" if again else "was deleted; its next use compiles it again"
        report.findings.append(Finding("note", f"the cache entry {name} was damaged and {text}"))
