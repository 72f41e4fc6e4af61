"""Mistakes in gradcheck itself: a checker that cannot fail proves nothing."""

from tests.planted.bug import Bug

CHECK = "gradcheck/check.py"
MANNERS = "gradcheck/manners.py"
COMPARE = "gradcheck/compare.py"
DIFFERENCES = "gradcheck/differences.py"
SUBJECT = "gradcheck/subject.py"
CHECKS = "tests/gradcheck/test_checks.py::"
SUBJECTS = "tests/gradcheck/test_subjects.py::"

BUGS = [
    Bug(
        "checker_cotangent_of_ones",
        DIFFERENCES,
        was="rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)",
        becomes="np.ones(shape)",
        caught_by=(
            CHECKS + "test_a_wrong_softmax_gradient_does_not_hide_behind_ones",
            CHECKS + "test_the_seed_draws_the_cotangent",
        ),
        lesson="The sum of a softmax has no gradient, so the wrong ones agree with the right one.",
    ),
    Bug(
        "checker_lets_nan_pass",
        COMPARE,
        was="return error <= self.atol + self.rtol * scale + noise  # False for nan",
        becomes="return not error > self.atol + self.rtol * scale + noise",
        caught_by=CHECKS + "test_a_planted_bug_is_caught[nan]",
        lesson="Every comparison with nan is False: ask whether it is right, not whether wrong.",
    ),
    Bug(
        "checker_sees_the_first_input_only",
        CHECK,
        was="wrong = [i for i, c in enumerate(comparisons) if not c.right.all()]",
        becomes="wrong = [i for i, c in enumerate(comparisons[:1]) if not c.right.all()]",
        caught_by=CHECKS + "test_every_input_and_every_output_is_checked",
        lesson="A rival's attention had dK transposed; its test looked at dX alone.",
    ),
    Bug(
        "checker_sees_the_first_output_only",
        SUBJECT,
        was="y.backward(c, retain_graph=True)",
        becomes="y.backward(c if y is ys[0] else 0 * c, retain_graph=True)",
        caught_by=CHECKS + "test_every_input_and_every_output_is_checked",
        lesson="A gradient that comes from all outputs is compared with the change of one.",
    ),
    Bug(
        "checker_with_a_percent_of_tolerance",
        CHECK,
        was="rtol: float = 1e-6,",
        becomes="rtol: float = 2e-2,",
        caught_by=CHECKS + "test_a_planted_bug_is_caught[a factor]",
        lesson="A tolerance that float32 asks for hides a factor of 1.001.",
    ),
    Bug(
        "checker_without_the_taylor_test",
        CHECK,
        was="if slope is not None and slope < SLOPE:",
        becomes="if slope is not None and slope < 0:",
        caught_by=CHECKS + "test_the_taylor_test_sees_what_a_loose_tolerance_does_not",
        lesson="A wrong gradient leaves a remainder that falls as h, not h squared; 1 is above 0.",
    ),
    Bug(
        "checker_taylor_without_the_gradient",
        DIFFERENCES,
        was="(-1, line.centre)) - h * derivative)",
        becomes="(-1, line.centre)))",
        caught_by=CHECKS
        + "test_a_linear_function_has_no_remainder_and_passes_the_dot_product_test",
        lesson="What is left out is then of first order for every gradient.",
    ),
    Bug(
        "checker_dot_product_of_nothing",
        CHECK,
        was="if not error <= DOT_PRODUCT:",
        becomes="if not error <= 1:",
        caught_by=CHECKS + "test_the_dot_product_test_sees_a_billionth",
        lesson="Relative to their terms two random dot products differ by less than 1.",
    ),
    Bug(
        "checker_blind_to_kinks",
        DIFFERENCES,
        was="return Slope(value, noise, still, kink=all(kinks[-2:]))",
        becomes="return Slope(value, noise, still)",
        caught_by=(
            CHECKS + "test_a_kink_is_told_from_an_error[relu-0.0]",
            CHECKS + "test_a_kink_is_told_from_an_error[abs-0.0]",
        ),
        lesson="At a kink the mean of two slopes is called wrong, or, for abs, even right.",
    ),
    Bug(
        "checker_takes_every_mistake_for_a_kink",
        DIFFERENCES,
        was="return Slope(value, noise, still, kink=all(kinks[-2:]))",
        becomes="return Slope(value, noise, still, kink=True)",
        caught_by=CHECKS + "test_a_wrong_gradient_away_from_kinks_is_no_kink",
        lesson="A mistake must not take shelter in 'not differentiable here'.",
    ),
    Bug(
        "checker_direction_with_zeros",
        DIFFERENCES,
        was="return cotangent_like(rng, shape) / math.sqrt(max(1.0, math.prod(shape)))",
        becomes="return cotangent_like(rng, shape) * (rng.random(shape) < 0.01)",
        caught_by=CHECKS + "test_a_wrong_entry_of_a_large_input_is_found_by_its_index",
        lesson="Behind a component of zero an entry may be as wrong as it likes.",
    ),
    Bug(
        "checker_leaves_the_input_moved",
        DIFFERENCES,
        was="array[d if isinstance(d, tuple) else ...] = old",
        becomes="pass",
        caught_by=CHECKS + "test_what_is_right_passes_and_is_reported",
        lesson="The next difference is taken at another point, and the next again.",
    ),
    Bug(
        "checker_runs_backward_once",
        MANNERS,
        was="first, subject.gradients(cotangents), strict=True)",
        becomes="first, first, strict=True)",
        caught_by=CHECKS + "test_a_backward_that_differs_the_second_time_is_refused",
        lesson="State that a backward keeps is seen only the second time.",
    ),
    Bug(
        "checker_forgets_parameters",
        SUBJECT,
        was="return dict(fn.named_parameters()) if is_module else {}",
        becomes="return {}",
        caught_by=(
            SUBJECTS + "test_every_parameter_of_a_module_is_checked_by_name",
            SUBJECTS + "test_a_wrong_parameter_is_named",
        ),
        lesson="A gain that is never trained has a right gradient by the input.",
    ),
    Bug(
        "checker_leaves_parameters_in_float64",
        SUBJECT,
        was="p._array, p._memory, p.grad = array, memory, gradient",
        becomes="p._memory, p.grad = memory, gradient",
        caught_by=SUBJECTS + "test_every_parameter_of_a_module_is_checked_by_name",
        lesson="What was checked must stay as it was, or training goes on at half the speed.",
    ),
    Bug(
        "checker_allows_shared_memory",
        MANNERS,
        was="if np.shares_memory(g, array):",
        becomes="if g is array:",
        caught_by=SUBJECTS + "test_two_gradients_in_one_memory_are_refused",
        lesson="np.asarray of the same array is another object, and a view always is.",
    ),
]
