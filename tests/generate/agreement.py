"""Whether a model says the same with its cache as without, at every step that the loop takes."""

import numpy as np

import scratchgrad as sg
from scratchgrad.generate import complete


class Recorded:
    """A model whose logits are noted as it goes, in turn: all that the loop knows of one."""

    def __init__(self, model):
        self.model, self.config, self.logits, self.shapes = model, model.config, [], []
        self.new_cache, self.train, self.eval = model.new_cache, model.train, model.eval

    @property
    def training(self):
        return self.model.training

    def next_logits(self, ids, cache):
        logits = self.model.next_logits(ids, cache)
        self.logits.append(np.array(logits.data))
        self.shapes.append(ids.shape)
        return logits


def cache_agrees(model, ids, steps, tolerance=1e-5):
    """Generate, and hold the logits of every step to a whole forward pass without a cache.

    Parameters
    ----------
    model : GPT
    ids : array of int, shape (B, T)
        Prompts.
    steps : int
        Tokens to generate; more than ``block_size - T`` to go past the context.
    tolerance : float
        The most by which a logit may be off, in units of the largest logit or of 1.

    Returns
    -------
    float
        The largest deviation, in those units.
    """
    recorded, block_size = Recorded(model), model.config.block_size
    text = complete(recorded, ids, steps, seed=5)  # (B, T + steps)
    assert len(recorded.logits) == steps
    model.eval()
    start, worst = np.shape(ids)[1], 0.0
    for step, logits in enumerate(recorded.logits):
        end = start + step
        with sg.no_grad():
            whole = model(text[:, max(0, end - block_size) : end])[0].numpy()[:, -1]  # (B, V)
        assert logits.dtype == whole.dtype
        off = np.abs(logits - whole).max() / max(1.0, np.abs(whole).max())
        assert off <= tolerance, f"step {step}, {end} tokens: off by {off:.2e} of the largest logit"
        worst = max(worst, float(off))
    return worst
