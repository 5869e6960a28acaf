// structuredClone (HTML standard, 2.7).
const clone = structuredClone;

test('primitives and their objects', () => {
  for (const value of [undefined, null, true, 0, -0, NaN, 1.5, 'ä\ud800', 10n ** 30n]) assertEquals(clone(value), value, show(value));
  for (const value of [new Boolean(false), new Number(-0), new String('x'), Object(5n)]) {
    const copy = clone(value);
    assertEquals([typeof copy, Object.is(copy.valueOf(), value.valueOf()), copy !== value, Object.prototype.toString.call(copy)], ['object', true, true, Object.prototype.toString.call(value)]);
  }
  assertThrows('DataCloneError', () => clone(Symbol()));
  assertThrows('DataCloneError', () => clone(Object(Symbol())));
  assertThrows(TypeError, () => clone());
});

test('objects and arrays', () => {
  const source = { a: 1, b: [1, , 3], c: { d: null }, e: undefined };
  const copy = clone(source);
  assertEquals(Object.keys(copy), ['a', 'b', 'c', 'e']);
  assertEquals([copy.b.length, 1 in copy.b, copy.c, copy.c !== source.c], [3, false, { d: null }, true]);
  const list = Object.assign([1, 2], { extra: 'x' });
  assertEquals([clone(list).extra, clone(list).length], ['x', 2]);
  class Point { constructor() { this.x = 1; } get y() { return 2; } }
  const point = clone(new Point());
  assertEquals([point, Object.getPrototypeOf(point) === Object.prototype], [{ x: 1 }, true]);
  const getter = clone({ get g() { return 'called'; } });
  assertEquals(Object.getOwnPropertyDescriptor(getter, 'g').value, 'called');
  assertEquals(Object.keys(clone(Object.defineProperty({ s: 1, [Symbol()]: 2 }, 'hidden', { value: 1, enumerable: false }))), ['s']);
  assertEquals(clone(Object.create(null, { n: { value: 1, enumerable: true } })), { n: 1 });
  const error = new RangeError('mine');
  assertThrows(error, () => clone({ get g() { throw error; } }));
});

test('dates, patterns, maps, sets', () => {
  assertEquals([clone(new Date(5)).getTime(), clone(new Date(NaN)).getTime()], [5, NaN]);
  const pattern = /a(b)/giu;
  pattern.lastIndex = 3;
  const copy = clone(pattern);
  assertEquals([copy.source, copy.flags, copy.lastIndex], ['a(b)', 'giu', 0]);
  const key = {}, map = clone(new Map([[key, 1], ['self', key]]));
  assertEquals([map instanceof Map, map.size, [...map.keys()][0] === map.get('self'), map.has(key)], [true, 2, true, false]);
  assertEquals([...clone(new Set([1, 'a', NaN]))], [1, 'a', NaN]);
});

test('errors', () => {
  for (const Class of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]) {
    const source = new Class('m'), copy = clone(source);
    assertEquals([copy instanceof Class, copy.name, copy.message, copy.stack === source.stack], [true, Class.name, 'm', true], Class.name);
  }
  const cause = clone(new Error('outer', { cause: new TypeError('inner') }));
  assertEquals([cause.cause instanceof TypeError, cause.cause.message], [true, 'inner']);
  class Mine extends Error { name = 'Mine'; }
  assertEquals([clone(new Mine('x')).name, Object.getPrototypeOf(clone(new Mine('x'))) === Error.prototype], ['Error', true]);
  const exception = clone(new DOMException('m', 'AbortError'));
  assertEquals([exception instanceof DOMException, exception.name, exception.message, exception.code], [true, 'AbortError', 'm', 20]);
});

