// Readable streams (Streams standard, 4).
test('the interfaces', () => {
  assertInterface('ReadableStream', ['cancel', 'getReader', 'pipeThrough', 'pipeTo', 'tee', 'values', Symbol.asyncIterator], ['locked']);
  assertInterface('ReadableStreamDefaultReader', ['read', 'releaseLock', 'cancel'], ['closed']);
  assertInterface('ReadableStreamBYOBReader', ['read', 'releaseLock', 'cancel'], ['closed']);
  assertInterface('ReadableStreamDefaultController', ['close', 'enqueue', 'error'], ['desiredSize']);
  assertInterface('ReadableByteStreamController', ['close', 'enqueue', 'error'], ['desiredSize', 'byobRequest']);
  assertInterface('ReadableStreamBYOBRequest', ['respond', 'respondWithNewView'], ['view']);
  assertEquals(typeof ReadableStream.from, 'function');
  for (const name of ['ReadableStreamDefaultController', 'ReadableByteStreamController', 'ReadableStreamBYOBRequest']) assertThrows(TypeError, () => new globalThis[name](), name);
});

test('what a source may be', () => {
  for (const source of [null, { type: 'x' }, { start: 5 }, { type: 'bytes', autoAllocateChunkSize: 0 }, { pull: 'x' }])
    assertThrows(TypeError, () => new ReadableStream(source), show(source));
  assertThrows(RangeError, () => new ReadableStream({ type: 'bytes' }, { size: () => 1 }));
  for (const highWaterMark of [-1, NaN, 'x']) assertThrows(RangeError, () => new ReadableStream({}, { highWaterMark }), show(highWaterMark));
  const error = new RangeError('start');
  assertThrows(error, () => new ReadableStream({ start() { throw error; } }));
});

test('reading to the end', async () => {
  const stream = new ReadableStream({ start(controller) { controller.enqueue('a'); controller.enqueue({ b: 1 }); controller.close(); } });
  assertEquals(stream.locked, false);
  const reader = stream.getReader();
  assertEquals(stream.locked, true);
  assertThrows(TypeError, () => stream.getReader());
  assertEquals(await reader.read(), { value: 'a', done: false });
  assertEquals(await reader.read(), { value: { b: 1 }, done: false });
  assertEquals(await reader.read(), { value: undefined, done: true });
  assertEquals(await reader.read(), { value: undefined, done: true });
  assertEquals(await reader.closed, undefined);
  reader.releaseLock();
  assertEquals(stream.locked, false);
  await assertRejects(TypeError, reader.read());
  await assertRejects(TypeError, reader.closed);
  assertThrows(TypeError, () => new ReadableStreamDefaultReader({}));
  assertThrows(TypeError, () => stream.getReader({ mode: 'byob' }));
});

test('pulling and the desired size', async () => {
  const sizes = [];
  let pulls = 0;
  const stream = new ReadableStream({
    start(controller) { sizes.push(controller.desiredSize); },
    pull(controller) { pulls++; controller.enqueue(pulls); sizes.push(controller.desiredSize); },
  }, { highWaterMark: 2 });
  await sleep(1);
  assertEquals([pulls, sizes], [2, [2, 1, 0]]);
  const reader = stream.getReader();
  assertEquals((await reader.read()).value, 1);
  await sleep(1);
  assertEquals(pulls, 3);
  let lazy = 0;
  new ReadableStream({ pull() { lazy++; } }, { highWaterMark: 0 });
  await sleep(1);
  assertEquals(lazy, 0);
});

test('errors', async () => {
  const error = new RangeError('x');
  const stream = new ReadableStream({ start(controller) { controller.enqueue(1); controller.error(error); } }), reader = stream.getReader();
  await assertRejects(error, reader.read());
  await assertRejects(error, reader.closed);
  const pulled = new ReadableStream({ async pull() { throw error; } }).getReader();
  await assertRejects(error, pulled.read());
  let controller;
  new ReadableStream({ start(given) { controller = given; } });
  controller.close();
  assertThrows(TypeError, () => controller.enqueue(1));
  assertThrows(TypeError, () => controller.close());
  assertEquals(controller.desiredSize, 0);
  const sized = new ReadableStream({ start(given) { assertThrows(error, () => given.enqueue(1)); } }, { size() { throw error; } });
  await assertRejects(error, sized.getReader().read());
  const infinite = new ReadableStream({ start(given) { assertThrows(RangeError, () => given.enqueue(1)); } }, { size: () => Infinity });
  await assertRejects(RangeError, infinite.getReader().read());
});

