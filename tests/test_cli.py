import base64
import hmac
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time

import pytest
from http_server import running_server

from sequential_core import SqliteStorage


@pytest.fixture
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def storage(tmp_path):
    return tmp_path / "tasks.db"


@pytest.fixture
def environment(storage):
    return {**os.environ, "SEQUENTIAL_STORAGE": f"sqlite:///{storage}"}


@pytest.fixture
def sequential(environment):
    def run(*arguments, stdin=None):
        command = [sys.executable, "-m", "sequential_core.cli", *arguments]
        return subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def stored(storage):
    with_tasks = SqliteStorage(storage)
    try:
        return with_tasks.list().tasks
    finally:
        with_tasks.close()


def test_the_reference_program_by_hand_each_step_in_a_new_process(sequential, storage):
    code = (
        'const user = await fetch("https://api.example.com/user/1"); '
        'const posts = await fetch("https://api.example.com/posts"); [user, posts]'
    )
    first = json.loads(sequential("exec", "--id", "task-1", "-e", code).stdout)
    assert first["status"] == "paused"
    assert first["fetchRequest"]["url"] == "https://api.example.com/user/1"
    second = json.loads(sequential("resume", "task-1", "--fetch-response", '{"id": 1, "name": "Alice"}').stdout)
    assert second["status"] == "paused"
    assert second["fetchRequest"]["url"] == "https://api.example.com/posts"
    last = json.loads(sequential("resume", "task-1", "--fetch-response", '[{"id": 101}, {"id": 102}]').stdout)
    assert last["status"] == "completed"
    assert last["result"] == [{"id": 1, "name": "Alice"}, [{"id": 101}, {"id": 102}]]
    assert stored(storage) == ()


def test_run_performs_the_fetches_and_prints_the_result_alone(sequential, server, storage):
    done = sequential(
        "run", "--allow-loopback", "-e", f'console.log("hello"); (await fetch("{server.url}/json/a")).path'
    )
    assert (done.returncode, done.stdout) == (0, '"a"\n')
    assert "hello" in done.stderr
    assert f"GET {server.url}/json/a" in done.stderr
    assert stored(storage) == ()


def test_run_reads_a_file_and_standard_input(sequential, tmp_path):
    file = tmp_path / "program.js"
    file.write_text('"größe"', encoding="utf-8")
    assert sequential("run", str(file)).stdout == '"größe"\n'
    assert sequential("run", "-", stdin="1 + 1").stdout == "2\n"


@pytest.mark.parametrize("name", ["program.ts", "program.mts"])
def test_a_file_says_by_its_name_that_it_is_typescript(sequential, tmp_path, name):
    file = tmp_path / name
    file.write_text("const größe: number = 1; größe as number", encoding="utf-8")
    assert sequential("run", str(file)).stdout == "1\n"
    assert json.loads(sequential("exec", str(file)).stdout)["language"] == "typescript"
    other = sequential("run", "--language", "javascript", str(file))
    assert (other.returncode, other.stdout) == (1, "")


def test_the_language_can_be_said(sequential, server):
    code = f'const a = (await fetch("{server.url}/json/a")) as {{ path: string }}; a.path'
    assert sequential("run", "--allow-loopback", "--language", "typescript", "-e", code).stdout == '"a"\n'
    assert json.loads(sequential("exec", "--language", "typescript", "-", stdin="1 as number").stdout)["result"] == 1
    assert json.loads(sequential("exec", "-e", "1").stdout)["language"] == "javascript"


def test_quiet_run_prints_no_progress_but_what_the_code_logs(sequential, server):
    done = sequential(
        "run", "--allow-loopback", "-q", "-e", f'await fetch("{server.url}/json/a"); console.log("seen"); 1'
    )
    assert done.stderr.split() == ["log", "seen"]


def test_run_can_pause_everywhere(sequential, server, storage):
    code = f'const r = await fetch("{server.url}/json/a"); await sleep(1); r.path'
    done = sequential("run", "--allow-loopback", "--pause-everywhere", "-e", code)
    assert (done.returncode, done.stdout) == (0, '"a"\n')
    assert stored(storage) == ()


def test_run_can_deliver_responses(sequential, server):
    done = sequential(
        "run", "--allow-loopback", "--answers", "response", "-e", f'(await fetch("{server.url}/status/404")).status'
    )
    assert done.stdout == "404\n"


def test_run_caps_the_response(sequential, server):
    done = sequential(
        "run", "--allow-loopback", "--max-response-bytes", "10", "-e", f'await fetch("{server.url}/large/11")'
    )
    assert done.returncode == 1
    assert "more than 10 bytes" in done.stderr


