"""The rules of sampling, and their order, against Hugging Face's transformers."""

import numpy as np
import pytest

from scratchgrad.generate import History, Sampling, processed
from scratchgrad.generate.sampling import probabilities

torch = pytest.importorskip("torch", reason="needs PyTorch: install the extra 'parity'")
transformers = pytest.importorskip("transformers", reason="needs transformers")

V = 40
RULES = {
    "temperature": 0.6,
    "top_k": 9,
    "top_p": 0.83,
    "min_p": 0.11,
    "repetition_penalty": 1.3,
}


@pytest.fixture(scope="module")
def model():
    """Only what puts the rules in order is asked of it."""
    config = transformers.GPT2Config(vocab_size=V, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    return transformers.GPT2LMHeadModel(config)


def theirs(model, ids, logits, settings):
    settings = {"top_k": 0, **settings}  # transformers keeps the 50 likeliest unless told
    processors = model._get_logits_processor(
        generation_config=transformers.GenerationConfig(do_sample=True, **settings),
        input_ids_seq_length=len(ids),
    )
    scores = processors(torch.tensor(ids[None]), torch.tensor(logits[None]))
    return torch.softmax(scores, dim=-1)[0].numpy()


@pytest.mark.parametrize(
    "names",
    [[], *([name] for name in RULES), ["temperature", "top_p"], ["top_k", "top_p"], [*RULES]],
    ids=lambda names: "+".join(names) or "none",
)
def test_the_same_distribution(model, names):
    rng, settings = np.random.default_rng(7), {name: RULES[name] for name in names}
    for _ in range(50):
        logits, ids = 2 * rng.standard_normal(V), rng.integers(0, V, 6)
        got = probabilities(processed(logits, Sampling(**settings), History(V, ids)))
        np.testing.assert_allclose(got, theirs(model, ids, logits, settings), rtol=1e-9, atol=0)
