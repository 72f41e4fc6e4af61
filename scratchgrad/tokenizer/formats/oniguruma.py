"""Regular expressions that mean the same to Oniguruma, Hugging Face's engine, as to ``regex``.

Most of the two languages is spelled alike, but ``$`` is the end of a line to one and of the text to
the other, and ``{1,3}+`` repeats where ours is possessive. An expression is taken over only if all
its parts are among those that are known to mean the same.

Tables of Unicode may be of different years: a letter that one of them does not know yet is none to
it.
"""

from __future__ import annotations

import re

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import DataError

# The named patterns as Oniguruma must have them; GPT-2's is built into ByteLevel. tiktoken spells
# cl100k with \s++$ and {1,3}+ and more ++. Here (?![\s\S]) says what $ means there, the end of the
# text; and without its second + a part could give back, but nothing after it could take.
_MARK = r"\p{Lm}\p{Lo}\p{M}"
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
SPELLINGS = {
    "cl100k": rf"'(?i:[sdmt]|ll|ve|re)|{_WORD}|\s+(?![\s\S])|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": (
        rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}{_MARK}]*[\p{{Ll}}{_MARK}]+{_CONTRACTIONS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}{_MARK}]+[\p{{Ll}}{_MARK}]*{_CONTRACTIONS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
# cl100k as it was first, and is in most files: spaces at the end leave the newline before them.
OLD_CL100K = rf"{_CONTRACTIONS}|{_WORD}|\s*[\r\n]+|\s+(?!\S)|\s+"
ALL_OF_THE_TEXT = (*SPELLINGS.values(), OLD_CL100K)  # they leave no character out

_PROPERTY = r"\\[pP]\{(?:[LMNPSZC][a-z]?|Han|Hangul|Hiragana|Katakana|Latin|Greek|Cyrillic)\}"
_ATOM = rf"{_PROPERTY}|\\[sSdDrnt]|\\[^\w\s]|\\ "
_SHORT = r"'?(?:s|t|re|ve|m|ll|d|\[sdmt\])"
_COMMON = re.compile(
    rf"{_ATOM}"
    rf"|\[\^?(?:{_ATOM}|[0-9A-Za-z]-[0-9A-Za-z]|[^\\\[\]&-])+-?\]"
    # Of the groups without case only the contractions: elsewhere "ss" may match one letter.
    rf"|\(\?i:{_SHORT}(?:\|{_SHORT})*\)"
    r"|\((?!\?)|\(\?[:=!>]|\)|\|"  # what looks back must be of a fixed width there
    r"|[?*+][?+]?|\{\d+(?:,\d*)?\}(?![+?])"  # {3}? is optional there, and lazy here
    r"|[^\\\[\](){}|?*+^$]"
)


def check_same(pattern: str) -> None:
    """Refuse a pattern that Oniguruma and ``regex`` may read differently, or that matches nothing.

    Hugging Face cuts a text wherever a pattern matches no character at all, and we do not.
    """
    # For each open group: its opening, the least widths of the alternatives so far, and those of
    # the parts of the alternative that is being read.
    groups: list[tuple[str, list[int], list[int]]] = [("", [], [])]
    place = 0
    while place < len(pattern):
        match = _COMMON.match(pattern, place)
        if match is None or (match[0] == ")" and len(groups) == 1):
            raise DataError(
                f"the pattern {shorten(pattern)} has at {place} {shorten(pattern[place:])}, which "
                f"Hugging Face's regular expressions may read in another way than ours"
            )
        part, place = match[0], match.end()
        opening, alternatives, parts = groups[-1]
        if part[0] == "(" and not part.startswith("(?i"):
            groups.append((part, [], []))
        elif part == "|":
            alternatives.append(sum(parts))
            parts.clear()
        elif part == ")":
            groups.pop()
            looks_only = opening.startswith(("(?=", "(?!"))
            groups[-1][2].append(0 if looks_only else min([*alternatives, sum(parts)]))
        elif part[0] in "?*" or part.startswith("{0"):
            parts[-1:] = [0]
        elif part[0] not in "+{":
            parts.append(1)
    _, alternatives, parts = groups[-1]
    if len(groups) > 1 or min([*alternatives, sum(parts)]) == 0:
        raise DataError(
            f"the pattern {shorten(pattern)} may match no character at all, which cuts the text "
            f"in Hugging Face but not here"
        )
