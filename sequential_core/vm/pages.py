"""Which pages of a machine's memory may differ from its guest's image, without comparing all of them.

wasmtime maps the image copy-on-write: the memory of a fresh machine is a private mapping of the compiled guest's
file (or of an anonymous file that nobody can write), and behind the image of nothing. The kernel gives a process a
page of its own when it writes to such a mapping, and never otherwise. `/proc/self/pagemap` tells these pages apart:

    not present, not swapped    never touched, or dropped again since the file has the same: equal to the image
    present, of a file          read, never written: equal to the image
    anything else               the process's own page, or the zero page, or one on its way to or from the disk

Only "anything else" is looked at, and then compared. So it errs to one side: whatever is rare (a swapped page, a
merged or a migrating one, a marker) is compared. Large pages are told as their parts. An image that wasmtime copied
instead of mapping it, or a memory that moved as it grew, is pages of the process's own: all are compared. Only a
`pagemap` that is not of this memory, or not the truth, would lose a change:

- It is opened anew each time. What a fork inherits of an open one shows the memory of its parent.
- Before it is believed, a fresh machine must show no page at all, and then exactly those that are written to.
- At every snapshot, it must show a page that was certainly written in this hop.

Where one of these fails, or there is no such file (macOS, gVisor, a process that may not be traced), the whole memory
is compared, in large blocks and without a copy: 0.1 ms for a MiB.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import TYPE_CHECKING

from sequential_core.limits import Limits
from sequential_core.state import PAGE_BYTES
from sequential_core.vm.machine import Machine

if TYPE_CHECKING:
    from sequential_core.vm.guest import Guest
    from sequential_core.vm.native import Exports

# Bits 61 to 63 of an entry, as the kernel's Documentation/admin-guide/mm/pagemap.rst has them.
_PRESENT, _SWAPPED, _OF_A_FILE = 0x80, 0x40, 0x20
_ENTRY_BYTES = 8

# By the highest byte of its entry: 0 for a page of the first two kinds, else 1.
_FLAGS = bytes(int(bool(byte & _SWAPPED or (byte & _PRESENT and not byte & _OF_A_FILE))) for byte in range(256))

_BLOCK_BYTES = 1 << 16

_memcmp = (ctypes.CDLL("msvcrt") if os.name == "nt" else ctypes.CDLL(None)).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def told(machine: Exports, guest: Guest) -> bytes | None:
    """The pages that may differ from the image: every one that does, and some that do not.

    Args:
        machine: the memory of one of the guest's machines; the random state was written in it since it was made.
        guest: what its memory began as.

    Returns:
        A byte for each page, those of the C stack too: 1, or 0 if it is certainly equal. None if the kernel does not
        tell, or is not believed.
    """
    if not can_be_told(guest):
        return None
    flags = own(machine)
    return flags if flags is not None and flags[guest.manifest.random_state // PAGE_BYTES] else None


def differing(machine: Exports, origin: int, image: int) -> bytes:
    """The pages that differ from the image, by comparing all of them from `origin` on.

    Args:
        machine: a memory.
        origin: where a page of WebAssembly begins. What is before is taken to be equal.
        image: the address of a memory that is as large, with the image and zeros behind it.

    Returns:
        A byte for each page: 1 if it differs, else 0.
    """
    memory, size = machine.address, machine.memory_bytes
    pages = bytearray(size // PAGE_BYTES)
    for start in range(origin, size, _BLOCK_BYTES):
        # A whole number of blocks: WebAssembly's pages.
        if _memcmp(memory + start, image + start, _BLOCK_BYTES):
            for at in range(start, start + _BLOCK_BYTES, PAGE_BYTES):
                if _memcmp(memory + at, image + at, PAGE_BYTES):
                    pages[at // PAGE_BYTES] = 1
    return bytes(pages)


def own(machine: Exports) -> bytes | None:
    """The pages of a memory that this process has of its own, as the kernel tells; None if it does not."""
    system_page = _system_page_bytes()
    start, size = machine.address, machine.memory_bytes
    if not system_page or start % system_page or size % system_page:
        return None
    count = size // system_page * _ENTRY_BYTES
    try:
        handle = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        try:
            entries = os.pread(handle, count, start // system_page * _ENTRY_BYTES)
        finally:
            os.close(handle)
    except OSError:
        return None
    if len(entries) != count:
        return None
    flags = entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES].translate(_FLAGS)
    ours = system_page // PAGE_BYTES
    return flags if ours == 1 else bytes(flag for flag in flags for _ in range(ours))


@functools.cache
def _system_page_bytes() -> int:
    """The size of a page of this system; 0 if it is not a multiple of ours, or not Linux."""
    if not hasattr(os, "sysconf") or not hasattr(os, "O_CLOEXEC"):
        return 0
    size = os.sysconf("SC_PAGESIZE")
    return 0 if size % PAGE_BYTES else size


@functools.lru_cache(maxsize=8)
def can_be_told(guest: Guest) -> bool:
    """Whether the kernel tells which pages of this guest's machines were written: tried with one."""
    system_page = _system_page_bytes()
    machine = Machine(guest, Limits())
    memory, size = machine.exports, machine.memory_bytes
    expected = bytearray(size // PAGE_BYTES)
    if own(memory) != bytes(expected):
        return False
    for place in (0, guest.manifest.stack_end, size // 3 * 2, size - 1):
        _touch(machine, place)
        first = (place & -system_page) // PAGE_BYTES
        expected[first : first + system_page // PAGE_BYTES] = b"\1" * (system_page // PAGE_BYTES)
        if own(memory) != bytes(expected):
            return False
    # Behind the image the kernel may give more pages at a time.
    machine.grow(1)
    _touch(machine, size)
    found = own(memory)
    return found is not None and found.startswith(expected + b"\1")


def _touch(machine: Machine, place: int) -> None:
    """Writes a byte that is there already."""
    machine.write(place, machine.read(place, place + 1))