test('buffers and views', () => {
  const buffer = bytes('01 02 03 04 05 06 07 08').buffer, copy = clone(buffer);
  assertEquals([copy !== buffer, new Uint8Array(copy)], [true, bytes('01 02 03 04 05 06 07 08')]);
  for (const Class of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array]) {
    const view = clone(new Class(buffer, 0, 1));
    assertEquals([view.constructor === Class, view.length, view.buffer.byteLength], [true, 1, 8], Class.name);
  }
  const view = clone(new DataView(buffer, 2, 3));
  assertEquals([view instanceof DataView, view.byteOffset, view.byteLength, view.getUint8(0)], [true, 2, 3, 3]);
  const both = clone([new Uint8Array(buffer, 0, 2), new Uint8Array(buffer, 1, 2)]);
  assert(both[0].buffer === both[1].buffer, 'views of one buffer stay so');
});

test('cycles and identity', () => {
  const source = { list: [] };
  source.self = source;
  source.list.push(source, source.list);
  const copy = clone(source);
  assertEquals([copy.self === copy, copy.list[0] === copy, copy.list[1] === copy.list, copy !== source], [true, true, true, true]);
  const shared = {}, pair = clone([shared, shared]);
  assert(pair[0] === pair[1]);
  const map = new Map();
  map.set(map, map);
  const again = clone(map);
  assert(again.get(again) === again);
});

test('what cannot be cloned', () => {
  for (const value of [() => {}, class {}, new WeakMap(), new WeakSet(), new WeakRef({}), Promise.resolve(), { deep: [() => {}] }, new Map([[1, Symbol()]])])
    assertThrows('DataCloneError', () => clone(value), Object.prototype.toString.call(value));
  assertThrows('DataCloneError', () => clone(new EventTarget()), 'EventTarget');
  assertThrows('DataCloneError', () => clone(new Headers()), 'Headers');
  assertThrows('DataCloneError', () => clone(new URL('https://a.test')), 'URL');
  assertThrows('DataCloneError', () => clone(new Response()), 'Response');
  assertEquals(clone((function* () {})().constructor === undefined ? {} : {}), {});
});

test('transfer', () => {
  const buffer = bytes('01 02').buffer, moved = clone({ b: buffer, view: new Uint8Array(buffer, 1) }, { transfer: [buffer] });
  assertEquals([buffer.byteLength, moved.b.byteLength, moved.view.buffer === moved.b, moved.view[0]], [0, 2, true, 2]);
  assertThrows('DataCloneError', () => clone(buffer), 'detached');
  assertThrows('DataCloneError', () => clone(1, { transfer: [buffer] }), 'detached in transfer');
  const twice = new ArrayBuffer(1);
  assertThrows('DataCloneError', () => clone(1, { transfer: [twice, twice] }));
  assertEquals(twice.byteLength, 1);
  assertThrows('DataCloneError', () => clone(1, { transfer: [{}] }));
  assertThrows(TypeError, () => clone(1, { transfer: 5 }));
  const unused = new ArrayBuffer(3);
  assertEquals(clone('x', { transfer: [unused] }), 'x');
  assertEquals(unused.byteLength, 0);
  assertEquals([clone(1, undefined), clone(1, null), clone(1, {})], [1, 1, 1]);
});

test('blobs and files', async () => {
  const file = new File(['abc'], 'n.txt', { type: 'a/b', lastModified: 5 }), copy = clone(file);
  assertEquals([copy instanceof File, copy.name, copy.type, copy.lastModified, copy.size], [true, 'n.txt', 'a/b', 5, 3]);
  assertEquals(await clone(new Blob(['x'])).text(), 'x');
});

test('a graph across a pause', async () => {
  const source = { date: new Date(7), map: new Map([['k', new Set([1n])]]), bytes: bytes('01'), pattern: /x/g, error: new TypeError('t') };
  source.self = source;
  const before = clone(source);
  await fetch(ECHO);
  assertEquals([before.self === before, before.date.getTime(), [...before.map.get('k')], before.bytes, before.pattern.flags, before.error.message], [true, 7, [1n], bytes('01'), 'g', 't']);
  const after = clone(before);
  assertEquals([after.self === after, after.error instanceof TypeError, after !== before], [true, true, true]);
});
