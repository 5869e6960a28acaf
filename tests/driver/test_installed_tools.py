"""Tools of installed packages; what the code sees of tools is in test_driving.py."""

from importlib.metadata import EntryPoint

import pytest

from sequential_core import SequentialFlow
from sequential_core.driver import ToolContext, Tools
from sequential_core.driver import tools as tools_module
from sequential_core.errors import InvalidRequestError
from sequential_core.pending import ErrorAnswer, PendingTool, ValueAnswer

CONTEXT = ToolContext("task-1", "key-1")


@pytest.fixture
def installed(monkeypatch):
    """Packages that register `upper` and one that is broken."""
    entries = [
        EntryPoint("upper", "operator:length_hint", "sequential.tools"),
        EntryPoint("broken", "no_such_module:tool", "sequential.tools"),
    ]
    monkeypatch.setattr(tools_module, "entry_points", lambda group: entries if group == "sequential.tools" else [])


def call(tools, name, args=None):
    return tools.call(PendingTool(1, name, args), CONTEXT)


def test_a_tool_of_an_installed_package_is_found_by_its_name(installed):
    assert call(Tools(), "upper", [1, 2, 3]) == ValueAnswer(3)
    assert isinstance(call(Tools(installed=False), "upper", []), ErrorAnswer)


def test_one_of_the_flows_own_comes_first(installed):
    assert call(Tools({"upper": lambda args: f"mine {args}"}), "upper", 1) == ValueAnswer("mine 1")


def test_a_package_that_is_broken_rejects_the_call_and_nothing_else(installed, caplog):
    assert call(Tools(), "broken") == ErrorAnswer("the tool 'broken' failed")
    assert "broken" in caplog.text


def test_who_needs_a_second_argument_gets_the_context_and_who_has_a_default_does_not():
    tools = Tools({"two": lambda args, context: context.idempotency_key, "one": lambda args, more="b": args + more})
    assert call(tools, "two") == ValueAnswer("key-1")
    assert call(tools, "one", "a") == ValueAnswer("ab")
    assert call(Tools({"builtin": len}), "builtin", "abc") == ValueAnswer(3)


def test_a_tool_is_registered_by_its_name_or_another():
    flow = SequentialFlow("memory:")

    @flow.tool
    def plain(args):
        return args

    @flow.tool("with.dots")
    def other(args):
        return args

    assert flow.tools == {"plain": plain, "with.dots": other}
    with pytest.raises(InvalidRequestError):
        flow.tool("no name")
