"""One model by two programs: what is timed, what must agree. The other one here is pretended."""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.bench import against_transformers, decoding, tables, versus
from scratchgrad.bench.against_transformers import bytes_a_token, compare, distance, layout_of
from scratchgrad.cli import main
from scratchgrad.errors import ConfigError
from scratchgrad.interop.pretrained import Pretrained, save_pretrained
from tests.cli.commands import refused
from tests.interop.models import LIKE, SIZE, model

SCRIPT = """
import numpy as np

from scratchgrad.bench import decoding
from scratchgrad.bench.side import serve

def make(work):
    made = decoding.make(work)
    made.variants = {"slow": made.variants["scratchgrad"], "fast": made.variants["scratchgrad"]}
    logits = np.load(work["logits"])
    np.save(work["logits"], np.concatenate([logits, logits]))
    return made

serve("twin 1.0", make)
"""
DECODING = {
    "model", "parameters", "weight_bytes", "read_bytes_per_second", "bytes_per_second",
    "rival_bytes_per_second", "share", "share_low", "share_high", "rival_share",
}  # fmt: skip


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A script of the other program that is found in place of the repository's."""
    path = tmp_path / "rival.py"
    path.write_text(SCRIPT)
    monkeypatch.setattr(against_transformers, "find_rival", lambda *of: path)
    monkeypatch.setattr(against_transformers, "PAUSE", 0)
    return path


@pytest.fixture
def folder(tmp_path):
    """A model with RoPE's pairs side by side, which the other program has not."""
    built = model("llama", block_size=16, rope_interleaved=True)
    save_pretrained(Pretrained(built, None), tmp_path / "model")
    return tmp_path / "model"


def run(*argv):
    return main(["bench", "--vs", "transformers", *map(str, argv)])


def test_the_documented_keys_and_the_same_logits(script, folder, capsys):
    argv = ["--model", folder, "--quick", "--rounds", 2, "--threads", 1]
    assert run(*argv, "--json", "-") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    report = json.loads(captured.out)
    assert set(report) == {"schema", "machine", "rival", "compared", "decoding"}
    assert report["rival"] == "twin 1.0"
    decode, prefill = report["compared"]
    assert (decode["part"], prefill["part"]) == ("decode", "prefill")
    assert decode["label"] == "decode a token, at 11 to 16"
    assert prefill["label"] == "prefill 16 tokens"
    for record in report["compared"]:
        assert record["agree"]
        assert record["rounds"] == 2
        assert set(record["rival_seconds"]) == {"slow", "fast"}
        assert record["ratio_low"] <= record["ratio"] <= record["ratio_high"]
    found = report["decoding"]
    assert set(found) == DECODING
    size = found["weight_bytes"]
    assert size == 4 * (found["parameters"] - 11 * 16)  # its head is not tied to the embeddings
    assert found["bytes_per_second"] == pytest.approx(size / decode["seconds"])
    assert 0 < found["share_low"] <= found["share"] <= found["share_high"]


def test_the_table(script, folder, capsys):
    assert run("decode", "--model", folder, "--rounds", 1) == 0
    said = capsys.readouterr().out
    assert "1 round in turn, each side in a process of its own" in said
    assert "\ndecode a token, at 11 to 16 " in said
    assert "\nshare of the plain read: scratchgrad " in said
    assert "prefill" not in said
    assert run("prefill", "--model", folder, "--rounds", 1) == 0
    said = capsys.readouterr().out
    assert "\nprefill 16 tokens " in said
    assert "plain read" not in said


@pytest.mark.parametrize("change", ["logits * 1.01", "logits * np.nan"])
def test_other_logits_end_with_1(script, folder, capsys, change):
    """In one way of two."""
    script.write_text(SCRIPT.replace("[logits, logits]", f"[logits, {change}]"))
    assert run("prefill", "--model", folder, "--rounds", 1) == 1
    said = capsys.readouterr().out
    assert "RESULTS DIFFER: prefill 16 tokens" in said
    assert "prefill: the logits of the last token differ by " in said


def test_another_number_of_logits(script, folder, capsys):
    script.write_text(SCRIPT.replace("np.concatenate([logits, logits])", "logits[:, :5]"))
    complaint = refused(capsys, "bench", "--vs", "transformers", "--model", folder)
    assert "transformers: 5 logits; expected 11" in complaint


