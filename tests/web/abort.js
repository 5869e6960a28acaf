// AbortController and AbortSignal (DOM standard, 3).
test('the interfaces', () => {
  assertInterface('AbortController', ['abort'], ['signal']);
  assertInterface('AbortSignal', ['throwIfAborted', 'addEventListener'], ['aborted', 'reason', 'onabort']);
  for (const name of ['abort', 'any', 'timeout']) assertEquals(typeof AbortSignal[name], 'function', name);
  assertThrows(TypeError, () => new AbortSignal());
  assert(AbortSignal.prototype instanceof EventTarget);
});

test('a controller and its signal', () => {
  const controller = new AbortController(), { signal } = controller;
  assert(signal === controller.signal);
  assertEquals([signal.aborted, signal.reason], [false, undefined]);
  assertEquals(signal.throwIfAborted(), undefined);
  controller.abort();
  assertEquals([signal.aborted, signal.reason.name, signal.reason instanceof DOMException], [true, 'AbortError', true]);
  const { reason } = signal;
  controller.abort('again');
  assert(signal.reason === reason, 'the first reason stays');
  assertThrows(reason, () => signal.throwIfAborted());
  const own = new AbortController();
  own.abort(null);
  assertEquals(own.signal.reason, null);
  const none = new AbortController();
  none.abort(undefined);
  assertEquals(none.signal.reason.name, 'AbortError');
});

test('the event', () => {
  const controller = new AbortController(), { signal } = controller, seen = [];
  signal.onabort = function (event) { seen.push('on', this === signal, event.type, event.target === signal, event.bubbles, event.cancelable); };
  signal.addEventListener('abort', () => seen.push(signal.aborted), { once: true });
  signal.addEventListener('abort', { handleEvent: () => seen.push('object') });
  controller.abort();
  controller.abort();
  assertEquals(seen, ['on', true, 'abort', true, false, false, true, 'object']);
  const removed = new AbortController(), listener = () => seen.push('removed');
  removed.signal.addEventListener('abort', listener);
  removed.signal.removeEventListener('abort', listener);
  removed.signal.onabort = listener;
  removed.signal.onabort = null;
  removed.abort();
  assertEquals(seen.length, 8);
});

test('AbortSignal.abort', () => {
  assertEquals([AbortSignal.abort().aborted, AbortSignal.abort().reason.name, AbortSignal.abort(5).reason], [true, 'AbortError', 5]);
});

test('AbortSignal.timeout', async () => {
  const signal = AbortSignal.timeout(30), began = performance.now();
  assertEquals(signal.aborted, false);
  await new Promise((resolve) => { signal.onabort = resolve; setTimeout(() => {}, 100); });
  assertEquals([signal.aborted, signal.reason.name, performance.now() - began], [true, 'TimeoutError', 30]);
  for (const value of [-1, NaN, Infinity, 2 ** 53, 'x', undefined]) assertThrows(TypeError, () => AbortSignal.timeout(value), show(value));
  assertThrows(TypeError, () => AbortSignal.timeout());
  assertEquals(AbortSignal.timeout('5').aborted, false);
});

test('AbortSignal.any', () => {
  const [a, b] = [new AbortController(), new AbortController()], any = AbortSignal.any([a.signal, b.signal]), seen = [];
  any.addEventListener('abort', () => seen.push('any'));
  a.signal.addEventListener('abort', () => seen.push('a'));
  const nested = AbortSignal.any([any, AbortSignal.any([])]);
  nested.addEventListener('abort', () => seen.push('nested'));
  assertEquals(any.aborted, false);
  a.abort('first');
  b.abort('second');
  assertEquals([any.aborted, any.reason, nested.reason], [true, 'first', 'first']);
  assertEquals(seen, ['a', 'any', 'nested']);
  assertEquals(AbortSignal.any([AbortSignal.abort(1), AbortSignal.abort(2)]).reason, 1);
  assertEquals(AbortSignal.any([]).aborted, false);
  assertEquals(AbortSignal.any(new Set([AbortSignal.abort(3)])).reason, 3);
  for (const value of [undefined, null, [1], [{}], 5]) assertThrows(TypeError, () => AbortSignal.any(value), show(value));
});

test('a signal removes listeners', () => {
  const controller = new AbortController(), target = new EventTarget();
  let count = 0;
  target.addEventListener('x', () => count++, { signal: controller.signal });
  target.dispatchEvent(new Event('x'));
  controller.abort();
  target.dispatchEvent(new Event('x'));
  target.addEventListener('x', () => count++, { signal: controller.signal });
  target.dispatchEvent(new Event('x'));
  assertEquals(count, 1);
});

test('an aborted request is no longer pending', async () => {
  const controller = new AbortController();
  const [first, second] = ['never', 'never'].map(() => fetch(answering({ never: true }), { signal: controller.signal }));
  await sleep(5);
  controller.abort(new RangeError('enough'));
  for (const each of [first, second]) assertEquals(await each.catch((error) => error.message), 'enough');
  // If they still were pending the run of this file would wait for them: see test_web.py.
  assertEquals((await fetch(ECHO)).url, ECHO);
});

test('signals alive across a pause', async () => {
  const controller = new AbortController(), seen = [];
  controller.signal.addEventListener('abort', () => seen.push('listener'));
  const any = AbortSignal.any([controller.signal, AbortSignal.timeout(50)]);
  any.onabort = () => seen.push(any.reason.name ?? any.reason);
  const timeout = AbortSignal.timeout(1000);
  timeout.onabort = () => seen.push('timeout');
  const following = new Request(ECHO, { signal: controller.signal });
  await fetch(answering({ value: 1, after: 0.02 }));
  assertEquals([any.aborted, following.signal.aborted], [false, false]);
  await fetch(answering({ value: 1, after: 0.04 }));
  assertEquals([any.reason.name, seen], ['TimeoutError', ['TimeoutError']]);
  controller.abort('stop');
  assertEquals([following.signal.reason, seen], ['stop', ['TimeoutError', 'listener']]);
  await fetch(answering({ value: 1, after: 2 }));
  assertEquals([timeout.aborted, seen.at(-1)], [true, 'timeout']);
});

test('a signal that nobody else holds still fires', async () => {
  const seen = [], controller = new AbortController();
  (() => { AbortSignal.any([controller.signal]).addEventListener('abort', () => seen.push('kept')); })();
  await fetch(ECHO);
  controller.abort();
  assertEquals(seen, ['kept']);
});
