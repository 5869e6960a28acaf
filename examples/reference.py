"""The reference program, a hop at a time: each in a process of its own, with a SQLite file between them.

Starts a small HTTP server on 127.0.0.1, which stands for the API that the program calls, and performs the requests
that the paused program asks for. Run it with `scripts/demo`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ANSWERS = {
    "/user/1": {"id": 1, "name": "Alice"},
    "/posts": [{"id": 101}, {"id": 102}],
}


class Api(BaseHTTPRequestHandler):
    """Answers what `ANSWERS` says."""

    def do_GET(self) -> None:
        body = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""


def sequential(storage: str, *arguments: str) -> dict[str, Any]:
    """Runs the command in a process of its own, and shows it; returns the task that it prints."""
    print(f"$ sequential {shlex.join(arguments)}")
    command = [sys.executable, "-m", "sequential_core.cli", *arguments, "--storage", storage]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    task: dict[str, Any] = json.loads(done.stdout)
    return task


def show(task: dict[str, Any]) -> None:
    """Prints what matters of a task."""
    print(f"  {task['status']}")
    if task["status"] == "paused":
        request, paused = task["fetchRequest"], task["pausedState"]
        print(f"  at line {paused['line']}, column {paused['column']}: {request['method']} {request['url']}")
        print(f"  {paused['stateBytes']} bytes of state")
    else:
        print(f"  result {json.dumps(task['result'])}")


def main() -> None:
    """Runs the example."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api = f"http://127.0.0.1:{server.server_port}"
    code = f'const user = await fetch("{api}/user/1"); const posts = await fetch("{api}/posts"); [user, posts]'

    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{Path(folder) / 'tasks.db'}"
        task = sequential(storage, "exec", "--id", "task-1", "-e", code)
        show(task)
        while task["status"] == "paused":
            with urlopen(task["fetchRequest"]["url"], timeout=10) as response:  # noqa: S310  # the server above
                answer = response.read().decode()
            task = sequential(storage, "resume", "task-1", "--fetch-response", answer)
            show(task)
        print("$ sequential ls")
        left = [sys.executable, "-m", "sequential_core.cli", "ls", "--storage", storage]
        print(subprocess.run(left, check=True, stdout=subprocess.PIPE, text=True).stdout or "  nothing left", end="\n")
    server.shutdown()


if __name__ == "__main__":
    main()
