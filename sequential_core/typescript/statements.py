"""Keeps statements apart that had types between them.

Where statements end at line breaks, blanks in the place of types may join what stood before and behind them: of `a`,
`type B = 1` and `;(c)`, each on a line of its own, came a call of `a`. swc puts semicolons into most of such places. It
leaves out those where what follows is on the line where the types end, those behind `as const`, and empty bodies of
some kinds. These are all but one, `interface A {} -b` on one line, behind a statement without a semicolon: so say
60,000 programs, made at random and run as what TypeScript's own compiler makes of them, and as what we do.
"""

from __future__ import annotations

import re

# Where there may be a gap before what goes on with the code in front of it: the gap's last byte.
_CANDIDATE = re.compile(rb"[\s/\xa0\xa8\xa9\xbf](?=[(\[`+*/-])")

_GAP = re.compile(rb"(?:\s|/\*.*?\*/|//[^\r\n]*|\xc2\xa0|\xef\xbb\xbf|\xe2\x80[\xa8\xa9])*+", re.DOTALL)
_LINE_BREAK = re.compile(rb"[\r\n]|\xe2\x80[\xa8\xa9]")

# What a statement of types begins with that may be all there is to an `if`, a loop or, of the second kind, a label.
_EMPTY_BODY = re.compile(rb"(?<![\w$])(?:(namespace|module)|type|interface|declare|function)\b")
_LONGEST_SPACE = 1000

# What goes on with an expression that stands before it, even on a line of its own, and is no operator.
_GOES_ON = b"([`"
# What ends no statement and no member of a class: arguments of a type, `!`, `?`, the parameter `this`.
_ENDS_NOTHING = b">!?,"


_MARKS = bytes([0] + [1] * 255)


def separated(code: str, stripped: str) -> str:
    """The stripped code, with a semicolon between statements that would be one without the types between them.

    One too many is an empty statement, or nothing in a class. So none is put in but where types, their semicolon or
    line break, and nothing else than the beginning of an expression follow one another.
    """
    before, stripped_bytes = code.encode(), stripped.encode()
    if len(before) != len(stripped_bytes):
        return stripped
    after = bytearray(stripped_bytes)
    differences = (int.from_bytes(before) ^ int.from_bytes(stripped_bytes)).to_bytes(len(before))
    blanked = differences.translate(_MARKS)
    at = searched = 0
    gap: re.Match[bytes] | None = None
    for found in _CANDIDATE.finditer(stripped_bytes):
        behind = found.end()
        at = max(at, blanked.rfind(b"\1", searched, behind))  # the last byte that was blanked
        searched = behind
        if not blanked[at] or blanked[behind] or after[at] != ord(" "):
            continue
        if gap is None or gap.start() != at + 1:  # once for each gap, which may be a comment full of candidates
            gap = _GAP.match(before, at + 1)
        if gap is None or gap.end() != behind:
            continue
        if before[at] == ord(";") or (before[behind] in _GOES_ON and _ends(before[at], gap[0])):
            after[at] = ord(";")
    for body in _EMPTY_BODY.finditer(before):
        at = body.start()
        if not blanked[at] or after[at] != ord(" "):
            continue
        begin = max(0, at - _LONGEST_SPACE)
        last = begin + len(before[begin:at].rstrip()) - 1
        if last >= begin and not blanked[last] and (body[1] or before[last] == ord(":")):
            after[at] = ord(";")
    return after.decode()


def _ends(last: int, gap: bytes) -> bool:
    """Whether a statement ends with this byte of a type before this gap, if the next one could go on with it."""
    return last == ord("}") or (last not in _ENDS_NOTHING and _LINE_BREAK.search(gap) is not None)
