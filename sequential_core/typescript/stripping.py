"""Strips the types of a source, and says where in it something is wrong.

swc writes white space over types, one blank for each UTF-16 unit, so lines stay as they are, and columns that are
counted in such units. The engine counts columns in bytes of UTF-8. So where a character of several bytes was blanked,
as many blanks are put in as it had bytes more than units: then lines and columns of the result are those of the
source, as the engine counts them.

Of an error swc says the column in cells of a terminal: a tab is four, an ideograph two, an emoji three, a combining
mark none. Where the line of an error has any of these, the source is parsed once more with every such character in
that line replaced by one of its kind that takes a cell for each UTF-16 unit.
"""

from __future__ import annotations

import re
from typing import Any

import wasmtime

from sequential_core.errors import CodeSyntaxError, CodeTooComplexError
from sequential_core.limits import Limits
from sequential_core.typescript.host import Host
from sequential_core.typescript.statements import separated
from sequential_core.vm import runtime

_BOM = "\ufeff"

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_NOT_ONE_CELL = re.compile(r"[^\x20-\x7e]")

# Where swc begins a new line. The engine does so at "\n" alone.
_NEWLINE = re.compile(r"\r\n?|\n")

# Characters of one cell: a letter, and one that no code has outside of literals and comments.
_LETTER, _SIGN = "\u00aa", "\u00a7"

# Letters of identifiers to ECMAScript, and not to Python: ZWNJ and ZWJ.
_JOINERS = "\u200c\u200d"

# Line terminators that are no new line to swc, and of one cell.
_SEPARATORS = "\u2028\u2029"

# What swc puts in the place of types, where blanks would change the meaning.
_STANDING_IN = frozenset(" ;)")

# A message may quote the source.
_MAX_MESSAGE_LENGTH = 500

# Behind this column swc fails in telling of an error.
_LAST_COLUMN = 0xFFFF


def strip(code: str, limits: Limits) -> str:
    """The code without its types, as JavaScript. Every line and column of it is that of the code.

    Args:
        code: TypeScript, as `program.encode_code` lets it pass.
        limits: how much memory and CPU time it may take.

    Raises:
        CodeSyntaxError: it does not parse, or has what is more than types: an enum, a namespace with values, a
            parameter property, an assertion in angle brackets, `import =`, `export =`.
        CodeTooComplexError: it is nested too deeply, or it takes too much time or memory.
        StripperNotFoundError: the installation cannot do it.
    """
    body = code.lstrip(_BOM)
    mark, code = code[: len(code) - len(body)], body
    if not code:  # of which swc makes a panic
        return mark
    worked, value = _run(code, limits)
    if worked:
        return mark + separated(code, _padded(code, value["code"]))
    line, column = _position(code, value, limits)
    error = named(CodeSyntaxError(value["message"][:_MAX_MESSAGE_LENGTH], line, column), code)
    if line == 1 and column is not None:
        error = CodeSyntaxError(error.message, line, column + len(mark.encode()))
    raise error


def named(error: CodeSyntaxError, code: str) -> CodeSyntaxError:
    """What swc or the engine says of code, with the name of a decorator, of which they see no more than the sign."""
    if error.line is None or error.column is None:
        return error
    line = code.split("\n")[error.line - 1 : error.line]
    if not line or line[0].encode()[error.column - 1 : error.column] != b"@":
        return error
    return CodeSyntaxError("decorators are not supported", error.line, error.column)


def _run(code: str, limits: Limits) -> tuple[bool, Any]:
    """What swc makes of a source: whether it worked, and the result or the error."""
    host = Host(limits.memory_bytes)
    try:
        with runtime.cpu_time(None, limits.cpu_seconds):
            outcome = host.transform(code)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
        runtime.raise_failure()
        raise CodeTooComplexError(_reason(error, host, limits)) from None
    runtime.raise_failure()
    worked, value = outcome
    if not isinstance(value, dict) or not isinstance(value.get("code" if worked else "message"), str):
        raise CodeTooComplexError("its parser failed")
    return outcome


def _reason(error: Exception, host: Host, limits: Limits) -> str:
    if runtime.out_of_time():
        return f"it takes more than {limits.cpu_seconds:g} s of CPU time"
    # There are two stacks, WebAssembly's and one in the memory, which begins with it: beyond its end there is nothing.
    deep = (wasmtime.TrapCode.STACK_OVERFLOW, wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS)
    if isinstance(error, wasmtime.Trap) and error.trap_code in deep:
        return "it is nested too deeply"
    # Rust's panics do not tell what they are about. The parser asks for memory in steps, the last of which doubles it.
    if host.memory_bytes > limits.memory_bytes // 2:
        return f"it takes more than {limits.memory_bytes} bytes of memory"
    return f"its parser failed, perhaps at an error behind column {_LAST_COLUMN} of a line"


# --- Positions -----------------------------------------------------------------------------------


def _padded(code: str, stripped: str) -> str:
    """The stripped code, with as many bytes in each line before what was kept as the code has."""
    if code.isascii() or _units(code) != _units(stripped):
        return stripped
    parts, done, more = [], 0, 0
    for found in _NOT_ASCII.finditer(code):
        character = found[0]
        at = found.start() + more
        if stripped[at : at + 1] == character:
            continue
        units = _units(character)
        if not _STANDING_IN.issuperset(stripped[at : at + units]):
            return stripped  # it is not as this function takes it to be: better other columns than other code
        parts += [stripped[done : at + units], " " * (len(character.encode()) - units)]
        done = at + units
        more += units - 1
    return "".join((*parts, stripped[done:]))


def _position(code: str, error: dict[str, Any], limits: Limits) -> tuple[int | None, int | None]:
    """Line and column of an error, counted from 1, as the engine would count them; None if swc does not say."""
    try:
        number, column = int(error["startLine"]), int(error["startColumn"])
    except (KeyError, TypeError, ValueError):
        return None, None
    starts = [0, *(found.end() for found in _NEWLINE.finditer(code))]
    if not 1 <= number <= len(starts):
        return None, None
    start, end = [*starts, len(code)][number - 1 : number + 1]
    text = code[start:end].rstrip("\r\n")
    if _NOT_ONE_CELL.search(text):
        _, again = _run(code[:start] + _NOT_ONE_CELL.sub(_one_cell, text) + code[start + len(text) :], limits)
        # Should it see no error there any more, the beginning of the line is the best that can be said.
        column = int(again["startColumn"]) if again.get("startLine") == number else 0
    before = text.encode("utf-16-le")[: 2 * column].decode("utf-16-le", "ignore")
    return _engine_position(code, start + len(before))


def _engine_position(code: str, offset: int) -> tuple[int, int]:
    begin = code.rfind("\n", 0, offset) + 1
    return code.count("\n", 0, offset) + 1, len(code[begin:offset].encode()) + 1


def _one_cell(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SEPARATORS:
        return character
    if character.isspace() or character == _BOM:
        return " "
    letter = character in _JOINERS or f"a{character}".isidentifier()
    return (_LETTER if letter else _SIGN) * _units(character)


def _units(text: str) -> int:
    """How many units of UTF-16 it has."""
    return len(text.encode("utf-16-le")) // 2
