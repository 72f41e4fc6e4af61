r"""Three regular expressions, written out as loops over bytes.

A general matcher tries one alternative after the other and goes back when one fails; here the
next character or two say which alternative will match. Each function below has the alternatives of
its expression in comments beside the lines that do them. The order matters: the first alternative
that matches is taken, not the longest.

What the expressions ask about a character is its *kind* (`kinds`): ``\s`` is WHITE,
``[^\s\p{L}\p{N}]`` is MARK | SIGN.

Each gives the end of the piece that begins at i, in a text in UTF-8 that goes on to stop. A byte
that is no part of well-formed UTF-8 is a character of its own, a SIGN; the three bytes that a lone
surrogate would have are one character, a SIGN too.

No run of characters is looked at more than three times, whatever the text: where the expression
takes a part of a run only, the next piece takes all of the rest, or all but the last character.
"""

from scratchgrad.kernels.bpe.kinds import (
    LETTER,
    LOWER,
    MARK,
    NEWLINE,
    NUMBER,
    OTHER,
    SIGN,
    UPPER,
    WHITE,
    character,
    run,
)
from scratchgrad.kernels.jit import device, routine

APOSTROPHE, BLANK, SLASH, CR, LF = b"' /\r\n"
S, D, M, T, L, V, R, E = b"sdmtlvre"  # of the contractions


@device(counted=False)
def _contraction(text, i, any_case):
    """The length of an apostrophe at i with one of s d m t ll ve re after it; else 0."""
    if text[i] != APOSTROPHE:
        return 0
    first, second = int(text[i + 1]), int(text[i + 2])
    if any_case:  # (?i:…)
        if first == 0xC5 and second == 0xBF:
            return 3  # U+017F, the long s, is an s to who ignores case
        first |= 0x20
        second |= 0x20
    if first in (S, D, M, T):
        return 2
    if first == L and second == L:
        return 3
    if first in (V, R) and second == E:
        return 3
    return 0


@routine(counted=False)
def _digits(text, i, stop, most, points, ascii):
    r"""The end of ``\p{N}{1,most}``; there is a number at i."""
    for _ in range(most):
        kind, length = character(text, i, points, ascii)
        if i >= stop or kind != NUMBER:
            break
        i += length
    return i


@device(counted=False)
def _all_but_the_last(text, i, end, stop):
    r"""``\s+(?!\S)|\s``: white space i … end, but the last of it belongs to what follows.

    If it is a space, the word that follows takes it; in any case it is a piece with nothing else
    of this run. One character alone is taken: the second alternative.
    """
    last = end - 1
    while text[last] & 0xC0 == 0x80:
        last -= 1
    return end if end == stop or last == i else last


@routine(counted=False)
def _white(text, i, stop, whole_end, points, ascii):
    r"""``\s++$|\s*[\r\n]|\s+(?!\S)|\s``, the first of them only if whole_end."""
    end, after_newline = i, 0
    while end < stop:
        kind, length = character(text, end, points, ascii)
        if not kind & WHITE:
            break
        end += length
        if kind == NEWLINE:
            after_newline = end
    if whole_end and end == stop:  # \s++$
        return end
    if after_newline:  # \s*[\r\n]: as far as the last newline of the run
        return after_newline
    return _all_but_the_last(text, i, end, stop)  # \s+(?!\S)|\s


# -- the expressions: the end of the piece that begins at i ------------------------------------


@device(counted=False)
def gpt2(text, i, stop, points, ascii):
    r"""GPT-2: words with the space before them."""
    # '(?:[sdmt]|ll|ve|re)
    length = _contraction(text, i, False)
    if length:
        return i + length
    # ` ?`, at the beginning of each of the next three
    j = i + (text[i] == BLANK)
    kind, length = character(text, j, points, ascii)
    if j < stop and not kind & WHITE:
        if kind & LETTER:  # \p{L}++
            kinds = LETTER
        elif kind == NUMBER:  # \p{N}++
            kinds = NUMBER
        else:  # [^\s\p{L}\p{N}]++
            kinds = MARK | SIGN
        return run(text, j + length, stop, kinds, points, ascii)
    # \s++$|\s+(?!\S)|\s
    return _all_but_the_last(text, i, run(text, i, stop, WHITE, points, ascii), stop)


