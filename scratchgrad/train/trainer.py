"""One training step, and the state that it changes.

The trainer knows nothing of folders, bars or signals: it holds the model, the optimiser and a
count of steps, and every step is a function of those, the data and the seed alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchgrad.data import batch, check_length, split
from scratchgrad.errors import CheckpointError, NonFiniteLossError
from scratchgrad.evaluate import Evaluation, evaluate_loss
from scratchgrad.generate import Sampling, generate
from scratchgrad.gpt import GPT
from scratchgrad.optim import (
    AdamW,
    clip_factor,
    cosine_schedule,
    grad_norm,
    parameter_groups,
)
from scratchgrad.train.config import TrainConfig


@dataclass(frozen=True)
class StepResult:
    """What one step measured.

    Attributes
    ----------
    step : int
        Updates done, this one included.
    loss : float
        Mean over the step's batch before the update, in nats a token.
    lr : float
    grad_norm : float
        Before clipping.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float


class Trainer:
    """A model, its optimiser, its data, and the number of steps done.

    Parameters
    ----------
    model : GPT
        Trained in place.
    config : TrainConfig
    ids : array of int, shape (N,)
        The whole text; the trainer holds back its end for validation.
    validation : array of int, optional
        What is held out, where the text was cut before it was encoded; ``ids`` are then all
        trained on.

    Raises
    ------
    DataError
        The text is too short for the model's context.
    """

    def __init__(
        self,
        model: GPT,
        config: TrainConfig,
        ids: NDArray[Any],
        validation: NDArray[Any] | None = None,
    ) -> None:
        self.model = model
        self.config = config
        self.training, self.validation = (
            split(ids, config.val_fraction) if validation is None else (ids, validation)
        )
        check_length(self.training, self.validation, model.config.block_size)
        self.optimizer = AdamW(
            parameter_groups(model, config.weight_decay),
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
        )
        self.step = 0
        self.best_step: int | None = None
        self.best_loss = math.inf
        self._last_norm: float | None = None

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one update learns from."""
        config = self.config
        return config.batch_size * config.grad_accum * self.model.config.block_size

    def train_step(self) -> StepResult:
        """Do one update.

        Raises
        ------
        NonFiniteLossError
            The loss or the gradient norm is not finite. The weights and the optimiser are
            then as they were before the call.
        """
        config = self.config
        lr = cosine_schedule(
            self.step, config.lr, config.min_lr, config.warmup_steps, config.decay_steps
        )
        if not self.model.training:
            self.model.train()
        self.optimizer.zero_grad()
        total = 0.0
        for micro_step in range(config.grad_accum):
            inputs, targets = batch(
                self.training,
                config.seed,
                self.step,
                config.batch_size,
                self.model.config.block_size,
                micro_step,
            )
            self.model.seed_dropout(config.seed, self.step, micro_step)
            loss = self.model.loss(inputs, targets)
            value = float(loss.item())
            if not math.isfinite(value):
                raise self._not_finite("the loss", value, lr)
            total += value
            # The mean over micro-batches: each one's gradient enters with its share.
            loss.backward(np.asarray(1.0 / config.grad_accum, dtype=loss.data.dtype))
        norm = grad_norm(self.optimizer.params)
        if not math.isfinite(norm):
            raise self._not_finite("the gradient norm", norm, lr)
        self.optimizer.step(lr=lr, scale=clip_factor(norm, config.clip or math.inf))
        self.step += 1
        self._last_norm = norm
        return StepResult(self.step, total / config.grad_accum, lr, norm)

    def _not_finite(self, what: str, value: float, lr: float) -> NonFiniteLossError:
        norm = "none yet" if self._last_norm is None else f"{self._last_norm:.3g}"
        return NonFiniteLossError(
            f"step {self.step + 1}: {what} is {value} (learning rate {lr:.3g}, last gradient norm "
            f"{norm}); stopped before the weights were touched"
        )

    def validate(self, *, full: bool = False, progress: Any = None) -> Evaluation:
        """Evaluate on fixed windows of the validation split, or on all of it.

        Raises
        ------
        NonFiniteLossError
            The validation loss is not finite, so the weights have gone wrong.
        """
        limit = None if full else self.config.eval_batches * self.config.batch_size
        result = evaluate_loss(
            self.model,
            self.validation,
            batch_size=self.config.batch_size,
            limit=limit,
            progress=progress,
        )
        if not math.isfinite(result.loss):
            raise NonFiniteLossError(
                f"step {self.step}: the validation loss is {result.loss}; these weights were not "
                f"saved"
            )
        return result

    def note_best(self, loss: float) -> bool:
        """Remember the step if its validation loss is the lowest so far; say whether it is."""
        if loss >= self.best_loss:
            return False
        self.best_loss, self.best_step = loss, self.step
        return True

    def sample(self, prompt: NDArray[Any], length: int) -> list[int]:
        """Continue a prompt, by a chance that depends on the seed and the step only."""
        # The third word keeps this stream apart from any other that a seed and a step may make.
        rng = np.random.default_rng([self.config.seed, self.step, 0x5A])
        new = generate(
            self.model,
            prompt[-self.model.config.block_size :],  # a tiny context may not hold "The "
            length,
            rng=rng,
            sampling=Sampling(temperature=0.8),
            on_slide=lambda _: None,  # a sample outgrows the context as a matter of course
        )
        return list(new)

    def state(self) -> dict[str, Any]:
        """Return the trainer's own part of a checkpoint, as JSON can carry it."""
        best = None if self.best_step is None else {"step": self.best_step, "loss": self.best_loss}
        return {"best": best, "last_grad_norm": self._last_norm}

    def restore(
        self,
        step: int,
        optimizer: dict[str, Any],
        state: dict[str, Any],
    ) -> None:
        """Go on from a checkpoint whose weights the model has already.

        Raises
        ------
        CheckpointError
            The moments do not fit the model, or the state is damaged.
        """
        self.optimizer.load_state_dict(optimizer)
        try:
            best, norm = state.get("best"), state.get("last_grad_norm")
            self.best_step = None if best is None else int(best["step"])
            self.best_loss = math.inf if best is None else float(best["loss"])
            self._last_norm = None if norm is None else float(norm)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint of step {step} is damaged: {error!r}") from None
        self.step = step
