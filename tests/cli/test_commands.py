"""The commands as a user types them: results, mistakes, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import scratchgrad
from scratchgrad import generate
from scratchgrad.cli import main, make_parser
from scratchgrad.tokenizer import BPETokenizer, load_tokenizer
from scratchgrad.train import checkpoint
from scratchgrad.train.config import ModelSettings, TokenizerSettings, TrainConfig, field_names
from tests.cli.commands import NUMBERS, command, files_below, refused
from tests.train.runs import remains, write_text


@pytest.fixture
def at(tmp_path, monkeypatch):
    """An empty folder to work in, with a text."""
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("done")
    text = write_text(folder)
    assert main(["train", text, *NUMBERS, "--out", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


def test_help_and_version_answer_within_half_a_second():
    def seconds(*argv):
        began = time.perf_counter()
        result = command(*argv)
        assert result.returncode == 0
        assert result.stdout
        return time.perf_counter() - began

    for argv in (["--help"], ["train", "--help"], ["sample", "--help"], ["--version"]):
        assert min(seconds(*argv) for _ in range(4)) < 0.5


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from scratchgrad.cli import main; main(['train', '--help']); "
        "print({'numpy', 'numba', 'rich', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.rstrip().endswith("set()")


def parsers(parser):
    """The parser, those of its commands, and those of their actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from parsers(below)


def test_every_setting_has_an_option_and_every_option_says_its_default(capsys):
    options = {
        (parser.prog, action.dest): action.help
        for parser in parsers(make_parser())
        for action in parser._actions
        if action.option_strings and not action.required
        if action.dest not in ("help", "version", "resume")
    }
    settings = [f for c in (ModelSettings, TrainConfig, TokenizerSettings) for f in field_names(c)]
    assert {("scratchgrad train", name) for name in settings} < set(options)
    assert [name for name, text in options.items() if "(default: " not in text] == []
    assert main(["train", "--help"]) == 0
    assert "(default: tiny 2, char 4, llama 4, baby 6)" in " ".join(capsys.readouterr().out.split())


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"scratchgrad {scratchgrad.__version__}\n"


