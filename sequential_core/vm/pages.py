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
is compared, in large blocks and without a copy: 60 us for a MiB.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from typing import TYPE_CHECKING

from sequential_core.limits import Limits
from sequential_core.state import PAGE_BYTES
from sequential_core.vm.machine import Machine

if TYPE_CHECKING:
    from sequential_core.vm.guest import Guest

# Bits 61 to 63 of an entry, as the kernel's Documentation/admin-guide/mm/pagemap.rst has them.
_PRESENT, _SWAPPED, _OF_A_FILE = 0x80, 0x40, 0x20
_ENTRY_BYTES = 8

# The highest bytes of the entries that are neither of the first two kinds.
_OWN = re.compile(
    b"[%s]"
    % b"".join(
        b"\\x%02x" % byte for byte in range(256) if byte & _SWAPPED or (byte & _PRESENT and not byte & _OF_A_FILE)
    )
)

_BLOCK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK_BYTES)

_memcmp = (ctypes.CDLL("msvcrt") if os.name == "nt" else ctypes.CDLL(None)).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def candidates(machine: Machine, guest: Guest, written: int) -> list[int]:
    """The pages that may differ from the image, ascending: every one that does, and some that do not.

    Args:
        machine: one of the guest's.
        guest: what its memory began as.
        written: an address that was written since the machine was made.

    Returns:
        Offsets from the end of the C stack; the memory below is not looked at.
    """
    origin = guest.manifest.stack_end
    if can_be_told(guest):
        pages = own(machine, origin)
        if pages is not None and (written - origin & -PAGE_BYTES) in pages:
            return pages
    return differing(machine, guest)


def differing(machine: Machine, guest: Guest) -> list[int]:
    """The pages that differ from the image, by comparing all of them."""
    origin, base = guest.manifest.stack_end, guest.base
    memory, image, zeros = machine.address + origin, address_of(base), address_of(_ZEROS)
    pages = []
    for start in range(0, machine.memory_bytes - origin, _BLOCK_BYTES):
        # Both are a whole number of blocks: WebAssembly's pages.
        other = image + start if start < len(base) else zeros
        if _memcmp(memory + start, other, _BLOCK_BYTES):
            for at in range(0, _BLOCK_BYTES, PAGE_BYTES):
                if _memcmp(memory + start + at, other + at, PAGE_BYTES):
                    pages.append(start + at)
    return pages


def address_of(data: bytes) -> int:
    """Where bytes are in the memory of this process, as long as somebody holds them."""
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
    assert address is not None
    return address


def own(machine: Machine, origin: int) -> list[int] | None:
    """The pages that this process has of its own, as the kernel tells; None if it does not."""
    system_page = _system_page_bytes()
    start, size = machine.address + origin, machine.memory_bytes - origin
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
    found = [match.start() * system_page for match in _OWN.finditer(entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES])]
    if system_page == PAGE_BYTES:
        return found
    return [page + at for page in found for at in range(0, system_page, PAGE_BYTES)]


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
    origin, system_page = guest.manifest.stack_end, _system_page_bytes()
    machine = Machine(guest, Limits())
    if own(machine, origin) != []:
        return False
    size = machine.memory_bytes
    shown: list[int] = []
    for place in (origin, origin + (size - origin) // 3 * 2, size - 1):
        _touch(machine, place)
        first = place - origin & -system_page
        shown += range(first, first + system_page, PAGE_BYTES)
        if own(machine, origin) != shown:
            return False
    # Behind the image the kernel may give more pages at a time.
    machine.grow(1)
    _touch(machine, size)
    found = own(machine, origin)
    return found is not None and found[: len(shown)] == shown and size - origin in found


def _touch(machine: Machine, place: int) -> None:
    """Writes a byte that is there already."""
    machine.write(place, machine.read(place, place + 1))
