"""Threads for requests: daemons, so that the end of the process does not wait for a slow server.

`ThreadPoolExecutor` has none, and a thread for each request costs a tenth of what the request does.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

# A thread that has nothing to do for so long ends.
_IDLE_SECONDS = 5.0


class Threads:
    """Runs functions at once, each on a thread of its own, and keeps these for the next ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[Callable[[], None]]] = []

    def run(self, function: Callable[[], None]) -> None:
        """Begins a function, which must not raise."""
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is not None:
            inbox.put(function)
        else:
            threading.Thread(target=self._work, args=(function,), name="sequential-request", daemon=True).start()

    def _work(self, function: Callable[[], None]) -> None:
        inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        while True:
            function()
            del function  # what it holds is not kept while there is nothing to do
            with self._lock:
                self._idle.append(inbox)
            try:
                function = inbox.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if inbox in self._idle:
                        self._idle.remove(inbox)
                        return
                function = inbox.get()  # it was taken at the last moment
