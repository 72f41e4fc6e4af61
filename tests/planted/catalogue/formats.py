"""Mistakes in reading and writing tokenizer files: most texts come out right all the same."""

from tests.planted.bug import Bug

FORMATS = "tokenizer/formats/"
HUGGINGFACE = "tests/tokenizer/formats/test_huggingface.py::"
LLAMA2C = "tests/tokenizer/formats/test_llama2c.py::"
TIKTOKEN = "tests/tokenizer/formats/test_tiktoken.py::"
HOSTILE = "tests/tokenizer/test_hostile_files.py::"

BUGS = [
    Bug(
        "equal_scores_take_turns",
        FORMATS + "llama2c.py",
        was="_, ranks = np.unique(-scores[splits[:, 2]], return_inverse=True)",
        becomes='ranks = np.argsort(np.argsort(-scores[splits[:, 2]], kind="stable"))',
        caught_by=LLAMA2C + "test_equal_scores_are_equal_ranks",
        lesson="Sorting gives every token a place of its own. Among equals the leftmost pair goes "
        "first, and a real file of 512 tokens has no equals to show it.",
    ),
    Bug(
        "byte_tokens_merge",
        FORMATS + "llama2c.py",
        was="splits = every_split(ordinary)",
        becomes="numbered = {bytes([byte]): FIRST_BYTE + byte for byte in range(256)}\n"
        "    splits = every_split({**numbered, **ordinary})",
        caught_by=LLAMA2C + "test_scores_become_ranks",
        lesson="Joined bytes spell a token, but the program compares spellings: <0xC3><0xA9>.",
    ),
    Bug(
        "the_first_way_to_make_a_token_kept",
        FORMATS + "splits.py",
        was="            keep[row] = True",
        becomes="            keep[np.flatnonzero(merges[:, 2] == id_)[0]] = True",
        caught_by=HUGGINGFACE + "test_tokenizer_json_keeps_ranks_and_whole_pieces",
        lesson="Any of the ways would make the token, if only its parts ever met.",
    ),
    Bug(
        "whole_pieces_taken_for_every_split",
        FORMATS + "tiktoken.py",
        was="if vocabulary.whole_pieces and id_ not in missing:",
        becomes="if vocabulary.whole_pieces:",
        caught_by=TIKTOKEN
        + "test_what_tiktoken_would_encode_otherwise_is_not_written[tokens4-merges4-flags4-"
        "do not make token b'ab']",
        lesson="A piece that is the token is right. Inside a longer piece tiktoken makes the token "
        "as well.",
    ),
    Bug(
        "an_embedding_as_large_as_a_file_says",
        FORMATS + "own.py",
        was="if not 0 <= size <= id_limit(count):",
        becomes="if size < 0:",
        caught_by=HOSTILE + "test_our_own_file_damaged[change8-"
        "size 1000000000000 is out of proportion]",
        lesson="A list of that many places is asked for before anything is compared with it.",
    ),
    Bug(
        "numbers_wrap_round",
        "tokenizer/vocabulary.py",
        was="if low < limits.min or high > limits.max:",
        becomes="if False:",
        caught_by="tests/tokenizer/test_vocabulary.py::test_merges_that_cannot_be[merges8-"
        "too large for int32]",
        lesson="astype(int32) of 2**32 + 98 is 98, an id that exists.",
    ),
]
