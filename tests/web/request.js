// Request (Fetch standard, 5.4).
const URL_ = 'https://a.test/';

test('the interface', () => {
  assertInterface('Request', ['clone', 'arrayBuffer', 'blob', 'bytes', 'formData', 'json', 'text'], [
    'method', 'url', 'headers', 'destination', 'referrer', 'referrerPolicy', 'mode', 'credentials', 'cache', 'redirect', 'integrity',
    'keepalive', 'signal', 'duplex', 'body', 'bodyUsed',
  ]);
  assertThrows(TypeError, () => new Request());
});

test('what a request is by itself', () => {
  const request = new Request(URL_);
  const names = ['method', 'url', 'destination', 'referrer', 'referrerPolicy', 'mode', 'credentials', 'cache', 'redirect', 'integrity', 'keepalive', 'body', 'bodyUsed'];
  assertEquals(names.map((name) => request[name]), ['GET', URL_, '', 'about:client', '', 'cors', 'same-origin', 'default', 'follow', '', false, null, false]);
  assert(request.headers instanceof Headers);
  assert(request.headers === request.headers, 'the same object each time');
  assert(request.signal instanceof AbortSignal);
  assertEquals(request.signal.aborted, false);
});

test('its URL', () => {
  table([['https://a.test', URL_], ['https://a.test/x#y', 'https://a.test/x#y'], [new URL('https://b.test/q'), 'https://b.test/q'],
    [{ toString: () => 'https://c.test/' }, 'https://c.test/'], ['data:,x', 'data:,x']], (url) => new Request(url).url);
  for (const url of ['', '/x', 'https://u:p@a.test/', 'https://u@a.test/', 'http://', 'not a url']) assertThrows(TypeError, () => new Request(url), url);
});

test('its method', () => {
  table([['get', 'GET'], ['Post', 'POST'], ['put', 'PUT'], ['delete', 'DELETE'], ['head', 'HEAD'], ['options', 'OPTIONS'], ['patch', 'patch'], ['PATCH', 'PATCH'], ['x-y', 'x-y']],
    (method) => new Request(URL_, { method }).method);
  for (const method of ['', 'a b', 'CONNECT', 'trace', 'TrAcK', 'ä', null && '']) if (method !== null) assertThrows(TypeError, () => new Request(URL_, { method }), method);
});

test('members that have choices', () => {
  const given = {
    mode: 'no-cors', credentials: 'include', cache: 'no-store', redirect: 'manual', referrer: '', integrity: 'sha256-x', keepalive: 1, referrerPolicy: 'no-referrer',
  };
  delete given.mode;
  const request = new Request(URL_, { ...given, mode: 'same-origin' });
  assertEquals([request.mode, request.credentials, request.cache, request.redirect, request.integrity, request.keepalive, request.referrerPolicy],
    ['same-origin', 'include', 'no-store', 'manual', 'sha256-x', true, 'no-referrer']);
  for (const init of [{ mode: 'x' }, { credentials: 'x' }, { cache: 'x' }, { redirect: 'x' }, { mode: 'navigate' }, { referrerPolicy: 'x' }, { window: 'x' }, { signal: {} }, { headers: 5 }, { duplex: 'full' }])
    assertThrows(TypeError, () => new Request(URL_, init), show(init));
  assertThrows(TypeError, () => new Request(URL_, 'x'));
  assertEquals(new Request(URL_, null).method, 'GET');
  assertEquals(new Request(URL_, { signal: null }).signal.aborted, false);
});

test('headers and the content type of each kind of body', () => {
  const type = (body) => new Request(URL_, { method: 'POST', body }).headers.get('content-type');
  table([
    ['x', 'text/plain;charset=UTF-8'],
    [new URLSearchParams('a=b'), 'application/x-www-form-urlencoded;charset=UTF-8'],
    [new Blob(['x'], { type: 'image/png' }), 'image/png'],
    [new Blob(['x']), null],
    [new Uint8Array(1), null],
    [new ArrayBuffer(1), null],
    [5, 'text/plain;charset=UTF-8'],
  ], type);
  assert(/^multipart\/form-data; ?boundary=\S+$/.test(type(new FormData())));
  const own = new Request(URL_, { method: 'POST', body: 'x', headers: { 'Content-Type': 'a/b' } });
  assertEquals(own.headers.get('content-type'), 'a/b');
});

