"""Mistakes in data, in the training step and in evaluation."""

from tests.planted.bug import Bug

TRAINER = "train/trainer.py"
DATA = "data/batches.py"
EVALUATE = "evaluate.py"
STEPS = "tests/train/test_trainer.py::"
BATCHES = "tests/data/test_batches.py::"

BUGS = [
    Bug(
        "targets_not_shifted",
        DATA,
        was="ids[places].astype(np.int64), ids[places + 1].astype(np.int64)",
        becomes="ids[places].astype(np.int64), ids[places].astype(np.int64)",
        caught_by=BATCHES + "test_a_batch_is_a_pure_function_of_its_numbers",
        lesson="The model learns to repeat its input, and the loss goes to 0 at once.",
    ),
    Bug(
        "last_window_never_drawn",
        DATA,
        was="starts = (uniform * (len(ids) - block_size)).astype(np.int64)",
        becomes="starts = (uniform * (len(ids) - block_size - 1)).astype(np.int64)",
        caught_by=BATCHES + "test_every_place_is_drawn_and_none_beyond_the_end",
        lesson="Caution against reading past the end, once too often; on a short text it matters.",
    ),
    Bug(
        "micro_steps_draw_the_same_batch",
        DATA,
        was="counter=[0, 0, micro_step, step]",
        becomes="counter=[0, 0, 0, step]",
        caught_by=BATCHES + "test_each_of_seed_step_and_micro_step_changes_the_batch",
        lesson="Accumulation over four copies of one batch: the mean is right, the noise is not.",
    ),
    Bug(
        "accumulated_gradients_not_divided",
        TRAINER,
        was="np.asarray(1.0 / config.grad_accum, dtype=loss.data.dtype)",
        becomes="np.asarray(1.0, dtype=loss.data.dtype)",
        caught_by=STEPS + "test_accumulated_micro_batches_give_the_mean_gradient",
        lesson="AdamW hardly cares about a factor, but clipping does: every step is cut short.",
    ),
    Bug(
        "micro_steps_of_the_trainer_all_the_first",
        TRAINER,
        was="self.model.config.block_size,\n                micro_step,",
        becomes="self.model.config.block_size,\n                0,",
        caught_by=STEPS + "test_accumulated_micro_batches_give_the_mean_gradient",
        lesson="The same mistake in the caller.",
    ),
    Bug(
        "gradients_of_the_last_step_kept",
        TRAINER,
        was="        self.optimizer.zero_grad()\n",
        becomes="",
        caught_by=STEPS + "test_a_step_forgets_the_gradients_of_the_one_before",
        lesson="A momentum of 1: it learns at first, then swings.",
    ),
    Bug(
        "rate_of_the_next_step",
        TRAINER,
        was="self.step, config.lr, config.min_lr",
        becomes="self.step + 1, config.lr, config.min_lr",
        caught_by=STEPS + "test_steps_learn_and_report",
        lesson="Do steps count from 0 or from 1? The schedule says 0, the log says 1.",
    ),
    Bug(
        "dropout_the_same_in_every_step",
        TRAINER,
        was="self.model.seed_dropout(config.seed, self.step, micro_step)",
        becomes="self.model.seed_dropout(config.seed, 0, micro_step)",
        caught_by=STEPS + "test_every_step_and_micro_step_drops_others",
        lesson="A seed in the loop instead of before it: the same half of the network is never "
        "trained.",
    ),
    Bug(
        "resume_forgets_the_optimiser",
        TRAINER,
        was="        self.optimizer.load_state_dict(optimizer)\n",
        becomes="",
        caught_by=STEPS + "test_a_restored_trainer_takes_the_same_next_step",
        lesson="The weights are there, so it goes on; the loss has a bump that heals.",
    ),
    Bug(
        "evaluation_counts_a_short_window_as_a_full_one",
        EVALUATE,
        was="total += float(loss.item()) * places.size\n            tokens += places.size",
        becomes="total += float(loss.item()) * len(rows)\n            tokens += len(rows)",
        caught_by=STEPS + "test_evaluation_is_the_mean_over_every_token_the_short_last_window_too",
        lesson="A mean of means: right where all windows are of one length.",
    ),
    Bug(
        "evaluation_with_dropout",
        EVALUATE,
        was="    model.eval()\n",
        becomes="",
        caught_by=STEPS + "test_evaluation_is_the_mean_over_every_token_the_short_last_window_too",
        lesson="The validation loss lies above the training loss, and is called overfitting.",
    ),
    Bug(
        "evaluation_leaves_the_model_in_its_mode",
        EVALUATE,
        was="        if training:\n            model.train()",
        becomes="        if training:\n            pass",
        caught_by=STEPS + "test_evaluation_is_the_mean_over_every_token_the_short_last_window_too",
        lesson="From the first evaluation on, nothing is dropped any more. It survived a test that "
        "called train() itself before it looked.",
    ),
]
