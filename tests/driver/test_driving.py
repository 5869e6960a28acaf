"""What a driver does with a task, whatever the servers do: on a clock that is moved."""

import json
import threading
from datetime import timedelta

import httpx
import pytest
from driver.programs import Driven, answer, in_turn, reply

from sequential_core.drive import Policy
from sequential_core.driver import Claimed, Ended, ToolError, Waiting, Yielded
from sequential_core.errors import TaskConflictError
from sequential_core.model import ErrorKind, Status

SECOND = timedelta(seconds=1)

CAUGHT = "try { await fetch('https://api.test/a') } catch (e) { `${e.name}: ${e.message}` }"


# --- The end -----------------------------------------------------------------------------------------


def test_a_program_is_driven_to_its_end():
    driven = Driven(lambda request: answer({"path": request.url.path}))
    task = driven.run(
        "const a = await fetch('https://api.test/a'); const b = await fetch('https://api.test/b'); [a, b]"
    )
    assert task.result == [{"path": "/a"}, {"path": "/b"}]
    assert driven.site.paths == ["/a", "/b"]


def test_a_fan_out_of_100_is_performed_eight_at_a_time():
    lock, now, most = threading.Lock(), 0, 0
    all_there = threading.Event()

    def respond(request):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == 8:
                all_there.set()
        all_there.wait(10)
        with lock:
            now -= 1
        return answer(int(request.url.path[1:]))

    driven = Driven(respond)
    code = (
        "(await Promise.all([...Array(100).keys()].map((i) => fetch(`https://api.test/${i}`)))).reduce((a, b) => a + b)"
    )
    task = driven.run(code)
    assert (task.result, most, len(driven.site.seen)) == (4950, 8, 100)
    assert len(set(driven.site.paths)) == 100


def test_answers_that_are_there_together_make_one_hop():
    together = threading.Barrier(8)

    def respond(_):
        together.wait(10)
        return answer(1)

    driven = Driven(respond)
    task = driven.run("(await Promise.all([...Array(8).keys()].map((i) => fetch(`https://api.test/${i}`)))).length")
    assert task.result == 8
    assert task.drive.history[-1].hop <= 5, "eight answers, and not a hop for each"


def test_code_that_needs_nobody_is_a_driven_task_that_has_ended():
    driven = Driven()
    task = driven.run("1 + 1")
    assert (task.status, task.result) == (Status.COMPLETED, 2)
    assert task.expires_at - task.updated_at == timedelta(days=1), "its outcome is kept for a day"


def test_a_driven_task_waits_for_thirty_days_and_one_that_says_so_for_as_long_as_it_says():
    driven = Driven()
    task = driven.flow.execute("await waitForEvent('never')", drive=True)
    assert task.ttl == timedelta(days=30)
    assert driven.flow.execute("await waitForEvent('never')", drive=True, ttl=60).ttl == timedelta(minutes=1)


def test_a_task_that_nobody_drives_is_left_alone():
    driven = Driven()
    task = driven.flow.execute("await fetch('https://api.test/')")
    assert driven.driver.drive(task.id) == Ended(driven.flow.get_task(task.id))
    assert driven.driver.drive("no such task") == Ended(None)
    assert driven.site.seen == []


def test_a_task_is_handed_to_a_driver_and_back_to_its_caller():
    driven = Driven(in_turn(reply("first"), reply("second")))
    code = "const a = await fetch('https://api.test/1'); const b = await fetch('https://api.test/2'); [a, b]"
    task = driven.flow.execute(code)
    task = driven.flow.resume(task.id, fetch_response="by hand")
    driven.flow.drive_task(task.id)
    assert driven.go_on(task).result == ["by hand", "first"]

    task = driven.flow.execute(code, drive=True)
    driven.flow.drive_task(task.id, drive=False)
    assert isinstance(driven.driver.drive(task.id), Ended)
    task = driven.flow.resume(task.id, fetch_response="x")
    assert driven.flow.resume(task.id, fetch_response="y").result == ["x", "y"]
    assert len(driven.site.seen) == 1


# --- What servers do ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_asked_for_again(status):
    driven = Driven(in_turn(reply(status=status), reply(status=status), reply("there")))
    task = driven.run("await fetch('https://api.test/a')")
    assert task.result == "there"
    assert [(each.status, each.attempts) for each in task.drive.history] == [(200, 3)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501])
