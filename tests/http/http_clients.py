"""Clients and servers for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx

from sequential_core.driver.keys import write_key

KEY = bytes(range(32))

PAUSING = "const user = await fetch('https://api.example.com/user/1'); user"


class Client:
    """Calls an ASGI application in this process, without a network, as a server would."""

    def __init__(self, app, root_path=""):
        self._transport = httpx.ASGITransport(app, root_path=root_path)

    def request(self, method, url, **arguments):
        async def send():
            async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
                return await client.request(method, url, **arguments)

        return asyncio.run(send())

    def get(self, url, **arguments):
        return self.request("GET", url, **arguments)

    def head(self, url, **arguments):
        return self.request("HEAD", url, **arguments)

    def post(self, url, **arguments):
        return self.request("POST", url, **arguments)

    def delete(self, url, **arguments):
        return self.request("DELETE", url, **arguments)

    def execute(self, code=PAUSING, **fields):
        """The task that the code becomes."""
        response = self.post("/tasks", json={"code": code, **fields})
        assert response.is_success, response.text
        return response.json()

    def resume(self, task_id, answer, **fields):
        response = self.post(f"/tasks/{task_id}/resume", json={"fetchResponse": answer, **fields})
        assert response.is_success, response.text
        return response.json()


class Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self):
        return self.now

    def pass_by(self, **duration):
        self.now += timedelta(**duration)


class Server:
    """`sequential serve` in a process of its own."""

    def __init__(self, process, url):
        self.process = process
        self.url = url

    def stop(self, number=signal.SIGTERM):
        """Ends it in order, and gives its exit code and what it wrote to standard error since it told its URL."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@contextlib.contextmanager
def running_serve(*arguments, storage="memory:"):
    """A server on a free port of 127.0.0.1."""
    command = [sys.executable, "-m", "sequential_core.cli", "serve", "--port", "0", "--storage", storage, *arguments]
    environment = {**os.environ, "SEQUENTIAL_SIGNING_KEY": write_key(KEY)}  # or else it makes one, in the user's files
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stderr.readline()
        found = re.match(r"serving (http://\S+)", line)
        assert found, line + process.stderr.read()
        yield Server(process, found[1])
    finally:
        if process.poll() is None:
            process.terminate()
        with process:
            process.wait(timeout=30)
