"""One model, decoded by us and by Hugging Face's transformers, in turn.

The model is written once as a folder of each side's own, in float32, and both are given the same
ids. Before anything is timed the logits must agree: the same work. Decoding reads every weight for
every token, so beside it a plain read of as many bytes is timed, which no decoding can exceed.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scratchgrad.bench import spec
from scratchgrad.bench.timing import summarise
from scratchgrad.bench.versus import PAUSE, Compared, RivalError, Side, find_rival
from scratchgrad.errors import ConfigError
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.interop import gpt2, llama
from scratchgrad.interop.huggingface import write_folder
from scratchgrad.interop.pretrained import Pretrained, save_pretrained

SCRIPT = Path("tests") / "parity" / "rival_transformers.py"
TOKENS, QUICK_TOKENS, LEAST_TOKENS = 128, 64, 8
AGREE = 1e-3  # of the largest logit: by how much the two sides' may differ
OURS, THEIRS = "ours", "theirs"  # folders, and files of logits


# -- the model ---------------------------------------------------------------------------------


def layout_of(config: GPTConfig, name: str) -> str:
    """The Hugging Face layout that this model has: "gpt2" or "llama".

    Raises
    ------
    ConfigError
        It has none, or its context is too short to measure anything.
    """
    if config.block_size < LEAST_TOKENS:
        raise ConfigError(
            f"--model {name}: expected a context of {LEAST_TOKENS} tokens or more to decode in, "
            f"got {config.block_size}"
        )
    half = config
    if config.position == "rope":  # the rows of the other order are moved when it is written
        half = dataclasses.replace(config, rope_interleaved=False)
    reasons = {"gpt2": _refusal(gpt2, half), "llama": _refusal(llama, half)}
    for layout, reason in reasons.items():
        if reason is None:
            return layout
    raise ConfigError(
        f"--model {name}: transformers has no such model to compare with; "
        + "; ".join(map(str, reasons.values()))
    )


def _refusal(module: Any, config: GPTConfig) -> str | None:
    """Why a layout has no such model, if it has none."""
    try:
        module.write_config(config)
    except ConfigError as error:
        return str(error)
    return None


def export(pretrained: Pretrained, folder: Path, layout: str) -> None:
    """Write it for each side, without a tokenizer: ids are given."""
    bare = dataclasses.replace(pretrained, tokenizer=None, chat_template=None)
    save_pretrained(bare, folder / OURS)
    write_folder(bare, layout, folder / THEIRS)


def bytes_a_token(model: GPT) -> int:
    """The bytes of weights in float32 that one token needs, all but tables it only looks up in."""
    looked_up = {"wpe.weight"} | (set() if model.config.tied_head else {"wte.weight"})
    parameters = model.named_parameters()
    return 4 * sum(p.size for name, p in parameters if name not in looked_up)


def works(model: GPT, parts: Iterable[str], quick: bool = False) -> list[dict[str, Any]]:
    """What is compared: half of the ids are read at once, the others one by one; then all at once.

    Of the tokens that are decoded, the first quarter warms up.
    """
    config = model.config
    total = min(QUICK_TOKENS if quick else TOKENS, config.block_size)
    ids = spec.draw_ids("ids", config.vocab_size, total).tolist()
    start = total // 2
    warm = (total - start) // 4
    every: list[dict[str, Any]] = [
        {
            "part": "decode",
            "label": f"decode a token, at {start + warm + 1} to {total}",
            "kind": "decode",
            "ids": ids,
            "start": start,
            "warm": warm,
            "bytes": bytes_a_token(model),
        },
        {
            "part": "prefill",
            "label": f"prefill {total} tokens",
            "kind": "prefill",
            "ids": ids,
            "seconds": 0.2 if quick else 0.5,
        },
    ]
    return [work for work in every if work["part"] in parts]


# -- the two processes -------------------------------------------------------------------------


def our_side(threads: int) -> Side:
    """Start ours."""
    command = [sys.executable, "-m", "scratchgrad.bench.decoding", str(threads)]
    return Side("scratchgrad", command, threads)


def rival_side(threads: int) -> Side:
    """Start transformers.

    Raises
    ------
    ConfigError
        Its script is not there.
    RivalError
        It is not installed.
    """
    script = find_rival(SCRIPT, "transformers")
    return Side("transformers", [sys.executable, str(script), str(threads)], threads)


def compare(
    ours: Side, rival: Side, work: dict[str, Any], folder: Path, rounds: int
) -> tuple[Compared, list[float]]:
    """Do one piece of work on both sides, in turn.

    Returns
    -------
    compared : Compared
    reads : list of float
        Of decoding, the seconds of a plain read of the weights, round by round.
    """
    result = Compared(work["part"], work["label"])
    way, *read = _make(ours, work, folder, OURS)["variants"]
    theirs = _make(rival, work, folder, THEIRS)
    result.notes = list(theirs["notes"])
    result.rivals = {name: [] for name in theirs["variants"]}
    apart = distance(*(np.load(folder / f"{side}.npy") for side in (OURS, THEIRS)))
    if not apart <= AGREE:
        result.agree = False
        result.notes.append(
            f"{work['part']}: the logits of the last token differ by {apart:.1e} of the largest; "
            f"expected at most {AGREE:.0e}, so this is not the same work"
        )
    reads: list[float] = []
    for _ in range(rounds):
        for name, samples in ((way, result.ours), *((name, reads) for name in read)):
            time.sleep(PAUSE)
            samples.append(ours.ask(do="run", variant=name)["seconds"])
        for name, samples in result.rivals.items():
            time.sleep(PAUSE)
            samples.append(rival.ask(do="run", variant=name)["seconds"])
    return result, reads


def _make(side: Side, work: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    own = {"model": str(folder / name), "logits": str(folder / f"{name}.npy")}
    return side.ask(do="make", work=work | own)


def distance(ours: Any, theirs: Any) -> float:
    """How far two sets of logits are apart, as a share of the largest.

    Parameters
    ----------
    ours : (1, V)
    theirs : (ways, V)
    """
    if ours.shape[-1] != theirs.shape[-1]:
        raise RivalError(f"transformers: {theirs.shape[-1]} logits; expected {ours.shape[-1]}")
    largest = float(np.abs(ours).max()) or 1.0
    return float(np.abs(ours - theirs).max()) / largest  # nan where either has one


def summary(compared: Compared, reads: list[float], size: int) -> dict[str, Any]:
    """Decoding beside the plain read, as JSON has it; the keys are listed in docs/bench.md."""
    shares = [read / token for read, token in zip(reads, compared.ours, strict=True)]
    rival = compared.rivals[compared.best]
    theirs = [read / token for read, token in zip(reads, rival, strict=True)]
    return {
        "weight_bytes": size,
        "read_bytes_per_second": size / summarise(reads).median,
        "bytes_per_second": size / summarise(compared.ours).median,
        "rival_bytes_per_second": size / summarise(rival).median,
        "share": summarise(shares).median,
        "share_low": min(shares),
        "share_high": max(shares),
        "rival_share": summarise(theirs).median,
    }
