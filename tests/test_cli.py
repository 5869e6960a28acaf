import json
import os
import signal
import subprocess
import sys

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