@device(counted=False)
def cl100k(text, i, stop, digits, whole_end, points, ascii):
    r"""GPT-4: any sign may stand before a word, numbers are short, newlines stay together."""
    # '(?i:[sdmt]|ll|ve|re)
    length = _contraction(text, i, True)
    if length:
        return i + length
    # [^\r\n\p{L}\p{N}]?+\p{L}++
    kind, length = character(text, i, points, ascii)
    j = i if kind & LETTER else i + length
    after, length = character(text, j, points, ascii)
    if after & LETTER and not kind & (NEWLINE | NUMBER):
        return run(text, j + length, stop, LETTER, points, ascii)
    # \p{N}{1,3}+
    if kind == NUMBER:
        return _digits(text, i, stop, digits, points, ascii)
    #  ?[^\s\p{L}\p{N}]++[\r\n]*+
    j = i + (text[i] == BLANK)
    end = run(text, j, stop, MARK | SIGN, points, ascii)
    if end > j:
        while text[end] == LF or text[end] == CR:
            end += 1
        return end
    # \s++$|\s*[\r\n]|\s+(?!\S)|\s
    return _white(text, i, stop, whole_end, points, ascii)


@device(counted=False)
def _o200k_word(text, i, stop, points, ascii):
    r"""The first two alternatives of o200k but for the contraction; i if neither matches.

    With U for ``[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`` and L for ``[\p{Ll}\p{Lm}\p{Lo}\p{M}]``, which
    have ``\p{Lm}\p{Lo}\p{M}`` in common, they are ``[^\r\n\p{L}\p{N}]?U*L+`` and
    ``[^\r\n\p{L}\p{N}]?U+L*``.
    """
    kind, length = character(text, i, points, ascii)
    if kind & (NEWLINE | NUMBER):
        return i
    # [^\r\n\p{L}\p{N}]?
    j = i if kind & LETTER else i + length
    # U*, as far as it goes; and the end of the last character on the way that could be an L
    end, common = j, 0
    while end < stop:
        after, length = character(text, end, points, ascii)
        if not after & (UPPER | OTHER | MARK):
            if after == LOWER:  # L+
                return run(text, end + length, stop, LOWER | OTHER | MARK, points, ascii)
            break
        end += length
        if after != UPPER:
            common = end
    # There is no L after U*. So U* gives back characters, up to the first that L+ can take; that
    # is one character, for those after it are capitals.
    if common:
        return common
    # The same without a character before it: that is a mark then, which L+ takes alone.
    if kind == MARK:
        return j
    # U+L*, capitals only; without any, the end is j and nothing matched.
    return end if end > j else i


@device(counted=False)
def o200k(text, i, stop, digits, whole_end, points, ascii):
    r"""GPT-4o: as GPT-4, but a capital begins a word, and a contraction stays with its word."""
    end = _o200k_word(text, i, stop, points, ascii)
    if end > i:
        # (?i:'s|'t|'re|'ve|'m|'ll|'d)?
        return end + _contraction(text, end, True)
    # \p{N}{1,3}
    kind, _ = character(text, i, points, ascii)
    if kind == NUMBER:
        return _digits(text, i, stop, digits, points, ascii)
    #  ?[^\s\p{L}\p{N}]+[\r\n/]*
    j = i + (text[i] == BLANK)
    end = run(text, j, stop, MARK | SIGN, points, ascii)
    if end > j:
        while text[end] == LF or text[end] == CR or text[end] == SLASH:
            end += 1
        return end
    # \s*[\r\n]+|\s+(?!\S)|\s+
    return _white(text, i, stop, whole_end, points, ascii)
