"""docs/web-platform.md says what the guest has."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "web_platform.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("web_platform", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(script):
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run scripts/web-platform"


def test_the_sizes_are_those_of_the_packages_in_the_guest(script):
    assert script.outdated() == [], "run scripts/web-platform --measure"


def test_every_package_that_serves_something_is_in_the_guest(script):
    assert set(script.SERVES) <= set(script.guests.current().manifest.packages)


def test_no_interface_is_missing(script):
    found = script._probe()
    assert [name for name, absent in found["missing"].items() if absent is None] == []
    assert [name for name in script.GLOBALS if found["globals"][name] != []] == []
