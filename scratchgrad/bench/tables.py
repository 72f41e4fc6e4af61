"""Measurements as text: columns that align, and sentences that say what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def columns(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table of text: the first columns flush left, the others flush right.

    >>> print(columns(["name", "ms"], [["matmul", "1.0"], ["gelu", "12.5"]]))
    name      ms
    matmul   1.0
    gelu    12.5
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def time_of(seconds: float) -> str:
    """A duration with three figures, in the unit that suits it.

    >>> time_of(0.0123), time_of(2.5), time_of(4.2e-6)
    ('12.3 ms', '2.50 s', '4.20 us')
    """
    units = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))
    unit, size = next((unit for unit in units if seconds >= unit[1]), units[-1])
    return f"{seconds / size:#.3g} {unit}".replace(". ", " ")


def share(value: float) -> str:
    """A part of one, in percent."""
    return f"{100 * value:.0f} %"


def limits(roofs: dict[str, Any]) -> str:
    """The machine's limits, and how each was measured."""
    lines = []
    for dtype, peak in roofs["matmul"].items():
        shape = " x ".join(map(str, peak["shape"]))
        lines.append(
            f"matmul peak, {dtype}: {peak['flops'] / 1e9:.0f} GFLOP/s, the best of our own products"
            f" that fit the caches ({shape}, median)"
        )
        lines.append(
            f"registers, {dtype}: {roofs['registers'][dtype] / 1e9:.0f} GFLOP/s, multiply-adds "
            "whose operands stay in the first cache"
        )
    lines.append(f"memory: {roofs['bandwidth'] / 1e9:.1f} GB/s read and written, 64 MB copied")
    return "\n".join(lines)


def kernels(records: list[dict[str, Any]]) -> str:
    """A line for each kernel."""
    header = ["kernel", "size", "dtype", "time", "noise", "GFLOP/s", "GB/s", "bound", "of roof"]
    return columns(
        header,
        [
            [
                r["name"],
                r["size"],
                r["dtype"],
                time_of(r["seconds"]),
                f"±{50 * (r['high'] - r['low']) / r['seconds']:.0f} %",
                f"{r['flops_per_second'] / 1e9:.1f}",
                f"{r['bytes_per_second'] / 1e9:.1f}",
                r["bound"],
                share(r["of_roof"]),
            ]
            for r in records
        ],
        left=3,
    )


def step(record: dict[str, Any]) -> str:
    """A step in parts, the longest first, and what holds it back."""
    header = ["operation", "phase", "calls", "time", "share", "GFLOP", "MB", "GFLOP/s", "GB/s"]
    header += ["bound", "of roof"]
    rows = []
    for row in sorted(record["rows"], key=lambda row: -row["seconds"]):
        flops, seconds = row["flops"], row["seconds"] or 1e-12
        none = row["name"] == "rest"
        rows.append(
            [
                row["name"],
                row["phase"],
                str(row["calls"]) if not none else "",
                time_of(row["seconds"]),
                share(row["share"]),
                "?" if flops is None else f"{flops / 1e9:.2f}",
                f"{row['bytes'] / 1e6:.1f}",
                "?" if flops is None else f"{flops / seconds / 1e9:.1f}",
                f"{row['bytes'] / seconds / 1e9:.1f}",
                row["bound"],
                "" if none else share(row["of_roof"]),
            ]
        )
    where, total = record["where"], record["recorded_seconds"]
    parts = ", ".join(
        f"{share(where[side] / total)} {text}"
        for side, text in (
            ("compute", "in kernels bound by arithmetic"),
            ("memory", "in kernels bound by memory"),
            ("python", "in NumPy and Python"),
        )
    )
    worst = max(record["rows"], key=lambda row: row["seconds"] * (1 - min(row["of_roof"], 1)))
    lost = worst["seconds"] * (1 - min(worst["of_roof"], 1))
    return "\n".join(
        [
            f"step {record['preset']}: {time_of(record['seconds'])} "
            f"(quartiles {time_of(record['low'])} to {time_of(record['high'])}), "
            f"{record['tokens_per_second']:,.0f} tokens/s",
            f"model: {record['model_flops'] / 1e9:.2f} GFLOP a step, "
            f"{record['model_flops'] / record['seconds'] / 1e9:.1f} GFLOP/s, "
            f"{share(record['of_peak'])} of the matmul peak, "
            f"{record['model_flops'] / record['seconds'] / record['of_peak'] / 1e9:.0f} GFLOP/s",
            columns(header, rows, left=2),
            f"where the time goes: {parts}; the roofline asks for {share(where['roof'] / total)}",
            f"most is to be gained in {worst['name']} {worst['phase']}: {time_of(lost)}",
        ]
    )