def test_interrupted_run_leaves_the_task_paused_and_continue_goes_on(environment, sequential, server, storage):
    code = f'const a = await fetch("{server.url}/json/a"); const b = await fetch("{server.url}/hangs"); [a, b]'
    command = [sys.executable, "-m", "sequential_core.cli", "run", "--allow-loopback", "--id", "broken", "-e", code]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "/hangs" in line:
            break
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, "")
    assert "sequential run --continue broken" in stderr
    assert [task.id for task in stored(storage)] == ["broken"]

    resumed = sequential("resume", "broken", "--fetch-response", '"by hand"')
    assert json.loads(resumed.stdout)["result"] == [{"path": "a"}, "by hand"]


def test_continue_runs_a_paused_task_to_its_end(sequential, server):
    sequential("exec", "--id", "later", "-e", f'(await fetch("{server.url}/json/a")).path')
    done = sequential("run", "--allow-loopback", "--continue", "later")
    assert (done.returncode, done.stdout) == (0, '"a"\n')


def test_a_run_that_computes_can_be_interrupted(environment, storage):
    command = [sys.executable, "-m", "sequential_core.cli", "run", "-e", 'console.log("x"); for (;;);']
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=3)  # it computes for 5 s; starting takes a tenth of one, or several times that
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr.strip()) == (130, "", "interrupted")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "-e", "null.x"], 1, "TypeError: cannot read property 'x' of null"),
        (["run", "-e", "let x = ;"], 1, "SyntaxError"),
        (["exec", "-e", "throw new Error('no')"], 1, ""),
        (["run"], 2, "give either a FILE or -e CODE"),
        (["run", "--language", "typescript", "-e", "enum A {}"], 1, "TypeScript enum is not supported"),
        (["run", "--language", "typescript", "-e", "(" * 9999], 1, "nested too deeply"),
        (["run", "--language", "elm", "-e", "1"], 2, "'elm' is not one of"),
        (["run", "--continue", "x", "--language", "typescript"], 2, "--continue takes no code, --language"),
        (["run", "no-such-file.js"], 2, "no-such-file.js"),
        (["run", "--continue", "x", "-e", "1"], 2, "--continue takes no code"),
        (["run", "--continue", "nobody"], 2, "there is no task 'nobody'"),
        (["exec", "--id", "a\tb", "-e", "1"], 2, "control character"),
        (["exec", "--ttl", "soon", "-e", "1"], 2, "not a duration"),
        (["resume", "nobody", "--fetch-response", "1"], 2, "there is no task"),
        (["resume", "nobody", "--fetch-response", "{"], 2, "not JSON"),
        (["resume", "nobody"], 2, "there is no task"),
        (["resume", "nobody", "--fetch-response", "1", "--error", "x"], 2, "several kinds at once"),
        (["get", "nobody"], 2, "there is no task"),
        (["rm", "nobody"], 2, "there is no task"),
        (["ls", "--storage", "what:ever"], 2, "is no kind of storage"),
        (["fly"], 2, "No such command"),
    ],
)
def test_exit_codes_and_messages(sequential, arguments, code, said):
    done = sequential(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_of_a_task_is_printed_as_its_json_by_exec(sequential):
    task = json.loads(sequential("exec", "-e", "throw new RangeError('far')").stdout)
    assert (task["status"], task["error"]) == ("error", "RangeError: far")


def test_tasks_are_listed_read_and_removed(sequential):
    for number in range(3):
        sequential("exec", "--id", f"task-{number}", "--name", "mine", "-e", 'await fetch("https://example.com/x")')
    lines = sequential("ls").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["task-2", "task-1", "task-0"]
    assert all("GET https://example.com/x" in line and "mine" in line for line in lines)
    page = json.loads(sequential("ls", "--json", "--limit", "2").stdout)
    assert [task["id"] for task in page["tasks"]] == ["task-2", "task-1"]
    rest = json.loads(sequential("ls", "--json", "--cursor", page["cursor"]).stdout)
    assert [task["id"] for task in rest["tasks"]] == ["task-0"]
    assert sequential("rm", "task-0", "task-1").returncode == 0
    assert [line.split()[0] for line in sequential("ls", "--status", "paused").stdout.splitlines()] == ["task-2"]
    assert json.loads(sequential("get", "task-2").stdout)["pausedState"]["hops"] == 1


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("await waitForEvent('order.paid', { timeout: 5000 })", "event order.paid"),
        ("await callTool('charge', 5)", "tool charge"),
        ("await Promise.all([waitForEvent('first'), fetch('https://example.com/x')])", "event first"),
    ],
)
def test_ls_shows_what_a_task_waits_for(sequential, code, shown):
    sequential("exec", "--id", "t", "-e", code)
    assert sequential("ls").stdout.endswith(f"  {shown}\n")


