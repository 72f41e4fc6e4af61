"""The whole model: gradients, causality, learning, repeatability, initialisation, bad input."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchgrad as sg
from scratchgrad.errors import ConfigError, IdRangeError, ShapeError
from tests.finite import check_gradients
from tests.nn.models import DEEP, batch, grown_up, tiny_config

VARIANTS = [
    pytest.param({"norm_position": norm, "bias": bias}, id=f"{norm} norm, bias={bias}")
    for norm in ("pre", "post")
    for bias in (True, False)
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_against_finite_differences(
    variant: dict[str, Any], rng: np.random.Generator
) -> None:
    model = grown_up(sg.GPT(tiny_config(**variant)))
    ids, targets = batch(model.config)
    check_gradients(lambda: model(ids, targets)[1], list(model.parameters()), rng, **DEEP)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_logits_too_against_finite_differences(
    variant: dict[str, Any], rng: np.random.Generator
) -> None:
    model = grown_up(sg.GPT(tiny_config(n_layer=1, **variant)))
    ids, _ = batch(model.config)
    check_gradients(lambda: model(ids)[0], list(model.parameters()), rng, **DEEP)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_loss_without_logits_is_the_loss_with_them(dropout: float) -> None:
    """Values and all gradients, the tied weight's from both its places; some targets ignored."""
    model = grown_up(sg.GPT(tiny_config(dropout=dropout)))
    ids, targets = batch(model.config)
    targets[0, 1] = -100
    losses, gradients = [], []
    for loss_of in (lambda: model(ids, targets)[1], lambda: model.loss(ids, targets)):
        model.zero_grad()
        model.seed_dropout(3, 1)
        loss = loss_of()
        loss.backward()
        losses.append(loss.item())
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for name, g in gradients[0].items():
        np.testing.assert_allclose(gradients[1][name], g, rtol=1e-9, atol=1e-12, err_msg=name)


def test_with_dropout_that_repeats_too(rng: np.random.Generator) -> None:
    model = grown_up(sg.GPT(tiny_config(n_layer=1, dropout=0.3)))
    ids, targets = batch(model.config)

    def loss() -> sg.Tensor:
        model.seed_dropout(1, 2)
        return model(ids, targets)[1]

    check_gradients(loss, list(model.parameters()), rng, **DEEP)


def test_the_gradient_of_the_tied_weight_is_the_sum_of_both_uses() -> None:
    model = grown_up(sg.GPT(tiny_config()))
    ids, targets = batch(model.config)
    model(ids, targets)[1].backward()
    together = model.wte.weight.grad

    model.zero_grad()
    model.lm_head.weight = sg.nn.Parameter(model.wte.weight.numpy())  # no longer tied
    model(ids, targets)[1].backward()
    apart = model.wte.weight.grad + model.lm_head.weight.grad
    np.testing.assert_allclose(together, apart, rtol=1e-12)
    assert np.abs(model.wte.weight.grad).max() > 1e-3
    assert np.abs(model.lm_head.weight.grad).max() > 1e-3


def test_the_tied_weight_is_counted_once() -> None:
    c = tiny_config()
    per_block = 12 * c.n_embd**2 + 13 * c.n_embd
    expected = (c.vocab_size + c.block_size) * c.n_embd + c.n_layer * per_block + 2 * c.n_embd
    assert sg.GPT(c).num_parameters() == expected


# ------------------------------------------------------------------------------------- causality

CAUSAL_MODELS = {
    norm: sg.GPT(tiny_config(vocab_size=11, block_size=9, n_embd=8, norm_position=norm), seed=3)
    for norm in ("pre", "post")
}


@given(data=st.data(), norm=st.sampled_from(["pre", "post"]))
def test_a_changed_token_leaves_all_earlier_logits_bit_equal(data: Any, norm: str) -> None:
    model = CAUSAL_MODELS[norm]
    token = st.integers(0, 10)
    ids = np.array([data.draw(st.lists(token, min_size=1, max_size=9))])
    t = data.draw(st.integers(0, ids.shape[1] - 1))
    changed = ids.copy()
    changed[0, t:] = (ids[0, t:] + data.draw(st.integers(1, 10))) % 11
    with sg.no_grad():
        before, after = model(ids)[0].numpy(), model(changed)[0].numpy()
    np.testing.assert_array_equal(before[:, :t], after[:, :t])
    assert (before[:, t] != after[:, t]).any()


