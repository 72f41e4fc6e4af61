"""Mistakes in the engine: they spoil every operation, or one that is used twice."""

from tests.planted.bug import Bug, axis, differences

TAPE = "tape.py"
VARIABLE = "autograd.py"
LIFT = "operation.py"
BACKWARD = "tests/engine/test_backward.py::"
CUSTOM = "tests/engine/test_custom_op.py::"
MEMORY = "tests/engine/test_memory.py::"
NO_GRAD = "tests/engine/test_no_grad.py::"

BROADCASTING = [
    Bug(
        "unbroadcast_missing",
        TAPE,
        was="if g.shape != shape:",
        becomes="if g.ndim < len(shape):",
        caught_by=(differences("add"), CUSTOM + "test_broadcasting_is_undone"),
        lesson="NumPy broadcasts the update as well: a bias of shape (C,) becomes (B, C) unseen.",
    ),
    Bug(
        "unbroadcast_over_the_wrong_axis",
        TAPE,
        was="if axis < extra or (shape[axis - extra] == 1 and g.shape[axis] != 1)",
        becomes="if axis >= len(shape) or (shape[axis] == 1 and g.shape[axis] != 1)",
        caught_by=axis("test_what_was_stretched[(1, 3)]"),
        lesson="Shapes are aligned at their ends, not at their beginnings.",
    ),
    Bug(
        "unbroadcast_by_the_mean",
        TAPE,
        was="g.sum(axis=stretched, keepdims=True)",
        becomes="g.mean(axis=stretched, keepdims=True)",
        caught_by=(differences("multiply"), axis("test_what_was_stretched[(3,)]")),
        lesson="A copy's gradient is added to the others, not averaged with them.",
    ),
]

ACCUMULATION = [
    Bug(
        "results_overwrite_their_gradient",
        TAPE,
        was="if earlier is None:",
        becomes="if True:",
        caught_by=BACKWARD + "test_a_node_that_is_reached_twice_counts_twice",
        lesson="A chain of operations is right; a residual stream loses one of its branches.",
    ),
    Bug(
        "leaves_overwrite_their_gradient",
        TAPE,
        was="leaf.grad = np.asarray(leaf.grad + g)",
        becomes="leaf.grad = g.copy()",
        caught_by=BACKWARD + "test_gradients_accumulate_until_they_are_cleared",
        lesson="Right with one backward a step: gradient accumulation is where it shows.",
    ),
    Bug(
        "tied_weight_loses_a_use",
        TAPE,
        was="leaf.grad += g",
        becomes="leaf.grad = g.copy()",
        caught_by=(
            BACKWARD + "test_one_tensor_in_every_place_of_an_operation",
            "tests/nn/test_gpt.py::test_the_gradient_of_the_tied_weight_is_the_sum_of_both_uses",
        ),
        lesson="The embedding and the head share a matrix; the use that is walked to last wins.",
    ),
    Bug(
        "nodes_visited_depth_first",
        TAPE,
        was="    return sorted(seen, key=lambda node: node.number, reverse=True)",
        becomes="""    order, stack = [], [root]
    while stack:
        node = stack.pop()
        if node not in order:
            order.append(node)
            stack += [edge[0] for edge in node.edges if isinstance(edge, tuple)]
    return order""",
        caught_by=BACKWARD + "test_a_node_waits_for_all_that_it_fed",
        lesson="Before a node has its whole gradient it must not pass it on; on a tree any order "
        "will do.",
    ),
    Bug(
        "gradients_go_to_the_first_output",
        VARIABLE,
        was="return x if x._node is None else (x._node, x._output)",
        becomes="return x if x._node is None else (x._node, 0)",
        caught_by=(
            differences("split"),
            BACKWARD + "test_one_piece_of_several_outputs_is_enough",
        ),
        lesson="Most operations have one output; split into q, k and v has three.",
    ),
    Bug(
        "outputs_without_a_gradient_get_one",
        TAPE,
        was="np.zeros(shape, dtype) if dy is None else dy",
        becomes="np.ones(shape, dtype) if dy is None else dy",
        caught_by=BACKWARD + "test_one_piece_of_several_outputs_is_enough",
        lesson="An output that nobody used has the gradient 0.",
    ),
    Bug(
        "cotangent_ignored",
        VARIABLE,
        was="dy = as_array(cotangent).astype(array.dtype, copy=False)",
        becomes="dy = np.ones_like(array)",
        caught_by=BACKWARD + "test_a_root_that_is_no_single_number_needs_a_cotangent",
        lesson="With a scalar loss the cotangent is 1 anyway.",
    ),
    Bug(
        "gradients_a_thousandth_too_large",
        TAPE,
        was="return g.astype(dtype, copy=False)",
        becomes="return (g * 1.001).astype(dtype, copy=False)",
        caught_by=(differences("add"), differences("matmul"), differences("attention")),
        lesson="A check with a tolerance of one percent, or one in float32, passes this.",
    ),
]

