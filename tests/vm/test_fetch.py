"""What `fetch` asks for, and how answers arrive."""

from __future__ import annotations

import json

import pytest
from support import answered, completed, failed, suspended

from sequential_core.pending import ErrorAnswer, PendingRequest, ResponseAnswer, ValueAnswer
from sequential_core.vm import program as programs


def request_of(code: str) -> PendingRequest:
    (request,) = suspended(code).requests
    return request


def result_of(code: str, answer: ResponseAnswer) -> object:
    """The result of a program in which `r` is the answer."""
    outcome = answered(f"const r = await fetch('http://a/x'); {code}", answer)
    assert isinstance(outcome, programs.Completed), outcome
    return outcome.result


# --- Requests ------------------------------------------------------------------------------------


def test_a_plain_call_is_a_get():
    assert request_of("\n  await fetch('https://example.com/a')") == PendingRequest(
        id=1, url="https://example.com/a", method="GET", headers={}, body=None, line=2, column=9
    )


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://api.example.com", "https://api.example.com/"),
        ("HTTP://Example.COM:80/A b?c d#e", "http://example.com/A%20b?c%20d#e"),
        ("https://example.com/é/../ü?ö", "https://example.com/%C3%BC?%C3%B6"),
        ("https://bücher.example", "https://xn--bcher-kva.example/"),
    ],
)
def test_an_url_is_normalised_as_the_standard_says(given, sent):
    assert request_of(f"fetch('{given}')").url == sent


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("get", "GET"),
        ("pOsT", "POST"),
        ("DELETE", "DELETE"),
        ("patch", "patch"),
        ("PATCH", "PATCH"),
        ("Chicken", "Chicken"),
    ],
)
def test_the_methods_of_the_standard_are_normalised_and_no_others(given, sent):
    assert request_of(f"fetch('http://a/x', {{ method: '{given}' }})").method == sent


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ("{ 'X-A': 1, accept: ' */* ' }", {"x-a": "1", "accept": "*/*"}),
        ("[['A', '1'], ['a', '2']]", {"a": "1, 2"}),
        ("new Headers({ A: 'b' })", {"a": "b"}),
        ("new Map([['a', 'b']])", {"a": "b"}),
        ("{ ['__proto__']: 'own' }", {"__proto__": "own"}),
        ("{}", {}),
        ("undefined", {}),
    ],
)
def test_headers_are_taken_in_every_form(headers, sent):
    assert request_of(f"fetch('http://a/x', {{ headers: {headers} }})").headers == sent


def test_a_body_is_text_of_plain_type_by_default():
    request = request_of("fetch('http://a/x', { method: 'post', body: 'é' })")
    assert (request.body, request.headers) == ("é", {"content-type": "text/plain;charset=UTF-8"})


def test_a_content_type_of_the_code_is_kept():
    request = request_of(
        "fetch('http://a/x', { method: 'put', body: '{}', headers: { 'Content-Type': 'application/json' } })"
    )
    assert request.headers == {"content-type": "application/json"}


def test_an_empty_body_is_a_body():
    assert request_of("fetch('http://a/x', { method: 'POST', body: '' })").body == ""


@pytest.mark.parametrize("body", ["null", "undefined"])
def test_no_body_is_none(body):
    request = request_of(f"fetch('http://a/x', {{ method: 'POST', body: {body} }})")
    assert (request.body, request.headers) == (None, {})


def test_objects_are_written_as_strings():
    request = request_of("fetch({ toString: () => 'http://a/o' }, { method: 'POST', body: { toString: () => 'b' } })")
    assert (request.url, request.body) == ("http://a/o", "b")