test('cancelling', async () => {
  const seen = [];
  const make = () => new ReadableStream({ start(controller) { controller.enqueue(1); }, cancel(reason) { seen.push(reason); } });
  const stream = make();
  assertEquals(await stream.cancel('why'), undefined);
  assertEquals(await stream.getReader().read(), { value: undefined, done: true });
  const reader = make().getReader();
  await reader.cancel('reader');
  assertEquals(seen, ['why', 'reader']);
  const locked = make();
  locked.getReader();
  await assertRejects(TypeError, locked.cancel());
  await assertRejects('bad', new ReadableStream({ cancel() { throw 'bad'; } }).cancel());
});

test('iterating', async () => {
  assertEquals(await collect(streamOf(1, 2, 3)), [1, 2, 3]);
  const seen = [], stream = new ReadableStream({ pull(controller) { controller.enqueue(1); }, cancel() { seen.push('cancelled'); } });
  for await (const each of stream) { seen.push(each); break; }
  assertEquals([seen, stream.locked], [[1, 'cancelled'], false]);
  const kept = streamOf(1, 2);
  for await (const each of kept.values({ preventCancel: true })) { assertEquals(each, 1); break; }
  assertEquals(await collect(kept), [2]);
  const iterator = streamOf('x')[Symbol.asyncIterator]();
  assertEquals([await iterator.next(), await iterator.next()], [{ value: 'x', done: false }, { value: undefined, done: true }]);
  assert(ReadableStream.prototype[Symbol.asyncIterator] === ReadableStream.prototype.values);
});

test('ReadableStream.from', async () => {
  assertEquals(await collect(ReadableStream.from([1, Promise.resolve(2)])), [1, 2]);
  assertEquals(await collect(ReadableStream.from('aä😀')), ['a', 'ä', '😀']);
  assertEquals(await collect(ReadableStream.from((async function* () { yield 1; yield 2; })())), [1, 2]);
  assertEquals(await collect(ReadableStream.from(streamOf(3))), [3]);
  let returned = false;
  const stream = ReadableStream.from((function* () { try { yield 1; yield 2; } finally { returned = true; } })()), reader = stream.getReader();
  await reader.read();
  await reader.cancel();
  assertEquals(returned, true);
  for (const value of [null, 5, {}]) assertThrows(TypeError, () => ReadableStream.from(value), show(value));
});

test('tee', async () => {
  const [left, right] = streamOf('a', 'b').tee();
  assertEquals([await collect(left), await collect(right)], [['a', 'b'], ['a', 'b']]);
  const shared = {}, [one, two] = streamOf(shared).tee();
  assert((await collect(one))[0] === (await collect(two))[0], 'chunks are shared');
  let reasons;
  const source = new ReadableStream({ cancel(given) { reasons = given; } }), [first, second] = source.tee();
  assertEquals(source.locked, true);
  const cancelled = Promise.all([first.cancel(1), second.cancel(2)]);
  await cancelled;
  assertEquals(reasons, [1, 2]);
  const error = new RangeError('x'), [bad, worse] = new ReadableStream({ start(controller) { controller.error(error); } }).tee();
  await assertRejects(error, collect(bad));
  await assertRejects(error, collect(worse));
});

