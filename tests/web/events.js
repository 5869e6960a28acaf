// Event, EventTarget, CustomEvent, ErrorEvent, PromiseRejectionEvent and the global scope as a target (DOM and HTML standards).
test('the interfaces', () => {
  assertInterface('Event', ['composedPath', 'stopPropagation', 'stopImmediatePropagation', 'preventDefault', 'initEvent'], [
    'type', 'target', 'currentTarget', 'srcElement', 'eventPhase', 'bubbles', 'cancelable', 'defaultPrevented', 'composed', 'timeStamp', 'returnValue', 'cancelBubble',
  ]);
  assertInterface('EventTarget', ['addEventListener', 'removeEventListener', 'dispatchEvent']);
  assertInterface('CustomEvent', ['preventDefault'], ['detail']);
  assertInterface('ErrorEvent', ['preventDefault'], ['message', 'filename', 'lineno', 'colno', 'error']);
  assertInterface('PromiseRejectionEvent', ['preventDefault'], ['promise', 'reason']);
  for (const name of ['CustomEvent', 'ErrorEvent', 'PromiseRejectionEvent']) assert(globalThis[name].prototype instanceof Event, name);
  assertEquals([Event.NONE, Event.CAPTURING_PHASE, Event.AT_TARGET, Event.BUBBLING_PHASE], [0, 1, 2, 3]);
});

test('an event by itself', () => {
  const event = new Event('x');
  assertEquals([event.type, event.bubbles, event.cancelable, event.composed, event.defaultPrevented, event.target, event.currentTarget, event.eventPhase, event.isTrusted],
    ['x', false, false, false, false, null, null, 0, false]);
  assertEquals(typeof event.timeStamp, 'number');
  assertEquals(event.composedPath(), []);
  const full = new Event(5, { bubbles: 1, cancelable: true, composed: 'x' });
  assertEquals([full.type, full.bubbles, full.cancelable, full.composed], ['5', true, true, true]);
  assertThrows(TypeError, () => new Event());
  full.preventDefault();
  assertEquals([full.defaultPrevented, full.returnValue], [true, false]);
  event.preventDefault();
  assertEquals(event.defaultPrevented, false);
});

test('listeners', () => {
  const target = new EventTarget(), seen = [], event = new Event('x', { cancelable: true });
  const listener = function (given) { seen.push([this === target, given === event, given.target === target, given.currentTarget === target, given.eventPhase]); };
  target.addEventListener('x', listener);
  target.addEventListener('x', listener);
  target.addEventListener('x', { handleEvent(given) { seen.push(this !== target && given.type); } });
  target.addEventListener('y', () => seen.push('y'));
  target.addEventListener('x', null);
  assertEquals(target.dispatchEvent(event), true);
  assertEquals(seen, [[true, true, true, true, 2], 'x']);
  assertEquals([event.currentTarget, event.eventPhase, event.target === target], [null, 0, true]);
  target.removeEventListener('x', listener);
  target.removeEventListener('x', () => {});
  target.dispatchEvent(new Event('x'));
  assertEquals(seen.length, 3);
  target.addEventListener('x', (given) => given.preventDefault());
  assertEquals([target.dispatchEvent(new Event('x', { cancelable: true })), target.dispatchEvent(new Event('x'))], [false, true]);
  assertThrows(TypeError, () => target.dispatchEvent({}));
  assertThrows(TypeError, () => target.addEventListener('x'));
});

test('options of listeners', () => {
  const target = new EventTarget(), seen = [];
  target.addEventListener('x', () => seen.push('once'), { once: true });
  target.addEventListener('x', (event) => { seen.push('passive'); event.preventDefault(); }, { passive: true });
  const both = () => seen.push('capture');
  target.addEventListener('x', both, true);
  target.addEventListener('x', both, { capture: false });
  assertEquals(target.dispatchEvent(new Event('x', { cancelable: true })), true);
  target.removeEventListener('x', both);
  target.dispatchEvent(new Event('x'));
  assertEquals(seen.filter((each) => each === 'once').length, 1);
  assertEquals(seen.filter((each) => each === 'capture').length, 3);
});

test('stopping, nesting and changing while an event goes round', () => {
  const target = new EventTarget(), seen = [];
  target.addEventListener('x', (event) => { seen.push(1); event.stopImmediatePropagation(); });
  target.addEventListener('x', () => seen.push(2));
  target.dispatchEvent(new Event('x'));
  assertEquals(seen, [1]);
  const other = new EventTarget(), again = new Event('y');
  other.addEventListener('y', () => {
    other.addEventListener('y', () => seen.push('added later'));
    assertThrows('InvalidStateError', () => other.dispatchEvent(again));
    other.dispatchEvent(new Event('z'));
    seen.push('after z');
  }, { once: true });
  other.addEventListener('z', () => seen.push('z'));
  other.dispatchEvent(again);
  assertEquals(seen, [1, 'z', 'after z']);
  other.dispatchEvent(again);
  assertEquals(seen.at(-1), 'added later');
});