@pytest.mark.parametrize("n_head", [1, 2])
def test_causality_over_a_context_longer_than_a_block_of_the_kernels(n_head: int) -> None:
    model = sg.GPT(tiny_config(vocab_size=11, block_size=150, n_head=n_head, n_embd=8))
    ids = np.random.default_rng(0).integers(0, 11, (1, 150))
    with sg.no_grad():
        before = model(ids)[0].numpy()
        for t in (1, 63, 64, 65, 128, 149):
            changed = ids.copy()
            changed[0, t] = (ids[0, t] + 1) % 11
            after = model(changed)[0].numpy()
            np.testing.assert_array_equal(before[:, :t], after[:, :t])
            assert (before[:, t:] != after[:, t:]).any(axis=-1).all()


def test_the_gradient_is_causal_too() -> None:
    model = grown_up(sg.GPT(tiny_config()))
    ids = np.array([[0, 1, 2, 3]])
    model(ids)[0][0, 1].sum().backward()
    used = np.abs(model.wpe.weight.grad).sum(axis=1) > 0
    assert used.tolist() == [True, True, False, False]


@pytest.mark.parametrize("norm", CAUSAL_MODELS)
def test_a_beginning_by_itself_has_the_logits_that_it_has_in_the_whole(norm: str) -> None:
    """Its positions are the first ones, whatever its length."""
    model = CAUSAL_MODELS[norm]
    ids = np.random.default_rng(0).integers(0, 11, (2, 9))
    with sg.no_grad():
        whole = model(ids)[0].numpy()
        for t in range(1, 9):
            alone = model(ids[:, :t])[0].numpy()
            np.testing.assert_allclose(alone, whole[:, :t], rtol=1e-5, atol=1e-6)


def test_rows_of_a_batch_do_not_touch_each_other() -> None:
    model = CAUSAL_MODELS["pre"]
    ids = np.random.default_rng(0).integers(0, 11, (3, 9))
    with sg.no_grad():
        together = model(ids)[0].numpy()
        changed = ids.copy()
        changed[1] = 0
        np.testing.assert_array_equal(model(changed)[0].numpy()[[0, 2]], together[[0, 2]])
        for row in range(3):
            alone = model(ids[row : row + 1])[0].numpy()
            np.testing.assert_allclose(alone[0], together[row], rtol=1e-5, atol=1e-6)


# -------------------------------------------------------------------------------------- learning


