import contextlib
import io
import re
from pathlib import Path

import pytest

from sequential_core import SequentialFlow

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\s+```\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_readme_prints_what_stands_below_it(number, monkeypatch):
    monkeypatch.setattr(SequentialFlow, "default_storage", None)
    code, expected = EXAMPLES[number]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == expected


def test_the_readme_has_examples():
    assert len(EXAMPLES) == 6