def test_the_state_is_printed_only_when_asked_for(sequential):
    sequential("exec", "--id", "t", "-e", 'await fetch("https://example.com/x")')
    assert "vmState" not in json.loads(sequential("get", "t").stdout)
    assert json.loads(sequential("get", "t", "--vm-state").stdout)["vmState"]


def test_null_is_an_answer_and_answers_come_from_standard_input(sequential):
    sequential("exec", "--id", "t", "-e", 'const a = await fetch("https://example.com/x"); [a]')
    assert json.loads(sequential("resume", "t", "--fetch-response", "-", stdin="null").stdout)["result"] == [None]


def test_code_cannot_steer_the_terminal(sequential):
    done = sequential("run", "-e", r"console.log('\x1b]0;evil\x07 [red]x[/red]'); throw new Error('\x1b[2J')")
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr
    assert "[red]x[/red]" in done.stderr


# --- Driven tasks ----------------------------------------------------------------------------------------------


def test_run_calls_only_public_hosts_and_says_which_option_would_allow_it(sequential, server):
    done = sequential("run", "-q", "-e", f'await fetch("{server.url}/json/a")')
    assert (done.returncode, done.stdout, server.seen) == (1, "", [])
    assert "may not be called" in done.stderr
    assert "--allow-loopback" in done.stderr
    caught = sequential("run", "-e", f'await fetch("{server.url}/json/a").catch(() => "none")')
    assert (caught.returncode, caught.stdout) == (0, '"none"\n')
    assert "--allow-loopback" not in caught.stderr


def test_run_calls_the_hosts_that_are_allowed(sequential, server):
    code = f'await fetch("{server.url}/json/a").then((a) => a.path, () => "refused")'
    address = server.url.removeprefix("http://")
    assert sequential("run", "--allow", address, "-e", code).stdout == '"a"\n'
    assert sequential("run", "--allow-loopback", "--deny", address, "-e", code).stdout == '"refused"\n'
    assert sequential("run", "--allow", "no host", "-e", code).returncode == 2


def test_run_tries_again_and_says_so(sequential, server):
    done = sequential("run", "--allow-loopback", "--attempts", "2", "-e", f'await fetch("{server.url}/status/503")')
    assert done.returncode == 1
    assert len(server.seen) == 2
    assert "/status/503  status 503 Service Unavailable; again in " in done.stderr


def test_run_says_how_to_get_a_response(sequential, server):
    code = f'const r = await fetch("{server.url}/json/a"); (await r.json()).path'
    done = sequential("run", "--allow-loopback", "-e", code)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--answers response" in done.stderr
    done = sequential("run", "--allow-loopback", "--answers", "response", "-e", code)
    assert (done.returncode, done.stdout) == (0, '"a"\n')
    assert "--answers response" not in sequential("run", "-e", "(1)()").stderr


def test_run_says_why_a_request_failed_that_the_code_catches(sequential, server):
    code = f'await fetch("{server.url}/status/404").catch(() => "none")'
    done = sequential("run", "--allow-loopback", "-e", code)
    assert (done.returncode, done.stdout) == (0, '"none"\n')
    assert ": status 404 Not Found\n" in done.stderr


def test_run_anew_runs_anew(sequential, server, storage):
    for _ in range(2):
        code = f'(await fetch("{server.url}/json/a")).path'
        assert sequential("run", "--allow-loopback", "--id", "nightly", "-e", code).stdout == '"a"\n'
    assert len(server.seen) == 2
    assert stored(storage) == ()


def test_run_keeps_the_outcome_as_long_as_is_said(sequential, storage):
    sequential("run", "--retain", "1h", "--id", "t", "-e", "await sleep(1); 7")
    (task,) = stored(storage)
    assert (task.result, task.retain.total_seconds()) == (7, 3600)


