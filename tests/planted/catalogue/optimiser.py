"""Mistakes in AdamW, in clipping and in the learning rate."""

from tests.planted.bug import Bug, twin

KERNEL = "kernels/adamw.py"
ADAMW = "optim/adamw.py"
FLAT = "optim/flat.py"
CLIP = "optim/clip.py"
SCHEDULE = "optim/schedule.py"
TESTS = "tests/optim/test_adamw.py::"
SIDE_BY_SIDE = "tests/optim/test_flat.py::"
# Eight steps of the paper's algorithm, with a large eps in the third of the settings.
PAPER = TESTS + "test_it_is_the_algorithm_of_the_paper[float64-shape3-settings0]"
LARGE_EPS = TESTS + "test_it_is_the_algorithm_of_the_paper[float64-shape3-settings2]"
RATES = "tests/optim/test_clip_and_schedule.py::"

MOMENTS = [
    Bug(
        "adamw_without_the_root",
        KERNEL,
        was="rate * mean[i] / (np.sqrt(square[i]) * grow + eps)",
        becomes="rate * mean[i] / (square[i] * grow + eps)",
        caught_by=(PAPER, twin("adamw_step")),
        lesson="Where gradients are of size one, v and its root are too.",
    ),
    Bug(
        "adamw_eps_inside_the_root",
        KERNEL,
        was="rate * mean[i] / (np.sqrt(square[i]) * grow + eps)",
        becomes="rate * mean[i] / np.sqrt(square[i] * grow * grow + eps)",
        caught_by=LARGE_EPS,
        lesson="At eps 1e-8 the two differ only where gradients are below 1e-4.",
    ),
    Bug(
        "adamw_v_without_bias_correction",
        KERNEL,
        was="1 / math.sqrt(1 - beta2**step))",
        becomes="1.0)",
        caught_by=(PAPER, twin("adamw_step")),
        lesson="The first steps are thirty times too long; warm-up hides it.",
    ),
    Bug(
        "adamw_m_without_bias_correction",
        KERNEL,
        was="lr / (1 - beta1**step),",
        becomes="lr,",
        caught_by=(PAPER, twin("adamw_step")),
        lesson="The first steps are ten times too short, and after fifty it is over.",
    ),
    Bug(
        "adamw_bias_correction_off_by_a_step",
        ADAMW,
        was="steps = self.steps[indices].tolist()",
        becomes="steps = (self.steps[indices] + 1).tolist()",
        caught_by=PAPER,
        lesson="The first step is step 1; a counter from 0 would divide by 0, one from 2 does not.",
    ),
    Bug(
        "adamw_v_of_the_gradient_itself",
        KERNEL,
        was="square[i] = square[i] * beta2 + g * g * rest2",
        becomes="square[i] = square[i] * beta2 + abs(g) * rest2",
        caught_by=(PAPER, twin("adamw_step")),
        lesson="A mean of magnitudes and a mean of squares have the same look on a plot.",
    ),
    Bug(
        "adamw_betas_exchanged",
        ADAMW,
        was="*self.betas, self.eps",
        becomes="*self.betas[::-1], self.eps",
        caught_by=PAPER,
        lesson="Two numbers just below 1, given by position.",
    ),
    Bug(
        "adamw_decay_through_the_moments",
        ADAMW,
        was="            adamw_runs(\n",
        becomes="""            for i, view, home in zip(indices, flat.views, flat.homes):
                home.array[...] += self.decays[i] * view
            runs = [run._replace(weight_decay=0.0) for run in runs]
            adamw_runs(
""",
        caught_by=(PAPER, TESTS + "test_decay_does_not_pass_through_the_moments"),
        lesson="That is Adam with L2, the very thing that AdamW was written against.",
    ),
    Bug(
        "adamw_decays_gains_and_biases",
        ADAMW,
        was='[p for p in parameters if p.ndim < 2], "weight_decay": 0.0}',
        becomes='[p for p in parameters if p.ndim < 2], "weight_decay": weight_decay}',
        caught_by=TESTS + "test_what_decays_in_a_model",
        lesson="The gains of the norms shrink towards 0; the loss is a little worse, no more.",
    ),
    Bug(
        "adamw_steps_a_copy",
        FLAT,
        was="            p._array = view\n",
        becomes="",
        caught_by=(PAPER, SIDE_BY_SIDE + "test_parameters_keep_their_values_and_lie_in_order"),
        lesson="The flat array is stepped, and the model computes with what it had before.",
    ),
    Bug(
        "adamw_step_not_announced",
        ADAMW,
        was="p.writable()  # tells the tape",
        becomes="pass",
        caught_by=TESTS + "test_a_step_is_announced_to_a_graph_that_is_alive",
        lesson="A loss that is walked after the step uses the new weights, and nobody says so.",
    ),
    Bug(
        "resume_loses_the_step_count",
        ADAMW,
        was='self.steps[...] = state["steps"]',
        becomes="self.steps[...] = 1",
        caught_by=TESTS + "test_going_on_from_a_state_equals_never_having_stopped",
        lesson="Bias correction starts over with full moments: a jump at every resume.",
    ),
    Bug(
        "resume_loses_the_moments",
        ADAMW,
        was='self.m[i][...], self.v[i][...] = state[f"m.{i}"], state[f"v.{i}"]',
        becomes='self.m[i], self.v[i] = self.m[i], state[f"v.{i}"].copy()',
        caught_by=TESTS + "test_going_on_from_a_state_equals_never_having_stopped",
        lesson="Ten steps later the momentum is back; a curve at that scale shows nothing.",
    ),
]

