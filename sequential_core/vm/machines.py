"""Machines for hops: one that an earlier hop has left, made its guest's image again, or a fresh one.

A fresh machine costs 0.1 ms, and then the kernel copies each page at the first write to it. One that was used has these
pages. Whose program ran in it makes no difference, since nothing of it is left:

- The memory is made the image, the dead C stack too, where the kernel tells which pages were ever written and is
  believed (`pages.told`). Where not, no machine is used twice.
- The memory cannot shrink, so one that has grown only serves states of that size. What is behind the image is zero.
- The stack pointer is the only global that can change (`bake` sees to that), and is what it was: a machine is only
  given back when no call into it trapped, or was ended.
- The engine has no other state in its instance: its table of functions is never written.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sequential_core.vm import snapshot
from sequential_core.vm.machine import Clock, Machine

if TYPE_CHECKING:
    from sequential_core.limits import Limits
    from sequential_core.vm.guest import Guest

# Each keeps up to 8 MiB of pages, and some of notes.
_MOST_IDLE = 16

# The machines that no thread uses now, the latest last. Only changed by one call of a list's method at a time; so after
# a fork the child has these too, and never a half-used one.
_idle: list[Machine] = []


def take(guest: Guest, limits: Limits, clock: Clock | None, memory_bytes: int = 0) -> Machine:
    """A machine at the image of a guest.

    Args:
        guest, limits, clock: of the hop.
        memory_bytes: how large the memory will have to be; 0: as the image. It may be smaller, and the caller grows it.
    """
    for machine in reversed(_idle.copy()):
        if (
            machine.guest is guest
            and machine.memory_limit == limits.memory_bytes
            and machine.clocked == (clock is not None)
            and (machine.memory_bytes == memory_bytes or not machine.has_grown)
        ):
            with contextlib.suppress(ValueError):  # another thread was quicker
                _idle.remove(machine)
                machine.begin(limits, clock)
                return machine
    return Machine(guest, limits, clock)


def give_back(machine: Machine, *, taken: bool = False) -> None:
    """Keeps a machine for another hop, if that is worth it.

    Args:
        machine: no call into it has failed, and `prepare` was called since it was made or restored.
        taken: a snapshot of it was just taken, see `snapshot.reset`.
    """
    if snapshot.reset(machine, machine.guest, taken=taken):
        machine.end()
        _idle.append(machine)
        if len(_idle) > _MOST_IDLE:
            with contextlib.suppress(IndexError):
                _idle.pop(0)
