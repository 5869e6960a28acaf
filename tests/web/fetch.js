// fetch: what becomes a request, and what becomes of its answer (Fetch standard, 5.6).
const seen = (init, url = ECHO) => fetch(url, init);

test('a plain request', async () => {
  assertEquals(await fetch(ECHO), {
    id: 1, kind: 'fetch', url: ECHO, method: 'GET', headers: {}, body: null, bodyEncoding: null, redirect: 'follow',
  });
  assertEquals(fetch.length, 1);
});

test('URLs', async () => {
  table([[(await fetch(new URL('x', ECHO))).url, `${ECHO}x`], [(await fetch(new Request(`${ECHO}y`))).url, `${ECHO}y`],
    [(await fetch({ toString: () => `${ECHO}z` })).url, `${ECHO}z`], [(await fetch('https://echo.test')).url, ECHO],
    [(await fetch('HTTPS://ECHO.test/./a b?ü')).url, `${ECHO}a%20b?%C3%BC`]], (url) => url);
  for (const url of ['', 'x', '/x', '//echo.test', 'https://u:p@echo.test/', 'ftp://echo.test/', 'file:///etc/passwd', 'about:blank', 'blob:x', 'javascript:1', 'http://', Symbol()])
    await assertRejects(TypeError, fetch(url), String(url));
  await assertRejects(TypeError, fetch());
  await assertRejects(TypeError, fetch(ECHO, 'x'));
  await assertRejects(TypeError, fetch(ECHO, { method: 'a b' }));
  await assertRejects(TypeError, fetch(ECHO, { body: 'x' }));
  await assertRejects(TypeError, fetch(ECHO, { headers: { 'a b': 'x' } }));
});

test('a getter that throws rejects', async () => {
  const error = new RangeError('mine');
  for (const name of ['method', 'headers', 'body', 'signal', 'redirect'])
    await assertRejects(error, fetch(ECHO, { get [name]() { throw error; } }), name);
});

test('headers', async () => {
  const { headers } = await seen({ headers: new Headers([['X-A', ' 1 '], ['x-a', '2'], ['Accept', 'b']]) });
  assertEquals(headers, { 'x-a': '1, 2', accept: 'b' });
  assertEquals((await seen({ headers: [['A', 'b']] })).headers, { a: 'b' });
  assertEquals((await fetch(new Request(ECHO, { headers: { a: 'b' } }), { headers: { c: 'd' } })).headers, { c: 'd' });
  assertEquals((await seen({ headers: { x: 'ÿ' } })).headers, { x: 'ÿ' });
});

test('bodies', async () => {
  const of = async (body, headers) => {
    const request = await seen({ method: 'POST', body, headers });
    return [request.body, request.bodyEncoding, request.headers['content-type'] ?? null];
  };
  const form = 'application/x-www-form-urlencoded;charset=UTF-8', text = 'text/plain;charset=UTF-8';
  assertEquals(await of('ä€😀'), ['ä€😀', null, text]);
  assertEquals(await of(''), ['', null, text]);
  assertEquals(await of(JSON.stringify({ a: 1 }), { 'content-type': 'application/json' }), ['{"a":1}', null, 'application/json']);
  assertEquals(await of('\ud800x'), ['\ufffdx', null, text]);
  assertEquals(await of(new URLSearchParams({ a: 'b c' })), ['a=b+c', null, form]);
  assertEquals(await of(bytes('00 ff 80')), ['AP+A', 'base64', null]);
  assertEquals(await of(bytes('00 ff 80').buffer), ['AP+A', 'base64', null]);
  assertEquals(await of(new DataView(bytes('00 ff 80').buffer, 1, 1)), ['/w==', 'base64', null]);
  assertEquals(await of(new Blob(['a', bytes('ff')], { type: 'x/y' })), ['Yf8=', 'base64', 'x/y']);
  assertEquals(await of(new File(['a'], 'n')), ['YQ==', 'base64', null]);
  assertEquals(await of({ toString: () => 'object' }), ['object', null, text]);
  assertEquals(await of(null), [null, null, null]);
  assertEquals(await of(undefined), [null, null, null]);
  const streamed = await fetch(ECHO, { method: 'POST', body: streamOf(bytes('01'), bytes('02 03')), duplex: 'half' });
  assertEquals([streamed.body, streamed.bodyEncoding], ['AQID', 'base64']);
});