test('bodies that are not allowed', () => {
  assertThrows(TypeError, () => new Request(URL_, { body: 'x' }));
  assertThrows(TypeError, () => new Request(URL_, { method: 'HEAD', body: '' }));
  assertThrows(TypeError, () => new Request(URL_, { method: 'POST', body: new ReadableStream() }), 'a stream without duplex');
  const stream = new ReadableStream();
  stream.getReader();
  assertThrows(TypeError, () => new Request(URL_, { method: 'POST', body: stream, duplex: 'half' }), 'a locked stream');
});

test('reading the body', async () => {
  const make = (body, headers = {}) => new Request(URL_, { method: 'POST', body, headers });
  assertEquals(await make('äb').text(), 'äb');
  assertEquals(await make('{"a":[1]}').json(), { a: [1] });
  assertEquals(new Uint8Array(await make('ab').arrayBuffer()), ascii('ab'));
  assertEquals(await make(bytes('00 ff')).bytes(), bytes('00 ff'));
  const blob = await make('x', { 'content-type': 'Text/X' }).blob();
  assertEquals([blob.type, blob.size, await blob.text()], ['text/x', 1, 'x']);
  assertEquals([...await make('a=1&b=%20', { 'content-type': 'application/x-www-form-urlencoded' }).formData()], [['a', '1'], ['b', ' ']]);
  assertEquals(await make('\ufeffx').text(), 'x');
  assertEquals(await new Request(URL_).text(), '');
  await assertRejects(SyntaxError, make('{').json());
  await assertRejects(SyntaxError, new Request(URL_).json());
  await assertRejects(TypeError, make('x').formData());
});

test('a body is read once', async () => {
  const request = new Request(URL_, { method: 'POST', body: 'x' });
  assertEquals(request.bodyUsed, false);
  const reading = request.text();
  assertEquals(request.bodyUsed, true);
  assertEquals(await reading, 'x');
  for (const how of ['text', 'json', 'arrayBuffer', 'blob', 'bytes', 'formData']) await assertRejects(TypeError, request[how](), how);
  assertThrows(TypeError, () => request.clone());
  assertThrows(TypeError, () => new Request(request));
  await assertRejects(TypeError, fetch(request));
});

test('a clone has a body of its own', async () => {
  const request = new Request(URL_, { method: 'PUT', body: 'both', headers: { a: 'b' } }), copy = request.clone();
  copy.headers.set('a', 'c');
  assertEquals([request.headers.get('a'), copy.headers.get('a'), copy.method, copy.url], ['b', 'c', 'PUT', URL_]);
  assertEquals([await copy.text(), await request.text()], ['both', 'both']);
  const streaming = new Request(URL_, { method: 'PUT', body: streamOf(ascii('a'), ascii('b')), duplex: 'half' }), other = streaming.clone();
  assertEquals([await streaming.text(), await other.text()], ['ab', 'ab']);
});

test('a request of a request', async () => {
  const first = new Request(URL_, { method: 'POST', body: 'x', headers: { a: 'b' }, redirect: 'error' });
  const second = new Request(first, { headers: { c: 'd' } });
  assertEquals([second.method, second.redirect, [...second.headers], first.bodyUsed], ['POST', 'error', [['c', 'd']], true]);
  assertEquals(await second.text(), 'x');
  const third = new Request(new Request(URL_, { method: 'POST', body: 'old' }), { body: 'new' });
  assertEquals(await third.text(), 'new');
  const controller = new AbortController(), signalled = new Request(new Request(URL_, { signal: controller.signal }));
  controller.abort('why');
  assertEquals([signalled.signal.aborted, signalled.signal.reason], [true, 'why']);
});

test('a request with a body stream', async () => {
  const request = new Request(URL_, { method: 'POST', body: streamOf(ascii('ab'), ascii('c')), duplex: 'half' });
  assert(request.body instanceof ReadableStream);
  assertEquals(await request.text(), 'abc');
  await assertRejects(TypeError, new Request(URL_, { method: 'POST', body: streamOf('text'), duplex: 'half' }).text());
});

test('requests unread and half read across a pause', async () => {
  const unread = new Request(URL_, { method: 'POST', body: 'later', headers: { a: 'b' } });
  const half = new Request(URL_, { method: 'POST', body: streamOf(ascii('one'), ascii('two'), ascii('three')), duplex: 'half' });
  const reader = half.body.getReader();
  assertEquals((await reader.read()).value, ascii('one'));
  await fetch(ECHO);
  assertEquals([unread.bodyUsed, unread.headers.get('A'), await unread.text()], [false, 'b', 'later']);
  assertEquals((await reader.read()).value, ascii('two'));
  reader.releaseLock();
  assertEquals(half.bodyUsed, true);
  assertEquals(await collect(half.body), [ascii('three')]);
});