LAYOUT = [
    Bug(
        "tail_of_a_run_missed",
        KERNEL,
        was="for first in range(start, stop, CHUNK)",
        becomes="for first in range(start, stop - CHUNK + 1, CHUNK)",
        caught_by=(
            PAPER,
            SIDE_BY_SIDE + "test_it_is_the_step_of_each_parameter_by_itself[float64]",
        ),
        lesson="With sizes that are powers of two, as most are, nothing is missed.",
    ),
    Bug(
        "decay_of_the_neighbour",
        FLAT,
        was="if start == stop and decays[i] == decay and steps[i] == step:",
        becomes="if start == stop and steps[i] == step:",
        caught_by=(
            TESTS + "test_what_decays_in_a_model",
            SIDE_BY_SIDE + "test_it_is_the_step_of_each_parameter_by_itself[float32]",
        ),
        lesson="One launch for all is one launch too few: now all decay, or none.",
    ),
    Bug(
        "step_count_of_the_neighbour",
        FLAT,
        was="if start == stop and decays[i] == decay and steps[i] == step:",
        becomes="if start == stop and decays[i] == decay:",
        caught_by=SIDE_BY_SIDE + "test_it_is_the_step_of_each_parameter_by_itself[float32]",
        lesson="Parameters that are used in every step all count alike; a frozen one does not.",
    ),
    Bug(
        "parameter_without_a_gradient_stepped",
        FLAT,
        was="            if not there[i]:\n                continue\n",
        becomes="",
        caught_by=TESTS + "test_a_parameter_without_a_gradient_stays_and_its_state_too",
        lesson="Its place in the flat array still holds the gradient of an earlier step.",
    ),
    Bug(
        "assigned_data_not_taken_in",
        FLAT,
        was="if p._array is not self.views[i] or p._home is not home:",
        becomes="if p._home is not home:",
        caught_by=SIDE_BY_SIDE + "test_data_that_is_assigned_later_is_taken_in",
        lesson="After `p.data = x` the model computes with one array and learns another.",
    ),
    Bug(
        "norm_of_what_is_left_at_home",
        FLAT,
        was="if home is not None and p.grad is home.array:",
        becomes="if home is not None and p.grad is not None:",
        caught_by=SIDE_BY_SIDE + "test_the_norm_counts_every_gradient_once_and_no_other",
        lesson="An array assigned to .grad is the gradient, whatever lies in the flat one.",
    ),
    Bug(
        "factor_of_clipping_ignored",
        KERNEL,
        was="g = dp[i] * scale",
        becomes="g = dp[i]",
        caught_by=(
            SIDE_BY_SIDE + "test_the_factor_of_clipping_given_to_the_step_is_clipping",
            "tests/train/test_trainer.py::"
            "test_clipping_is_off_at_zero_and_the_norm_is_the_one_before",
        ),
        lesson="The norm in the log is right, and Adam hides the rest: it divides by the size.",
    ),
]

