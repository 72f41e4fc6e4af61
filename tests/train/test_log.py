"""log.jsonl, loss.png, what a person sees, and Ctrl-C."""

import io
import json
import os
import signal
import threading
import time

import pytest

from scratchgrad.errors import CheckpointError
from scratchgrad.train.interrupt import Interrupt, stop_at_next_step
from scratchgrad.train.log import Log, read_log, rewind
from scratchgrad.train.loop import run_training
from scratchgrad.train.plot import draw_losses
from scratchgrad.train.progress import PlainReporter, Reporter, make_reporter
from tests.train.runs import go, start, write_text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    go(start(folder / "run", write_text(folder)))
    return folder / "run"


def test_each_line_is_one_json_object_with_the_promised_keys(run):
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    *steps, last = records
    assert [r["step"] for r in steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    for record in steps:
        expected = {"step", "train_loss", "lr", "grad_norm", "tokens", "tokens_per_second"}
        if record["step"] in (3, 6, 8):
            expected |= {"val_loss", "val_scope"}
        assert set(record) == expected | {"elapsed"}
        assert record["tokens"] == record["step"] * 2 * 8
    assert last["final"] is True
    assert (last["step"], last["val_scope"]) == (8, "full")
    assert last["val_tokens"] == 94  # a tenth of 948 characters, rounded up, less its first
    assert steps[2]["val_scope"] == "batches"
    elapsed = [r["elapsed"] for r in records]
    assert elapsed == sorted(elapsed)


def test_the_other_files_of_a_run(run):
    names = {p.name for p in run.iterdir()}
    assert names == {
        *("config.json", "tokenizer.json", "log.jsonl", "loss.png", "samples.txt"),
        "checkpoints",
    }
    samples = (run / "samples.txt").read_text(encoding="utf-8")
    assert samples.count("---------- step") == 4
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["n_embd"] == 16
    assert config["train"]["steps"] == 8


def test_rewinding_a_log(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for record in ({"step": 1}, {"step": 2}, {"step": 2, "final": True}):
        log.write(record)
    rewind(tmp_path / "log.jsonl", 2)
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1}, {"step": 2}]
    rewind(tmp_path / "log.jsonl", 0)
    assert read_log(tmp_path / "log.jsonl") == []
    rewind(tmp_path / "new.jsonl", 3)
    assert read_log(tmp_path / "new.jsonl") == []


DAMAGED = [
    *("{\n{}\n", "[]\n", '{"step": "1"}\n', "\n", "\x00\n", "\udcff\n"),
    *('{"step": 1, "step": 2}\n', '{"step": 1, "val_loss": NaN}\n'),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_log_is_named_with_its_line(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n' + content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CheckpointError, match="line 2"):
        read_log(path)


def test_a_log_never_holds_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Log(tmp_path / "log").write({"step": 1, "train_loss": float("nan")})


def test_the_picture(run, tmp_path):
    content = (run / "loss.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert width >= 1200
    assert height >= 700
    empty = tmp_path / "log.jsonl"
    empty.touch()
    draw_losses(empty, tmp_path / "a.png", title=r"no formula: $\nonsense$, 日本 [bold]")
    Log(empty).write({"step": 1, "train_loss": 4.0})
    draw_losses(empty, tmp_path / "b.png", title="one step")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "log.jsonl"]


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def train_into(stream, folder, **changes):
    session = start(folder / "run", write_text(folder), **changes)
    session.notes.append("mind [the] gap")
    reporter = make_reporter(stream)
    reporter_kind = type(reporter).__name__
    reporter.compiling(7, 19)  # whether one compiles depends on the machine
    run_training(session, reporter, Interrupt())
    return reporter_kind, stream.getvalue()


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    kind, text = train_into(io.StringIO(), tmp_path)
    assert kind == "PlainReporter"
    assert "\x1b" not in text
    assert "\r" not in text
    assert "compiling kernels (first time only): 7/19" in text
    assert "note: mind [the] gap" in text
    lines = [line for line in text.splitlines() if line.startswith("step ")]
    assert len(lines) == 8
    for word in ("loss", "lr", "tokens/s", "left"):
        assert word in lines[3]
    assert "val" in lines[2]
    assert text.count("---- sample at step") == 3


def test_a_long_plain_run_does_not_write_a_line_each_step(tmp_path):
    _, text = train_into(io.StringIO(), tmp_path, steps=120, eval_every=60, sample_every=0)
    lines = [line for line in text.splitlines() if line.startswith("step ")]
    assert 40 <= len(lines) <= 43


def test_a_live_bar_in_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    kind, text = train_into(Screen(), tmp_path)
    assert kind == "LiveReporter"
    assert "\x1b[" in text
    for word in ("8/8", "loss", "lr", "tokens/s", "sample at step 2", "[the] gap"):
        assert word in text


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_reporter(Screen()), PlainReporter)
    assert type(make_reporter(Screen(), quiet=True)) is Reporter


def test_a_reader_that_goes_away_does_not_stop_the_training(tmp_path):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    session = start(tmp_path / "run", write_text(tmp_path))
    assert run_training(session, make_reporter(Closed()), Interrupt()).finished


def test_control_characters_of_a_text_do_not_reach_the_terminal(tmp_path):
    reporter = PlainReporter(stream := io.StringIO())
    reporter.sample(1, "a\x1b[2J\x07b\n")
    assert r"a\x1b[2J\x07b" in stream.getvalue()


@pytest.fixture
def handling():
    """Sets signal handlers, and puts back those that were."""
    before = []

    def set_handler(number, handler):
        before.append((number, signal.signal(number, handler)))

    yield set_handler
    for number, handler in reversed(before):
        signal.signal(number, handler)


def press(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # the handler runs between two bytecodes


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send itself a signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_raises_a_flag_and_the_second_aborts(number, capfd, handling):
    handling(number, signal.SIG_DFL)
    with stop_at_next_step() as interrupt:
        assert not interrupt
        press(number)
        assert interrupt.signal == number
        with pytest.raises(KeyboardInterrupt):
            press(number)
    assert signal.getsignal(number) is signal.SIG_DFL
    assert "once more to abort" in capfd.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send itself a signal")
def test_a_signal_that_the_shell_ignores_stays_ignored(handling):
    handling(signal.SIGINT, signal.SIG_IGN)
    with stop_at_next_step() as interrupt:
        press(signal.SIGINT)
    assert not interrupt


def test_outside_the_main_thread_signals_are_left_alone():
    seen = []

    def work():
        with stop_at_next_step() as interrupt:
            seen.append(bool(interrupt))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
