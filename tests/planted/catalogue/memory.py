"""Mistakes in the reuse of memory: what they spoil is somebody else's array."""

from tests.planted.bug import Bug

POOL = "kernels/buffers.py"
TESTS = "tests/kernels/test_buffers.py::"

BUGS = [
    Bug(
        "block_reused_while_a_view_lives",
        POOL,
        was="np.ndarray(shape, dtype, block)",
        becomes="np.ndarray(shape, dtype, block.view(np.ndarray))",
        caught_by=(
            TESTS + "test_no_reuse_while_anything_holds_the_array[slice]",
            TESTS + "test_live_arrays_never_share_memory",
        ),
        lesson="NumPy makes a view of a view a view of the first array's base, and lets go of the "
        "view between: only a base of another class stops it.",
    ),
    Bug(
        "block_used_least_recently_is_lent_first",
        POOL,
        was="block = pile.free.pop().block",
        becomes="block = pile.free.pop(0).block",
        caught_by=TESTS + "test_the_block_used_last_is_used_first",
        lesson="All results are right, and each is written to memory that has left the cache.",
    ),
    Bug(
        "free_blocks_pile_up",
        POOL,
        was="_drop(_held + size - _peak - int(_peak * SLACK_SHARE) - SLACK)",
        becomes="_drop(0)",
        caught_by=TESTS + "test_free_memory_of_other_sizes_is_bounded",
        lesson="With sequences of every length each size gets blocks of its own, for good.",
    ),
    Bug(
        "dropped_blocks_wait_for_the_collector",
        POOL,
        was="            del lease.block.lease  # they hold each other\n",
        becomes="",
        caught_by=TESTS + "test_release_drops_what_is_free_and_only_that",
        lesson="A cycle of two small objects keeps a hundred megabytes.",
    ),
]
