"""Reads, deletes and lists tasks.

{action: "get", id, include?: "vmState"}    a task
{action: "delete", id, revision?}           {id, deleted: true}
{action: "list", status?, limit?, cursor?}  {tasks, cursor}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from handlers.direct import direct
from handlers.environment import flow
from sequential_core.errors import InvalidRequestError

Fields = dict[str, Any]


def _get(fields: Fields) -> dict[str, Any]:
    include = fields.pop("include", None)
    if include not in (None, "vmState"):
        raise InvalidRequestError("include", 'it can only be "vmState"')
    return flow.get_task(**fields).to_dict(include_vm_state=include is not None)


def _delete(fields: Fields) -> dict[str, Any]:
    flow.delete_task(**fields)
    return {"id": fields["id"], "deleted": True}


def _list(fields: Fields) -> dict[str, Any]:
    page = flow.list_tasks(**fields)
    return {"tasks": [task.to_dict(include_vm_state=False) for task in page.tasks], "cursor": page.cursor}


#: What can be done, and with which fields: those that are needed, and those that may be left out.
ACTIONS: dict[str, tuple[Callable[[Fields], dict[str, Any]], frozenset[str], frozenset[str]]] = {
    "get": (_get, frozenset({"id"}), frozenset({"include"})),
    "delete": (_delete, frozenset({"id"}), frozenset({"revision"})),
    "list": (_list, frozenset(), frozenset({"status", "limit", "cursor"})),
}


@direct
def handler(event: Mapping[str, Any]) -> dict[str, Any]:
    fields = dict(event)
    action = fields.pop("action", None)
    if not isinstance(action, str) or action not in ACTIONS:
        raise InvalidRequestError("action", f"it must be one of {', '.join(ACTIONS)}")
    perform, needed, optional = ACTIONS[action]
    for name in sorted(needed - fields.keys()):
        raise InvalidRequestError(name, "it is needed")
    if unknown := sorted(fields.keys() - needed - optional):
        raise InvalidRequestError("event", f"unknown fields: {', '.join(unknown)[:200]}")
    # What is null is as if it were not there.
    return perform({name: value for name, value in fields.items() if value is not None or name in needed})
