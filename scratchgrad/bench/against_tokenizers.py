"""Our tokenizer and others' on one text, in one process, in turn.

The others are reached through a script of the repository, since the package never imports an
oracle. Training starts from the same list of str in memory; encoding uses the vocabulary that ours
has just learned, so that all must give the same ids, and a digest of them says whether they do.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scratchgrad.bench.timing import no_garbage_collection, summarise
from scratchgrad.bench.versus import PAUSE, RivalError, find_rival
from scratchgrad.errors import ConfigError, DataError
from scratchgrad.kernels.threads import get_threads, set_threads
from scratchgrad.tokenizer import BPETokenizer
from scratchgrad.tokenizer.corpus import BLOCK, files_in

SCRIPT = Path("tests") / "parity" / "rival_tokenizers.py"
VOCAB_SIZE = 32768
OURS = "scratchgrad"

Doing = Callable[[str], None]  # called with what is being done


@dataclass
class Corpus:
    """The files of a text, read: bytes that all are UTF-8."""

    files: list[Path]
    texts: list[str]
    size: int

    @classmethod
    def read(cls, path: Path) -> Corpus:
        """Read a file, or the files of a folder.

        Raises
        ------
        DataError
            There is nothing there, or no text in it, or it is not UTF-8: others take str only.
        """
        files, texts, size = list(files_in(path)), [], 0
        for file in files:
            try:
                content = file.read_bytes()
                texts.append(content.decode())
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{file} is not UTF-8 at byte {error.start}, and the other programs take "
                    f"nothing else; leave it out"
                ) from None
            except OSError as error:
                raise DataError(f"cannot read {file}: {error.strerror or error}") from None
            size += len(content)
        if not size:
            raise DataError(f"{path} has no text in it; expected some")
        return cls(files, texts, size)


def rivals(parts: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The programs that are installed and do one of the parts, and a line for each that is not.

    Memory is only our own: that part needs no other program.

    Raises
    ------
    ConfigError
        None is, or there is no checkout to find their script in.
    """
    if set(parts) <= {"memory"}:
        return [], []
    path = find_rival(SCRIPT, "tokenizers")
    spec = importlib.util.spec_from_file_location("rival_tokenizers", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--vs tokenizers: cannot load {path}")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found, missing = [], []
    for program in script.PROGRAMS:
        if set(program.parts) & set(parts):
            try:
                found.append(program())
            except ImportError as error:
                missing.append(f"{program.name} is left out, it cannot be imported: {error}")
    if missing and not found:
        names = ", ".join(line.split()[0] for line in missing)
        raise ConfigError(
            f"--vs tokenizers: none of {names} is installed; they are in the extra: "
            f"pip install '.[parity]'"
        )
    return found, missing


# -- what is timed -----------------------------------------------------------------------------


@dataclass
class Row:
    """One program at one piece of work."""

    work: str
    program: str
    threads: int | None  # None: the program's own choice
    run: Callable[[], Any]
    tokens: Callable[[Any], list[bytes]] | None = None  # of what a training gives
    same_ties: bool = True  # a training breaks ties as ours does
    seconds: list[float] = field(default_factory=list)
    count: int = 0  # tokens of the vocabulary, or ids of the text
    digest: str = ""
    agree: bool = True
    note: str = ""

    def time(self) -> Any:
        """Do the work once; returns its result."""
        time.sleep(PAUSE)
        with no_garbage_collection():
            began = time.perf_counter()
            result = self.guarded(self.run)
            self.seconds.append(time.perf_counter() - began)
        return result

    def guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something; what goes wrong in another program is told with its name."""
        try:
            return call(*arguments)
        except Exception as error:
            if self.program.startswith(OURS):
                raise
            raise RivalError(f"{self.program}: {type(error).__name__}: {error}") from None

    def record(self, first: Row, size: int) -> dict[str, Any]:
        """As JSON has it; the keys are listed in docs/bench.md."""
        ratios = [mine / its for mine, its in zip(self.seconds, first.seconds, strict=True)]
        median = summarise(self.seconds).median
        return {
            "work": self.work,
            "program": self.program,
            "threads": self.threads,
            "seconds": median,
            "low": min(self.seconds),
            "high": max(self.seconds),
            "rounds": len(self.seconds),
            "bytes_per_second": size / median,
            "ratio": summarise(ratios).median,
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
            "count": self.count,
            "digest": self.digest,
            "agree": self.agree,
            "note": self.note,
        }


def warm_up() -> None:
    """Train ours on next to nothing, as a small document and as a large one: kernels compile."""
    learn(["some words", "some words " * (BLOCK // 44)], 258)


def learn(source: Any, vocab_size: int) -> BPETokenizer:
    """Train ours. That there are fewer merges than asked for is no warning: the table shows it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return BPETokenizer().train(source, vocab_size)


def train(
    corpus: Corpus, vocab_size: int, others: Sequence[Any], rounds: int, doing: Doing
) -> tuple[list[Row], BPETokenizer]:
    """Learn a vocabulary: ours from memory, the others from memory, ours from the files."""
    texts, threads = corpus.texts, get_threads()
    rows = [Row("train", OURS, threads, partial(learn, texts, vocab_size), _tokens)]
    warm_up()
    for other in others:
        if "train" in other.parts:
            run = partial(other.train, texts, vocab_size)
            rows.append(Row("train", other.about, None, run, other.tokens, other.same_ties))
            rows[-1].guarded(other.train, ["some words"], 257)  # its threads start
    run = partial(learn, corpus.files, vocab_size)
    rows.append(Row("train", f"{OURS}, from files", threads, run, _tokens))

    tokenizer = BPETokenizer()
    for number in range(rounds):
        for row in rows:
            doing(f"train, round {number + 1} of {rounds}: {row.program}")
            result = row.time()
            if row is rows[0]:
                tokenizer = result
            if number == 0 and row.tokens:
                _compare_tokens(row, row.tokens(result), _tokens(tokenizer))
            del result  # before the next one takes memory
    return rows, tokenizer


def encode(
    corpus: Corpus, tokenizer: BPETokenizer, others: Sequence[Any], rounds: int, doing: Doing
) -> list[Row]:
    """Encode the text, a file at a time: ours on one thread, the others, ours on all threads."""
    texts, threads = corpus.texts, get_threads()
    encoders = [(OURS, 1, tokenizer.encode)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        tokenizer.save_huggingface(path)
        encoders += [
            (other.about, 1, other.encoder(tokenizer.vocabulary.tokens, path))
            for other in others
            if "encode" in other.parts
        ]
    if threads > 1:
        encoders.append((OURS, threads, tokenizer.encode))
    rows = []
    try:
        for program, count, function in encoders:
            doing(f"encode, to compare the ids: {program}")
            row = Row("encode", program, count, partial(_encode, function, texts, count))
            set_threads(count)
            row.count, row.digest = row.guarded(_digest, function, texts)
            rows.append(row)
            row.agree = row.digest == rows[0].digest
        for number in range(rounds):
            for row in rows:
                doing(f"encode, round {number + 1} of {rounds}: {row.program}")
                row.time()
    finally:
        set_threads(threads)
    return rows


def _encode(encode: Callable[[str], Any], texts: list[str], threads: int) -> None:
    set_threads(threads)
    for text in texts:
        encode(text)


# -- the same work? ----------------------------------------------------------------------------


def _tokens(tokenizer: BPETokenizer) -> list[bytes]:
    return [token or b"" for token in tokenizer.vocabulary.tokens]


def _compare_tokens(row: Row, tokens: list[bytes], ours: list[bytes]) -> None:
    """Note how many tokens were learned, and whether they are ours.

    A program that gives the bytes other ids breaks ties otherwise. Some of its tokens may differ
    then, but it must have learned as many.
    """
    found = hashlib.sha256()
    for token in tokens:
        found.update(len(token).to_bytes(8, "little") + token)
    row.count, row.digest = len(tokens), found.hexdigest()[:16]
    if tokens != ours:
        common = len(set(tokens) & set(ours))
        row.note = f"{row.program}: {common:,} of its {row.count:,} tokens are ours, ids differ"
        # where the pairs of a text run out, other ties may leave a token more or fewer
        near = abs(row.count - len(ours)) <= len(ours) // 100
        row.agree = near and not row.same_ties


def _digest(encode: Callable[[str], Any], texts: list[str]) -> tuple[int, str]:
    """How many ids all texts have, and a digest of them."""
    found, count = hashlib.sha256(), 0
    for text in texts:
        ids = np.asarray(encode(text), dtype="<u4")
        found.update(len(ids).to_bytes(8, "little") + ids.tobytes())
        count += len(ids)
    return count, found.hexdigest()[:16]
