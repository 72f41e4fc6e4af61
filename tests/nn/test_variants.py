"""What GPTConfig can choose, in pairs: gradients, causality, the cache, the spelling out."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.cases.variants import SWITCHES, check_model, tiny_config
from scratchgrad.nn import transformer
from scratchgrad.ops import composite
from tests.generate.agreement import cache_agrees
from tests.nn.models import grown_up
from tests.nn.plain_gpt import plain_logits

Values = Mapping[str, str]


def pairs_of(values: Values) -> set[Any]:
    return set(combinations(sorted(values.items()), 2))


def covering() -> list[dict[str, str]]:
    """Choices of values such that any two values of two switches meet in one of them. Greedy."""
    rng = np.random.default_rng(0)
    left = set()
    for first, second in combinations(sorted(SWITCHES), 2):
        left |= {((first, a), (second, b)) for a in SWITCHES[first] for b in SWITCHES[second]}
    chosen = []
    while left:
        draws = [{n: str(rng.choice(list(o))) for n, o in SWITCHES.items()} for _ in range(200)]
        for draw in draws:  # one of the pairs that are left is in each
            draw.update(dict(sorted(left)[int(rng.integers(len(left)))]))
        best = max(draws, key=lambda values: len(pairs_of(values) & left))
        chosen.append(best)
        left -= pairs_of(best)
    return chosen


COVERING = covering()


def named(values: Values) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


each = pytest.mark.parametrize("values", COVERING, ids=named)


def test_any_two_values_meet() -> None:
    met = set().union(*map(pairs_of, COVERING))
    for first, second in combinations(sorted(SWITCHES), 2):
        for a in SWITCHES[first]:
            assert {((first, a), (second, b)) for b in SWITCHES[second]} <= met


def test_every_switch_of_the_configuration_is_here() -> None:
    sizes = {"vocab_size", "block_size", "n_layer", "n_head", "n_embd", "n_inner", "norm_eps"}
    fields = set(sg.GPTConfig.__dataclass_fields__) - sizes
    of_a_switch = {"rope_interleaved": "position", "rope_base": "position"}
    of_a_switch |= {f"{part}_dropout": "dropout" for part in ("embd", "attn", "resid")}
    assert {of_a_switch.get(name, name) for name in fields} == set(SWITCHES)


@each
def test_every_entry_of_every_parameter_against_finite_differences(values: Values) -> None:
    report = check_model(values, np.random.default_rng(1), max_entries=100_000)
    model = sg.GPT(tiny_config(values))
    outputs_and_more = report.entries
    assert outputs_and_more >= model.num_parameters()


@each
def test_logits_equal_the_plain_definition(values: Values) -> None:
    model = grown_up(sg.GPT(tiny_config(values, n_layer=2))).eval()
    ids = np.random.default_rng(0).integers(0, 5, (3, 4))
    got = model(ids)[0].numpy()
    wanted = [plain_logits(model.config, model.state_dict(), row) for row in ids]
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


def model_of(values: Values, **changes: Any) -> sg.GPT:
    """A model of two layers, with a context longer than a block of the kernels."""
    config = tiny_config(values, n_layer=2)
    config = sg.GPTConfig(**{**vars(config), "block_size": 70, "vocab_size": 11, **changes})
    return sg.GPT(config, seed=3).eval()


@each
def test_a_changed_token_leaves_all_earlier_logits_bit_equal(values: Values) -> None:
    model = model_of(values)
    ids = np.random.default_rng(0).integers(0, 11, (2, 70))
    with sg.no_grad():
        before = model(ids)[0].numpy()
        for t in (0, 1, 33, 64, 69):
            changed = ids.copy()
            changed[:, t:] = (ids[:, t:] + 1) % 11
            after = model(changed)[0].numpy()
            np.testing.assert_array_equal(before[:, :t], after[:, :t])
            assert (before[:, t] != after[:, t]).any()


@pytest.mark.parametrize("window", [1, 3, 63, 64, 65])
def test_a_token_behind_the_window_of_all_layers_changes_no_bit(window: int) -> None:
    values = {"sliding_window": "2", "position": "rope"}
    model = model_of(values, sliding_window=window, block_size=200)
    ids = np.random.default_rng(0).integers(0, 11, (1, 200))
    reach = 2 * (window - 1)  # each of two layers looks so far back
    with sg.no_grad():
        before = model(ids)[0].numpy()
        for t in (0, 5, 64):
            changed = ids.copy()
            changed[0, t] = (ids[0, t] + 1) % 11
            differs = (model(changed)[0].numpy() != before).any(axis=-1)[0]
            assert differs[t]
            assert not differs[:t].any()
            assert not differs[t + reach + 1 :].any()
            assert differs[min(t + reach, 199)] or reach > 60


@pytest.mark.parametrize("window", [1, 40, 64, 65, 150, 500])
def test_windows_longer_than_a_block_equal_a_mask(window: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 200, (4 + 2 * 2) * 6))
    c = rng.standard_normal((2, 200, 24))
    results = []
    for function in (sg.causal_self_attention, composite.causal_self_attention):
        qkv = sg.tensor(x, requires_grad=True)
        y = function(qkv, 4, 2, window=window)
        y.backward(c)
        results.append((y.numpy(), qkv.grad))
    (fused, fused_gradient), (spelled, gradient) = results
    np.testing.assert_allclose(fused, spelled, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fused_gradient, gradient, rtol=1e-9, atol=1e-11)


@each
def test_generating_agrees_with_the_whole_text_past_the_context_too(values: Values) -> None:
    model = grown_up(model_of(values, block_size=7)).astype(np.float32)
    cache_agrees(model, np.array([[0, 1, 2], [5, 4, 3]]), 9)


def test_a_model_generates() -> None:
    model = model_of({"position": "rope"})
    text = model.generate([[1, 2], [3, 4]], 5, seed=3, top_k=4)
    assert text.shape == (2, 7)
    np.testing.assert_array_equal(text[:, :2], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(model.generate([1, 2], 5, seed=3, top_k=4), text[0])
    best = model.generate([1, 2], 1, greedy=True)[-1]
    with sg.no_grad():
        assert best == model(np.array([[1, 2]]))[0].numpy()[0, -1].argmax()


@each
def test_the_cache_gives_the_logits_of_the_whole_text_at_every_step(values: Values) -> None:
    model = grown_up(model_of(values)).astype(np.float32)
    ids = np.random.default_rng(0).integers(0, 11, (2, 70))
    with sg.no_grad():
        whole = model(ids)[0].numpy()
        cache = model.new_cache(batch=2)
        scale = np.abs(whole).max()
        for start, stop in [(0, 3), *((t, t + 1) for t in range(3, 66)), (66, 70)]:
            logits = model.next_logits(ids[:, start:stop], cache).numpy()
            np.testing.assert_allclose(logits, whole[:, stop - 1], rtol=0, atol=1e-5 * scale)


def spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks made of small operations only."""
    for name in ("layer_norm", "rms_norm", "linear", "rope"):
        monkeypatch.setattr(sg.nn.functional, name, getattr(composite, name))

    def attention(qkv: Any, n_head: int, n_kv_head: int, dropout_p: Any, rng: Any, window: Any):
        return composite.causal_self_attention(qkv, n_head, n_kv_head, window=window)

    monkeypatch.setattr(sg.nn.functional, "causal_self_attention", attention)
    activations = {
        "gelu": composite.gelu,
        "gelu_tanh": lambda x: composite.gelu(x, "tanh"),
        "relu": lambda x: sg.maximum(x, 0.0),
        "relu2": lambda x: sg.maximum(x, 0.0) ** 2,
        "swiglu": composite.swiglu,
    }
    monkeypatch.setattr(transformer, "ACTIVATIONS", activations)


@each
def test_fused_and_spelled_out_agree(values: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    ids, targets = np.random.default_rng(0).integers(0, 5, (2, 2, 4))
    for spell in (False, True):
        if spell:
            spelled_out(monkeypatch)
        model = grown_up(sg.GPT(tiny_config(values, n_layer=2))).eval()
        logits, loss = model(ids, targets)
        loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        results.append((logits.numpy(), loss.item(), gradients))
    (fused, fused_loss, fused_gradients), (spelled, spelled_loss, gradients) = results
    np.testing.assert_allclose(fused, spelled, rtol=1e-9, atol=1e-11)
    assert fused_loss == pytest.approx(spelled_loss, rel=1e-11)
    for name, g in gradients.items():
        scale = np.abs(g).max()
        np.testing.assert_allclose(fused_gradients[name], g, rtol=0, atol=1e-9 * scale + 1e-13)