test('a form as a body', async () => {
  const form = new FormData();
  form.append('a', 'b\nc');
  form.append('f', new File(['text'], 'f.txt', { type: 'text/plain' }));
  const request = await seen({ method: 'POST', body: form });
  const boundary = /^multipart\/form-data; ?boundary=(\S+)$/.exec(request.headers['content-type'])[1];
  assertEquals(request.bodyEncoding, null, 'text stays text');
  assertEquals(request.body.replaceAll(boundary, 'B'), [
    '--B', 'Content-Disposition: form-data; name="a"', '', 'b\r\nc', '--B', 'Content-Disposition: form-data; name="f"; filename="f.txt"',
    'Content-Type: text/plain', '', 'text', '--B--', '',
  ].join('\r\n'));
  form.append('b', new Blob([bytes('ff')]));
  assertEquals((await seen({ method: 'POST', body: form })).bodyEncoding, 'base64');
});

test('methods and redirect', async () => {
  assertEquals((await seen({ method: 'post' })).method, 'POST');
  assertEquals((await seen({ method: 'patch' })).method, 'patch');
  for (const redirect of ['follow', 'error', 'manual']) assertEquals((await seen({ redirect })).redirect, redirect);
  assertEquals((await fetch(new Request(ECHO, { redirect: 'manual' }))).redirect, 'manual');
});

test('a Request is sent as it is, and used up', async () => {
  const request = new Request(ECHO, { method: 'PUT', body: 'x', headers: { a: 'b' } });
  const sent = await fetch(request);
  assertEquals([sent.method, sent.body, sent.headers], ['PUT', 'x', { a: 'b', 'content-type': 'text/plain;charset=UTF-8' }]);
  assertEquals(request.bodyUsed, true);
  await assertRejects(TypeError, fetch(request));
});

test('an answer as a value is that value', async () => {
  for (const value of [null, 0, 'x', false, [1, [2]], { a: { b: null } }, 1e300])
    assertEquals(await fetch(answering({ value })), value);
  assertEquals(Object.keys(await fetch(answering({ value: { b: 1, a: 2, 1: 3 } }))), ['1', 'b', 'a']);
  assertEquals(Object.hasOwn(await fetch(answering({ value: JSON.parse('{"__proto__":1}') })), '__proto__'), true);
});

test('an answer as an error rejects', async () => {
  const error = await fetch(answering({ error: 'no route' })).catch((reason) => reason);
  assertEquals([error.constructor, error.message], [TypeError, 'no route']);
});

test('an answer as a response', async () => {
  const response = await fetch(answering({ response: {
    status: 203, statusText: 'Maybe', headers: { 'Content-Type': 'application/json', 'set-cookie': ['a=1', 'b=2'] },
    body: '{"a":"ü"}', url: 'https://a.test/final', redirected: true,
  } }));
  assert(response instanceof Response);
  assertEquals([response.status, response.statusText, response.ok, response.type, response.url, response.redirected],
    [203, 'Maybe', true, 'basic', 'https://a.test/final', true]);
  assertEquals([response.headers.get('content-type'), response.headers.getSetCookie()], ['application/json', ['a=1', 'b=2']]);
  const copy = response.clone();
  assertEquals([copy.url, copy.redirected, copy.type], ['https://a.test/final', true, 'basic']);
  assertThrows(TypeError, () => copy.headers.set('x', 'y'));
  assertEquals([await response.json(), await copy.text()], [{ a: 'ü' }, '{"a":"ü"}']);
});