test('byte streams', async () => {
  const stream = new ReadableStream({
    type: 'bytes',
    start(controller) { assert(controller instanceof ReadableByteStreamController); controller.enqueue(bytes('01 02 03')); controller.enqueue(bytes('04')); controller.close(); },
  });
  const reader = stream.getReader({ mode: 'byob' });
  assert(reader instanceof ReadableStreamBYOBReader);
  const buffer = new ArrayBuffer(4);
  const first = await reader.read(new Uint8Array(buffer, 1, 2));
  assertEquals([first.done, first.value, first.value.byteOffset, buffer.byteLength], [false, bytes('01 02'), 1, 0]);
  assertEquals((await reader.read(new Uint8Array(9))).value, bytes('03 04'));
  const end = await reader.read(new Uint8Array(3));
  assertEquals([end.done, end.value.byteLength], [true, 0]);
  for (const view of [new Uint8Array(0), {}, new Uint8Array(new ArrayBuffer(0))]) await assertRejects(TypeError, reader.read(view), show(view));
  const plain = new ReadableStream({ type: 'bytes', start(controller) { controller.enqueue(bytes('05 06')); controller.close(); } });
  assertEquals(await collect(plain), [bytes('05 06')]);
});

test('a byte source that fills the view', async () => {
  let n = 0;
  const stream = new ReadableStream({
    type: 'bytes',
    pull(controller) {
      const { view } = controller.byobRequest;
      for (let i = 0; i < 2; i++) view[i] = ++n;
      controller.byobRequest.respond(2);
    },
    autoAllocateChunkSize: 8,
  });
  const reader = stream.getReader({ mode: 'byob' });
  assertEquals((await reader.read(new Uint8Array(5))).value, bytes('01 02'));
  assertEquals((await reader.read(new Uint8Array(5), { min: 4 })).value.length >= 4, true);
  reader.releaseLock();
  const other = stream.getReader();
  assertEquals((await other.read()).value.length, 2, 'the chunk is allocated for a default reader');
  const wide = new ReadableStream({ type: 'bytes', start(controller) { controller.enqueue(bytes('01 00 02')); controller.enqueue(bytes('00')); controller.close(); } }).getReader({ mode: 'byob' });
  assertEquals([...(await wide.read(new Uint16Array(1))).value], [1]);
  assertEquals([...(await wide.read(new Uint16Array(2))).value], [2]);
});

test('tee of a byte stream copies', async () => {
  const [left, right] = new ReadableStream({ type: 'bytes', start(controller) { controller.enqueue(bytes('01 02')); controller.close(); } }).tee();
  const [a, b] = [await collect(left), await collect(right)];
  assertEquals([a, b, a[0].buffer === b[0].buffer], [[bytes('01 02')], [bytes('01 02')], false]);
});

test('releasing a lock with a read that waits', async () => {
  let controller;
  const stream = new ReadableStream({ start(given) { controller = given; } }), reader = stream.getReader(), waiting = reader.read();
  reader.releaseLock();
  await assertRejects(TypeError, waiting);
  controller.enqueue('kept');
  assertEquals((await stream.getReader().read()).value, 'kept');
});

test('a stream half read, and both branches of one, across a pause', async () => {
  const source = new ReadableStream({ async pull(controller) { this.n = (this.n ?? 0) + 1; controller.enqueue(this.n); if (this.n === 4) controller.close(); } });
  const [left, right] = source.tee(), reader = left.getReader(), waiting = [reader.read(), reader.read()];
  assertEquals((await waiting[0]).value, 1);
  const byob = new ReadableStream({ type: 'bytes', start(controller) { controller.enqueue(bytes('01 02 03')); controller.close(); } }).getReader({ mode: 'byob' });
  await byob.read(new Uint8Array(1));
  await fetch(ECHO);
  assertEquals([(await waiting[1]).value, (await reader.read()).value], [2, 3]);
  assertEquals(await collect(right), [1, 2, 3, 4]);
  assertEquals((await byob.read(new Uint8Array(5))).value, bytes('02 03'));
});

test('a source that fetches', async () => {
  const pages = new ReadableStream({
    async pull(controller) {
      this.page = (this.page ?? 0) + 1;
      if (this.page > 3) controller.close();
      else controller.enqueue(await fetch(answering({ value: this.page })));
    },
  });
  assertEquals(await collect(pages), [1, 2, 3]);
});
