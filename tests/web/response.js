// Response (Fetch standard, 5.5), made by the code; those of answers are in fetch.js.
test('the interface', () => {
  assertInterface('Response', ['clone', 'arrayBuffer', 'blob', 'bytes', 'formData', 'json', 'text'], [
    'type', 'url', 'redirected', 'status', 'ok', 'statusText', 'headers', 'body', 'bodyUsed',
  ]);
  for (const name of ['error', 'redirect', 'json']) assertEquals(typeof Response[name], 'function', name);
});

test('what a response is by itself', () => {
  const response = new Response();
  assertEquals([response.type, response.url, response.redirected, response.status, response.ok, response.statusText, response.body, response.bodyUsed],
    ['default', '', false, 200, true, '', null, false]);
  assertEquals([...response.headers], []);
  assert(response.headers === response.headers);
});

test('status, statusText and ok', () => {
  table([[200, true], [299, true], [300, false], [404, false], [599, false], ['201', true]], (status) => new Response('', { status }).ok);
  for (const status of [0, 100, 199, 600, 1000, -1, NaN]) assertThrows(RangeError, () => new Response('', { status }), status);
  assertEquals(new Response(null, { statusText: 'Fine \xe9' }).statusText, 'Fine \xe9');
  for (const statusText of ['a\n', '\u0100', '\0']) assertThrows(TypeError, () => new Response('', { statusText }), show(statusText));
  for (const status of [204, 205, 304]) {
    assertEquals(new Response(null, { status }).body, null);
    assertThrows(TypeError, () => new Response('', { status }), status);
  }
  assertThrows(TypeError, () => new Response('', 5));
  assertEquals(new Response('', null).status, 200);
});

test('content types', () => {
  const type = (body, headers) => new Response(body, { headers }).headers.get('content-type');
  table([
    ['x', undefined, 'text/plain;charset=UTF-8'],
    [undefined, undefined, null],
    [null, undefined, null],
    [new URLSearchParams(), undefined, 'application/x-www-form-urlencoded;charset=UTF-8'],
    [new Blob([], { type: 'a/b' }), undefined, 'a/b'],
    ['x', { 'Content-Type': 'c/d' }, 'c/d'],
    [new ReadableStream(), undefined, null],
  ], type);
});

test('every way to read every kind of body', async () => {
  const kinds = {
    text: () => 'häßlich', view: () => new TextEncoder().encode('häßlich'), buffer: () => new TextEncoder().encode('häßlich').buffer,
    dataView: () => new DataView(new TextEncoder().encode('häßlich').buffer), blob: () => new Blob(['häß', 'lich']),
    stream: () => streamOf(new TextEncoder().encode('häß'), new TextEncoder().encode('lich')),
  };
  const expected = new TextEncoder().encode('häßlich');
  for (const [kind, make] of Object.entries(kinds)) {
    assertEquals(await new Response(make()).text(), 'häßlich', kind);
    assertEquals(await new Response(make()).bytes(), expected, kind);
    const buffer = await new Response(make()).arrayBuffer();
    assert(buffer instanceof ArrayBuffer, kind);
    assertEquals(buffer.byteLength, expected.length, kind);
    assertEquals(await (await new Response(make()).blob()).text(), 'häßlich', kind);
    assertEquals(join(await collect(new Response(make()).body)), expected, kind);
  }
});

test('a part of a buffer is the body, and a copy of it', async () => {
  const all = ascii('abcdef'), response = new Response(all.subarray(2, 4));
  all[2] = 0x7a;
  assertEquals(await response.text(), 'cd');
  assertEquals(await new Response(new Uint16Array([0x6261])).text(), 'ab');
});

test('a body is read once', async () => {
  const response = new Response('x');
  await response.text();
  assertEquals(response.bodyUsed, true);
  for (const how of ['text', 'json', 'arrayBuffer', 'blob', 'bytes', 'formData']) await assertRejects(TypeError, response[how](), how);
  assertThrows(TypeError, () => response.clone());
  const empty = new Response();
  assertEquals([await empty.text(), empty.bodyUsed, await empty.text()], ['', false, ''], 'no body can be read again');
  const locked = new Response('x');
  locked.body.getReader();
  await assertRejects(TypeError, locked.text());
  assertThrows(TypeError, () => locked.clone());
  const cancelled = new Response('x');
  await cancelled.body.cancel();
  assertEquals(cancelled.bodyUsed, true);
});

test('json', async () => {
  assertEquals(await new Response('{"a":[1,null]}').json(), { a: [1, null] });
  assertEquals(await new Response('\ufeff1').json(), 1);
  for (const text of ['', '{', "{'a':1}", '01']) await assertRejects(SyntaxError, new Response(text).json(), text);
  const made = Response.json({ a: 1 }, { status: 201, headers: { x: 'y' } });
  assertEquals([made.status, made.headers.get('content-type'), made.headers.get('x'), await made.text()], [201, 'application/json', 'y', '{"a":1}']);
  assertEquals(Response.json(null, { headers: { 'content-type': 'a/b' } }).headers.get('content-type'), 'a/b');
  assertThrows(TypeError, () => Response.json(undefined));
  assertThrows(TypeError, () => Response.json(Symbol()));
  assertThrows(TypeError, () => Response.json({ n: 1n }));
  assertThrows(TypeError, () => Response.json({}, { status: 204 }));
});