def trained(seed: int, steps: int, dropout: float = 0.0) -> tuple[sg.GPT, list[float]]:
    config = tiny_config(vocab_size=7, block_size=8, n_embd=16, dropout=dropout)
    model = sg.GPT(config, seed=seed)
    optimiser = sg.optim.AdamW(sg.optim.parameter_groups(model, 0.0), lr=1e-2, betas=(0.9, 0.95))
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 7, (2, 9))
    ids[:, 0] = 0, 1  # what follows can only be known if the rows differ from the start
    losses = []
    for step in range(steps):
        model.seed_dropout(seed, step)
        _, loss = model(ids[:, :-1], ids[:, 1:])
        loss.backward()
        sg.optim.clip_grad_norm(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return model, losses


def test_one_batch_is_learnt_by_heart() -> None:
    _, losses = trained(seed=0, steps=150)
    assert losses[0] == pytest.approx(np.log(7), abs=0.15)
    assert losses[-1] < 0.01


def test_the_same_seed_gives_the_same_bits() -> None:
    first, first_losses = trained(seed=1, steps=12, dropout=0.2)
    again, again_losses = trained(seed=1, steps=12, dropout=0.2)
    assert first_losses == again_losses
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    other, other_losses = trained(seed=2, steps=12, dropout=0.2)
    assert other_losses != first_losses
    assert (other.wte.weight.numpy() != first.wte.weight.numpy()).any()


def test_fresh_models_of_one_seed_are_equal_and_of_two_are_not() -> None:
    one, same, other = (sg.GPT(tiny_config(), seed=seed).state_dict() for seed in (4, 4, 5))
    for name, value in one.items():
        np.testing.assert_array_equal(value, same[name])
    assert (one["wpe.weight"] != other["wpe.weight"]).any()


def test_dropout_is_a_function_of_seed_step_and_micro_step() -> None:
    model = sg.GPT(tiny_config(n_embd=16, dropout=0.3))
    ids, _ = batch(model.config)

    def logits(*seeds: int) -> np.ndarray:
        model.seed_dropout(*seeds)
        with sg.no_grad():
            return model(ids)[0].numpy()

    first = logits(1, 2, 3)
    np.testing.assert_array_equal(logits(1, 2, 3), first)
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        assert (logits(*other) != first).any()
    model.eval()
    np.testing.assert_array_equal(logits(1, 2, 3), logits(4, 5, 6))


def test_layers_drop_different_elements() -> None:
    model = sg.GPT(tiny_config(dropout=0.5))
    model.seed_dropout(1, 1)
    draws = [m.rng.random(8).tolist() for m in model.modules() if isinstance(m, sg.nn.Dropout)]
    assert len(draws) == 1 + 3 * model.config.n_layer
    assert len({tuple(draw) for draw in draws}) == len(draws)


# -------------------------------------------------------------------------------- initialisation


def test_the_initialisation_table() -> None:
    config = sg.GPTConfig(vocab_size=300, block_size=200, n_layer=8, n_head=4, n_embd=128)
    model = sg.GPT(config)
    for name, parameter in model.named_parameters():
        values = parameter.numpy()
        assert values.dtype == np.float32
        if name.endswith("bias"):
            assert (values == 0).all(), name
        elif parameter.ndim == 1:
            assert (values == 1).all(), name
        else:
            expected = 0.02 / np.sqrt(2 * 8) if name.endswith("c_proj.weight") else 0.02
            assert values.std() == pytest.approx(expected, rel=0.03), name
            assert abs(values.mean()) < 5 * expected / np.sqrt(values.size), name
    names = {name for name, _ in model.named_parameters()}
    assert sum(name.endswith("c_proj.weight") for name in names) == 16


def test_a_fresh_model_knows_nothing() -> None:
    config = tiny_config(vocab_size=64, n_embd=32, block_size=16)
    ids, targets = batch(config, rows=8)
    _, loss = sg.GPT(config)(ids, targets)
    assert loss.item() == pytest.approx(np.log(64), abs=0.05)


# ------------------------------------------------------------------------------- what it is given


def test_with_and_without_targets() -> None:
    model = sg.GPT(tiny_config())
    ids, targets = batch(model.config)
    logits, loss = model(ids)
    assert logits.shape == (2, 4, 5)
    assert loss is None
    logits, loss = model(ids.tolist(), targets.tolist())
    assert loss.shape == ()
    assert logits.dtype == loss.dtype == np.float32
    assert model(sg.tensor(ids))[0].shape == (2, 4, 5)


def test_any_length_up_to_the_context() -> None:
    model = sg.GPT(tiny_config())
    for t in range(1, 5):
        assert model(np.zeros((1, t), int))[0].shape == (1, t, 5)


@pytest.mark.parametrize("shape", [(4,), (1, 5), (1, 0), (1, 1, 4), ()])
def test_ids_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"GPT: expected ids of shape \(B, T\) with T from 1 to 4"):
        sg.GPT(tiny_config())(np.zeros(shape, int))


def test_ids_and_targets_out_of_range() -> None:
    model = sg.GPT(tiny_config())
    with pytest.raises(IdRangeError, match="received 5 at position"):
        model(np.array([[0, 5]]))
    with pytest.raises(IdRangeError, match="cross_entropy"):
        model(np.array([[0, 1]]), np.array([[1, 5]]))
    with pytest.raises(ShapeError, match="cross_entropy"):
        model(np.array([[0, 1]]), np.array([[1]]))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"n_head": 3}, "n_embd=4, n_head=3"),
        ({"vocab_size": 0}, "vocab_size to be a whole number of at least 1, received 0"),
        ({"block_size": -1}, "block_size"),
        ({"n_layer": 1.5}, "n_layer"),
        ({"n_head": True}, "n_head"),
        ({"n_embd": "4"}, "n_embd"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.5}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"norm_position": "none"}, "'pre' or 'post', received 'none'"),
    ],
)
def test_configurations_that_make_no_model(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        tiny_config(**changes)