def test_train_then_sample(at, capsys):
    assert main(["train", "text.txt", *NUMBERS]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    run = os.path.join("runs", "text-tiny")
    assert "over the whole validation split" in captured.out
    assert "a sample of the trained model" in captured.out
    assert f"run folder: {run}" in captured.out
    assert captured.out.rstrip().endswith(f"next:  scratchgrad sample {run}")
    assert main(["sample", run, "--length", "30", "--prompt", "the q", "--num-samples", "2"]) == 0
    out = capsys.readouterr().out
    first, second = out.rstrip("\n").split("\n---------------\n")
    assert len(first) == len(second) == 35
    assert first.startswith("the q")
    assert first != second
    main(["sample", run, "--length", "10", "--prompt", "the q", "--greedy"])
    greedy = capsys.readouterr().out
    main(["sample", run, "--length", "10", "--prompt", "the q", "--top-k", "1", "--seed", "9"])
    assert capsys.readouterr().out == greedy


def test_train_then_sample_with_byte_pairs(at, capsys):
    argv = ["train", "text.txt", *NUMBERS, "--tokenizer", "bpe", "--vocab-size", "280"]
    assert main([*argv, "--out", "run"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "vocabulary 280; last" in captured.out
    assert " bits a byte, over the whole validation split" in captured.out
    assert main(["sample", "run", "--length", "30", "--prompt", "the q"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("the q")
    assert len(out.encode()) > 30
    assert main(["train", "--resume", "run", "--steps", "9", "--quiet"]) == 0


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    """A finished run whose tokenizer has special tokens, which stand in its text."""
    folder = tmp_path_factory.mktemp("chatty")
    text = "<|user|>where is the fox?<|end|>\n" * 20
    (folder / "chat.txt").write_text(text)
    special = ["<|user|>", "<|end|>"]
    BPETokenizer(special_tokens=special).train(text, 270).save(folder / "bpe.json")
    argv = ["train", str(folder / "chat.txt"), *NUMBERS, "--out", str(folder / "run"), "--quiet"]
    argv += ["--tokenizer", str(folder / "bpe.json"), "--allow-special", "--block-size", "16"]
    assert main(argv) == 0
    return folder / "run"


@pytest.fixture
def prompts(monkeypatch):
    """The ids from which text is generated, as they come; none is."""
    seen = []
    monkeypatch.setattr(generate, "generate", lambda _, ids, *a, **k: seen.append(list(ids)) or [])
    return seen


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--allow-special", "all"], {"allowed_special": "all"}),
        (["--allow-special", "<|user|>", "--allow-special", "<|end|>"], {"allowed_special": "all"}),
        (["--special-as-text"], {"disallowed_special": ()}),
    ],
)
def test_special_tokens_in_a_prompt(chatty, capsys, prompts, options, rule):
    prompt = "<|user|>where<|end|>"
    assert main(["sample", str(chatty), "--prompt", prompt, *options]) == 0
    assert prompts == [load_tokenizer(chatty / "tokenizer.json").encode(prompt, **rule).tolist()]
    assert capsys.readouterr().out == prompt + "\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "'<|end|>' at byte 5; --allow-special takes it for one, --special-as-text for its"),
        (["--allow-special", "<|user|>"], "'<|end|>' at byte 5; --allow-special"),
        (["--allow-special", "<|edn|>"], "did you mean <|end|>"),
    ],
)
def test_special_tokens_in_a_prompt_are_refused(chatty, capsys, options, message):
    assert message in refused(capsys, "sample", chatty, "--prompt", "where<|end|>", *options)


def test_bytes_in_a_prompt_stay_as_they_are(chatty, capsys, prompts):
    given = b"a\xff\xc3\xa9"
    prompt = given.decode("utf-8", "surrogateescape")  # as Python hands it over
    assert main(["sample", str(chatty), "--prompt", prompt]) == 0
    assert prompts == [load_tokenizer(chatty / "tokenizer.json").encode(given).tolist()]
    assert capsys.readouterr().out == "a\ufffdé\n"


def test_special_tokens_in_a_text_to_train_on(chatty, tmp_path, capsys):
    argv = [chatty.parent / "chat.txt", "--tokenizer", chatty.parent / "bpe.json"]
    message = refused(capsys, "train", *argv, "--out", tmp_path / "run")
    assert "; --allow-special takes it for one; if its characters are meant, train a tok" in message


def test_the_default_folder_is_readable_and_never_taken(at, capsys):
    (at / "my book (2).txt").write_text("some text " * 40)
    for expected in ("my-book-2-char", "my-book-2-char-2"):
        argv = ["train", "my book (2).txt", "--preset", "char", *NUMBERS, "--quiet"]
        assert main([*argv, "--steps", "1"]) == 0
        assert os.path.join("runs", expected) in capsys.readouterr().out
    assert sorted(p.name for p in (at / "runs").iterdir()) == [
        "my-book-2-char",
        "my-book-2-char-2",
    ]


def test_quiet_prints_the_result_only(at, capsys):
    assert main(["train", "text.txt", *NUMBERS, "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 4


def test_the_embedded_text_is_the_default(at, capsys):
    argv = ["train", *NUMBERS, "--steps", "1", "--out", "run", "--sample-length", "1"]
    assert main(argv) == 0
    assert "Python language reference" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere.txt"], "no such text file: nowhere.txt"),
        (["."], "is a folder"),
        (["empty.txt"], "is empty"),
        (["latin.txt"], "0xe9 at offset 3"),
        (["short.txt"], "too short: 5 tokens"),
        (["text.txt", "--block-size", "5000"], "a context of 5000 needs at least 5001"),
        (["text.txt", "--n-embd", "17"], "n_embd"),
        (["text.txt", "--n-head", "3"], "n_head"),
        (["text.txt", "--n-layer", "0"], "n_layer"),
        (["text.txt", "--dropout", "1"], "dropout"),
        (["text.txt", "--batch-size", "1000000000"], "a step would take at least"),
        (["text.txt", "--n-layer", "1000000000"], "a step would take at least"),
        (["text.txt", "--steps", "0"], "error: --steps must be at least 1; got 0"),
        (["text.txt", "--steps", "many"], "invalid int value: 'many'"),
        (["text.txt", "--lr", "-1"], "lr must be above 0; got -1"),
        (["text.txt", "--lr", "nan"], "lr must be a finite number"),
        (["text.txt", "--threads", "0"], "--threads: expected a number of threads from 1"),
        (["text.txt", "--rope-base", "500"], "--rope-base goes with --position rope; the position"),
        (["--preset", "llama", "--position", "none", "--rope-base", "9"], "the position is none"),
        (["text.txt", "--preset", "huge"], "invalid choice: 'huge'"),
        (["text.txt", "--norm-position", "middle"], "invalid choice"),
        (["text.txt", "--vocab-size", "300"], "error: --vocab-size goes with the tokenizer bpe"),
        (
            ["text.txt", "--tokenizer", "bpe", "--vocab-size", "99"],
            "--vocab-size must be at least 256",
        ),
        (["text.txt", "--allow-special"], "error: --allow-special goes with a saved tokenizer"),
        (["text.txt", "--tokenizer", "bqe"], "no tokenizer is called 'bqe'; did you mean bpe?"),
        (["text.txt", "--tokenizer", "char"], "did you mean characters?"),
        (["text.txt", "--tokenizer", "BPE"], "did you mean bpe?"),
        (["text.txt", "--tokenizer", "gpt2"], "there are characters and bpe, and no file has"),
        (["text.txt", "--tokenizer", ""], "no tokenizer is called ''; there are"),
        (["text.txt", "--tokenizer", "no.json"], "no such tokenizer file"),
        (["text.txt", "--step", "3"], "no such option: --step 3"),
        (["text.txt", "--quiet", "nowhere.txt"], "no such text file: nowhere.txt"),
        (["text.txt", "--out", "text.txt"], "text.txt is a file"),
        (["text.txt", "--out", "text.txt/run"], "text.txt is a file"),
        (["text.txt", "--resume", "run", "--out", "x"], "leave out --out"),
        (["text.txt", "--resume", "run", "--preset", "char"], "leave out --preset"),
        (["text.txt", "--resume", "run", "--overwrite"], "leave out --overwrite"),
        (["--resume", "nowhere"], "nowhere is no run folder"),
        (["--resume", "text.txt"], "text.txt is no run folder"),
    ],
)
def test_mistakes_in_train_are_one_line_and_leave_no_trace(at, capsys, argv, message):
    (at / "empty.txt").touch()
    (at / "latin.txt").write_bytes(b"caf\xe9")
    (at / "short.txt").write_text("short")
    before = files_below(at)
    words = list(NUMBERS)
    for option in argv:  # given twice, an option's last value counts
        if option in words:
            del words[words.index(option) : words.index(option) + 2]
    assert message in refused(capsys, "train", *argv, *words)
    assert files_below(at) == before
    assert not (at / "runs").exists()


def test_no_command_and_a_wrong_one(capsys):
    for argv in ([], ["dance"]):
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert err.startswith("scratchgrad: error: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prompt", "the Q"], r"'Q' (U+0051) at position 4"),
        (["--temperature", "-1"], "temperature"),
        (["--top-k", "0"], "--top-k: expected a whole number of at least 1; got 0"),
        (["--length", "-5"], "length"),
        (["--seed", "-5"], "--seed must be 0 or more"),
        (["--num-samples", "0"], "--num-samples must be at least 1"),
        (["--checkpoint", "77"], "expected best, last, or one of"),
        (["--threads", "0"], "--threads: expected a number of threads from 1"),
    ],
)
def test_mistakes_in_sample(done, capsys, argv, message):
    assert message in refused(capsys, "sample", done, *argv)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"format": "scratchgrad-run"}'])