def test_half_a_surrogate_pair_is_replaced_as_the_standard_says():
    assert request_of(r"fetch('http://a/\ud800')").url == "http://a/%EF%BF%BD"


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "''",
        "'x'",
        "'/x'",
        "'//a/x'",
        "'http://'",
        "'http://user:password@a/'",
        "'ftp://a/'",
        "'file:///etc/passwd'",
        "URL_, { body: 'b' }",
        "URL_, { method: 'head', body: 'b' }",
        "URL_, { method: 'a b' }",
        "URL_, { method: 'TRACE' }",
        "URL_, { headers: 5 }",
        "URL_, { headers: { 'a b': '1' } }",
        "URL_, { headers: { '': '1' } }",
        r"URL_, { headers: { a: '1\r\nb: 2' } }",
        "URL_, { headers: { a: '😀' } }",
        "URL_, { redirect: 'never' }",
        "URL_, { signal: {} }",
    ],
)
def test_a_request_that_cannot_be_made_rejects_with_a_type_error(arguments):
    arguments = arguments.replace("URL_", "'http://a/x'")
    code = f"let e; const p = fetch({arguments}); try {{ await p }} catch (x) {{ e = x }} e instanceof TypeError"
    assert completed(code) is True


def test_a_rejected_call_uses_up_no_id():
    assert request_of("fetch().catch(() => {}); fetch('http://a/x')").id == 1


def test_a_symbol_is_no_url():
    assert failed("fetch(Symbol('s'))").error.name == "TypeError"


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("const get = () =>\n  fetch('http://a/x');\nget()", (2, 3)),
        ("await Promise.resolve();\n\nawait fetch('http://a/x')", (3, 7)),
        ("\n[1].map(() => fetch('http://a/x'))", (2, 15)),
        ("Promise.resolve('http://a/x').then(fetch)", (None, None)),
        ("Error.prepareStackTrace = () => ({}); fetch('http://a/x')", (None, None)),
        ("Error.prepareStackTrace = () => { throw 1 }; fetch('http://a/x')", (None, None)),
        ("Error.stackTraceLimit = 0; fetch('http://a/x')", (None, None)),
    ],
)
def test_a_request_says_where_it_was_called(code, place):
    request = request_of(code)
    assert request.url == "http://a/x"
    # An engine may point at the name or at the parenthesis behind it.
    line, column = place
    assert request.line == line
    assert request.column in (column, None if column is None else column + len("fetch"))


def test_headers_of_the_code_behave_as_in_the_standard():
    assert completed(
        """
        const h = new Headers([['B', '1'], ['a', '2'], ['b', '3']]);
        h.append('A', '4'); h.set('C', ' 5 '); h.delete('none'); const seen = []; h.forEach((v, k) => seen.push(k + v));
        [[...h], h.get('b'), h.get('none'), h.has('C'), [...h.keys()], [...h.values()], seen, String(h)]
        """
    ) == [
        [["a", "2, 4"], ["b", "1, 3"], ["c", "5"]],
        "1, 3",
        None,
        True,
        ["a", "b", "c"],
        ["2, 4", "1, 3", "5"],
        ["a2, 4", "b1, 3", "c5"],
        "[object Headers]",
    ]


# --- Responses -----------------------------------------------------------------------------------

NOT_FOUND = ResponseAnswer(
    status=404,
    status_text="Not Found",
    headers={"Content-Type": "application/json", "X-B": "é"},
    body='{"why": "gone"}',
    url="https://example.com/there",
    redirected=True,
)


def test_a_response_has_what_the_answer_says():
    code = """
    [r instanceof Response, r.status, r.statusText, r.ok, r.url, r.redirected, r.bodyUsed,
     [...r.headers], r.headers.get('CONTENT-TYPE'), await r.json(), r.bodyUsed]
    """
    assert result_of(code, NOT_FOUND) == [
        True,
        404,
        "Not Found",
        False,
        "https://example.com/there",
        True,
        False,
        [["content-type", "application/json"], ["x-b", "é"]],
        "application/json",
        {"why": "gone"},
        True,
    ]


def test_a_response_by_default():
    code = "[r.status, r.statusText, r.ok, [...r.headers], await r.text(), await r.text(), r.bodyUsed]"
    assert result_of(code, ResponseAnswer()) == [200, "", True, [], "", "", False]


@pytest.mark.parametrize(("status", "ok"), [(200, True), (299, True), (300, False), (599, False)])
def test_ok_means_a_status_in_the_two_hundreds(status, ok):
    assert result_of("r.ok", ResponseAnswer(status=status)) is ok