SHARING = [
    Bug(
        "leaf_gradient_is_an_alias",
        TAPE,
        was="        leaf.grad = empty(g.shape, g.dtype)\n        leaf.grad[...] = g",
        becomes="        leaf.grad = g",
        caught_by=(
            CUSTOM + "test_one_gradient_array_given_to_two_inputs_is_not_shared",
            "tests/ops/test_every_op.py::test_nothing_is_mutated_or_shared[add]",
        ),
        lesson="add hands one dy to both inputs; the first += on one changes the other.",
    ),
    Bug(
        "waiting_gradient_added_in_place",
        TAPE,
        was="slots[output] = empty(g.shape, g.dtype)",
        becomes="slots[output] = earlier",
        caught_by=BACKWARD + "test_results_that_were_handed_one_array_keep_their_gradients_apart",
        lesson="Saves an allocation, and writes into an array that somebody else was given too.",
    ),
    Bug(
        "held_gradient_changed_by_the_next_backward",
        TAPE,
        was="elif id(leaf) in ours:",
        becomes="elif leaf.grad is not None:",
        caught_by=BACKWARD + "test_a_gradient_the_caller_holds_is_not_changed_by_the_next_backward",
        lesson="Who keeps last step's gradient to compare, compares this step's with itself.",
    ),
    Bug(
        "gradients_keep_the_dtype_of_their_backward",
        TAPE,
        was="return g.astype(dtype, copy=False)",
        becomes="return g",
        caught_by=CUSTOM + "test_float64_from_inside_does_not_leak",
        lesson="One float64 constant in one backward, and all below it runs at half the speed.",
    ),
]

LIFETIME = [
    Bug(
        "freed_graph_not_detected",
        TAPE,
        was="        if self.freed:\n            raise GraphError(",
        becomes="        if self.freed and self.edges:\n            raise GraphError(",
        caught_by=BACKWARD
        + "test_a_backward_into_a_graph_that_is_partly_freed_raises_and_changes_nothing",
        lesson="What was saved is gone: at best the walk stops somewhere inside, and does not say "
        "why.",
    ),
    Bug(
        "graph_never_freed",
        TAPE,
        was="            if not retain_graph:\n                node.free()",
        becomes="",
        caught_by=MEMORY + "test_a_loss_that_is_kept_does_not_keep_its_graph",
        lesson="Every number is right; a list of losses for the log holds every activation.",
    ),
    Bug(
        "retain_graph_ignored",
        TAPE,
        was="            if not retain_graph:\n                node.free()",
        becomes="            node.free()",
        caught_by=BACKWARD + "test_retain_graph_allows_another",
        lesson="Nobody notices before the second backward.",
    ),
    Bug(
        "write_in_place_not_detected",
        TAPE,
        was="if memory.writes != writes:",
        becomes="if memory.writes < writes:",
        caught_by=(
            MEMORY + "test_a_write_that_was_announced_makes_an_older_graph_raise",
            "tests/optim/test_adamw.py::test_a_step_is_announced_to_a_graph_that_is_alive",
        ),
        lesson="The backward multiplies by the weights of after the step instead of before it.",
    ),
    Bug(
        "view_not_watched_with_what_it_views",
        LIFT,
        was="return _owner(a) is _owner(b) and np.may_share_memory(a, b)",
        becomes="return a is b",
        caught_by=(
            MEMORY + "test_a_view_is_watched_together_with_what_it_views[slice]",
            MEMORY + "test_a_write_through_a_view_is_seen_too[reshape]",
        ),
        lesson="A transposed weight is the same memory under another name.",
    ),
    Bug(
        "no_grad_ignored",
        LIFT,
        was="if is_recording() and any(",
        becomes="if any(",
        caught_by=NO_GRAD + "test_nothing_is_recorded_inside",
        lesson="Evaluation gives the same numbers, and fills the memory with graphs.",
    ),
    Bug(
        "no_grad_outlives_an_exception",
        VARIABLE,
        was="    try:\n        yield\n    finally:\n        _recording.reset(token)",
        becomes="    yield\n    _recording.reset(token)",
        caught_by=NO_GRAD + "test_nesting_and_leaving_by_an_exception",
        lesson="A notebook cell that fails inside the block, and nothing trains from then on.",
    ),
]

