// The smaller parts of the global scope: atob and btoa, DOMException, performance, navigator, queueMicrotask, console, self.
test('atob and btoa', () => {
  table([['', ''], ['a', 'YQ=='], ['ab', 'YWI='], ['abc', 'YWJj'], ['\x00\xff', 'AP8='], [5, 'NQ=='], [null, 'bnVsbA==']], (text) => btoa(text));
  table([['', ''], ['YQ==', 'a'], ['YQ', 'a'], [' Y W\tI\n=\r\f', 'ab'], ['AP8=', '\x00\xff'], ['+/+/', '\xfb\xff\xbf'], [null, '\x9e\xe9e'], ['YR==', 'a']], (text) => atob(text));
  for (const text of ['\u0100', '€', '😀']) assertThrows('InvalidCharacterError', () => btoa(text), text);
  for (const text of ['Y', 'YQ=', 'YQ===', '=', 'Y=Q=', 'YQ==YQ==', '-_-_', 'YÜ==', 'YWJjZ', undefined]) assertThrows('InvalidCharacterError', () => atob(text), show(text));
  assertThrows(TypeError, () => atob());
  assertThrows(TypeError, () => btoa());
});

test('DOMException', () => {
  assertInterface('DOMException', [], ['name', 'message', 'code']);
  const error = new DOMException('m', 'NotFoundError');
  assertEquals([error.name, error.message, error.code, String(error)], ['NotFoundError', 'm', 8, 'NotFoundError: m']);
  assert(error instanceof Error);
  assertEquals([new DOMException().name, new DOMException().message, new DOMException().code, new DOMException('x', 'Own').code], ['Error', '', 0, 0]);
  table([['IndexSizeError', 1], ['InvalidCharacterError', 5], ['NotSupportedError', 9], ['InvalidStateError', 11], ['SyntaxError', 12], ['NetworkError', 19], ['AbortError', 20],
    ['QuotaExceededError', 22], ['TimeoutError', 23], ['DataCloneError', 25], ['EncodingError', 0], ['NotAllowedError', 0], ['OperationError', 0]], (name) => new DOMException('', name).code);
  assertEquals([DOMException.ABORT_ERR, DOMException.prototype.DATA_CLONE_ERR, DOMException.INDEX_SIZE_ERR], [20, 25, 1]);
  assertEquals(typeof error.stack, 'string');
  assertThrows(TypeError, () => DOMException.prototype.name.length.x.y ?? DOMException.prototype.name);
});

test('performance', async () => {
  assertInterface('Performance', ['now', 'toJSON'], ['timeOrigin']);
  assertThrows(TypeError, () => new Performance());
  assert(performance instanceof EventTarget);
  const began = performance.now();
  assertEquals(performance.timeOrigin + began, Date.now());
  await sleep(250);
  assertEquals(performance.now() - began, 250);
  assertEquals(performance.toJSON(), { timeOrigin: performance.timeOrigin });
  assertEquals(Object.prototype.toString.call(performance), '[object Performance]');
});

test('navigator and self', () => {
  assertEquals(typeof navigator.userAgent, 'string');
  assert(navigator.userAgent.length > 0);
  assertEquals(Object.prototype.toString.call(navigator), '[object Navigator]');
  assert(self === globalThis);
  assertThrows(TypeError, () => new Navigator());
  assertThrows(TypeError, () => { 'use strict'; navigator.userAgent = 'x'; });
});

test('queueMicrotask', async () => {
  const seen = [];
  setTimeout(() => seen.push('timer'));
  queueMicrotask(function () { seen.push(arguments.length, this === undefined || this === globalThis); });
  Promise.resolve().then(() => seen.push('then'));
  queueMicrotask(() => queueMicrotask(() => seen.push('nested')));
  seen.push('now');
  await sleep(1);
  assertEquals(seen, ['now', 0, true, 'then', 'nested', 'timer']);
  for (const value of [undefined, null, 5, {}]) assertThrows(TypeError, () => queueMicrotask(value), show(value));
  assertThrows(TypeError, () => queueMicrotask());
  assertEquals(queueMicrotask(() => {}), undefined);
});

test('console has every method of its standard', () => {
  for (const name of ['assert', 'clear', 'debug', 'error', 'info', 'log', 'table', 'trace', 'warn', 'dir', 'dirxml', 'count', 'countReset', 'group', 'groupCollapsed', 'groupEnd', 'time', 'timeLog', 'timeEnd'])
    assertEquals(typeof console[name], 'function', name);
  assertEquals(Object.prototype.toString.call(console), '[object console]');
  for (const name of ['log', 'warn']) { const { [name]: method } = console; assertEquals(method(''), undefined); }
});

test('what the console shows', async () => {
  // The lines are compared by test_web.py.
  console.log('line 1', 1, { a: [1, null, undefined] }, new Map([['k', 'v']]), new Set([1]), new URL('https://a.test/'), [1, 2]);
  console.info('%s is %d of %i and %f, %o %O %% %c!', 'x', '42', 42.9, '1.5', { a: 1 }, [1], 'css');
  console.log('%s', 'one', 'more', '%s');
  console.warn(new Headers({ a: 'b' }), Symbol('s'), 5n, -0, () => {}, null);
  console.group('group');
  console.log('in\nside');
  console.group();
  await fetch(ECHO);
  console.error('deeper');
  console.groupEnd();
  console.groupEnd();
  console.groupEnd();
  console.count();
  console.count('c');
  console.count();
  console.countReset();
  console.count();
  console.countReset('none');
  console.time('t');
  await sleep(20);
  console.timeLog('t', 'so far');
  await fetch(answering({ value: 0, after: 1 }));
  console.timeEnd('t');
  console.timeEnd('t');
  console.assert(true, 'not shown');
  console.assert(false);
  console.assert(false, 'because %s', 'x');
  console.debug('end');
  assert(true);
});

test('globals can be replaced, and do not show in loops', () => {
  const names = ['fetch', 'setTimeout', 'structuredClone', 'console', 'atob', 'queueMicrotask', 'performance', 'navigator'];
  for (const name of names) {
    const { writable, configurable } = Object.getOwnPropertyDescriptor(globalThis, name);
    assertEquals([writable, configurable], [true, true], name);
  }
  assertEquals(Object.keys(globalThis).filter((name) => names.includes(name)), []);
});

test('scopes and their functions across a pause', async () => {
  const { now } = Date, began = now(), bound = console.log.bind(console, 'bound');
  const exception = new DOMException('m', 'AbortError');
  await fetch(answering({ value: 1, after: 3 }));
  assertEquals([now() - began, exception.code, exception.name], [3000, 20, 'AbortError']);
  bound('after');
});
