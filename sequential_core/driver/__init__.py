"""Drivers: what performs the requests of driven tasks. docs/driving.md says how they share the work."""

from __future__ import annotations

from sequential_core.driver.driver import Driver, Listener
from sequential_core.driver.fetcher import Fetcher
from sequential_core.driver.rules import Rules
from sequential_core.driver.running import run_to_end
from sequential_core.driver.standing import Claimed, Ended, Standing, Waiting, Yielded
from sequential_core.driver.tools import ToolContext, ToolError, Tools
from sequential_core.driver.worker import Worker

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