test('a subclass of EventTarget', () => {
  class Counter extends EventTarget { count = 0; add() { this.count++; this.dispatchEvent(new CustomEvent('add', { detail: this.count })); } }
  const counter = new Counter(), seen = [];
  counter.addEventListener('add', (event) => seen.push(event.detail));
  counter.add();
  counter.add();
  assertEquals(seen, [1, 2]);
});

test('CustomEvent, ErrorEvent and PromiseRejectionEvent', () => {
  const detail = {};
  assertEquals([new CustomEvent('x').detail, new CustomEvent('x', { detail }).detail === detail, new CustomEvent('x', { cancelable: true }).cancelable], [null, true, true]);
  const error = new RangeError('x'), event = new ErrorEvent('error', { message: 'm', filename: 'f', lineno: 1, colno: 2, error });
  assertEquals([event.message, event.filename, event.lineno, event.colno, event.error === error], ['m', 'f', 1, 2, true]);
  const empty = new ErrorEvent('error');
  assertEquals([empty.message, empty.filename, empty.lineno, empty.colno, empty.error], ['', '', 0, 0, undefined]);
  const promise = Promise.resolve(), rejection = new PromiseRejectionEvent('x', { promise, reason: 5 });
  assertEquals([rejection.promise === promise, rejection.reason], [true, 5]);
  assertThrows(TypeError, () => new PromiseRejectionEvent('x'));
  assertThrows(TypeError, () => new PromiseRejectionEvent('x', {}));
  assertThrows(TypeError, () => new CustomEvent());
  assertThrows(TypeError, () => new ErrorEvent());
});

test('the global scope is a target', () => {
  const seen = [], listener = (event) => seen.push(event.type);
  addEventListener('mine', listener);
  dispatchEvent(new Event('mine'));
  removeEventListener('mine', listener);
  globalThis.dispatchEvent(new Event('mine'));
  assertEquals(seen, ['mine']);
  assertEquals([globalThis.onerror, globalThis.onunhandledrejection, globalThis.onrejectionhandled], [null, null, null]);
  globalThis.onerror = 5;
  assertEquals(globalThis.onerror, null);
});

test('reportError', () => {
  const seen = [], error = new RangeError('told'), listener = (event) => { seen.push(event.error, event.message); event.preventDefault(); };
  addEventListener('error', listener);
  reportError(error);
  reportError('text');
  removeEventListener('error', listener);
  assertEquals([seen[0] === error, seen[1], seen[2], seen[3]], [true, 'Uncaught RangeError: told', 'text', 'Uncaught text']);
  assertThrows(TypeError, () => reportError());
});

test('what a listener or a timer throws is reported', async () => {
  const seen = [], target = new EventTarget(), note = (event) => { seen.push(event.error.message); event.preventDefault(); };
  addEventListener('error', note);
  target.addEventListener('x', () => { throw new Error('listener'); });
  target.addEventListener('x', () => seen.push('the next one'));
  target.dispatchEvent(new Event('x'));
  setTimeout(() => { throw new Error('timer'); });
  queueMicrotask(() => { seen.push('microtask'); });
  await sleep(1);
  removeEventListener('error', note);
  assertEquals(seen, ['listener', 'the next one', 'microtask', 'timer']);
});

test('unhandled rejections', async () => {
  const seen = [];
  const lost = (event) => { seen.push([event.type, event.reason.message, event.promise instanceof Promise]); event.preventDefault(); };
  const found = (event) => seen.push([event.type, event.reason.message]);
  addEventListener('unhandledrejection', lost);
  addEventListener('rejectionhandled', found);
  const late = Promise.reject(new Error('late'));
  Promise.reject(new Error('handled')).catch(() => {});
  (async () => { throw new Error('async'); })();
  await sleep(1);
  assertEquals(seen, [['unhandledrejection', 'late', true], ['unhandledrejection', 'async', true]]);
  late.catch(() => {});
  await sleep(1);
  assertEquals(seen.at(-1), ['rejectionhandled', 'late']);
  removeEventListener('unhandledrejection', lost);
  removeEventListener('rejectionhandled', found);
});

test('listeners across a pause', async () => {
  const target = new EventTarget(), seen = [];
  target.addEventListener('x', (event) => seen.push(event.detail), { once: true });
  target.addEventListener('x', { handleEvent: (event) => seen.push([event.detail]) });
  const event = new CustomEvent('x', { detail: { a: 1 } });
  await fetch(ECHO);
  target.dispatchEvent(event);
  target.dispatchEvent(event);
  assertEquals(seen, [{ a: 1 }, [{ a: 1 }], [{ a: 1 }]]);
});

test('WeakRef and FinalizationRegistry across a pause', async () => {
  const kept = { name: 'kept' }, reference = new WeakRef(kept), map = new WeakMap([[kept, 'value']]), set = new WeakSet([kept]);
  const registry = new FinalizationRegistry(() => {});
  registry.register(kept, 'held', kept);
  await fetch(ECHO);
  assertEquals([reference.deref() === kept, map.get(kept), set.has(kept), registry.unregister(kept)], [true, 'value', true, true]);
});
