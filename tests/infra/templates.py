"""The templates as data, with the short forms of functions (!Ref) in their long ones ({"Ref": ...})."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

ROOT_TEMPLATE = ROOT / "template.yaml"
TEMPLATES = (ROOT_TEMPLATE, *sorted((ROOT / "infra").glob("*.yaml")))

STACK = "AWS::CloudFormation::Stack"


class _Loader(yaml.SafeLoader):
    pass


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)


@functools.cache
def load(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(), Loader=_Loader)


def resources(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The resources of one type, by their names."""
    return {name: entry for name, entry in load(path)["Resources"].items() if entry["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    """The properties of a resource of template.yaml."""
    return load(ROOT_TEMPLATE)["Resources"][name]["Properties"]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def chosen(value: Any, **conditions: bool) -> Any:
    """What an Fn::If gives; the value itself if it is none."""
    if isinstance(value, dict) and "Fn::If" in value:
        name, true, false = value["Fn::If"]
        return chosen(true if conditions[name] else false, **conditions)
    return value


def inside(value: Any) -> list[Any]:
    """A value and everything in it."""
    found = [value]
    if isinstance(value, dict):
        for entry in value.values():
            found += inside(entry)
    elif isinstance(value, list):
        for entry in value:
            found += inside(entry)
    return found