def test_a_damaged_config(done, tmp_path, capsys, content):
    (tmp_path / "config.json").write_bytes(content)
    for argv in (["sample", tmp_path], ["train", "--resume", tmp_path]):
        assert "config.json" in refused(capsys, *argv)


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("model", {"n_embd": "16"}),
        ("model", {"n_layer": -1}),
        ("model", {"extra": 1}),
        ("train", {"lr": None}),
        ("train", {"steps": 1e99}),
        ("text", {"files": "text.txt"}),
        ("text", {"characters": "many"}),
    ],
)
def test_a_config_that_lies(done, tmp_path, capsys, section, change):
    body = json.loads((done / "config.json").read_text())
    body[section] |= change
    (tmp_path / "config.json").write_text(json.dumps(body))
    refused(capsys, "train", "--resume", tmp_path)


def test_a_folder_with_a_run_is_refused_then_resumed_or_overwritten(at, capsys):
    train = ["train", "text.txt", *NUMBERS, "--out", "run"]
    assert main([*train, "--quiet"]) == 0
    capsys.readouterr()
    (at / "run" / "mine.txt").write_text("keep me")
    before = files_below(at)
    message = refused(capsys, *train)
    for word in ("run already has a run", "--resume run", "--overwrite", "--out"):
        assert word in message
    # A mistake beside --overwrite must not cost the old run.
    refused(capsys, *train, "--overwrite", "--n-embd", "15")
    refused(capsys, "train", "nowhere.txt", *NUMBERS, "--out", "run", "--overwrite")
    assert files_below(at) == before
    assert main([*train, "--overwrite", "--quiet", "--steps", "2"]) == 0
    assert (at / "run" / "mine.txt").read_text() == "keep me"
    steps = sorted(p.name for p in (at / "run" / "checkpoints").iterdir())
    assert steps == ["step-00000002"]
    assert main(["train", "--resume", "run", "--steps", "4", "--quiet"]) == 0
    assert "the learning rate stays at" in capsys.readouterr().err
    message = refused(capsys, "train", "--resume", "run", "--n-layer", "5")
    assert "error: --n-layer cannot change in the middle of a run: 1 in the run, 5 now" in message


