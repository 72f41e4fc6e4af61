"""Mistakes in moving elements back: the numbers are all there, but not all in their places."""

from tests.planted.bug import Bug, axis, differences, forward, twin

OPS = "ops/shape.py"
INDEXING = "ops/indexing.py"

BUGS = [
    Bug(
        "permute_dims_not_inverted",
        OPS,
        was="np.transpose(dy, back)",
        becomes="np.transpose(dy, axes)",
        caught_by=axis("test_every_order_of_the_axes[(1, 2, 0)]"),
        lesson="An exchange of two axes undoes itself; only a cycle of three shows the mistake.",
    ),
    Bug(
        "concat_cuts_equal_pieces",
        OPS,
        was="tuple(np.split(dy, ends, axis))",
        becomes="tuple(np.array_split(dy, len(arrays), axis))",
        caught_by=(differences("concat"), axis("test_parts_of_different_lengths[0]")),
        lesson="Right for arrays of one size.",
    ),
    Bug(
        "concat_cuts_one_too_early",
        OPS,
        was="ends = np.cumsum([a.shape[axis] for a in arrays])[:-1]",
        becomes="ends = np.cumsum([a.shape[axis] for a in arrays])[:-1] - 1",
        caught_by=differences("concat"),
        lesson="Offsets that are ends, taken for the last index; NumPy broadcasts what is short.",
    ),
    Bug(
        "stack_forgets_its_axis",
        OPS,
        was="np.take(dy, i, axis)",
        becomes="np.take(dy, i, 0)",
        caught_by=axis("test_along_a_line[stack-1]"),
        lesson="Right at the default axis; elsewhere the shapes agree when they are square.",
    ),
    Bug(
        "split_joins_on_the_first_axis",
        OPS,
        was="lambda dys: np.concatenate(dys, axis)",
        becomes="lambda dys: np.concatenate(dys, 0).reshape(x.shape)",
        caught_by=axis("test_along_a_line[split-1]"),
        lesson="Reshaped until the engine is content: a shape that fits proves no order.",
    ),
    Bug(
        "flip_not_undone",
        OPS,
        was="np.flip(x, axis), lambda dy: np.flip(dy, axis)",
        becomes="np.flip(x, axis), lambda dy: dy",
        caught_by=differences("flip"),
        lesson="A cotangent of ones is the same both ways round.",
    ),
    Bug(
        "roll_forward_again",
        OPS,
        was="np.roll(dy, back, axis)",
        becomes="np.roll(dy, shift, axis)",
        caught_by=differences("roll"),
        lesson="Right for a shift of half the length.",
    ),
    Bug(
        "pad_cuts_from_the_start",
        OPS,
        was="slice(b, b + n)",
        becomes="slice(0, n)",
        caught_by=differences("pad"),
        lesson="The shape fits, and with padding at the end only it is right.",
    ),
    Bug(
        "repeat_keeps_one_copy",
        OPS,
        was="add_rows(total, ids, copies.reshape(n, total.shape[1]))",
        becomes="total[ids] = copies.reshape(n, total.shape[1])",
        caught_by=differences("repeat"),
        lesson="An assignment through repeated indices keeps the last; a copy's gradient is added.",
    ),
    Bug(
        "tril_forgets_its_diagonal",
        OPS,
        was="lambda dy: np.tril(dy, k)",
        becomes="lambda dy: np.tril(dy)",
        caught_by=differences("tril"),
        lesson="Right at the default k = 0.",
    ),
    Bug(
        "getitem_overwrites_repeated_ids",
        INDEXING,
        was='if any(isinstance(part, np.ndarray) and part.dtype.kind in "iu" for part in index):',
        becomes="if any(isinstance(part, list) for part in index):",
        caught_by=(
            differences("getitem"),
            "tests/ops/test_indexing.py::test_each_pick_counts[an array]",
        ),
        lesson="back[index] = dy is right until an index occurs twice; and += would not add up "
        "either, for NumPy buffers it.",
    ),
    Bug(
        "take_overwrites_repeated_ids",
        INDEXING,
        was="add_rows(table, ids.reshape(-1), rows.reshape(ids.size, table.shape[1]))",
        becomes="table[ids.reshape(-1)] = rows.reshape(ids.size, table.shape[1])",
        caught_by=differences("take"),
        lesson="A test with distinct ids cannot see it.",
    ),
    Bug(
        "take_reshapes_where_it_should_move_the_axis",
        INDEXING,
        was="np.moveaxis(table.reshape(shape[axis], *rest), 0, axis)",
        becomes="table.reshape(shape)",
        caught_by=differences("take"),
        lesson="Right along the first axis.",
    ),
    Bug(
        "take_along_axis_overwrites_repeated_ids",
        INDEXING,
        was="""picked = np.take_along_axis(np.arange(size).reshape(shape), ids, axis)
        add_rows(back.reshape(-1, 1), picked.reshape(-1), dy.reshape(-1, 1))""",
        becomes="np.put_along_axis(back, ids, dy, axis)",
        caught_by=differences("take_along_axis"),
        lesson="NumPy has the inverse by name, but it puts, where adding is wanted.",
    ),
    Bug(
        "negative_ids_one_too_low",
        "ops/arguments.py",
        was="np.where(ids < 0, ids + size, ids)",
        becomes="np.where(ids < 0, ids + size - 1, ids)",
        caught_by=(forward("take"), forward("take_along_axis")),
        lesson="Value and gradient use the same ids, so differences cannot tell.",
    ),
    Bug(
        "embedding_overwrites_repeated_ids",
        INDEXING,
        was="add_rows(table, ids.reshape(-1), dy.reshape(ids.size, c))",
        becomes="table[ids] = dy",
        caught_by=(
            differences("embedding"),
            "tests/ops/test_indexing.py::test_embedding_adds_up_repeated_ids",
        ),
        lesson="Every text repeats its characters: nearly all of the gradient is lost, and the "
        "loss still falls.",
    ),
    Bug(
        "add_rows_overwrites",
        "kernels/indexing.py",
        was="target[j] += row[j]",
        becomes="target[j] = row[j]",
        caught_by=(twin("add_rows"), differences("embedding")),
        lesson="The same mistake one layer down, under every operation that picks.",
    ),
]
