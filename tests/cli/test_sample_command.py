"""``scratchgrad sample``: the rules of choice, where a text ends, several texts, the context."""

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad import generate as generation
from scratchgrad.cli import main
from scratchgrad.errors import ConfigError
from scratchgrad.interop.pretrained import Pretrained, save_pretrained
from scratchgrad.kernels import jit
from scratchgrad.tokenizer import BPETokenizer
from tests.cli.commands import NUMBERS, refused
from tests.train.runs import write_text

ROOMY = ["--block-size", "16"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of characters, whose context is 16 tokens."""
    folder = tmp_path_factory.mktemp("sample")
    argv = ["train", write_text(folder), *NUMBERS, *ROOMY, "--out", str(folder / "run"), "--quiet"]
    assert main(argv) == 0
    return str(folder / "run")


@pytest.fixture(scope="module")
def ending(tmp_path_factory):
    """A finished run of byte pairs, whose texts end in a special token, and often."""
    folder = tmp_path_factory.mktemp("ending")
    (folder / "text.txt").write_text("fé<|endoftext|>o<|other|>" * 90, encoding="utf-8")
    tokenizer = BPETokenizer(special_tokens=["<|endoftext|>", "<|other|>"]).train("fé o", 258)
    tokenizer.save(folder / "bpe.json")
    argv = ["train", str(folder / "text.txt"), *NUMBERS, *ROOMY, "--out", str(folder / "run")]
    argv += ["--tokenizer", str(folder / "bpe.json"), "--allow-special", "--quiet"]
    assert main([*argv, "--steps", "250", "--lr", "0.01"]) == 0
    return str(folder / "run")


def text_of(capsys, *argv):
    capsys.readouterr()
    assert main(["sample", *map(str, argv)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.removesuffix("\n")


def test_every_rule_has_its_option(run, monkeypatch):
    """What is asked for arrives, by its own name."""
    seen = []
    monkeypatch.setattr(
        generation, "generate", lambda *_, sampling, **k: seen.append(sampling) or iter(())
    )
    assert main(["sample", run, "--prompt", "the"]) == 0
    assert seen.pop() == generation.Sampling(temperature=0.8)
    shaped = ["--temperature", "0.7", "--top-k", "9", "--top-p", "0.9", "--min-p", "0.05"]
    both = [
        "--repetition-penalty",
        "1.1",
        "--presence-penalty",
        "0.5",
        "--frequency-penalty",
        "-0.25",
    ]
    penalties = {
        "repetition_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.25,
    }
    assert main(["sample", run, "--prompt", "the", *shaped, *both]) == 0
    assert seen.pop() == generation.Sampling(False, 0.7, 9, 0.9, 0.05, **penalties)
    assert main(["sample", run, "--prompt", "the", "--greedy", *both]) == 0
    assert seen.pop() == generation.Sampling(greedy=True, **penalties)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--temperature", "0"], "--temperature: expected a finite number above 0; got 0.0; for "),
        (["--temperature", "0"], "for the likeliest token each time, take --greedy\n"),
        (["--temperature", "-1"], "--temperature: expected a finite number above 0; got -1.0"),
        (["--temperature", "nan"], "--temperature: expected"),
        (["--top-p", "0"], "--top-p: expected a probability above 0 and up to 1"),
        (["--top-p", "1.5"], "--top-p: expected"),
        (["--min-p", "1"], "--min-p: expected"),
        (["--repetition-penalty", "0"], "--repetition-penalty: expected a factor from 0.01 to 100"),
        (["--presence-penalty", "3"], "--presence-penalty: expected a number from -2 to 2"),
        (["--frequency-penalty", "inf"], "--frequency-penalty: expected"),
        (["--greedy", "--temperature", "0.5"], "--greedy: takes the likeliest token whatever --te"),
        (["--greedy", "--top-k", "5"], "whatever --top-k may be; leave out one or the other"),
        (["--prompt", ""], "--prompt: expected a text; got an empty one; leave --prompt out for"),
        (["--stop", ""], "--stop: expected text of one or more characters; got ''"),
        (["--stop-token", "<|end|>"], "no special token is called '<|end|>'; the tokenizer has no"),
        (["--prompt", "the quick brown f"], "--prompt: expected at most 16 tokens, the model's co"),
    ],
)
def test_mistakes_are_one_line(run, capsys, argv, message):
    capsys.readouterr()
    assert message in refused(capsys, "sample", run, *argv)


def test_the_default_prompt_is_cut_where_the_context_cannot_hold_it(tmp_path, capsys):
    argv = ["train", *NUMBERS, "--block-size", "2", "--steps", "1", "--out", str(tmp_path / "run")]
    assert main([*argv, "--sample-length", "5"]) == 0  # its sample begins with "The ", cut as well
    assert capsys.readouterr().err == ""
    assert main(["sample", str(tmp_path / "run"), "--length", "0"]) == 0
    assert capsys.readouterr().out == "e \n"


def test_a_text_beyond_the_context_is_noted_once_after_it(run, capsys):
    for number in ("1", "3"):
        argv = ["sample", run, "--prompt", "the", "--num-samples", number]
        assert main([*argv, "--length", "13"]) == 0
        assert capsys.readouterr().err == ""
        assert main([*argv, "--length", "15"]) == 0
        err = capsys.readouterr().err
        assert err.startswith("note: the text outgrew the context of 16 tokens: ")
        assert err.count("\n") == 1


def test_a_sample_does_not_depend_on_how_many_there_are(run, capsys):
    """One is printed as it comes, several are made at once: the first is the same."""
    options = [run, "--prompt", "the", "--length", "12", "--temperature", "1.5"]
    texts = {n: text_of(capsys, *options, "--num-samples", n) for n in (1, 2, 18)}
    cut = {n: text.split("\n---------------\n") for n, text in texts.items()}
    assert [len(cut[n]) for n in texts] == [1, 2, 18]
    assert cut[1] == cut[2][:1] == cut[18][:1]
    assert cut[2] == cut[18][:2]
    assert len(set(cut[18])) > 10
    assert all(text.startswith("the") and len(text) == 15 for text in cut[18])


@pytest.mark.parametrize("number", [1, 3])
def test_it_says_once_that_kernels_are_compiled(run, capsys, monkeypatch, number):
    """Whether a text is printed as it comes or several are made first: that is where one waits."""
    next_logits = sg.GPT.next_logits

    def as_on_a_new_machine(*args, **kwargs):
        for told in jit._listeners:
            told("attention")
        return next_logits(*args, **kwargs)

    monkeypatch.setattr(sg.GPT, "next_logits", as_on_a_new_machine)
    argv = ["sample", run, "--prompt", "the", "--length", "3", "--num-samples", str(number)]
    assert main(argv) == 0
    assert capsys.readouterr().err == "compiling kernels (first time only)\n"


def test_a_stop_string_is_not_printed_nor_any_part_of_it(run, capsys):
    options = [run, "--prompt", "the", "--length", "12"]
    whole = text_of(capsys, *options)
    stop = whole[6:9]
    assert stop not in whole[3:8]
    assert (
        text_of(capsys, *options, "--stop", "@@", "--stop", stop)
        == whole[: whole[3:].index(stop) + 3]
    )
    # It is not looked for in the prompt, nor across its end.
    assert text_of(capsys, *options, "--stop", "the", "--stop", whole[2:5]).startswith("the")
    # Without its end, what was held back is printed.
    assert text_of(capsys, *options, "--stop", whole[-3:] + "@") == whole
    several = text_of(capsys, *options, "--num-samples", 2).split("\n---------------\n")
    argv = [*options, "--num-samples", 2, "--stop", stop]
    for text, ended in zip(
        several, text_of(capsys, *argv).split("\n---------------\n"), strict=True
    ):
        assert ended == text[:3] + text[3:].partition(stop)[0]


def test_a_text_ends_with_the_end_of_text_token_and_does_not_print_it(ending, capsys):
    options = [ending, "--prompt", "f", "--length", "12", "--seed", "3"]
    free = text_of(capsys, *options, "--stop-token", "none")
    assert "<|endoftext|>" in free
    assert text_of(capsys, *options) == free.partition("<|endoftext|>")[0]
    assert text_of(capsys, *options, "--stop-token", "<|endoftext|>") == text_of(capsys, *options)
    assert "<|other|>" in free
    assert text_of(capsys, *options, "--stop-token", "<|other|>") == free.partition("<|other|>")[0]
    argv = [*options, "--num-samples", 3]
    several = text_of(capsys, *argv, "--stop-token", "none").split("\n---------------\n")
    ended = text_of(capsys, *argv).split("\n---------------\n")
    assert ended == [text.partition("<|endoftext|>")[0] for text in several]


def test_mistaken_stop_tokens(ending, capsys):
    capsys.readouterr()
    message = refused(capsys, "sample", ending, "--stop-token", "<|endoftxt|>")
    assert "no special token is called '<|endoftxt|>'; did you mean <|endoftext|>?" in message
    message = refused(capsys, "sample", ending, "--stop-token", "none", "--stop-token", "<|other|>")
    assert "--stop-token none goes alone" in message


def test_a_stop_string_of_a_character_that_spans_tokens(ending, capsys):
    """é is two tokens here."""
    options = [ending, "--prompt", "f", "--length", "12", "--seed", "3"]
    free = text_of(capsys, *options, "--stop-token", "none")
    assert "é" in free[1:]
    assert (
        text_of(capsys, *options, "--stop-token", "none", "--stop", "é") == free.partition("é")[0]
    )


def test_the_known_stop_tokens_of_a_model_come_before_guesses():
    from argparse import Namespace

    from scratchgrad.cli.sampling import stop_tokens_of

    tokenizer = BPETokenizer(special_tokens=["</s>", "<|x|>"]).train("a", 258)
    ids = tokenizer.special_tokens
    nothing = Namespace(stop_token=[])
    assert stop_tokens_of(nothing, tokenizer) == (ids["</s>"],)
    assert stop_tokens_of(nothing, tokenizer, known=np.array([5])) == (5,)
    assert stop_tokens_of(nothing, None) == ()
    assert stop_tokens_of(Namespace(stop_token=["<|x|>"]), tokenizer, [5]) == (ids["<|x|>"],)
    assert stop_tokens_of(Namespace(stop_token=["none"]), tokenizer, [5]) == ()
    # A model of fewer rows than its tokenizer has tokens never chooses them.
    assert stop_tokens_of(nothing, tokenizer, rows=ids["</s>"]) == ()
    with pytest.raises(ConfigError, match=r"--stop-token <\|x\|>: its id is 257, and .* 257 ids"):
        stop_tokens_of(Namespace(stop_token=["<|x|>"]), tokenizer, rows=ids["<|x|>"])


@pytest.mark.parametrize("samples", [1, 2])
def test_a_row_without_a_token_is_no_text(tmp_path, capsys, samples):
    """A vocabulary may be filled up to a round number; the model chooses among all rows."""
    shape = sg.GPTConfig(300, block_size=8, n_layer=1, n_head=1, n_embd=4)
    model = sg.GPT(shape).eval()
    save_pretrained(Pretrained(model, BPETokenizer()), tmp_path / "m")
    argv = ("--prompt", "ab", "--length", "200", "--num-samples", samples)
    options = [str(word) for word in (tmp_path / "m", *argv, "--temperature", "5")]
    assert main(["sample", *options]) == 0
    assert capsys.readouterr().out.startswith("ab")


# ---------------------------------------------------------------------- models that are no runs


@pytest.fixture
def kept(tmp_path):
    """Keeps a tiny model that knows what its texts begin and end with, and returns its folder."""

    def keep(begin=256, stop=(257,), tokenizer=True):
        config = sg.GPTConfig(vocab_size=258, block_size=16, n_layer=1, n_head=1, n_embd=8)
        special = BPETokenizer(special_tokens=["<s>", "<e>"]).train("a", 258)
        found = Pretrained(sg.GPT(config), special if tokenizer else None, begin=begin, stop=stop)
        save_pretrained(found, tmp_path / "model")
        return str(tmp_path / "model")

    return keep


def seen_by(monkeypatch):
    """What is asked of the generation: ids, and what ends them."""
    seen = []

    def fake(model, ids, length, *, stop_tokens, **others):
        seen.append((list(ids), stop_tokens))
        return iter([ord("b"), *stop_tokens[:1], ord("c")])

    monkeypatch.setattr(generation, "generate", fake)
    return seen


def test_the_token_that_begins_a_text_is_put_before_it_and_not_shown(kept, monkeypatch, capsys):
    model, seen = kept(), seen_by(monkeypatch)
    assert text_of(capsys, model, "--prompt", "ab") == "abb"
    assert text_of(capsys, model) == "b"
    assert seen == [([256, 97, 98], (257,)), ([256], (257,))]


def test_without_one_a_text_begins_as_after_the_end_of_another(kept, monkeypatch, capsys):
    model, seen = kept(begin=None), seen_by(monkeypatch)
    assert text_of(capsys, model, "--prompt", "ab") == "abb"
    assert text_of(capsys, model) == "b"
    assert seen == [([97, 98], (257,)), ([257], (257,))]


def test_nor_an_end_it_begins_with_a_new_line(kept, monkeypatch, capsys):
    model, seen = kept(begin=None, stop=()), seen_by(monkeypatch)
    assert text_of(capsys, model) == "bc"
    assert seen == [([10], ())]


def test_the_token_that_begins_a_text_takes_its_place_in_the_context(kept, capsys):
    model = kept()
    assert main(["sample", model, "--length", "0", "--prompt", "a" * 15]) == 0
    capsys.readouterr()
    message = refused(capsys, "sample", model, "--prompt", "a" * 16)
    assert "--prompt: expected at most 16 tokens, the model's context; got 17" in message


@pytest.mark.parametrize("number", ["1", "2"])
def test_a_byte_without_a_row_is_refused_before_anything_is_printed(tmp_path, capsys, number):
    """The ids of bytes that a vocabulary lacks lie beyond the model's: here from 0xc3 on."""
    config = sg.GPTConfig(vocab_size=0xC3, block_size=16, n_layer=1, n_head=1, n_embd=8)
    save_pretrained(Pretrained(sg.GPT(config), BPETokenizer()), tmp_path / "model")
    argv = [tmp_path / "model", "--length", "1", "--num-samples", number]
    capsys.readouterr()
    assert main(["sample", *map(str, argv), "--prompt", "aé"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "scratchgrad sample: error: --prompt has b'\\xc3', which this model was never shown and "
        "has no token for; leave it out\n"
    )
    assert text_of(capsys, *argv, "--prompt", "a")[0] == "a"  # and no note without a cause


def test_a_model_without_a_tokenizer_asks_for_one(kept, tmp_path, capsys):
    model = kept(tokenizer=False)
    capsys.readouterr()
    assert "has no tokenizer; give one with --tokenizer FILE" in refused(capsys, "sample", model)
    BPETokenizer(special_tokens=["<s>", "<e>"]).train("a", 258).save(tmp_path / "bpe.json")
    argv = [model, "--tokenizer", str(tmp_path / "bpe.json"), "--length", "0", "--prompt", "a"]
    assert text_of(capsys, *argv) == "a"