def test_an_unwritable_place(at, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "may not write" in refused(capsys, "train", "text.txt", *NUMBERS, "--out", "run")


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(at, capsys, monkeypatch):
    real = checkpoint.write_atomically

    def full(path, content):
        if "step-00000004" in str(path):
            raise OSError(28, "No space left on device", str(path))
        real(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    train = ["train", "text.txt", *NUMBERS, "--out", "run"]
    assert "No space left on device: " in refused(capsys, *train)
    monkeypatch.undo()
    monkeypatch.chdir(at)
    assert checkpoint.newest_checkpoint(at / "run" / "checkpoints")[0].step == 3
    assert main(["train", "--resume", "run", "--quiet"]) == 0


@pytest.mark.filterwarnings("error")
def test_a_loss_that_blows_up_says_what_to_do_and_keeps_the_last_good_checkpoint(at, capsys):
    argv = ["train", "text.txt", *NUMBERS, "--out", "run", "--warmup-steps", "0", "--clip", "0"]
    wild = ["--lr", "1e30", "--min-lr", "1e-3", "--checkpoint-every", "1", "--weight-decay", "0"]
    message = refused(capsys, *argv, *wild, "--eval-every", "0")
    assert "stopped before the weights were touched" in message
    assert "step 1, leads straight to it, so its weights may be ruined already" in message
    last = int(message.partition("step ")[2].partition(":")[0]) - 1
    assert checkpoint.newest_checkpoint(at / "run" / "checkpoints")[0].step == last


# A test run in the background inherits a Ctrl-C that is ignored; these children must hear it.
LISTENING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from scratchgrad.cli import main
sys.exit(main())
"""


def listening(*argv, **options):
    return subprocess.Popen(
        [sys.executable, "-c", LISTENING, *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


posix = pytest.mark.skipif(os.name == "nt", reason="Windows cannot signal another process so")


@posix
def test_ctrl_c_saves_and_resuming_equals_never_having_stopped(at):
    many = [*NUMBERS, "--decay-steps", "50", "--sample-every", "0", "--checkpoint-every", "0"]
    endless = ["--steps", "1000000", "--eval-every", "0", "--out", "run"]
    process = listening("train", "text.txt", *many, *endless, text=True)
    for line in process.stdout:
        if line.startswith("step"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "once more to abort" in err
    assert "Traceback" not in err
    assert "go on with:  scratchgrad train --resume run" in out
    stopped = int(out.partition("stopped after step ")[2].split()[0])
    assert checkpoint.newest_checkpoint(at / "run" / "checkpoints")[0].step == stopped
    assert (at / "run" / "loss.png").exists()
    end = ["--steps", str(stopped + 3), "--quiet"]
    assert command("train", "--resume", "run", *end).returncode == 0
    argv = ["train", "text.txt", *many, "--eval-every", "0", "--out", "whole", *end]
    assert main(argv) == 0
    ours, theirs = remains(at / "run"), remains(at / "whole")
    for key in ("log", "model", "optimizer", "samples"):
        assert ours[key] == theirs[key]


CLOSED = "standard output is closed; give one, such as > FILE"


@posix
@pytest.mark.parametrize(
    ("words", "closed", "code", "says"),
    [
        (["sample", "RUN", "--length", "2"], ">&-", 2, f"scratchgrad: error: {CLOSED}\n"),
        (["train", "--quiet"], ">&-", 2, f"scratchgrad: error: {CLOSED}\n"),
        (["chat", "RUN", "--prompt", "hi"], ">&- 2>&-", 2, ""),
        (["sample", "RUN", "--length", "2"], "2>&-", 0, ""),
        (["sample", "RUN", "--length", "2"], "<&-", 0, ""),
        (["sample", "nowhere"], "2>&-", 2, ""),
        (
            ["tokenizer", "decode", "RUN/tokenizer.json", "-"],
            "<&-",
            2,
            "scratchgrad tokenizer decode: error: standard input is closed; give one, such as < "
            "FILE\n",
        ),
    ],
)
def test_a_closed_stream_is_no_traceback(done, words, closed, code, says):
    words = [word.replace("RUN", str(done)) for word in words]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "scratchgrad", *words]
    result = subprocess.run(shell, capture_output=True, text=True, timeout=60, env=os.environ)
    assert (result.returncode, result.stderr) == (code, says)


@posix
def test_a_reader_that_leaves_ends_the_sampling_in_silence(done):
    process = listening("sample", done, "--length", "100000")
    process.stdout.read(1)  # streamed: the first character comes long before the last
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert "Traceback" not in err
    assert "Broken" not in err


@posix
def test_ctrl_c_while_sampling_is_no_traceback(done):
    process = listening("sample", done, "--length", "100000")
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_console_with_few_characters_does_not_end_the_run(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("日本語の文章です。\n" * 60, encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = subprocess.run(
        [sys.executable, "-m", "scratchgrad", "train", str(path), *NUMBERS, "--out", "run"],
        capture_output=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def test_a_damaged_checkpoint_is_named_even_when_quiet(at, capsys):
    assert main(["train", "text.txt", *NUMBERS, "--out", "run", "--quiet"]) == 0
    newest, older = sorted((at / "run" / "checkpoints").glob("step-*"), reverse=True)[:2]
    (newest / "model.safetensors").write_bytes(b"")
    capsys.readouterr()
    assert main(["train", "--resume", "run", "--quiet"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("note: ")
    assert f"going on from step {int(older.name.removeprefix('step-'))}" in err
