"""Each example runs clean, says what it should, and notices when a formula in it is broken."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples"


def run(script, *options, folder=ROOT):
    """Run a script as a user would, but with every warning an error."""
    places = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in places if p)}
    return subprocess.run(
        [sys.executable, "-W", "error", str(script), *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=540,
        check=False,
    )


def output_of(name, *options, folder=ROOT):
    """What the example prints; it must end well and say nothing to stderr."""
    done = run(FOLDER / name, *options, folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def broken(tmp_path, name, right, wrong, *options):
    """Run a copy of the example in which one formula is wrong."""
    source = (FOLDER / name).read_text(encoding="utf-8")
    assert source.count(right) == 1, f"{right!r} should stand once in {name}"
    copy = tmp_path / name
    copy.write_text(source.replace(right, wrong), encoding="utf-8")
    return run(copy, *options)


def number_after(text, words):
    found = re.search(re.escape(words) + r"\s*([-+.\d]+)", text)
    assert found, f"{words!r} is not in the output:\n{text}"
    return float(found[1])


def test_every_example_is_tested_and_listed():
    names = sorted(path.name for path in FOLDER.glob("*.py"))
    here = Path(__file__).read_text(encoding="utf-8")
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert names
    assert [name for name in names if f'output_of("{name}"' not in here] == []
    assert [name for name in names if f"]({name})" not in index] == []


# ------------------------------------------------------------------------------- 01, chain rule


def test_chain_rule_agrees_three_ways():
    text = output_of("01_chain_rule_by_hand.py")
    rows = re.findall(r"d/d\w\s+(\S+)\s+(\S+)\s+(\S+)", text)
    assert len(rows) == 4
    assert all(len(set(row)) == 1 for row in rows)
    assert text.count("all three agree") == 2


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ds = dy * 2 * s", "ds = dy * s"),
        ("da = du * b", "da = du * a"),
        ("dx = through_p + through_q", "dx = through_q"),
    ],
)
def test_chain_rule_notices_a_wrong_slope(tmp_path, right, wrong):
    done = broken(tmp_path, "01_chain_rule_by_hand.py", right, wrong)
    assert done.returncode == 1
    assert "disagree" in done.stderr


# ----------------------------------------------------------------------------------- 02, spiral


def test_spiral_is_learnt_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    text = output_of("02_spiral_classifier.py", "--plot", "map.png", folder=tmp_path)
    assert number_after(text, "accuracy on the training points:") > 0.95
    assert number_after(text, "accuracy on new points:") > 0.95
    rows = [line for line in text.splitlines() if re.fullmatch(r"  [.:\-ABC]{72}", line)]
    assert len(rows) == 34
    assert set("".join(rows)) == set(" .:-ABC")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_spiral_cannot_be_learnt_by_straight_lines(tmp_path):
    source = FOLDER / "02_spiral_classifier.py"
    copy = tmp_path / source.name
    text = source.read_text(encoding="utf-8")
    assert text.count("F.relu(") == 2
    copy.write_text(text.replace("F.relu(", "("), encoding="utf-8")
    done = run(copy, "--steps", "200")
    assert done.returncode == 0, done.stderr
    assert number_after(done.stdout, "accuracy on new points:") < 0.8


# -------------------------------------------------------------------------------- 03, attention


def test_attention_backward_agrees_everywhere():
    text = output_of("03_attention_backward.py")
    rows = re.findall(r"^  (\w+)\s+\(.*?\)\s+largest error (\S+)   against (.+)$", text, re.M)
    assert [name for name, _, against in rows if "differences" in against] == [
        "dP",
        "dS",
        "dQ",
        "dK",
        "dV",
    ]
    assert [name for name, _, against in rows if "F.scaled" in against] == ["O", "dQ", "dK", "dV"]
    assert len(rows) == 11
    assert all(float(error) < 1e-7 for _, error, _ in rows)
    assert text.endswith("all gradients agree\n")


@pytest.mark.parametrize(
    ("right", "wrong", "caught"),
    [
        ("dP = dO @ V.T", "dP = 2 * dO @ V.T", "dP"),
        ("dV = P.T @ dO", "dV = P @ dO", "dV"),
        ("P * (dP - (dP * P).sum(axis=1, keepdims=True))", "P * dP", "dS"),
        ("dQ = dS @ K * SCALE", "dQ = dS @ K", "dQ"),
        ("dK = dS.T @ Q * SCALE", "dK = dS @ Q * SCALE", "dK"),
        ("(dO * O).sum(axis=1)", "(dO * dO).sum(axis=1)", "D"),
    ],
)
def test_attention_notices_a_wrong_formula(tmp_path, right, wrong, caught):
    done = broken(tmp_path, "03_attention_backward.py", right, wrong)
    assert done.returncode == 1
    assert f"{caught} is wrong" in done.stderr


# -------------------------------------------------------------------------------- 04, char GPT


def losses(text):
    return [float(loss) for loss in re.findall(r"^step +\d+   loss (\S+)", text, re.M)]


def test_char_gpt_learns():
    text = output_of("04_char_gpt.py", "--steps", "60")
    found = losses(text)
    assert len(found) == 3
    knowing_nothing = number_after(text, "= ")
    assert abs(found[0] - knowing_nothing) < 0.2
    assert found[-1] < 3.3
    assert number_after(text, "validation loss:") < 3.3
    assert len(text.split("---- what it writes ----\n")[1]) >= 300


def test_char_gpt_does_not_learn_without_its_gradient(tmp_path):
    done = broken(tmp_path, "04_char_gpt.py", "    optimizer.step(lr=", "    str(", "--steps", "20")
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout)[-1] > 4.0


# ------------------------------------------------------------------------- 05, your own gradient


def test_gradcheck_passes_the_right_and_refuses_the_wrong():
    text = output_of("05_check_your_own_gradient.py")
    verdicts = re.findall(r"^  (right|WRONG): ", text, re.M)
    assert verdicts == ["right", "WRONG", "right", "WRONG", "right", "right", "right", "WRONG"]
    assert "gradcheck of normalise_wrong: 12 of 12 entries are wrong" in text
    assert "Likely cause: a term is missing or too much: the error is the output times" in text
    assert "Likely cause: missing sum over the broadcast axis 0 of the vjp's result" in text
    assert text.endswith("the right ones passed, the wrong ones were caught\n")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(dy - y * (dy * y).sum(axis=-1, keepdims=True)) / n", "dy / n"),
        ("return x / n, lambda dy: dy / n", "return x * 1.0, lambda dy: dy"),
        ("lambda dy: dy * a * sharpness * (1 - t * t)", "lambda dy: dy * a * (1 - t * t)"),
    ],
)
def test_own_gradient_example_stops_when_a_verdict_changes(tmp_path, right, wrong):
    done = broken(tmp_path, "05_check_your_own_gradient.py", right, wrong)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_property_test_example():
    *right, wrong = output_of("06_property_test.py").splitlines()
    assert right == [f"test_{name}: holds" for name in ("softplus", "blend", "centre")]
    assert wrong.startswith("wrong: gradcheck of centre_wrong: 12 of 12 entries are wrong")
    assert "something constant along axis 1" in wrong


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("lambda dy: dy * (1 - w),", "lambda dy: dy * w,"),
        ("return (1 - w) * a + w * b", "return (1 - w) * a + w * a"),
        ("lambda dy: dy * 1  # the", "lambda dy: dy - dy.mean(-1, keepdims=True)  # the"),
    ],
)
def test_property_test_example_stops_when_a_formula_is_wrong(tmp_path, right, wrong):
    done = broken(tmp_path, "06_property_test.py", right, wrong)
    assert done.returncode == 1
    assert re.search("GradcheckError|AssertionError|the wrong operation passed", done.stderr)


# --------------------------------------------------------------------------- 07, byte pairs


def test_byte_pairs_example():
    text = output_of("07_byte_pairs.py")
    assert "aaabdaaabac: merge [(97, 97), (97, 98), (256, 257)]" in text
    assert "  (256, 257) -> 258: [258, 100, 258, 97, 99]" in text
    assert "the same 100 merges by the definition: True" in text
    assert " | \\xc3 | \\xaf | ve | " in text
    assert text.endswith("and come back as they were: True\n")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(-counts[pair], pair)", "(-counts[pair], -pair[0])"),
        ("if out and (out[-1], id_) == pair:", "if False:"),
    ],
)
def test_byte_pairs_example_notices_another_definition(tmp_path, right, wrong):
    done = broken(tmp_path, "07_byte_pairs.py", right, wrong)
    assert done.returncode == 0, done.stderr
    assert "the same 100 merges by the definition: False" in done.stdout


# ------------------------------------------------------------------------------- 08, a Llama


def test_llama_example():
    text = output_of("08_llama_by_another_name.py", "--steps", "40")
    assert re.search(r"attention +111,744 +73,728\n", text)
    found = losses(text)
    assert found[0] == pytest.approx(np.log(512), abs=0.2)
    assert found[-1] < 5.5
    for rule in ("greedy", "top-p 0.9", "greedy, what was said costs"):
        assert f"---- {rule} ----\nThe " in text
    assert "config.json model.safetensors tokenizer.json tokenizer_config.json" in text
    assert text.endswith("read back: the same logits, the same ids\n")


def test_llama_example_notices_weights_that_changed(tmp_path):
    right = "again = read_pretrained(place)"
    wrong = right + "; again.model.ln_f.weight.data[0] += 1"
    done = broken(tmp_path, "08_llama_by_another_name.py", right, wrong, "--steps", "2")
    assert done.returncode == 1
    assert "the weights came back changed" in done.stderr
