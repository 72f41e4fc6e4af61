"""Our tokenizer beside others: who is asked, what is compared. The others here are pretended."""

import json
from pathlib import Path

import pytest

from scratchgrad.bench import against_tokenizers, tables, tokenizer_memory, versus
from scratchgrad.bench.against_tokenizers import Corpus, learn
from scratchgrad.bench.resident import peak_bytes
from scratchgrad.cli import main
from scratchgrad.errors import ConfigError, DataError
from scratchgrad.kernels.threads import get_threads
from tests.cli.commands import refused

TEXT = "the cat that sat on the mat, and the other cat's hat 123\n" * 20
ROW = {
    "work", "program", "threads", "seconds", "low", "high", "rounds", "bytes_per_second", "ratio",
    "ratio_low", "ratio_high", "count", "digest", "agree", "note",
}  # fmt: skip

SCRIPT = """
from scratchgrad.bench.against_tokenizers import learn

class Twin:
    name, about, parts = "twin", "twin 1.0", ("train", "encode")
    same_ties = True

    def train(self, texts, vocab_size):
        return learn(texts, vocab_size)

    def tokens(self, made):
        return list(made.vocabulary.tokens)

    def encoder(self, tokens, path):
        from scratchgrad.tokenizer import BPETokenizer
        made = BPETokenizer.from_huggingface(path)
        return lambda text: made.encode(text).tolist()

class Missing:
    name, parts = "missing", ("train",)

    def __init__(self):
        import no_such_package_anywhere

PROGRAMS = (Twin, Missing)
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script of others that is found in place of the repository's."""
    path = tmp_path / "script" / "rivals.py"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    monkeypatch.setattr(against_tokenizers, "find_rival", lambda *of: path)
    monkeypatch.setattr(against_tokenizers, "PAUSE", 0)
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.txt").write_bytes(TEXT.encode())
    (folder / "b.txt").write_bytes("naïve 日本語\r\n".encode())
    (folder / "empty.txt").write_bytes(b"")
    return folder


def run(*argv: object) -> int:
    return main(["bench", "--vs", "tokenizers", "--vocab-size", "280", *map(str, argv)])


def test_the_documented_keys_and_the_same_ids(script, text, capsys):
    assert run("--text", text, "--rounds", 2, "--json", "-") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    report = json.loads(captured.out)
    assert set(report) == {"schema", "machine", "tokenizers"}
    found = report["tokenizers"]
    assert set(found) == {
        "bytes", "files", "vocab_size", "rivals", "left_out", "rows", "memory"
    }  # fmt: skip
    assert (found["files"], found["vocab_size"]) == (3, 280)
    assert found["bytes"] == sum(path.stat().st_size for path in text.iterdir())
    assert found["rivals"] == ["twin 1.0"]
    (line,) = found["left_out"]
    assert line.startswith("missing is left out, it cannot be imported: No module named")
    rows = found["rows"]
    assert all(set(row) == ROW for row in rows)
    train = [row for row in rows if row["work"] == "train"]
    assert [r["program"] for r in train] == ["scratchgrad", "twin 1.0", "scratchgrad, from files"]
    assert {(r["count"], r["digest"]) for r in train} == {(280, train[0]["digest"])}
    encode = [row for row in rows if row["work"] == "encode"]
    threads = get_threads()
    all_threads = [("scratchgrad", threads)] if threads > 1 else []
    assert [(r["program"], r["threads"]) for r in encode] == [
        ("scratchgrad", 1), ("twin 1.0", 1), *all_threads
    ]  # fmt: skip
    assert len({r["digest"] for r in encode}) == 1
    ids = [learn([TEXT, "naïve 日本語\r\n"], 280).encode(t) for t in (TEXT, "naïve 日本語\r\n")]
    assert encode[0]["count"] == sum(map(len, ids))
    for row in rows:
        assert row["rounds"] == 2
        assert 0 < row["low"] <= row["seconds"] <= row["high"]
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["bytes_per_second"] == pytest.approx(found["bytes"] / row["seconds"])
        assert row["agree"]
    assert train[0]["ratio"] == encode[0]["ratio"] == 1
    once, twice = found["memory"]
    assert set(once) == {"times", "bytes", "peak", "before", "added"}
    assert (once["times"], twice["times"]) == (1, 2)
    assert twice["bytes"] == 2 * once["bytes"] == 2 * found["bytes"]
    if once["peak"] is not None:
        assert once["peak"] > 1e7
        assert once["added"] == once["peak"] - once["before"] >= 0


def test_the_tables_and_the_file(script, text, capsys, tmp_path):
    out = tmp_path / "b.json"
    assert run("train", "encode", "--text", text, "--rounds", 1, "--json", out) == 0
    said = capsys.readouterr().out
    assert "file(s), 280 tokens\n1 round(s), in turn, in one process" in said
    assert "missing is left out" in said
    assert "\ntrain " in said
    assert "\nencode " in said
    assert "DIFFER" not in said
    assert json.loads(out.read_text())["tokenizers"]["memory"] == []


def test_encoding_alone_learns_a_vocabulary_first(script, text, capsys):
    assert run("encode", "--text", text / "a.txt", "--rounds", 1) == 0
    said = capsys.readouterr().out
    assert "\nencode " in said
    assert "\ntrain " not in said
    assert "missing" not in said  # which does not encode


