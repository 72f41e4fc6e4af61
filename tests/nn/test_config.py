"""GPTConfig: what it counts is what is built, its presets, what it refuses."""

from typing import Any

import numpy as np
import pytest

import scratchgrad as sg
from scratchgrad.bench.count import OPERATIONS, captured
from scratchgrad.cases.variants import tiny_config
from scratchgrad.errors import CheckpointError, ConfigError
from scratchgrad.gpt.config import CHOICES
from scratchgrad.gpt.presets import PRESETS
from scratchgrad.operation import observe
from scratchgrad.train.config import CHOICES as choices_of_training
from scratchgrad.train.config import ModelSettings
from tests.nn.test_variants import Values, each

PARTS = {
    "token embedding": ("wte.",),
    "positions": ("wpe.",),
    "attention": ("attn.c_attn.", "attn.c_proj."),
    "mlp": ("mlp.",),
    "norms": ("ln_", "_norm."),
    "head": ("lm_head.",),
}


@each
def test_parameters_by_part(values: Values) -> None:
    model = sg.GPT(config := tiny_config(values, n_layer=2))
    built = {
        part: sum(p.size for n, p in model.named_parameters() if any(name in n for name in names))
        for part, names in PARTS.items()
    }
    assert config.parameters() == built
    assert config.num_parameters == model.num_parameters() == sum(built.values())


def test_the_inner_width_of_swiglu() -> None:
    """Two thirds of 4 C, up to a multiple of 8; three matrices then have what two had."""
    sizes = {"vocab_size": 9, "block_size": 4, "n_layer": 1, "n_head": 1, "mlp": "swiglu"}
    inner = [sg.GPTConfig(n_embd=c, **sizes).inner for c in (3, 6, 96, 100, 768)]
    assert inner == [8, 16, 256, 272, 2048]
    assert sg.GPTConfig(n_embd=96, n_inner=7, **sizes).inner == 7
    assert sg.GPTConfig(n_embd=96, **{**sizes, "mlp": "gelu"}).inner == 384


def test_a_billion_layers_are_counted_at_once() -> None:
    config = sg.GPTConfig.preset("gpt2", n_layer=10**9)
    outside = (50257 + 1024) * 768 + 2 * 768
    assert config.num_parameters == outside + 10**9 * (12 * 768**2 + 13 * 768)


PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "nanogpt-char": 804_096,
    "nanogpt-baby": 10_745_088,
    "stories260K": 260_032,
    "stories15M": 15_191_712,
    "stories42M": 41_689_600,
    "stories110M": 109_529_856,
    "smollm2-135m": 134_515_008,
    "tinyllama-1.1b": 1_100_048_384,
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_size_that_was_published(name: str) -> None:
    assert sg.GPTConfig.preset(name).num_parameters == PUBLISHED[name]


def test_presets_take_changes_and_names_are_checked() -> None:
    config = sg.GPTConfig.preset("gpt2", n_layer=1, vocab_size=9)
    assert (config.n_layer, config.vocab_size, config.n_embd) == (1, 9, 768)
    with pytest.raises(ConfigError, match="received 'gpt2-lrage'; did you mean 'gpt2-large'"):
        sg.GPTConfig.preset("gpt2-lrage")


# --------------------------------------------------------------- against a model that is running


class Watched:
    """What a forward pass multiplies, and what it keeps for the backward."""

    def __init__(self) -> None:
        self.products = 0.0
        self.kept: dict[int, np.ndarray] = {}

    def __call__(self, op: Any) -> Any:
        def run(*arrays: Any, **settings: Any) -> Any:
            value, backward = op.function(*arrays, **settings)
            if op.name == "linear":
                self.products += 2.0 * arrays[0].size * len(arrays[1])
            elif op.name == "causal_self_attention":
                self.products += OPERATIONS[op.name](arrays, value, settings)[0]
            pulls = backward if isinstance(backward, tuple) else (backward,)
            for pull in pulls:
                for array in captured(pull):
                    owner = array
                    while isinstance(owner.base, np.ndarray):
                        owner = owner.base
                    self.kept[owner.ctypes.data] = owner
            return value, backward

        return run