def test_a_status_that_will_not_pass_rejects_at_once(status):
    driven = Driven(in_turn(reply(status=status)))
    assert f"status {status}" in driven.run(CAUGHT).result
    assert len(driven.site.seen) == 1


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("no"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("half a body"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_network_that_fails_is_tried_again(error):
    driven = Driven(in_turn(error, error, reply("there")))
    assert driven.run("await fetch('https://api.test/a')").result == "there"


def test_what_fails_for_good_rejects_with_the_cause_after_the_last_attempt():
    driven = Driven(in_turn(reply(status=503)))
    result = driven.run(CAUGHT, {"attempts": 3}).result
    assert result == "TypeError: GET https://api.test/a: status 503 Service Unavailable (attempt 3)"
    assert len(driven.site.seen) == 3


def test_with_responses_the_last_status_is_given_to_the_code():
    driven = Driven(in_turn(reply({"a": 1}, status=503)))
    task = driven.run(
        "const r = await fetch('https://api.test/a'); [r.status, await r.json()]",
        {"attempts": 2, "answers": "response"},
    )
    assert (task.result, len(driven.site.seen)) == ([503, {"a": 1}], 2)


def test_backoff_doubles_up_to_its_bound_and_half_of_it_is_chance():
    driven = Driven(in_turn(reply(status=500)))
    task = driven.flow.execute(CAUGHT, drive={"attempts": 6, "backoff": 1, "maxBackoff": 4})
    waits = []
    while isinstance(standing := driven.driver.drive(task.id), Waiting):
        waits.append(standing.task.drive.due_at - driven.clock())
        driven.clock.advance(waits[-1])
    assert len(waits) == 5
    for wait, most in zip(waits, (1, 2, 4, 4, 4), strict=True):
        assert most / 2 * SECOND <= wait <= most * SECOND


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("told", ["120", "Sun, 01 Feb 2026 12:02:00 GMT"])
def test_retry_after_is_honoured_in_seconds_and_as_a_date(status, told):
    driven = Driven(in_turn(reply(status=status, retry_after=told), reply("there")))
    began = driven.clock()
    if "GMT" in told:
        told_at = began + timedelta(seconds=120)
        driven.site._respond = in_turn(
            reply(status=status, retry_after=told_at.strftime("%a, %d %b %Y %H:%M:%S GMT")), reply("there")
        )
    assert driven.run("await fetch('https://api.test/a')").result == "there"
    assert timedelta(seconds=119) <= driven.clock() - began <= timedelta(seconds=120)


def test_retry_after_of_other_statuses_and_nonsense_in_it_say_nothing():
    driven = Driven(in_turn(reply(status=500, retry_after="3000"), reply(status=503, retry_after="soon"), reply(1)))
    began = driven.clock()
    assert driven.run("await fetch('https://api.test/a')").result == 1
    assert driven.clock() - began <= 3 * SECOND


def test_who_wants_to_be_asked_in_a_month_is_not_waited_for():
    driven = Driven(in_turn(reply(status=503, retry_after="2592000")))
    assert "status 503" in driven.run(CAUGHT).result
    assert len(driven.site.seen) == 1


def test_a_post_is_repeated_with_one_idempotency_key_and_another_has_another():
    driven = Driven(in_turn(reply(status=500), reply(status=500), reply(1)))
    driven.run(
        "await fetch('https://api.test/a', { method: 'POST', body: 'x' });"
        "await fetch('https://api.test/b', { method: 'POST', body: 'x' })"
    )
    first, second = (
        [request.headers["idempotency-key"] for request in driven.site.seen if request.url.path == path]
        for path in ("/a", "/b")
    )
    assert (len(first), len(second)) == (3, 1)
    assert len({*first}) == 1
    assert {*first}.isdisjoint(second)


def test_the_key_is_that_of_the_task_and_not_of_one_that_has_its_id_later():
    driven = Driven(in_turn(reply(1)))
    code = "await fetch('https://api.test/', { method: 'POST' })"
    driven.run(code, id="again", retain=0)
    driven.clock.advance(SECOND)
    driven.run(code, id="again", retain=0)
    keys = [request.headers["idempotency-key"] for request in driven.site.seen]
    assert len({*keys}) == 2


def test_a_key_of_the_codes_own_is_sent_as_it_is_and_a_get_gets_none():
    driven = Driven(in_turn(reply(1)))
    driven.run(
        "await fetch('https://api.test/', { method: 'POST', headers: { 'Idempotency-Key': 'mine' } });"
        "await fetch('https://api.test/')"
    )
    assert [request.headers.get("idempotency-key") for request in driven.site.seen] == ["mine", None]


def test_methods_that_are_not_to_be_retried_are_sent_once():
    driven = Driven(in_turn(reply(status=503)))
    driven.run(
        "for (const method of ['POST', 'GET']) await fetch('https://api.test/' + method, { method }).catch(() => 0)",
        {"retryMethods": ["GET"], "attempts": 2},
    )
    assert driven.site.paths == ["/POST", "/GET", "/GET"]


def test_the_hosts_that_a_policy_allows_and_denies_hold_for_redirects_too():
    def respond(request):
        if request.url.path == "/away":
            return httpx.Response(302, headers={"location": "https://evil.test/"})
        return answer(request.url.host)

    driven = Driven(respond)
    code = """
        const all = [];
        for (const url of ['https://api.test/', 'https://evil.test/', 'https://api.test/away']) {
            all.push(await fetch(url).catch((e) => 'refused'));
        }
        all
    """
    assert driven.run(code, {"allow": ["*.test"], "deny": ["evil.test"]}).result == ["api.test", "refused", "refused"]
    assert driven.run(code, {"allow": ["api.test"]}).result == ["api.test", "refused", "refused"]
    assert "evil.test" not in {request.url.host for request in driven.site.seen}


# --- Time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [timedelta(milliseconds=1), timedelta(days=365)])
def test_a_timer_of_a_millisecond_and_one_of_a_year_fire_when_they_are_due(delay):
    driven = Driven()
    began = driven.clock()
    milliseconds = delay / timedelta(milliseconds=1)
    task = driven.run(f"const at = Date.now(); await sleep({milliseconds}); Date.now() - at")
    assert task.result == milliseconds
    assert driven.clock() - began == delay


def test_ten_thousand_timers_fire_in_their_order():
    driven = Driven()
    code = """
        const fired = [];
        const due = (i) => 1000 + ((i * 7919) % 3) * 1000;
        await new Promise((done) => {
            const fire = (i) => { if (fired.push(i) === 10_000) done() };
            for (let i = 0; i < 10_000; i++) setTimeout(fire, due(i), i);
        });
        [fired.length, fired.every((each, at) => at === 0 || due(fired[at - 1]) <= due(each))]
    """
    task = driven.run(code)
    assert task.result == [10_000, True]


def test_a_clock_that_jumps_fires_what_is_overdue_once_and_in_order():
    driven = Driven()
    code = """
        const fired = [];
        setTimeout(() => fired.push('day'), 86400e3);
        setTimeout(() => fired.push('hour'), 3600e3);
        await waitForEvent('go');
        fired
    """
    task = driven.flow.execute(code, drive=True)
    assert isinstance(driven.driver.drive(task.id), Waiting)
    driven.clock.advance(timedelta(days=20))
    assert isinstance(driven.driver.drive(task.id), Waiting)
    driven.clock.advance(timedelta(days=-10))
    assert isinstance(driven.driver.drive(task.id), Waiting)
    assert driven.flow.send_event(task.id, "go").result == ["hour", "day"]


def test_an_interval_that_never_ends_is_stopped_by_the_limit_of_hops():
    driven = Driven()
    task = driven.run("setInterval(() => 0, 1000); 1", {"hops": 20})
    assert (task.status, task.error_detail.kind) == (Status.ERROR, ErrorKind.HOP_LIMIT)
    assert "20 hops" in task.error
    assert "setInterval" in task.error


def test_a_task_that_takes_too_long_is_stopped_whatever_it_waits_for():
    for code in ("await sleep(1e9)", "await waitForEvent('never')", "setInterval(() => 0, 3600e3); await sleep(1e9)"):
        driven = Driven()
        began = driven.clock()
        task = driven.run(code, {"duration": 86400})
        assert task.error_detail.kind is ErrorKind.DURATION_LIMIT
        assert driven.clock() - began == timedelta(days=1)


def test_a_timer_that_is_due_aborts_a_request_that_is_under_way():
    release = threading.Event()

    def respond(_):
        release.wait(10)
        return answer(1)

    driven = Driven(respond, patience=timedelta(seconds=30))
    task = driven.flow.execute(
        "try { await fetch('https://api.test/', { signal: AbortSignal.timeout(20) }) } catch (e) { e.name }", drive=True
    )
    mover = threading.Timer(0.1, driven.clock.advance, (SECOND,))
    mover.start()
    try:
        assert driven.go_on(task).result == "TimeoutError"
    finally:
        release.set()
        mover.join()


def test_when_the_time_is_up_the_rest_is_left_to_who_has_the_token():
    driven = Driven(in_turn(reply(1)))
    task = driven.flow.execute("await fetch('https://api.test/')", drive=True)
    standing = driven.driver.drive(task.id, seconds=5)
    assert isinstance(standing, Yielded)
    assert driven.site.seen == [], "a request may take 30 seconds"
    assert isinstance(driven.driver.drive(task.id), Claimed)
    ended = driven.driver.drive(task.id, token=standing.token)
    assert ended.task.result == 1


def test_the_answer_of_a_request_that_was_aborted_meanwhile_is_dropped():
    aborted = threading.Event()

    def respond(request):
        if request.url.path == "/lost":
            aborted.wait(10)
            return answer("lost")
        aborted.set()
        return answer("kept")

    driven = Driven(respond, patience=SECOND)
    code = """
        const controller = new AbortController();
        const lost = fetch('https://api.test/lost', { signal: controller.signal }).catch((error) => error.name);
        await waitForEvent('abort');
        controller.abort();
        [await lost, await fetch('https://api.test/kept'), await fetch('https://api.test/kept')]
    """
    task = driven.flow.execute(code, drive=True)
    mover = threading.Timer(0.05, driven.flow.send_event, (task.id, "abort"))
    mover.start()
    assert driven.go_on(task).result == ["AbortError", "kept", "kept"]
    mover.join()


def test_json_that_the_program_cannot_take_rejects_its_fetch():
    deep = "[" * 600 + "]" * 600
    driven = Driven(
        lambda _: httpx.Response(
            200, stream=httpx.ByteStream(deep.encode()), headers={"content-type": "application/json"}
        )
    )
    assert "nested too deeply" in driven.run(CAUGHT).result


def test_whatever_a_fetch_raises_the_program_goes_on(caplog):
    driven = Driven(in_turn(LookupError("/etc/secret")))
    assert driven.run(CAUGHT).result == "TypeError: the request failed: LookupError"
    assert "a request failed" in caplog.text


# --- Callers and drivers at once ------------------------------------------------------------------------


def test_what_another_driver_is_at_is_left_to_it_until_its_claim_ends():
    there, release = threading.Event(), threading.Event()

    def respond(_):
        there.set()
        release.wait(10)
        return answer("once")

    driven = Driven(respond)
    task = driven.flow.execute("await fetch('https://api.test/')", drive=True)
    first = threading.Thread(target=driven.driver.drive, args=(task.id,))
    first.start()
    there.wait(10)
    assert isinstance(driven.driver.drive(task.id), Claimed)
    release.set()
    first.join()
    assert driven.flow.get_task(task.id).result == "once"
    assert len(driven.site.seen) == 1


def test_a_driver_that_died_is_followed_by_another_with_the_same_key():
    class Killed(BaseException):
        pass

    driven = Driven(in_turn(reply("done")))
    task = driven.flow.execute("await fetch('https://api.test/', { method: 'POST' })", drive=True)
    advance, driven.flow.hops.advance = driven.flow.hops.advance, None

    def die(*_, **__):
        raise Killed

    driven.flow.hops.advance = die
    with pytest.raises(Killed):
        driven.driver.drive(task.id)
    driven.flow.hops.advance = advance
    assert isinstance(driven.driver.drive(task.id), Claimed), "its claim still stands"
    driven.clock.advance(timedelta(seconds=46))
    assert driven.driver.drive(task.id).task.result == "done"
    keys = [request.headers["idempotency-key"] for request in driven.site.seen]
    assert len(keys) == 2
    assert len({*keys}) == 1


def test_an_event_that_comes_while_a_request_is_under_way_reaches_the_program_and_nothing_is_asked_twice():
    there, release = threading.Event(), threading.Event()

    def respond(request):
        if request.url.path == "/slow":
            there.set()
            release.wait(10)
        return answer(request.url.path)

    driven = Driven(respond)
    code = """
        const slow = fetch('https://api.test/slow', { method: 'POST' });
        const event = await waitForEvent('go');
        [event, await fetch('https://api.test/' + event), await slow]
    """
    task = driven.flow.execute(code, drive=True)
    driver = threading.Thread(target=driven.driver.drive, args=(task.id,))
    driver.start()
    there.wait(10)
    driven.flow.send_event(task.id, "go", "now")
    assert isinstance(driven.driver.drive(task.id), Claimed), "who is at it does the rest"
    release.set()
    driver.join()
    assert driven.flow.get_task(task.id).result == ["now", "/now", "/slow"]
    assert sorted(driven.site.paths) == ["/now", "/slow"]


def test_a_task_that_is_cancelled_takes_no_answer_any_more():
    there, release = threading.Event(), threading.Event()

    def respond(_):
        there.set()
        release.wait(10)
        return answer(1)

    driven = Driven(respond)
    task = driven.flow.execute("await fetch('https://api.test/a'); await fetch('https://api.test/b')", drive=True)
    standings = []
    driver = threading.Thread(target=lambda: standings.append(driven.driver.drive(task.id)))
    driver.start()
    there.wait(10)
    cancelled = driven.flow.cancel_task(task.id)
    release.set()
    driver.join()
    assert cancelled.error_detail.kind is ErrorKind.CANCELLED
    assert driven.flow.get_task(task.id).error == "CancelledError: the task was cancelled"
    assert isinstance(standings[0], Ended)
    assert driven.site.paths == ["/a"]
    assert driven.flow.cancel_task(task.id) == driven.flow.get_task(task.id)


def test_a_conflict_is_no_error_of_the_driver():
    driven = Driven(in_turn(reply("mine")))
    task = driven.flow.execute(
        "const a = await fetch('https://api.test/'); await fetch('https://api.test/2')", drive=True
    )
    put, conflicts = driven.flow.hops.put, [TaskConflictError(task.id, "as it happens")]

    def conflicting(*arguments, **options):
        if conflicts:
            raise conflicts.pop()
        return put(*arguments, **options)

    driven.flow.hops.put = conflicting
    assert driven.driver.drive(task.id).task.result == "mine"


# --- Tools ---------------------------------------------------------------------------------------------


def test_a_tool_gets_the_arguments_and_gives_the_result():
    driven = Driven()
    seen = []

    @driven.flow.tool
    def add(args, context):
        seen.append(context)
        return args["a"] + args["b"]

    @driven.flow.tool("later.add")
    async def later(args):
        return sum(args)

    task = driven.run("[await callTool('add', { a: 1, b: 2 }), await callTool('later.add', [3, 4])]")
    assert task.result == [3, 7]
    assert seen[0].task_id == task.id
    assert [each.url for each in task.drive.history] == ["tool:add", "tool:later.add"]


def test_what_goes_wrong_in_a_tool_rejects_and_tells_nothing_of_the_host():
    driven = Driven()

    @driven.flow.tool
    def refuses(_):
        raise ToolError("not today")

    @driven.flow.tool
    def breaks(_):
        raise OSError("/etc/secret")

    @driven.flow.tool
    def odd(_):
        return object()

    unlike_json = "Object of type object is not JSON serializable"
    code = """
        const told = [];
        for (const name of ['refuses', 'breaks', 'odd', 'none']) {
            try { await callTool(name) } catch (e) { told.push(`${e.name}: ${e.message}`) }
        }
        told
    """
    assert driven.run(code).result == [
        "Error: not today",
        "Error: the tool 'breaks' failed",
        "Error: what the tool 'odd' gave cannot be taken: it is not JSON: " + unlike_json,
        "Error: there is no tool 'none'",
    ]


# --- What is to be seen ---------------------------------------------------------------------------------


def test_a_task_shows_its_next_attempt_its_history_and_the_tail_of_its_log():
    driven = Driven(in_turn(reply({"a": 1}), reply(status=503)))
    code = """
        console.log('first');
        await fetch('https://user.test/a?secret=1#x');
        console.warn('second');
        await fetch('https://api.test/b')
    """
    task = driven.flow.execute(code, drive={"attempts": 2, "backoff": 10})
    assert isinstance(driven.driver.drive(task.id), Waiting)
    shown = json.loads(json.dumps(driven.flow.get_task(task.id).to_dict()))
    assert shown["pausedState"]["hops"] == 2
    assert shown["drive"]["log"] == [{"level": "log", "message": "first"}, {"level": "warn", "message": "second"}]
    (exchange,) = shown["drive"]["history"]
    assert (exchange["hop"], exchange["url"], exchange["status"]) == (2, "https://user.test/a", 200)
    assert exchange["bytes"] == len(b'{"a":1}')
    (retry,) = shown["drive"]["retries"]
    assert (retry["requestId"], retry["attempts"]) == (2, 1)
    assert "status 503" in retry["problem"]
    assert shown["drive"]["nextAttemptAt"] == retry["nextAt"] == shown["drive"]["dueAt"]
    assert shown["drive"]["claim"] is None


def test_of_a_history_the_last_fifty_are_kept():
    driven = Driven(in_turn(reply(1)))
    task = driven.run("for (let i = 1; i <= 60; i++) await fetch('https://api.test/' + i); 1")
    assert [each.url for each in task.drive.history] == [f"https://api.test/{i}" for i in range(11, 61)]
    assert [each.hop for each in task.drive.history] == list(range(12, 62))


def test_a_policy_says_only_what_differs_and_comes_back_as_it_was():
    assert Policy().to_dict() == {}
    given = {"answers": "response", "attempts": 2, "timeout": 5.0, "allow": ["*.example.com"], "retryStatuses": [503]}
    assert Policy.from_dict(given).to_dict() == given
