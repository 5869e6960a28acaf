"""A server that answers every request at once with {"n":1}: what the driver is measured against.

A process of its own, with as little as an answer takes. On its last line of input it prints the CPU seconds that it
took, and how many requests it has answered.
"""

from __future__ import annotations

import asyncio
import sys
import time

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"n":1}'

answered = 0


class Connection(asyncio.Protocol):
    """Answers GET requests, several on one connection."""

    def connection_made(self, transport):
        self._transport = transport
        self._left = b""

    def data_received(self, data):
        global answered  # noqa: PLW0603  # the one thing that this process counts
        requests = (self._left + data).split(b"\r\n\r\n")
        self._left = requests.pop()
        answered += len(requests)
        self._transport.write(ANSWER * len(requests))


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    while (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        print(time.process_time(), answered, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
