"""Says that there are no modules, where the engine's parser says that it expected something else."""

from __future__ import annotations

import bisect
import re

from sequential_core.errors import CodeSyntaxError

# The engine takes `import` for the beginning of `import(` or `import.meta`, and complains of what comes then.
# Possessive: whoever writes the code must not be able to make the search go back.
_BEFORE = re.compile(rb"(?<![\w$.#])import(?:\s++|//[^\n]*+\n|/\*(?:[^*]++|\*(?!/))*+\*/)*+\Z")
_EXPORT = "unsupported keyword: export"
_META = "import.meta only valid in module code"

# ECMAScript, 12.3: what ends a line.
_LINE_END = re.compile(rb"\r\n|[\n\r]|\xe2\x80[\xa8\xa9]")

# How far `import` may be from what follows it.
_MOST_BYTES = 4096


def named(error: CodeSyntaxError, code: bytes) -> CodeSyntaxError:
    """The error, or a clearer one at the same statement if the code wants to import or to export.

    Args:
        error: of the engine's parser.
        code: in UTF-8. The parser counts its columns in bytes.
    """
    if error.message == _EXPORT:
        return CodeSyntaxError(_message("export"), error.line, error.column)
    if error.message == _META:
        return CodeSyntaxError(_message("import.meta"), error.line, error.column)
    if error.line is None or error.column is None:
        return error
    starts = [0, *(end.end() for end in _LINE_END.finditer(code))]
    if error.line > len(starts):
        return error
    end = starts[error.line - 1] + error.column - 1
    found = _BEFORE.search(code[max(0, end - _MOST_BYTES) : end])
    if found is None:
        return error
    at = max(0, end - _MOST_BYTES) + found.start()
    line = bisect.bisect_right(starts, at)
    return CodeSyntaxError(_message("import"), line, at - starts[line - 1] + 1)


def _message(what: str) -> str:
    return f"{what} is not supported: a task is one script, and there are no modules"