def memory(record: dict[str, Any]) -> str:
    """What a step holds."""

    def size(key: str) -> str:
        return "unknown" if record[key] is None else f"{record[key] / 2**20:,.1f} MB"

    return (
        f"memory {record['preset']}: peak {size('peak')} of the whole process; parameters "
        f"{size('parameters')}, gradients {size('gradients')}, optimiser {size('optimiser')}, "
        f"activations saved for the backward {size('activations')}"
    )


def compared(records: list[dict[str, Any]], rival: str) -> str:
    """A line for each piece of work: how many times as fast we are."""
    header = ["work", "scratchgrad", rival, "way", "ratio", "lowest", "highest"]
    lines = columns(
        header,
        [
            [
                r["label"],
                time_of(r["seconds"]),
                time_of(r["rival_seconds"][r["rival"]]),
                r["rival"],
                f"{r['ratio']:.2f}x",
                f"{r['ratio_low']:.2f}x",
                f"{r['ratio_high']:.2f}x",
            ]
            for r in records
        ],
    )
    notes = dict.fromkeys(note for r in records for note in r["notes"])
    differ = [f"RESULTS DIFFER: {r['label']}" for r in records if not r["agree"]]
    return "\n".join([lines, *notes, *differ])


def compared_memory(record: dict[str, Any], rival: str) -> str:
    """Both peaks."""
    if record["ours"] is None or record["rival"] is None:
        return f"peak memory of a {record['preset']} step: this system does not say"
    return (
        f"peak memory of a {record['preset']} step: scratchgrad {record['ours'] / 2**20:,.0f} MB, "
        f"{rival} {record['rival'] / 2**20:,.0f} MB, ratio {record['rival'] / record['ours']:.2f}x"
    )


def decoding(record: dict[str, Any], threads: int) -> str:
    """How near decoding comes to reading the weights and doing nothing else."""
    low, high = share(record["share_low"]), share(record["share_high"])
    return (
        f"a token reads {record['weight_bytes'] / 1e6:,.4g} MB of weights: scratchgrad "
        f"{record['bytes_per_second'] / 1e9:.1f} GB/s, transformers "
        f"{record['rival_bytes_per_second'] / 1e9:.1f} GB/s; a plain read of as much by "
        f"{threads} threads {record['read_bytes_per_second'] / 1e9:.1f} GB/s\n"
        f"share of the plain read: scratchgrad {share(record['share'])} ({low} to {high}), "
        f"transformers {share(record['rival_share'])}"
    )


def tokenizers(rows: list[dict[str, Any]]) -> str:
    """A line for each program at one piece of work; the first is the one to compare with."""
    counted = {"train": "tokens", "encode": "ids"}[rows[0]["work"]]
    header = [rows[0]["work"], "threads", "median", "lowest", "highest", "MB/s"]
    header += ["ratio", "lowest", "highest", counted]
    lines = columns(
        header,
        [
            [
                r["program"],
                "its own" if r["threads"] is None else str(r["threads"]),
                *(time_of(r[key]) for key in ("seconds", "low", "high")),
                f"{r['bytes_per_second'] / 1e6:.1f}",
                *(f"{r[key]:.2f}x" for key in ("ratio", "ratio_low", "ratio_high")),
                f"{r['count']:,}",
            ]
            for r in rows
        ],
    )
    notes = [r["note"] for r in rows if r["note"]]
    differ = [f"RESULTS DIFFER: {r['work']}, {r['program']}" for r in rows if not r["agree"]]
    return "\n".join([lines, *notes, *differ])


def tokenizer_memory(records: list[dict[str, Any]]) -> str:
    """Peaks of training, the text streamed so many times."""
    if any(r["peak"] is None for r in records):
        return "peak memory of training: this system does not say"
    return "\n".join(
        f"peak memory of training, {r['bytes'] / 1e6:,.1f} MB streamed: "
        f"{r['peak'] / 1e6:,.1f} MB of the whole process, {r['added'] / 1e6:,.1f} MB more than "
        f"before it; {r['peak'] / r['bytes']:.2f} and {r['added'] / r['bytes']:.2f} times the text"
        for r in records
    )
