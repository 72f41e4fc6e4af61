"""Mistakes in measuring a model against another program: a figure that is better than the truth."""

from tests.planted.bug import Bug

TESTS = "tests/bench/test_against_transformers.py::"

BUGS = [
    Bug(
        "warm_up_that_counts",
        "bench/decoding.py",
        was='summarise(samples[work["warm"] :]).median',
        becomes="summarise(samples).median",
        caught_by=TESTS + "test_the_first_tokens_warm_up",
        lesson="A median hides some slow tokens at the beginning, and moves by a few percent.",
    ),
    Bug(
        "a_table_counted_as_read",
        "bench/against_transformers.py",
        was='(set() if model.config.tied_head else {"wte.weight"})',
        becomes="set()",
        caught_by=TESTS + "test_the_bytes_of_a_token[gpt2-False]",
        lesson="Of an untied table a token takes one row. With all of it the figure doubles.",
    ),
    Bug(
        "no_number_is_near_enough",
        "bench/against_transformers.py",
        was="if not apart <= AGREE:",
        becomes="if apart > AGREE:",
        caught_by=TESTS + "test_how_near_the_logits_must_be[nan-False]",
        lesson="Every comparison with nan is false, so a program that computes nothing agrees.",
    ),
    Bug(
        "a_word_of_each_line",
        "kernels/limits.py",
        was="for i in range(part.size):",
        becomes="for i in range(0, part.size, 8):",
        caught_by="tests/kernels/test_limits.py::test_read[65535]",
        lesson="Memory comes in lines, so it takes the same time, and is no read of every number.",
    ),
]