def test_what_is_missing_is_said_before_anything_is_written(folder, capsys, monkeypatch, tmp_path):
    """Without transformers there is one line."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "transformers.py").write_text("raise ImportError('none here')\n")
    (tmp_path / "none" / "torch.py").write_text("")
    path = [str(tmp_path / "none"), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in path if p))
    monkeypatch.setattr(against_transformers, "export", lambda *of: pytest.fail("too early"))
    complaint = refused(capsys, "bench", "--vs", "transformers", "--model", folder)
    assert "needs PyTorch and transformers: pip install '.[parity]' (none here)" in complaint


def test_the_script_is_found_in_the_checkout(monkeypatch, tmp_path):
    assert versus.find_rival(against_transformers.SCRIPT, "transformers").is_file()
    monkeypatch.setattr(versus.scratchgrad, "__file__", str(tmp_path / "site" / "sg" / "x.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"--vs transformers: .*run this from a clone"):
        against_transformers.rival_side(1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"position": "sinusoidal"}, "transformers has no such model to compare with; .*position"),
        ({"block_size": 7}, "expected a context of 8 tokens or more to decode in, got 7"),
    ],
)
def test_a_model_that_cannot_be_compared(changes, says):
    config = sg.GPTConfig(**{**SIZE, **LIKE["llama"], **changes})
    with pytest.raises(ConfigError, match=says):
        layout_of(config, "m")


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_layout_is_found(kind):
    assert layout_of(model(kind).config, "m") == kind


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("", "--vs transformers: expected --model and a run folder"),
        ("--model no/such", "no such model: no/such"),
        ("--model x matmul", "no part is called 'matmul'; there are decode, prefill"),
        ("--model x --preset char", "--preset: does not go with --vs transformers"),
        ("--model x --dtype float32", "--dtype: does not go with --vs transformers"),
        ("--model x --vocab-size 300", "--vocab-size: goes with --vs tokenizers"),
        ("--model x --text y", "--text: goes with --vs tokenizers"),
        ("--model x --rounds 0", "--rounds: expected 1 to 1000, got 0"),
        ("--model x --no-compile", "--no-compile: goes with --vs torch"),
        ("--model x --vs torch", "--model: goes with --vs transformers"),
    ],
)
def test_a_mistake_is_one_line_and_ends_with_2(capsys, argv, says):
    assert says in refused(capsys, "bench", "--vs", "transformers", *argv.split())


def test_an_empty_name_is_refused(capsys):
    assert "got an empty name" in refused(capsys, "bench", "--vs", "transformers", "--model", "")


# -- what is measured


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_bytes_of_a_token(kind, tied):
    """A table that a token takes one row of is not read."""
    built = model(kind, tied_head=tied)
    rows = (8 if kind == "gpt2" else 0) + (0 if tied else 11)
    assert bytes_a_token(built) == 4 * (built.config.num_parameters - 16 * rows)


def test_the_works():
    decode, prefill = against_transformers.works(model(block_size=300), ("decode", "prefill"))
    assert (len(decode["ids"]), decode["start"], decode["warm"]) == (128, 64, 16)
    assert decode["ids"] == prefill["ids"]
    assert decode["label"] == "decode a token, at 81 to 128"
    (quick,) = against_transformers.works(model(block_size=300), ("prefill",), quick=True)
    assert len(quick["ids"]) == 64
    least, _ = against_transformers.works(model(block_size=8), ("decode", "prefill"))
    assert (len(least["ids"]), least["start"], least["warm"]) == (8, 4, 1)


@pytest.fixture
def made(folder, tmp_path):
    def make(part):
        (work,) = against_transformers.works(model("llama", block_size=16), (part,))
        own = {"model": str(folder), "logits": str(tmp_path / "logits.npy")}
        return decoding.make(work | own), work

    return make


@pytest.mark.parametrize("part", ["decode", "prefill"])
def test_our_side_reads_all_ids(made, part, tmp_path):
    found, work = made(part)
    whole, _ = model("llama", block_size=16, rope_interleaved=True)(np.array([work["ids"]]))
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), whole.data[:, -1], rtol=1e-4)
    assert found.timed
    assert all(way() > 0 for way in found.variants.values())


def test_the_first_tokens_warm_up(made, monkeypatch):
    found, work = made("decode")
    took = [100.0] * work["warm"] + [1.0, 2.0, 3.0, 4.0, 5.0, 60.0]
    ends = np.cumsum(took)
    clock = iter(np.stack([ends - took, ends], 1).ravel().tolist())
    monkeypatch.setattr(decoding, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert found.variants[decoding.VARIANT]() == pytest.approx(3.5)


class Pretended:
    """A side that takes so long, and one more each round."""

    def __init__(self, logits, **seconds):
        self.logits, self.seconds = logits, seconds

    def ask(self, do, **request):
        if do == "make":
            np.save(request["work"]["logits"], self.logits)
            return {"variants": list(self.seconds), "notes": []}
        self.seconds[request["variant"]] += 1
        return {"seconds": self.seconds[request["variant"]]}


def test_the_share_is_taken_round_by_round(tmp_path, monkeypatch):
    monkeypatch.setattr(against_transformers, "PAUSE", 0)
    ours = Pretended(np.ones((1, 3)), us=3, read=0)
    theirs = Pretended(np.ones((2, 3)), a=9, b=7)
    work = {"part": "decode", "label": "l"}
    compared, reads = compare(ours, theirs, work, tmp_path, 3)
    assert (compared.ours, reads) == ([4, 5, 6], [1, 2, 3])
    assert (compared.agree, compared.best) == (True, "b")
    found = against_transformers.summary(compared, reads, 600)
    assert (found["share_low"], found["share"], found["share_high"]) == (1 / 4, 2 / 5, 3 / 6)
    assert found["rival_share"] == pytest.approx(2 / 9)
    assert found["read_bytes_per_second"] == 300
    assert found["bytes_per_second"] == 120
    assert "scratchgrad 40 % (25 % to 50 %), transformers 22 %" in tables.decoding(found, 2)


@pytest.mark.parametrize(
    ("scale", "agree"), [(1, True), (1.0009, True), (1.0011, False), (np.nan, False)]
)
def test_how_near_the_logits_must_be(tmp_path, monkeypatch, scale, agree):
    monkeypatch.setattr(against_transformers, "PAUSE", 0)
    ours, theirs = Pretended(np.ones((1, 3)), us=3), Pretended(np.full((1, 3), scale), a=9)
    compared, reads = compare(ours, theirs, {"part": "prefill", "label": "l"}, tmp_path, 1)
    assert (compared.agree, bool(compared.notes)) == (agree, not agree)
    assert reads == []


def test_the_distance():
    ours = np.array([[1.0, -4.0, 2.0]])
    assert distance(ours, ours) == 0
    assert distance(ours, np.array([[1.0, -4.0, 2.0], [1.0, -4.0, 2.2]])) == pytest.approx(0.05)
    assert np.isnan(distance(ours, ours * np.nan))
    assert distance(0 * ours, 0 * ours) == 0