HOME_TESTS = "tests/engine/test_home.py::"

HOMES = [
    Bug(
        "home_overwritten_instead_of_added",
        TAPE,
        was="    return leaf.grad is not None",
        becomes="    return False",
        caught_by=(
            HOME_TESTS + "test_first_overwritten_then_added[into]",
            HOME_TESTS + "test_a_model_has_the_same_gradients_with_an_optimiser_as_without",
        ),
        lesson="One use of each parameter and one backward a step, and all is right: the tied "
        "weight and accumulation are where it shows.",
    ),
    Bug(
        "home_added_to_what_was_left_there",
        TAPE,
        was="    return leaf.grad is not None",
        becomes="    return True",
        caught_by=(
            HOME_TESTS + "test_first_overwritten_then_added[plain]",
            "tests/train/test_trainer.py::test_a_step_forgets_the_gradients_of_the_one_before",
        ),
        lesson="zero_grad only forgets; the place still holds the last step's gradient.",
    ),
    Bug(
        "assigned_gradient_lost",
        TAPE,
        was="        home.array[...] = leaf.grad\n",
        becomes="        pass\n",
        caught_by=HOME_TESTS
        + "test_a_gradient_that_the_caller_assigned_is_added_to_and_left_alone",
        lesson="Who scales gradients with p.grad = p.grad * s between two backwards loses them.",
    ),
    Bug(
        "copy_of_a_leaf_writes_to_its_home",
        TAPE,
        was=" or home.leaf() is not leaf:",
        becomes=":",
        caught_by=HOME_TESTS + "test_a_copy_of_a_leaf_does_not_write_to_its_home",
        lesson="A shallow copy shares the place; the second to arrive overwrites the first.",
    ),
    Bug(
        "rows_added_to_what_was_left_there",
        "ops/arguments.py",
        was="    if not add:\n        out[...] = 0\n",
        becomes="",
        caught_by=(
            HOME_TESTS + "test_operations_that_write_in_place[embedding]",
            HOME_TESTS + "test_operations_that_write_in_place[slice]",
        ),
        lesson="A table that begins as zeros hides that it must.",
    ),
    Bug(
        "slice_overwrites_the_rest",
        "ops/indexing.py",
        was="            back[index] += dy",
        becomes="            back[index] = dy",
        caught_by=HOME_TESTS + "test_operations_that_write_in_place[slice]",
        lesson="Right wherever each row is used once.",
    ),
    Bug(
        "last_gradient_kept_during_the_next",
        TAPE,
        was="    dys.clear()  # nor is it kept by a caller who holds the list\n",
        becomes="",
        caught_by=HOME_TESTS + "test_the_first_cotangent_is_not_kept_either",
        lesson="No number is wrong; the largest array of the walk lives as long as the walk.",
    ),
]

BUGS = [*BROADCASTING, *ACCUMULATION, *SHARING, *LIFETIME, *HOMES]