@pytest.mark.parametrize("method", ["text", "json", "clone"])
def test_a_body_is_read_once(method):
    code = f"await r.text(); let e; try {{ await r.{method}() }} catch (x) {{ e = x.name }} e"
    assert result_of(code, NOT_FOUND) == "TypeError"


def test_a_clone_is_read_by_itself():
    code = "const c = r.clone(); [await c.text(), c.url, c.status, c.headers.get('x-b'), await r.text()]"
    assert result_of(code, NOT_FOUND) == [NOT_FOUND.body, NOT_FOUND.url, 404, "é", NOT_FOUND.body]


def test_a_response_is_read_at_a_later_hop():
    code = "const r = await fetch('http://a/a'); await fetch('http://a/b'); r.json()"
    outcome = answered(code, NOT_FOUND, ValueAnswer(None))
    assert outcome == programs.Completed({"why": "gone"}, ())


def test_a_body_that_is_not_json_rejects_with_a_syntax_error():
    code = "let e; try { await r.json() } catch (x) { e = x.name } [e, r.bodyUsed]"
    assert result_of(code, ResponseAnswer(body="<html>")) == ["SyntaxError", True]


@pytest.mark.parametrize("message", ["no route", "", "é\0😀"])
def test_a_failed_fetch_rejects_with_a_type_error(message):
    outcome = answered(
        "try { await fetch('http://a/x') } catch (e) { [e instanceof TypeError, e.message] }", ErrorAnswer(message)
    )
    assert outcome == programs.Completed([True, message], ())


def test_a_failed_fetch_that_nobody_catches_fails_the_program():
    outcome = answered("await fetch('http://a/x')", ErrorAnswer("no route"))
    assert isinstance(outcome, programs.Failed)
    assert str(outcome.error) == "TypeError: no route"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}], ids=["nan", "inf", "object", "set"])
def test_an_answer_that_is_not_json_never_reaches_the_program(value):
    paused = suspended("await fetch('http://a/x')")
    with pytest.raises((ValueError, TypeError)):
        programs.resume(paused.state, {1: ValueAnswer(value)})


def test_a_form_goes_out_as_text_from_a_clone_too():
    code = """
        const form = new FormData(); form.append('a', 'b');
        const request = new Request('http://a/', { method: 'POST', body: form });
        fetch(request.clone()); await fetch(request)
    """
    first, second = suspended(code).requests
    assert first.body == second.body
    assert (first.body_encoding, second.body_encoding) == (None, None)


HOSTS = ["a", "api.example.com", "127.0.0.1", "255.255.255.0", "0.0.0.0", "1.2.3", "01.2.3.4", "256.1.1.1", "1.2.3.4.5"]
HOSTS += ["1.2.3.4.", "0x7f.1", "1.2.3.04", "999", "a.1", "1.a", "10.0.0.1.example.com"]
PORTS = ["", ":80", ":443", ":8080", ":49152", ":59999", ":60000", ":65535", ":65536", ":99999", ":08080", ":0"]


def test_an_url_that_is_not_parsed_is_what_parsing_would_make_of_it():
    """`fetch` leaves out the parser where an URL is plain."""
    urls = [f"{scheme}://{host}{port}/p?q=1" for scheme in ("http", "https") for host in HOSTS for port in PORTS]
    code = (
        "const attempt = (make) => { try { return make() } catch (error) { return error.name } };"
        f"{json.dumps(urls)}.map((url) => [attempt(() => new Request(url).url), attempt(() => new URL(url).href)])"
    )
    pairs = completed(code)
    assert len(pairs) == len(urls)
    assert [made for made, _ in pairs] == [parsed for _, parsed in pairs]
    assert pairs[urls.index("http://127.0.0.1:49152/p?q=1")][0] == "http://127.0.0.1:49152/p?q=1"


@pytest.mark.parametrize("origin", ["http://127.0.0.1:49152", "https://10.1.2.3:8443", "http://localhost:3000"])
def test_an_url_of_this_machine_costs_a_state_no_more_than_another(origin):
    """The parser leaves a kilobyte behind in the state, once it has run."""
    other, this = (len(suspended(f"await fetch('{each}/path')").state) for each in ("https://api.example.com", origin))
    assert this < other + 50
