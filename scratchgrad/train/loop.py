"""The loop round the step: when to evaluate, to sample, to save, to stop.

Order within a step, on which resuming bit for bit rests: train, evaluate, log, sample, and the
checkpoint last. So whatever a checkpoint claims to have done is on the disk before it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from scratchgrad.errors import NonFiniteLossError
from scratchgrad.evaluate import bits_per_byte
from scratchgrad.kernels.jit import on_compile
from scratchgrad.kernels.warm_up import warm_up
from scratchgrad.tokenizer import byte_length
from scratchgrad.train.checkpoint import keep_only, list_checkpoints, write_checkpoint
from scratchgrad.train.interrupt import Interrupt
from scratchgrad.train.log import Log, Record
from scratchgrad.train.progress import Reporter
from scratchgrad.train.run import prompt_of
from scratchgrad.train.session import Session


@dataclass(frozen=True)
class Outcome:
    """How a sitting ended.

    Attributes
    ----------
    finished : bool
        False if it was stopped.
    step : int
    train_loss : float or None
        Of the last step done in this sitting.
    val_loss : float or None
        Over the whole validation split, at the end only.
    val_bits_per_byte : float or None
        The same, as a measure that does not depend on the vocabulary.
    sample : str
        Text of the final model, at the end only.
    elapsed : float
        Seconds of work, over all sittings.
    """

    finished: bool
    step: int
    train_loss: float | None
    val_loss: float | None
    val_bits_per_byte: float | None
    sample: str
    elapsed: float


def run_training(session: Session, reporter: Reporter, interrupt: Interrupt) -> Outcome:
    """Train to the last step, or until the interrupt is raised.

    Raises
    ------
    NonFiniteLossError
        The training went wrong; the message names the last good checkpoint.
    OSError
        The disk is full or may not be written; the checkpoints so far stay whole.
    """
    try:
        return _Loop(session, reporter, interrupt).run()
    finally:
        reporter.close()


class _Loop:
    """The state of one sitting."""

    def __init__(self, session: Session, reporter: Reporter, interrupt: Interrupt) -> None:
        self.session = session
        self.trainer = session.trainer
        self.config = session.config.train
        self.reporter = reporter
        self.interrupt = interrupt
        self.log = Log(session.run.log)
        self.tokens = session.tokens
        self.kernels = (0, 0)
        self.began = time.perf_counter() - session.elapsed

    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    def run(self) -> Outcome:
        self.reporter.begin(self.session)
        with on_compile(self.compiling):
            self.prepare()
            if self.interrupt:
                return self.stopped(None)
            return self.train()

    def train(self) -> Outcome:
        train_loss = None
        while not self.last:
            try:
                record, best = self.step()
            except NonFiniteLossError as error:
                raise NonFiniteLossError(f"{error}; {self.way_out()}") from None
            train_loss = record["train_loss"]
            self.log.write(record)
            self.reporter.step(record)
            if self.due(self.config.sample_every):
                self.sample()
            stop = bool(self.interrupt)
            if stop and not self.last:
                return self.stopped(train_loss)
            if best or self.due(self.config.checkpoint_every):
                self.save()
        return self.finish(train_loss)

    def prepare(self) -> None:
        """Have every kernel ready, so that the first step is as quick as the second."""
        c = self.trainer.model.config
        for done, total, _ in warm_up(variant=(c.norm, c.mlp, c.position)):
            self.kernels = (done, total)
            if self.interrupt:
                return

    def compiling(self, kernel: str) -> None:
        """Pass on that a kernel is compiled. Loading it from the cache is not worth a word."""
        self.reporter.compiling(*self.kernels)

    def stopped(self, train_loss: float | None) -> Outcome:
        """Save, and leave."""
        self.save()
        return Outcome(False, self.trainer.step, train_loss, None, None, "", self.elapsed())

    @property
    def last(self) -> bool:
        return self.trainer.step >= self.config.steps

    def due(self, every: int) -> bool:
        """Whether the present step is one of every so many, or the last."""
        return self.last or (every > 0 and self.trainer.step % every == 0)

    def step(self) -> tuple[Record, bool]:
        """Train, and evaluate where it is due; return the record, and whether it is the best."""
        began = time.perf_counter()
        result = self.trainer.train_step()
        seconds = time.perf_counter() - began
        self.tokens += self.trainer.tokens_per_step
        record: Record = {
            "step": result.step,
            "train_loss": result.loss,
            "lr": result.lr,
            "grad_norm": result.grad_norm,
            "tokens": self.tokens,
            "tokens_per_second": round(self.trainer.tokens_per_step / seconds, 1),
        }
        best = False
        if self.due(self.config.eval_every):
            evaluation = self.trainer.validate(progress=self.reporter.evaluating)
            best = self.trainer.note_best(evaluation.loss)
            record["val_loss"] = evaluation.loss
            record["val_scope"] = "full" if evaluation.complete else "batches"
        record["elapsed"] = round(self.elapsed(), 3)
        return record, best

    def sample(self) -> None:
        text = self.sample_text()
        self.session.run.add_sample(self.trainer.step, text)
        if not self.last:  # the last one is the outcome's
            self.reporter.sample(self.trainer.step, text)

    def sample_text(self) -> str:
        tokenizer = self.session.tokenizer
        prompt = tokenizer.encode(prompt_of(self.session.config, tokenizer))
        ids = self.trainer.sample(prompt, self.config.sample_length)
        return tokenizer.decode([*prompt.tolist(), *ids]).removeprefix("\n")

    def save(self) -> None:
        """Write a checkpoint, then let go of all but the last two and the best."""
        self.log.sync()
        folder = self.session.run.checkpoints
        write_checkpoint(folder, self.session.checkpoint(round(self.elapsed(), 3), self.tokens))
        # A newer folder can only be a damaged one that a resume went past; it may be the user's
        # to examine, and is written over in time.
        steps = [step for step, _ in list_checkpoints(folder)]
        ours = [step for step in steps if step <= self.trainer.step]
        spared = {*ours[:2], self.trainer.best_step} | (set(steps) - set(ours))
        keep_only(folder, (step for step in spared if step is not None))
        self.reporter.saved(self.trainer.step)

    def finish(self, train_loss: float | None) -> Outcome:
        """Evaluate over the whole validation split, log it as the last line, draw the picture."""
        evaluation = self.trainer.validate(full=True, progress=self.reporter.evaluating)
        # The first token is given, so its bytes are none of those that were predicted.
        size = byte_length(self.session.tokenizer, self.trainer.validation[1:])
        bits = bits_per_byte(evaluation.loss, evaluation.tokens, size)
        elapsed = round(self.elapsed(), 3)
        record: dict[str, Any] = {
            "step": self.trainer.step,
            "tokens": self.tokens,
            "val_loss": evaluation.loss,
            "val_scope": "full",
            "val_tokens": evaluation.tokens,
            "val_bytes": size,
            "val_bits_per_byte": bits,
            "elapsed": elapsed,
            "final": True,
        }
        self.log.write(record)
        sample = self.sample_text()
        draw(self.session)
        return Outcome(True, self.trainer.step, train_loss, evaluation.loss, bits, sample, elapsed)

    def way_out(self) -> str:
        """Say what the user can do after a loss that is not finite."""
        places = list_checkpoints(self.session.run.checkpoints)
        if not places:
            return "no checkpoint was made yet: begin again with a smaller --lr (or a --clip)"
        if places[0][0] == self.trainer.step:
            return (
                f"the newest checkpoint, step {places[0][0]}, leads straight to it, so its weights "
                "may be ruined already: begin again with a smaller --lr (or a --clip)"
            )
        lr = max(self.config.lr / 3, self.config.min_lr)
        return (
            f"the last good checkpoint is step {places[0][0]}: go on from it with a smaller rate, "
            f"scratchgrad train --resume {self.session.run} --lr {lr:.2g}"
        )


def draw(session: Session) -> None:
    """Draw ``loss.png`` from the log."""
    # Matplotlib takes its time to import, and only a picture needs it.
    from scratchgrad.train.plot import draw_losses

    source = session.config.text.name
    draw_losses(
        session.run.log, session.run.picture, title=f"{session.config.preset} GPT on {source}"
    )