test('error and redirect', () => {
  const error = Response.error();
  assertEquals([error.type, error.status, error.ok, error.body, [...error.headers]], ['error', 0, false, null, []]);
  assertThrows(TypeError, () => error.headers.set('a', 'b'));
  const redirect = Response.redirect('https://a.test/x y', 307);
  assertEquals([redirect.status, redirect.headers.get('location'), redirect.body], [307, 'https://a.test/x%20y', null]);
  assertThrows(TypeError, () => redirect.headers.set('a', 'b'));
  assertEquals(Response.redirect('https://a.test/').status, 302);
  for (const status of [200, 300, 304, 306, 309]) assertThrows(RangeError, () => Response.redirect('https://a.test/', status), status);
  assertThrows(TypeError, () => Response.redirect('http://'));
});

test('clone', async () => {
  const response = new Response('both', { status: 203, statusText: 'x', headers: { a: 'b' } }), copy = response.clone();
  copy.headers.set('a', 'c');
  assertEquals([copy.status, copy.statusText, response.headers.get('a')], [203, 'x', 'b']);
  assertEquals([await response.text(), await copy.text()], ['both', 'both']);
  const streaming = new Response(streamOf(ascii('1'), ascii('2'))), other = streaming.clone();
  assertEquals(await other.text(), '12');
  assertEquals([streaming.bodyUsed, await streaming.text()], [false, '12']);
});

test('blob and its type', async () => {
  table([['text/html; charset=utf-8', 'text/html;charset=utf-8'], ['A/B', 'a/b'], ['nonsense', '']], (x) => x === 'nonsense' ? '' : x.toLowerCase().replace('; ', ';'));
  assertEquals((await new Response('x', { headers: { 'content-type': 'text/HTML' } }).blob()).type, 'text/html');
  assertEquals((await new Response('x', { headers: { 'content-type': 'nonsense' } }).blob()).type, '');
  assertEquals((await new Response(new Uint8Array(2)).blob()).size, 2);
});

test('formData', async () => {
  const form = new FormData();
  form.append('a', 'ü "x"');
  form.append('f', new File([bytes('00 ff 0d 0a')], 'n"ame.bin', { type: 'a/b' }));
  const back = await new Response(form).formData();
  assertEquals(back.get('a'), 'ü "x"');
  const file = back.get('f');
  assertEquals([file.name, file.type, await file.bytes?.() ?? new Uint8Array(await file.arrayBuffer())], ['n"ame.bin', 'a/b', bytes('00 ff 0d 0a')]);
  const text = '--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n2\r\n--B\r\ncontent-disposition: form-data; name="y"; filename="f.txt"\r\n\r\nz\r\n--B--\r\n';
  const parsed = await new Response(text, { headers: { 'content-type': 'multipart/form-data; boundary=B' } }).formData();
  assertEquals([parsed.get('x'), parsed.get('y').name, parsed.get('y').type, await parsed.get('y').text()], ['1\r\n2', 'f.txt', 'text/plain', 'z']);
  const encoded = new Response(new URLSearchParams([['k', 'v w'], ['k', '&']]));
  assertEquals([...await encoded.formData()], [['k', 'v w'], ['k', '&']]);
  for (const [body, type] of [['x', 'text/plain'], ['x', 'multipart/form-data; boundary=B'], ['x', 'multipart/form-data'], ['--B\r\n', 'multipart/form-data; boundary=B']])
    await assertRejects(TypeError, new Response(body, { headers: { 'content-type': type } }).formData(), show([body, type]));
  await assertRejects(TypeError, new Response('x', { headers: {} }).formData());
});

test('body streams', async () => {
  const body = new Response('xyz').body;
  assert(body instanceof ReadableStream);
  const reader = body.getReader({ mode: 'byob' });
  const { value, done } = await reader.read(new Uint8Array(2));
  assertEquals([value, done], [ascii('xy'), false]);
  const response = new Response('x');
  assert(response.body === response.body, 'the same stream each time');
  const failing = new Response(new ReadableStream({ start(controller) { controller.error(new RangeError('broken')); } }));
  await assertRejects(RangeError, failing.text());
  await assertRejects(TypeError, new Response(streamOf('no bytes')).text());
  const upper = new Response('abc').body.pipeThrough(new TextDecoderStream());
  assertEquals((await collect(upper)).join(''), 'abc');
});

test('responses unread and half read across a pause', async () => {
  const unread = Response.json({ a: 1 }), half = new Response(streamOf(ascii('one'), ascii('two'), ascii('three')));
  const [left, right] = [half.clone(), half], reader = left.body.getReader();
  assertEquals((await reader.read()).value, ascii('one'));
  const byob = new Response('abcdef').body.getReader({ mode: 'byob' });
  assertEquals((await byob.read(new Uint8Array(2))).value, ascii('ab'));
  await fetch(ECHO);
  assertEquals(await unread.json(), { a: 1 });
  assertEquals((await reader.read()).value, ascii('two'));
  assertEquals(await right.text(), 'onetwothree');
  assertEquals((await reader.read()).value, ascii('three'));
  assertEquals((await byob.read(new Uint8Array(9))).value, ascii('cdef'));
});
