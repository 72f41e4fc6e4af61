"""One step: what it measures, what it leaves alone, and when it refuses."""

import math

import numpy as np
import pytest

from scratchgrad.errors import CheckpointError, ConfigError, DataError, NonFiniteLossError
from scratchgrad.evaluate import evaluate_loss
from scratchgrad.gpt import GPT, GPTConfig
from scratchgrad.optim import cosine_schedule
from scratchgrad.train import trainer as module
from scratchgrad.train.config import PRESETS, ModelSettings, TrainConfig, resolve
from scratchgrad.train.trainer import Trainer

IDS = (np.arange(400) * 7 % 11).astype(np.uint8)
CONFIG = TrainConfig(steps=20, batch_size=4, warmup_steps=2, lr=1e-2, min_lr=1e-3, decay_steps=20)


def make(ids=IDS, config=CONFIG, **model):
    settings = {"vocab_size": 11, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 16} | model
    return Trainer(GPT(GPTConfig(**settings), seed=3), config, ids)


def snapshot(trainer):
    return trainer.model.state_dict(), trainer.optimizer.state_dict()


def restore(trainer, other):
    """Bring a trainer to where another is."""
    model, optimizer = snapshot(other)
    trainer.model.load_state_dict(model)
    trainer.restore(other.step, optimizer, other.state())


def same(first, second):
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
        for a, b in zip(first, second, strict=True)
    )


def change(config, **changes):
    return TrainConfig(**{**vars(config), **changes})


def test_steps_learn_and_report():
    trainer = make()
    results = [trainer.train_step() for _ in range(20)]
    assert [r.step for r in results] == list(range(1, 21))
    assert abs(results[0].loss - math.log(11)) < 0.2
    assert results[-1].loss < results[0].loss - 0.3
    assert [r.lr for r in results] == [cosine_schedule(s, 1e-2, 1e-3, 2, 20) for s in range(20)]
    assert all(r.grad_norm > 0 for r in results)