@each
@pytest.mark.parametrize("length", [16, 9])
def test_operations_are_those_of_the_products_that_run(values: Values, length: int) -> None:
    config = sg.GPTConfig(**{**vars(tiny_config(values, n_layer=2)), "block_size": 16})
    ids = np.zeros((3, length), dtype=int)
    with observe(watched := Watched()), sg.no_grad():
        sg.GPT(config)(ids)
    assert config.flops_per_token(length) == pytest.approx(watched.products / ids.size, rel=1e-12)
    assert config.flops_per_token(length, training=True) == 3 * config.flops_per_token(length)
    assert config.flops_per_token() == config.flops_per_token(16)


@each
def test_memory_is_what_is_held(values: Values) -> None:
    """Weights, gradients, moments and cache to the byte, and what a step keeps within 3 %."""
    changes = {"block_size": 64, "n_embd": 32, "n_inner": 48, "vocab_size": 7}
    changes |= {"embd_dropout": None, "attn_dropout": None, "resid_dropout": None}
    config = sg.GPTConfig(**{**vars(tiny_config(values, n_layer=3)), **changes})
    model = sg.GPT(config)
    ids = np.random.default_rng(0).integers(0, 7, (4, 64))
    with observe(watched := Watched()):
        loss = model.loss(ids, ids)
    parameters = {p.data.ctypes.data for p in model.parameters()}
    kept = sum(a.nbytes for place, a in watched.kept.items() if place not in parameters)
    memory = config.memory(batch_size=4)
    assert memory["activations"] == pytest.approx(kept, rel=0.03)
    loss.backward()
    assert memory["weights"] == sum(p.data.nbytes for p in model.parameters())
    assert memory["gradients"] == sum(p.grad.nbytes for p in model.parameters())
    moments = sg.optim.AdamW(list(model.parameters()))
    moments.step()
    state = moments.state_dict()
    held = [a for a in state.values() if isinstance(a, np.ndarray) and a.dtype == np.float32]
    assert memory["optimizer"] == sum(a.nbytes for a in held)
    cache = model.new_cache(batch=4)
    # A window's cache is largest on the way
    ways = [ids] if config.sliding_window is None else np.split(ids, ids.shape[1], axis=1)
    with sg.no_grad():
        for new in ways:
            model.eval().next_logits(new, cache)
    assert memory["kv_cache"] == sum(layer.keys.nbytes + layer.values.nbytes for layer in cache)
    doubled = config.memory(batch_size=4, itemsize=8)
    assert doubled == {part: 2 * n for part, n in memory.items()}


