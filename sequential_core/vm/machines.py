"""Machines for hops: one that an earlier hop has left, made its guest's image again, or a fresh one.

A fresh machine costs 0.1 ms, and then the kernel copies each page at the first write to it. One that was used has these
pages. Whose program ran in it makes no difference, since nothing of it is left:

- The memory is made the image, the dead C stack too, where the kernel tells which pages were ever written and is
  believed (`pages.told`). Where not, no machine is used twice.
- The memory has not grown.
- The stack pointer is the only global that can change (`bake` sees to that), and is what it was: a machine is only
  given back when no call into it trapped, or was ended.
- The engine has no other state in its instance: its table of functions is never written.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from sequential_core.vm import snapshot
from sequential_core.vm.machine import Clock, Machine

if TYPE_CHECKING:
    from sequential_core.limits import Limits
    from sequential_core.vm.guest import Guest

# Each keeps up to 1 MiB of pages, and a few MiB of notes.
_MOST_IDLE = 16


def take(guest: Guest, limits: Limits, clock: Clock | None) -> Machine:
    """A machine at the image of a guest."""
    try:
        machine = _idle(guest, limits.memory_bytes, clock is not None).pop()
    except IndexError:  # another thread may have been quicker than any look before
        return Machine(guest, limits, clock)
    machine.begin(limits, clock)
    return machine


def give_back(machine: Machine, guest: Guest, *, taken: bool = False) -> None:
    """Keeps a machine for another hop, if that is worth it.

    Args:
        machine: no call into it has failed, and `prepare` was called since it was made or restored.
        guest: the machine's.
        taken: a snapshot of it was just taken, see `snapshot.reset`.
    """
    idle = _idle(guest, machine.memory_limit, machine.clocked)
    if len(idle) < _MOST_IDLE and snapshot.reset(machine, guest, taken=taken):
        machine.end()
        idle.append(machine)


@functools.lru_cache(maxsize=32)
def _idle(_guest: Guest, _memory_limit: int, _clocked: bool) -> list[Machine]:  # a key
    """The machines that no thread uses now. After a fork the child has these too, and never a half-used one."""
    return []