def test_accumulated_micro_batches_give_the_mean_gradient(monkeypatch):
    """Four micro-batches of one window each: the gradient of one batch that holds all four."""
    drawn = [module.batch(IDS[:360], CONFIG.seed, 0, 1, 8, micro_step=micro) for micro in range(4)]
    gradients = []

    def measure(params):
        gradients.append([p.grad.copy() for p in params])
        return 1.0

    monkeypatch.setattr(module, "grad_norm", measure)
    small = make(config=change(CONFIG, batch_size=1, grad_accum=4)).train_step()
    whole = tuple(np.concatenate(part) for part in zip(*drawn, strict=True))
    monkeypatch.setattr(module, "batch", lambda *args: whole)
    large = make(config=change(CONFIG, batch_size=4, grad_accum=1)).train_step()
    assert small.loss == pytest.approx(large.loss, rel=1e-6)
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_a_step_forgets_the_gradients_of_the_one_before(monkeypatch):
    """A trainer that goes on has the gradients of one that was restored at the same step."""
    gradients = []
    real = module.grad_norm

    def measure(params):
        params = list(params)
        gradients.append([p.grad.copy() for p in params])
        return real(params)

    monkeypatch.setattr(module, "grad_norm", measure)
    going, fresh = make(), make()
    going.train_step()
    restore(fresh, going)
    going.train_step()
    fresh.train_step()
    for a, b in zip(*gradients[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_step_and_micro_step_drops_others(monkeypatch):
    seeds = []
    real = GPT.seed_dropout
    monkeypatch.setattr(
        GPT, "seed_dropout", lambda self, *args: (seeds.append(args), real(self, *args))
    )
    trainer = make(config=change(CONFIG, grad_accum=2), dropout=0.5)
    trainer.train_step()
    trainer.train_step()
    seed = CONFIG.seed
    assert seeds == [(seed, 0, 0), (seed, 0, 1), (seed, 1, 0), (seed, 1, 1)]


def test_clipping_is_off_at_zero_and_the_norm_is_the_one_before():
    free, tight = make(config=change(CONFIG, clip=0.0)), make(config=change(CONFIG, clip=1e-3))
    full = free.train_step().grad_norm
    assert full == tight.train_step().grad_norm > 1e-3
    # m is (1 - beta1) times what the optimiser took for the gradient in its first step.
    for trainer, norm in ((free, full), (tight, 1e-3)):
        length = math.sqrt(sum(float((m**2).sum()) for m in trainer.optimizer.m))
        assert length == pytest.approx((1 - CONFIG.betas[0]) * norm, rel=1e-2)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(value):
    trainer = make()
    trainer.train_step()
    next(iter(trainer.model.parameters())).writable()[:] = value
    before = snapshot(trainer)
    with pytest.raises(NonFiniteLossError, match=r"step 2: the loss is .*learning rate .*norm"):
        trainer.train_step()
    after = snapshot(trainer)
    assert trainer.step == 1
    for a, b in zip(before, after, strict=True):
        assert all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


def test_a_norm_that_is_not_finite_stops_too(monkeypatch):
    trainer = make()
    before = snapshot(trainer)
    monkeypatch.setattr(module, "grad_norm", lambda params: math.inf)
    with pytest.raises(NonFiniteLossError, match=r"step 1: the gradient norm is inf .*none yet"):
        trainer.train_step()
    assert same(before, snapshot(trainer))
    assert trainer.step == 0


def test_a_validation_loss_that_is_not_finite_is_an_error(monkeypatch):
    trainer = make()
    monkeypatch.setattr(
        module, "evaluate_loss", lambda *args, **kw: module.Evaluation(math.nan, 3, True)
    )
    with pytest.raises(NonFiniteLossError, match="the validation loss is nan"):
        trainer.validate()


def test_evaluation_is_the_mean_over_every_token_the_short_last_window_too():
    trainer = make(dropout=0.5)
    for count in (2, 8, 9, 10, 41):
        ids = IDS[:count]
        got = evaluate_loss(trainer.model, ids, batch_size=2)
        assert all(part.training for part in trainer.model.modules())  # put back as it was
        expected = []
        trainer.model.eval()
        for start in range(0, count - 1, 8):
            inputs = ids[start : min(start + 8, count - 1)].astype(np.int64)
            logits = trainer.model(inputs[None])[0].data[0].astype(np.float64)
            logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
            targets = ids[start + 1 : start + 1 + len(inputs)]
            expected += list(-logits[np.arange(len(inputs)), targets])
        trainer.model.train()
        assert got.tokens == count - 1
        assert got.complete
        assert got.loss == pytest.approx(np.mean(expected), rel=1e-6)
    trainer.model.eval()
    evaluate_loss(trainer.model, IDS[:9])
    assert not any(part.training for part in trainer.model.modules())


def test_evaluation_while_training_reads_the_same_windows_each_time():
    trainer = make(np.tile(IDS, 10), change(CONFIG, eval_batches=2))
    first = trainer.validate()
    assert first == trainer.validate()
    assert (first.tokens, first.complete) == (2 * 4 * 8, False)
    assert trainer.validate(full=True).tokens == 399


def test_sampling_is_a_function_of_seed_and_step():
    trainer = make()
    prompt = IDS[:1]
    assert trainer.sample(prompt, 20) == trainer.sample(prompt, 20)
    first = trainer.sample(prompt, 20)
    trainer.step += 1
    assert trainer.sample(prompt, 20) != first
    assert all(0 <= i < 11 for i in first)


def test_a_text_shorter_than_the_context():
    with pytest.raises(DataError, match="too short: 9 tokens"):
        make(IDS[:9])


def test_restoring_moments_of_another_model_is_refused():
    trainer, other = make(), make(n_embd=32)
    with pytest.raises(CheckpointError):
        trainer.restore(1, other.optimizer.state_dict(), {})
    with pytest.raises(CheckpointError, match="damaged"):
        trainer.restore(1, trainer.optimizer.state_dict(), {"best": {"step": "x"}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", -1),
        ("steps", 2.5),
        ("batch_size", 0),
        ("grad_accum", 0),
        ("lr", 0.0),
        ("lr", math.nan),
        ("lr", math.inf),
        ("lr", "fast"),
        ("min_lr", 1.0),
        ("min_lr", -1e-4),
        ("warmup_steps", -1),
        ("beta1", 1.0),
        ("beta2", -0.1),
        ("eps", 0.0),
        ("weight_decay", -0.1),
        ("clip", -1.0),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", True),
        ("val_fraction", 0.0),
        ("val_fraction", 1.0),
        ("eval_every", -1),
        ("eval_batches", 0),
        ("sample_length", 0),
    ],
)
def test_a_number_out_of_its_range_is_named(name, value):
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        TrainConfig(**{name: value})


def test_presets():
    assert list(PRESETS) == ["tiny", "char", "llama", "baby"]
    model, train = resolve("char", {})
    assert model == ModelSettings(4, 4, 128, 64, 0.0, False, "pre")
    assert (train.batch_size, train.steps, train.lr, train.min_lr) == (12, 2000, 1e-3, 1e-4)
    assert (train.warmup_steps, train.betas, train.weight_decay) == (100, (0.9, 0.99), 0.1)
    assert (train.clip, train.decay_steps, train.val_fraction) == (1.0, 2000, 0.1)
    model, train = resolve("baby", {"steps": 30, "warmup_steps": 7, "dropout": None})
    assert (model.n_embd, model.block_size, model.dropout) == (384, 256, 0.2)
    assert (train.batch_size, train.decay_steps, train.warmup_steps) == (64, 30, 7)
    with pytest.raises(ConfigError, match="expected one of tiny, char, llama, baby"):
        resolve("huge", {})
    with pytest.raises(ConfigError, match="steps must be at least 1; got 0"):
        resolve("char", {"steps": 0})


def test_the_final_rate_follows_a_smaller_peak():
    assert resolve("char", {"lr": 1e-5})[1].min_lr == pytest.approx(1e-6)
    assert resolve("char", {"lr": 1e-2})[1].min_lr == 1e-4
    assert resolve("char", {"lr": 1e-5, "min_lr": 0.0})[1].min_lr == 0


def test_a_restored_trainer_takes_the_same_next_step():
    first, second = make(), make()
    for _ in range(3):
        first.train_step()
    restore(second, first)
    assert second.train_step() == first.train_step()
    assert same(snapshot(first), snapshot(second))
