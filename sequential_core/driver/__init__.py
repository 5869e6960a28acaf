"""Drivers: what performs the requests of driven tasks. docs/driving.md says how they share the work.

A name is imported when it is first asked for: who only checks a policy or a signature needs no HTTP client, which takes
60 ms to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sequential_core.driver.driver import Driver, Listener
    from sequential_core.driver.fetcher import Fetcher
    from sequential_core.driver.rules import Rules
    from sequential_core.driver.running import run_to_end
    from sequential_core.driver.standing import Claimed, Ended, Standing, Waiting, Yielded
    from sequential_core.driver.tools import ToolContext, ToolError, Tools
    from sequential_core.driver.worker import Worker

_MODULES = {
    "driver": ("Driver", "Listener"),
    "fetcher": ("Fetcher",),
    "rules": ("Rules",),
    "running": ("run_to_end",),
    "standing": ("Claimed", "Ended", "Standing", "Waiting", "Yielded"),
    "tools": ("ToolContext", "ToolError", "Tools"),
    "worker": ("Worker",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Claimed",
    "Driver",
    "Ended",
    "Fetcher",
    "Listener",
    "Rules",
    "Standing",
    "ToolContext",
    "ToolError",
    "Tools",
    "Waiting",
    "Worker",
    "Yielded",
    "run_to_end",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"sequential_core.driver.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