SMALLEST = {"vocab_size": 9, "block_size": 4, "n_layer": 1, "n_head": 2, "n_embd": 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "batchnorm"}, "norm to be 'layernorm' or 'rmsnorm', received 'batchnorm'"),
        ({"norm_position": "mid"}, "norm_position to be 'pre' or 'post', received 'mid'"),
        ({"mlp": "relu3"}, "mlp to be 'gelu' or .* received 'relu3'"),
        ({"mlp": ["gelu"]}, "mlp to be"),
        ({"position": "alibi"}, "position to be 'learned' or .* received 'alibi'"),
        ({"n_kv_head": 3}, "a multiple of n_kv_head, received n_head=2, n_kv_head=3"),
        ({"n_kv_head": 0}, "n_kv_head to be a whole number of at least 1, received 0"),
        ({"sliding_window": 0}, "sliding_window to be a whole number of at least 1, received 0"),
        ({"n_inner": 1.5}, "n_inner to be a whole number of at least 1, received 1.5"),
        ({"n_embd": 6, "position": "rope"}, "even head size .* n_embd / n_head = 3"),
        ({"rope_base": 0}, "rope_base to be a number above 0, received 0"),
        ({"rope_base": float("nan")}, "rope_base to be a number above 0, received nan"),
        ({"rope_base": 10**400}, "rope_base to be a number above 0"),
        ({"norm_eps": 10**400}, "norm_eps to be a number above 0"),
        ({"norm_eps": -1e-5}, "norm_eps to be a number above 0"),
        ({"attn_dropout": 1.0}, "attn_dropout to be a probability"),
        ({"dropout": None}, "dropout to be a probability"),
        ({"tied_head": 1}, "tied_head to be True or False, received 1"),
        ({"vocab_size": True}, "vocab_size to be a whole number"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sg.GPTConfig(**{**SMALLEST, **changes})


def test_sizes_may_be_numpys() -> None:
    config = sg.GPTConfig(**{**SMALLEST, "vocab_size": np.int64(9)}, n_inner=np.int32(3))
    assert config == sg.GPTConfig(**SMALLEST, n_inner=3)
    assert type(config.vocab_size) is type(config.inner) is int


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c: c.flops_per_token(0), "a length from 1 to block_size = 4, received 0"),
        (lambda c: c.flops_per_token(5), "a length from 1 to block_size = 4, received 5"),
        (lambda c: c.flops_per_token(2.5), "a length from 1 to block_size = 4, received 2.5"),
        (lambda c: c.flops_per_token("x"), "a length from 1 to block_size = 4, received 'x'"),
        (lambda c: c.memory(0), "a batch_size of at least 1, received 0"),
        (lambda c: c.memory(1.5), "a batch_size of at least 1, received 1.5"),
        (lambda c: c.memory("x"), "a batch_size of at least 1, received 'x'"),
        (lambda c: c.memory(1, 0), "an itemsize of at least 1, received 0"),
        (lambda c: c.preset(None), "expected one of gpt2, .* received None"),
        (lambda c: c.preset(["gpt2"]), "expected one of gpt2, "),
        (lambda c: c.preset("gpt2", heads=3), "expected changes of vocab_size, .* 'heads'"),
    ],
)
def test_what_is_asked_of_it_is_checked(ask: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(sg.GPTConfig(**SMALLEST))


def test_dropouts_follow_one_another() -> None:
    config = sg.GPTConfig(**SMALLEST, dropout=0.2, attn_dropout=0.0)
    assert [config.dropout_of(part) for part in ("embd", "attn", "resid")] == [0.2, 0.0, 0.2]


# ------------------------------------------------------------------------------ weights as given


@each
def test_from_state_takes_the_arrays_themselves(values: Values) -> None:
    model = sg.GPT(tiny_config(values)).eval()
    state = model.state_dict()
    other = sg.GPT.from_state(model.config, state).eval()
    for name, p in other.named_parameters():
        assert p.data is state[name]
    ids = np.array([[0, 1, 2, 3]])
    np.testing.assert_array_equal(other(ids)[0].numpy(), model(ids)[0].numpy())
    assert other.state_dict().keys() == state.keys()


def test_from_state_copies_what_kernels_cannot_read_as_it_lies() -> None:
    model = sg.GPT(sg.GPTConfig(**SMALLEST))
    state = model.state_dict()
    state["wte.weight"] = np.asfortranarray(state["wte.weight"])
    state["wpe.weight"].flags.writeable = False
    other = sg.GPT.from_state(model.config, state)
    for p in other.parameters():
        assert p.data.flags.c_contiguous
        assert p.data.flags.writeable
    np.testing.assert_array_equal(other([[0, 1]])[0].numpy(), model([[0, 1]])[0].numpy())


def test_from_state_checks_what_it_is_given() -> None:
    config = sg.GPTConfig(**SMALLEST)
    state = sg.GPT(config).state_dict()
    with pytest.raises(CheckpointError, match=r"ln_f\.bias is missing; wpe is left over"):
        sg.GPT.from_state(
            config, {"wpe": np.ones(3), **{k: v for k, v in state.items() if k != "ln_f.bias"}}
        )
    halves = {**state, "ln_f.bias": np.zeros(4, np.float16)}
    with pytest.raises(CheckpointError, match=r"ln_f\.bias should be float32 or float64"):
        sg.GPT.from_state(config, halves)
    mixed = {**state, "ln_f.bias": np.zeros(4)}
    with pytest.raises(CheckpointError, match="all should have one dtype"):
        sg.GPT.from_state(config, mixed)


def test_the_command_line_knows_the_same_choices() -> None:
    """`scratchgrad train` says them before it imports a model."""
    assert choices_of_training == CHOICES
    assert set(vars(ModelSettings())) <= set(sg.GPTConfig.__dataclass_fields__)
    config = sg.GPTConfig(vocab_size=9, **vars(ModelSettings()))
    assert config == sg.GPTConfig(9, 64, 4, 4, 128, bias=False)
