"""There are no modules, and whoever imports or exports is told so."""

from __future__ import annotations

import pytest

from sequential_core import SequentialFlow
from sequential_core.errors import CodeSyntaxError
from sequential_core.testing import run_program
from sequential_core.vm import program as programs

SAID = "is not supported: a task is one script, and there are no modules"


@pytest.mark.parametrize(
    ("code", "what", "line", "column"),
    [
        ("import x from 'y'", "import", 1, 1),
        ("import 'y'", "import", 1, 1),
        ("import{a}from'b'", "import", 1, 1),
        ("import * as a from 'b'", "import", 1, 1),
        ("const ä = '😀';\n  import /* what\n*/ // and\n x from 'y'", "import", 2, 3),
        ("const ä = 1; import x from 'y'", "import", 1, 15),
        ("a;\r\nimport x from 'y'", "import", 2, 1),
        ("a;\u2028import x from 'y'", "import", 2, 1),
        ("const a = 1;\nexport default a", "export", 2, 1),
        ("export { a }", "export", 1, 1),
        ("const a = import.meta.url", "import.meta", 1, 18),
    ],
)
def test_a_statement_is_a_syntax_error_that_says_where(code, what, line, column):
    with pytest.raises(CodeSyntaxError) as caught:
        programs.start(code)
    assert (caught.value.message, caught.value.line, caught.value.column) == (f"{what} {SAID}", line, column)


def test_the_statement_in_typescript():
    flow = SequentialFlow("memory:")
    with pytest.raises(CodeSyntaxError) as caught:
        flow.execute("type T = number;\nimport { x } from 'y';\nx as T", language="typescript")
    assert (caught.value.message, caught.value.line) == (f"import {SAID}", 2)


@pytest.mark.parametrize("code", ["const a = 'import' 5", "x.import y", "/* import */ )", "({ import: 1 2 })"])
def test_other_errors_stay_what_they_are(code):
    with pytest.raises(CodeSyntaxError) as caught:
        programs.start(code)
    assert SAID not in caught.value.message


@pytest.mark.parametrize("pause_everywhere", [False, True])
@pytest.mark.parametrize(
    "call",
    ["import('x')", "eval(\"import('x')\")", "new Function(\"return import('x')\")()", "import('https://a.test/x.js')"],
)
def test_a_dynamic_import_rejects(call, pause_everywhere):
    code = f"const e = await {call}.catch((error) => error); [e instanceof TypeError, e.message]"
    assert run_program(code, {}, pause_everywhere=pause_everywhere).result == [True, f"import() {SAID}"]


def test_a_dynamic_import_that_nobody_catches_ends_the_task():
    error = run_program("1;\nawait import('x')", {}).error
    assert str(error) == f"TypeError: import() {SAID}"


def test_what_import_converts_may_throw():
    code = "await import({ toString() { throw new RangeError('mine') } }).catch(String)"
    assert run_program(code, {}).result == "RangeError: mine"


@pytest.mark.parametrize("code", ["import x from 'y'", "export default 1"])
@pytest.mark.parametrize(
    "evaluate", ["eval(code)", "(0, eval)(code)", "new Function(code)", "new (async () => {}).constructor(code)"]
)
def test_the_statement_in_evaluated_code_is_a_syntax_error(evaluate, code):
    program = f"const code = {code!r}; try {{ {evaluate} }} catch (error) {{ error.name }}".replace('"', "`")
    assert run_program(program, {}).result == "SyntaxError"


def test_comments_without_end_do_not_hold_up_the_search():
    with pytest.raises(CodeSyntaxError):
        programs.start("import" + "/**/" * 900 + "x y")
    with pytest.raises(CodeSyntaxError):
        programs.start("import " * 500 + "/*" * 1000 + "*/ x y")