def test_a_killed_run_is_taken_over_at_once(environment, sequential, server, storage):
    """Its claim would last for three quarters of a minute."""
    code = f'const a = await fetch("{server.url}/json/a"); const b = await fetch("{server.url}/hangs"); [a, b]'
    command = [sys.executable, "-m", "sequential_core.cli", "run", "--allow-loopback", "--id", "t", "-e", code]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as killed:
        for line in killed.stderr:
            if "/hangs" in line:
                break
        while len(server.seen) < 2:
            time.sleep(0.01)
        killed.kill()
    assert stored(storage)[0].drive.claim is not None
    server.release.set()  # it hangs no more: the connection is closed, which is tried again
    began = time.monotonic()
    done = sequential("run", "--allow-loopback", "--attempts", "1", "--continue", "t")
    assert time.monotonic() - began < 30
    assert done.returncode == 1
    assert [path for _, path, _, _ in server.seen] == ["/json/a", "/hangs", "/hangs"]
    assert stored(storage) == ()


def test_an_event_from_another_process_reaches_a_run(environment, sequential, storage):
    code = "console.log('begun'); const e = await waitForEvent('order.paid'); e.cents"
    command = [sys.executable, "-m", "sequential_core.cli", "run", "--id", "t", "-e", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        told = [run.stderr.readline() for _ in range(3)]
        assert "sequential event t order.paid JSON" in told[2]
        sent = json.loads(sequential("event", "t", "order.paid", '{"cents": 500}').stdout)
        assert (sent["status"], sent["result"]) == ("completed", 500)
        assert (run.stdout.read(), run.wait(timeout=30)) == ("500\n", 0)
    assert stored(storage) == ()


def test_an_event_is_kept_and_a_task_cancelled(sequential):
    sequential("exec", "--retain", "1h", "--id", "t", "-e", 'await fetch("https://example.com/x")')
    assert json.loads(sequential("event", "t", "seen").stdout)["keptEvents"] == [{"name": "seen", "value": None}]
    sent = sequential("event", "t", "paid", "-", "--idempotency-key", "k", stdin="[1]")
    assert json.loads(sent.stdout)["keptEvents"][1] == {"name": "paid", "value": [1]}
    cancelled = sequential("cancel", "t")
    assert (cancelled.returncode, json.loads(cancelled.stdout)["error"]) == (
        0,
        "CancelledError: the task was cancelled",
    )
    assert sequential("event", "t", "paid").returncode == 2


def test_exec_leaves_a_driven_task_to_a_server(sequential):
    code = 'await fetch("https://example.com/x")'
    policy = ("--attempts", "2", "--timeout", "5s", "--answers", "response", "--max-response-bytes", "100")
    drive = ("--drive", "--callback-url", "https://example.com/done")
    task = json.loads(sequential("exec", *drive, *policy, "--id", "t", "-e", code).stdout)
    assert task["drive"]["policy"] == {"answers": "response", "attempts": 2, "timeout": 5.0, "responseBytes": 100}
    assert task["drive"]["callback"]["url"] == "https://example.com/done"
    assert sequential("ls").stdout.endswith("  GET https://example.com/x  driven, hop 1\n")
    for arguments in (policy, drive[1:]):
        refused = sequential("exec", *arguments, "-e", code)
        assert (refused.returncode, "--drive" in refused.stderr) == (2, True)


def test_the_key_of_callbacks_comes_of_a_key_that_is_made_once_and_is_of_nobody_else(sequential, environment, tmp_path):
    environment["XDG_DATA_HOME"] = str(tmp_path)
    first = sequential("callback-key").stdout
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=\n", first)
    assert sequential("callback-key").stdout == first
    assert stat.S_IMODE((tmp_path / "sequential" / "signing-key").stat().st_mode) == 0o600
    environment["SEQUENTIAL_SIGNING_KEY"] = "a text of thirty-two characters."
    digest = hmac.digest(b"a text of thirty-two characters.", b"sequential callbacks 1\n", "sha256")
    assert sequential("callback-key").stdout == f"whsec_{base64.b64encode(digest).decode()}\n"


def test_a_url_of_an_event_is_for_the_server(sequential, environment, tmp_path):
    environment["XDG_DATA_HOME"] = str(tmp_path)
    sequential("exec", "--id", "t", "-e", "await waitForEvent('paid')")
    made = json.loads(sequential("event-url", "t", "paid", "--ttl", "1h").stdout)
    assert made["url"] == f"http://127.0.0.1:8787/events/{made['token']}"
    environment["SEQUENTIAL_PUBLIC_URL"] = "https://api.example.com/v1/"
    elsewhere = json.loads(sequential("event-url", "t", "paid").stdout)
    assert elsewhere["url"] == f"https://api.example.com/v1/events/{elsewhere['token']}"
