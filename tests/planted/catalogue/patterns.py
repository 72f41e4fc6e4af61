"""Mistakes in cutting text into pieces: what backs off, what case hides, where a cut is safe."""

from tests.planted.bug import Bug

KINDS, SCAN = "kernels/bpe/kinds.py", "kernels/bpe/scan.py"
EXPRESSIONS = "kernels/bpe/expressions.py"
CALLS = "tokenizer/patterns.py"
TESTS = "tests/tokenizer/test_patterns.py::"

BUGS = [
    Bug(
        "capitals_that_are_not_given_back",
        EXPRESSIONS,
        was="    if common:\n        return common\n",
        becomes="    if common:\n        return end\n",
        caught_by=TESTS + "test_every_short_text_of_one_character_a_kind[o200k]",
        lesson="U*L+ goes back to the last character that could be an L: it needs a letter without "
        "case, or an accent, and then capitals, which English never has.",
    ),
    Bug(
        "an_accent_before_capitals_taken_with_them",
        EXPRESSIONS,
        was="    if kind == MARK:\n        return j\n",
        becomes="    if kind == MARK and end == j:\n        return j\n",
        caught_by=TESTS + "test_pieces_equal_regex[o200k]",
        lesson="The first alternative without its optional character comes before the second "
        "alternative with it.",
    ),
    Bug(
        "the_long_s_is_no_s",
        EXPRESSIONS,
        was="if first == 0xC5 and second == 0xBF:",
        becomes="if first == 0xC5 and second == 0xBE:",
        caught_by=(
            TESTS + "test_pieces_equal_regex[cl100k]",
            TESTS + "test_pieces_of_many_nasty_texts[o200k]",
        ),
        lesson="Who ignores case must ask the matcher what that means, not ASCII.",
    ),
    Bug(
        "the_last_byte_of_white_space_for_its_last_character",
        EXPRESSIONS,
        was="    while text[last] & 0xC0 == 0x80:\n        last -= 1\n",
        becomes="",
        caught_by=TESTS + "test_pieces_of_many_nasty_texts[gpt2]",
        lesson="White space is one byte in every text that one looks at first.",
    ),
    Bug(
        "a_character_in_more_bytes_than_it_needs",
        KINDS,
        was="if point >= 0x800:",
        becomes="if point >= 0:",
        caught_by=TESTS + "test_where_characters_begin_and_end",
        lesson="A decoder that is not strict finds letters where everybody else finds three wrong "
        "bytes; no valid text shows it.",
    ),
    Bug(
        "a_cut_before_an_apostrophe",
        SCAN,
        was=" or text[i] == APOSTROPHE",
        becomes="",
        caught_by=TESTS + "test_a_cut_is_safe_whatever_follows[o200k]",
        lesson="In GPT-2's pattern a piece does end there; in GPT-4o's, don't is one.",
    ),
    Bug(
        "a_slice_counted_that_the_last_group_has_not",
        SCAN,
        was="zip((begins - begins[0])",
        becomes="zip((part - part[0])",
        caught_by=TESTS + "test_slices_and_threads_give_the_same_pieces[gpt2]",
        lesson="What an earlier group left behind looks like pieces; it takes more than a group of "
        "slices, a megabyte of text, to show it.",
    ),
    Bug(
        "the_bytes_between_two_matches_lost",
        CALLS,
        was="places = spans[spans[:, 0] < spans[:, 1]].ravel()",
        becomes="places = spans[spans[:, 0] < spans[:, 1], 1]",
        caught_by=TESTS + r"test_an_expression_of_the_users[\\d]",
        lesson="Patterns of models leave nothing out, so nobody misses a piece.",
    ),
]
