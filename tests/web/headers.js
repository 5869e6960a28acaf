// Headers (Fetch standard, 5.1).
test('the interface', () => {
  assertInterface('Headers', ['append', 'delete', 'get', 'getSetCookie', 'has', 'set', 'forEach', 'entries', 'keys', 'values', Symbol.iterator]);
  assert(Headers.prototype[Symbol.iterator] === Headers.prototype.entries);
});

test('what it is made of', () => {
  table([
    [undefined, []],
    [{}, []],
    [{ B: '2', a: 1 }, [['a', '1'], ['b', '2']]],
    [[['X', 'y'], ['x', 'z']], [['x', 'y, z']]],
    [new Headers({ q: 'r' }), [['q', 'r']]],
    [new Map([['m', 'n']]), [['m', 'n']]],
    [{ e: '' }, [['e', '']]],
  ], (init) => [...new Headers(init)]);
  for (const init of [null, 'x', 5, [['a']], [['a', 'b', 'c']], ['ab', 'c'], [1], { 'bad name': 'x' }, { '': 'x' }, { x: 'a\nb' }, { x: 'a\0' }, { x: '€' }])
    assertThrows(TypeError, () => new Headers(init), show(init));
});

test('names are without case, values without space around', () => {
  const headers = new Headers();
  headers.append('X-One', ' \t a  b \r\n');
  headers.append('x-ONE', 'c');
  assertEquals(headers.get('X-one'), 'a  b, c');
  headers.set('X-One', 'd');
  assertEquals([headers.get('x-one'), headers.has('X-ONE'), headers.get('none')], ['d', true, null]);
  headers.delete('X-ONE');
  assertEquals(headers.has('x-one'), false);
  headers.set('l', 'ÿ');
  assertEquals(headers.get('l'), 'ÿ');
  headers.append('number', 1);
  headers.append('null', null);
  assertEquals([headers.get('number'), headers.get('null')], ['1', 'null']);
});

test('bad names and values', () => {
  const headers = new Headers();
  for (const name of ['', 'a b', 'a:', 'ä', 'a\n', '(', '"']) {
    assertThrows(TypeError, () => headers.append(name, 'x'), show(name));
    assertThrows(TypeError, () => headers.get(name), show(name));
    assertThrows(TypeError, () => headers.has(name), show(name));
    assertThrows(TypeError, () => headers.delete(name), show(name));
  }
  for (const value of ['a\nb', 'a\rb', 'a\0b', '\u0100']) assertThrows(TypeError, () => headers.set('x', value), show(value));
  assertEquals([...headers], []);
  assertThrows(TypeError, () => headers.get());
  assertThrows(TypeError, () => headers.append('x'));
  assertThrows(TypeError, () => headers.set('x'));
  assertThrows(TypeError, () => headers.forEach());
  headers.set("!#$%&'*+-.^_`|~09aZ", 'token');
  assert(headers.has("!#$%&'*+-.^_`|~09az"));
});

test('iteration is sorted, and sees what is added', () => {
  const headers = new Headers([['c', '3'], ['a', '1']]), seen = [];
  for (const [name, value] of headers) {
    seen.push(name + value);
    if (name === 'a') headers.append('b', '2');
  }
  assertEquals(seen, ['a1', 'b2', 'c3']);
  assertEquals([[...headers.keys()], [...headers.values()]], [['a', 'b', 'c'], ['1', '2', '3']]);
  const each = [];
  headers.forEach(function (value, name, all) { each.push([value, name, all === headers, this.t]); }, { t: 1 });
  assertEquals(each[0], ['1', 'a', true, 1]);
  const iterator = headers.entries();
  assertEquals(iterator.next(), { value: ['a', '1'], done: false });
  assertEquals(Object.prototype.toString.call(iterator), '[object Headers Iterator]');
  assertEquals(typeof iterator[Symbol.iterator], 'function');
});

test('Set-Cookie is not joined', () => {
  const headers = new Headers([['set-cookie', 'a=1, x'], ['Set-Cookie', 'b=2'], ['x', 'y']]);
  assertEquals(headers.getSetCookie(), ['a=1, x', 'b=2']);
  assertEquals(headers.get('set-cookie'), 'a=1, x, b=2');
  assertEquals([...headers], [['set-cookie', 'a=1, x'], ['set-cookie', 'b=2'], ['x', 'y']]);
  headers.set('set-cookie', 'c=3');
  assertEquals(headers.getSetCookie(), ['c=3']);
  headers.delete('set-cookie');
  assertEquals(headers.getSetCookie(), []);
  assertEquals(new Headers([['set-cookie', 'a'], ['set-cookie', 'b']]).getSetCookie().length, 2);
  assertEquals(new Headers(new Headers([['set-cookie', 'a'], ['set-cookie', 'b']])).getSetCookie(), ['a', 'b']);
});

test('those of an answer cannot be changed', async () => {
  const { headers } = await fetch(answering({ response: { headers: { 'X-A': 'b', 'set-cookie': ['c=1', 'd=2'] } } }));
  assertEquals([headers.get('x-a'), headers.getSetCookie()], ['b', ['c=1', 'd=2']]);
  for (const change of ['append', 'set']) assertThrows(TypeError, () => headers[change]('x-a', 'y'), change);
  assertThrows(TypeError, () => headers.delete('x-a'));
  const copy = new Headers(headers);
  copy.set('x-a', 'z');
  assertEquals([copy.get('x-a'), headers.get('x-a')], ['z', 'b']);
});

test('an iterator across a pause', async () => {
  const headers = new Headers({ a: '1', c: '3' }), iterator = headers[Symbol.iterator](), keys = headers.keys();
  iterator.next();
  keys.next();
  await fetch(ECHO);
  headers.append('b', '2');
  assertEquals(iterator.next().value, ['b', '2']);
  assertEquals(keys.next().value, 'b');
  assertEquals([...iterator], [['c', '3']]);
  assertEquals(iterator.next(), { value: undefined, done: true });
});