def test_memory_alone_needs_no_other_program(text, capsys, monkeypatch):
    monkeypatch.setattr(against_tokenizers, "SCRIPT", Path("no") / "such.py")
    assert run("memory", "--text", text) == 0
    said = capsys.readouterr().out
    assert said.count("peak memory of training") == (1 if peak_bytes() is None else 2)
    assert "round" not in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("made.encode(text).tolist()", "made.encode(text).tolist()[::-1]"), "encode, twin 1.0"),
        (("learn(texts, vocab_size)", "learn(texts, vocab_size - 1)"), "train, twin 1.0"),
    ],
)
def test_other_results_end_with_1(script, text, capsys, change, says):
    script.write_text(SCRIPT.replace(*change))
    assert run("train", "encode", "--text", text, "--rounds", 1) == 1
    assert f"RESULTS DIFFER: {says}\n" in capsys.readouterr().out + "\n"


@pytest.mark.parametrize("same_ties", [True, False])
def test_tokens_in_another_order(script, text, capsys, same_ties):
    """They are a difference only where ties are broken as we do."""
    change = SCRIPT.replace("list(made.vocabulary.tokens)", "made.vocabulary.tokens[::-1]")
    script.write_text(change.replace("same_ties = True", f"same_ties = {same_ties}"))
    assert run("train", "--text", text, "--rounds", 1) == int(same_ties)
    said = capsys.readouterr().out
    assert "\ntwin 1.0: 280 of its 280 tokens are ours, ids differ\n" in said
    assert ("RESULTS DIFFER" in said) == same_ties


def test_a_program_that_fails_is_named(script, text, capsys):
    script.write_text(SCRIPT.replace("return learn(texts, vocab_size)", "raise ValueError('hm')"))
    says = refused(capsys, "bench", "--vs", "tokenizers", "--text", str(text), "train")
    assert "twin 1.0: ValueError: hm" in says


def test_without_any_of_them_there_is_one_line(script, text, capsys):
    script.write_text(SCRIPT.replace("(Twin, Missing)", "(Missing,)"))
    says = refused(capsys, "bench", "--vs", "tokenizers", "--text", str(text))
    assert "none of missing is installed; they are in the extra: pip install '.[parity]'" in says


def test_the_script_is_found_in_the_checkout(monkeypatch, tmp_path):
    assert versus.find_rival(against_tokenizers.SCRIPT, "tokenizers").is_file()
    monkeypatch.setattr(versus.scratchgrad, "__file__", str(tmp_path / "site" / "sg" / "x.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"--vs tokenizers: .*run this from a clone"):
        against_tokenizers.rivals(["train"])


def test_what_is_no_text_is_refused(tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"abc\xff")
    with pytest.raises(DataError, match=r"bad.txt is not UTF-8 at byte 3"):
        Corpus.read(tmp_path)
    bad.write_bytes(b"")
    with pytest.raises(DataError, match="has no text in it"):
        Corpus.read(bad)
    bad.unlink()
    with pytest.raises(DataError, match="folder without files"):
        Corpus.read(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        Corpus.read(bad)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("--vs tokenizers", "--vs tokenizers: expected --text and a file or folder, got nothing"),
        ("--text x", "--text: goes with --vs tokenizers"),
        ("--text x --vs numpy", "--text: goes with --vs tokenizers"),
        ("--vocab-size 300", "--vocab-size: goes with --vs tokenizers"),
        ("--rounds 3", "--rounds: goes with --vs"),
        ("--rounds 0 --vs numpy", "--rounds: expected 1 to 1000, got 0"),
        ("--vs tokenizers --text x --rounds -1", "--rounds: expected 1 to 1000, got -1"),
        ("--vs tokenizers --text x --vocab-size 256", "--vocab-size: expected 257"),
        ("--vs tokenizers --text x --vocab-size 1000001", "got 1000001"),
        ("--vs tokenizers --text x --preset char", "--preset: does not go with --vs tokenizers"),
        ("--vs tokenizers --text x --dtype float32", "--dtype: does not go with"),
        ("--vs tokenizers --text x --no-compile", "--no-compile: goes with --vs torch"),
        ("matmul --vs tokenizers --text x", "no part is called 'matmul'; there are train, encode"),
        ("train", "no part is called 'train'"),
        ("--vs tokenizers --text no/such/place memory", "no such file or folder: no/such/place"),
    ],
)
def test_a_mistake_is_one_line_and_ends_with_2(capsys, argv, says):
    assert says in refused(capsys, "bench", *argv.split())


def test_an_empty_name_is_refused(capsys):
    assert "got an empty name" in refused(capsys, "bench", "--vs", "tokenizers", "--text", "")


def test_a_child_that_fails_is_told(tmp_path, monkeypatch):
    with pytest.raises(versus.ScratchgradError, match=r"could not be measured: .*no such file"):
        tokenizer_memory.measure_apart(tmp_path / "none", 300, 1, 1)


def test_a_system_that_does_not_tell_its_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_memory, "peak_bytes", lambda: None)
    (tmp_path / "a.txt").write_text(TEXT)
    found = tokenizer_memory.measure(tmp_path / "a.txt", 260, 2)
    assert (found["peak"], found["added"]) == (None, None)
    assert "this system does not say" in tables.tokenizer_memory([found])
