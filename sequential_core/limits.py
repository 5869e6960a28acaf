"""What one hop of a task may use."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sequential_core.errors import InvalidRequestError

KIB = 1024
MIB = 1024 * KIB

# The guest takes 4 MiB, and the engine needs a margin; below this no program could do anything.
_LEAST_MEMORY_BYTES = 8 * MIB

# The host takes the guest's addresses for signed numbers of 32 bits, and snapshot.wat counts to where the memory ends.
_MOST_MEMORY_BYTES = 2048 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one hop. A program that passes one ends with an error that names it.

    The depth of recursion is not among them: it is part of the guest, 2,700 plain functions or 1,300 async ones, and
    passing it is a `RangeError` that the code can catch.

    Attributes:
        cpu_seconds: CPU time of the thread that runs the guest.
        memory_bytes: the guest's whole memory, with its stack and the 3 MiB of its image.
        code_bytes: the posted code in UTF-8.
        answer_bytes: an answer as JSON; a larger one is refused, the task stays paused.
        pending_requests: requests that wait for an answer at one pause.
        request_bytes: all of these together, as JSON.
        result_bytes: the result as JSON in UTF-8.
        log_bytes: what the code may write to `console` in one hop, in UTF-8; the rest is dropped,
            and the last log entry says so.
        state_bytes: the state of a pause, compressed.
    """

    cpu_seconds: float = 5.0
    memory_bytes: int = 64 * MIB
    code_bytes: int = 256 * KIB
    answer_bytes: int = 8 * MIB
    pending_requests: int = 256
    request_bytes: int = 4 * MIB
    result_bytes: int = 1 * MIB
    log_bytes: int = 64 * KIB
    state_bytes: int = 16 * MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if field.name == "cpu_seconds" else (int,)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
                raise InvalidRequestError(field.name, "a limit is a number above zero, and whole but for cpu_seconds")
        if not _LEAST_MEMORY_BYTES <= self.memory_bytes <= _MOST_MEMORY_BYTES:
            raise InvalidRequestError("memory_bytes", "the memory is between 8 MiB and 2 GiB")