CLIPPING = [
    Bug(
        "clip_by_value",
        CLIP,
        was="p.grad = g * g.dtype.type(factor)",
        becomes="p.grad = g.clip(-max_norm, max_norm)",
        caught_by=RATES + "test_it_is_the_norm_that_is_clipped_not_the_values",
        lesson="It bounds each element, and turns the direction.",
    ),
    Bug(
        "clip_each_parameter_alone",
        CLIP,
        was="p.grad = g * g.dtype.type(factor)",
        becomes="p.grad = g * g.dtype.type(min(1, max_norm / (sum_of_squares(g) ** 0.5 + 1e-6)))",
        caught_by=RATES + "test_the_joint_norm_is_bounded_and_the_direction_kept",
        lesson="With one parameter, as in a first test, it is the same.",
    ),
    Bug(
        "clip_scales_small_gradients_up",
        CLIP,
        was="if not math.isfinite(norm) or norm <= max_norm:",
        becomes="if not math.isfinite(norm):",
        caught_by=RATES + "test_the_joint_norm_is_bounded_and_the_direction_kept",
        lesson="Every step then has full length: it cannot settle. Early in training all norms are "
        "above the bound.",
    ),
    Bug(
        "clip_returns_the_norm_after",
        CLIP,
        was="    return norm",
        becomes="    return min(norm, max_norm)",
        caught_by=RATES + "test_the_norm_is_returned_as_it_was_before",
        lesson="The log shows a norm of 1 for ever, and no explosion is seen to come.",
    ),
]

RATE = [
    Bug(
        "warm_up_off_by_a_step",
        SCHEDULE,
        was="return lr * (step + 1) / (warmup_steps + 1)",
        becomes="return lr * step / (warmup_steps + 1)",
        caught_by=(
            RATES + "test_the_steps_of_the_warm_up",
            RATES + "test_the_first_step_learns_something",
        ),
        lesson="The first step has the rate 0: a batch read for nothing.",
    ),
    Bug(
        "cosine_to_the_wrong_floor",
        SCHEDULE,
        was="return min_lr + 0.5 * (1 + math.cos(math.pi * way)) * (lr - min_lr)",
        becomes="return 0.5 * (1 + math.cos(math.pi * way)) * lr",
        caught_by=RATES + "test_the_middle_of_the_cosine",
        lesson="It ends at 0 and then jumps up to min_lr.",
    ),
    Bug(
        "cosine_over_the_floor",
        SCHEDULE,
        was="return min_lr + 0.5 * (1 + math.cos(math.pi * way)) * (lr - min_lr)",
        becomes="return min_lr + 0.5 * (1 + math.cos(math.pi * way)) * lr",
        caught_by=RATES + "test_it_rises_to_the_rate_and_falls_to_the_least",
        lesson="The ends of a formula are its first test: it begins at lr + min_lr.",
    ),
    Bug(
        "cosine_ignores_the_warm_up",
        SCHEDULE,
        was="way = (step - warmup_steps) / (decay_steps - warmup_steps)",
        becomes="way = step / decay_steps",
        caught_by=RATES + "test_it_rises_to_the_rate_and_falls_to_the_least",
        lesson="After the warm-up it starts below the top; with a short warm-up by very little.",
    ),
    Bug(
        "cosine_rises_again",
        SCHEDULE,
        was="if step >= decay_steps:",
        becomes="if step > 10 * decay_steps:",
        caught_by=RATES + "test_it_rises_to_the_rate_and_falls_to_the_least",
        lesson="A cosine comes back: who trains longer than planned is heated up again.",
    ),
]

BUGS = [*MOMENTS, *LAYOUT, *CLIPPING, *RATE]