test('bytes, no body, and statuses', async () => {
  const answered = (response) => fetch(answering({ response }));
  assertEquals(await (await answered({ body: 'AP+A', bodyEncoding: 'base64' })).bytes(), bytes('00 ff 80'));
  assertEquals(await (await answered({ body: 'AP+A', bodyEncoding: 'base64' })).text(), '\0\ufffd\ufffd');
  assertEquals((await answered({ status: 204 })).body, null);
  assertEquals((await answered({ status: 200, body: null })).body, null);
  const missing = await answered({ status: 404, body: 'gone' });
  assertEquals([missing.ok, missing.status, await missing.text()], [false, 404, 'gone']);
  assertEquals(await (await answered({ body: '\ufeffx' })).text(), 'x', 'without its byte order mark');
  assertEquals(new Uint8Array(await (await answered({ body: '\ufeffx' })).arrayBuffer()), bytes('ef bb bf 78'));
  assertEquals((await answered({ body: 'x' })).url, '');
  const blob = await (await answered({ body: 'x', headers: { 'content-type': 'image/png' } })).blob();
  assertEquals([blob.type, blob.size], ['image/png', 1]);
  assertEquals((await collect((await answered({ body: 'xy' })).body)).map((chunk) => [...chunk]), [[120, 121]]);
  const form = await (await answered({ body: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } })).formData();
  assertEquals([...form], [['a', 'b']]);
});

test('data: URLs need no answer', async () => {
  const of = async (url) => { const response = await fetch(url); return [response.status, response.headers.get('content-type'), await response.text(), response.url]; };
  assertEquals(await of('data:text/x,a%20b'), [200, 'text/x', 'a b', 'data:text/x,a%20b']);
  assertEquals(await of('data:;base64,YWI='), [200, 'text/plain;charset=US-ASCII', 'ab', 'data:;base64,YWI=']);
  assertEquals(await of('data:,'), [200, 'text/plain;charset=US-ASCII', '', 'data:,']);
  assertEquals(await of('data:application/json;charset=utf-8,{}#frag'), [200, 'application/json;charset=utf-8', '{}', 'data:application/json;charset=utf-8,{}']);
  await assertRejects(TypeError, fetch('data:x'));
  await assertRejects(TypeError, fetch('data:;base64,*'));
});

test('an aborted request', async () => {
  const controller = new AbortController(), waiting = fetch(answering({ never: true }), { signal: controller.signal });
  controller.abort();
  await assertRejects('AbortError', waiting);
  await assertRejects('AbortError', fetch(ECHO, { signal: controller.signal }));
  await assertRejects('AbortError', fetch(ECHO, { signal: AbortSignal.abort() }));
  const reason = { why: 1 };
  await assertRejects(reason, fetch(new Request(ECHO, { signal: AbortSignal.abort(reason) })));
  await assertRejects('TimeoutError', fetch(answering({ never: true }), { signal: AbortSignal.timeout(20) }));
  const late = new AbortController();
  setTimeout(() => late.abort(reason), 10);
  await assertRejects(reason, fetch(answering({ value: 1, after: 1 }), { signal: late.signal }));
  const done = new AbortController();
  assertEquals((await fetch(ECHO, { signal: done.signal })).url, ECHO);
  done.abort();
  const streaming = new AbortController();
  const sent = fetch(ECHO, { method: 'POST', body: streamOf(ascii('x')), duplex: 'half', signal: streaming.signal });
  streaming.abort(reason);
  await assertRejects(reason, sent);
});

test('requests that wait together', async () => {
  const [a, b, c] = await Promise.all([3, 1, 2].map((after) => fetch(answering({ value: after, after }))));
  assertEquals([a, b, c], [3, 1, 2]);
  assertEquals(await Promise.race([fetch(answering({ value: 'slow', after: 2 })), fetch(answering({ value: 'fast', after: 1 }))]), 'fast');
});
