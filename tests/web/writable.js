// Writable and transform streams, piping and queuing strategies (Streams standard, 5 to 7).
test('the interfaces', () => {
  assertInterface('WritableStream', ['abort', 'close', 'getWriter'], ['locked']);
  assertInterface('WritableStreamDefaultWriter', ['abort', 'close', 'releaseLock', 'write'], ['closed', 'desiredSize', 'ready']);
  assertInterface('WritableStreamDefaultController', ['error'], ['signal']);
  assertInterface('TransformStream', [], ['readable', 'writable']);
  assertInterface('TransformStreamDefaultController', ['enqueue', 'error', 'terminate'], ['desiredSize']);
  assertInterface('ByteLengthQueuingStrategy', [], ['highWaterMark', 'size']);
  assertInterface('CountQueuingStrategy', [], ['highWaterMark', 'size']);
  for (const name of ['WritableStreamDefaultController', 'TransformStreamDefaultController']) assertThrows(TypeError, () => new globalThis[name](), name);
});

const recorder = (seen, extra = {}) => new WritableStream({
  start() { seen.push('start'); }, write(chunk) { seen.push(chunk); }, close() { seen.push('close'); }, abort(reason) { seen.push(['abort', reason]); }, ...extra,
});

test('writing and closing', async () => {
  const seen = [], stream = recorder(seen), writer = stream.getWriter();
  assertEquals([stream.locked, writer.desiredSize], [true, 1]);
  assertThrows(TypeError, () => stream.getWriter());
  await writer.ready;
  const written = writer.write('a');
  assertEquals(writer.desiredSize, 0);
  await written;
  writer.write('b');
  await writer.close();
  assertEquals(seen, ['start', 'a', 'b', 'close']);
  assertEquals(await writer.closed, undefined);
  assertEquals(writer.desiredSize, 0);
  await assertRejects(TypeError, writer.write('c'));
  await assertRejects(TypeError, writer.close());
  writer.releaseLock();
  assertEquals(stream.locked, false);
  assertThrows(TypeError, () => writer.desiredSize);
  await assertRejects(TypeError, writer.write('d'));
  await assertRejects(TypeError, stream.close());
});

test('backpressure', async () => {
  const done = [];
  const stream = new WritableStream({ write: () => new Promise((resolve) => done.push(resolve)) }, new CountQueuingStrategy({ highWaterMark: 2 })), writer = stream.getWriter();
  await writer.ready;
  assertEquals(writer.desiredSize, 2);
  const first = writer.write(1);
  writer.write(2);
  assertEquals(writer.desiredSize, 0);
  let ready = false;
  writer.ready.then(() => { ready = true; });
  await sleep(1);
  assertEquals([ready, done.length], [false, 1], 'one write at a time');
  done[0]();
  await first;
  await sleep(1);
  assertEquals([ready, writer.desiredSize], [true, 1]);
});

test('errors and aborting', async () => {
  const error = new RangeError('x'), seen = [];
  const failing = new WritableStream({ async write() { throw error; } }), writer = failing.getWriter();
  await assertRejects(error, writer.write(1));
  await assertRejects(error, writer.write(2));
  await assertRejects(error, writer.closed);
  assertEquals(writer.desiredSize, null);
  let controller;
  const stream = recorder(seen, { start(given) { controller = given; } }), other = stream.getWriter();
  assert(controller.signal instanceof AbortSignal);
  await other.write('a');
  await other.abort('why');
  assertEquals([seen, controller.signal.aborted, controller.signal.reason], [['a', ['abort', 'why']], true, 'why']);
  await assertRejects('why', other.write('b'));
  await assertRejects('why', other.closed);
  const direct = recorder([]);
  await direct.abort();
  await assertRejects(undefined, direct.getWriter().closed);
  const told = new WritableStream({ start(given) { given.error(error); } });
  await assertRejects(error, told.getWriter().closed);
  assertThrows(RangeError, () => new WritableStream({ type: 'bytes' }));
  assertThrows(error, () => new WritableStream({ start() { throw error; } }));
});

test('transform streams', async () => {
  const upper = new TransformStream({ transform(chunk, controller) { controller.enqueue(chunk.toUpperCase()); }, flush(controller) { controller.enqueue('END'); } });
  assertEquals(await collect(streamOf('a', 'b').pipeThrough(upper)), ['A', 'B', 'END']);
  assertEquals(await collect(streamOf(1, 2).pipeThrough(new TransformStream())), [1, 2]);
  const starting = new TransformStream({ start(controller) { controller.enqueue('first'); controller.terminate(); } });
  assertEquals(await collect(starting.readable), ['first']);
  await assertRejects(TypeError, starting.writable.getWriter().write(1));
  const error = new RangeError('x'), failing = new TransformStream({ transform() { throw error; } }), writer = failing.writable.getWriter();
  writer.write(1).catch(() => {});
  await assertRejects(error, failing.readable.getReader().read());
  await assertRejects(error, writer.closed);
  let cancelled;
  const cancelling = new TransformStream({ cancel(reason) { cancelled = reason; } });
  await cancelling.readable.cancel('why');
  assertEquals(cancelled, 'why');
  for (const init of [{ readableType: 'bytes' }, { writableType: 'bytes' }]) assertThrows(RangeError, () => new TransformStream(init), show(init));
});

test('pipeTo', async () => {
  const seen = [];
  await streamOf(1, 2).pipeTo(recorder(seen));
  assertEquals(seen, ['start', 1, 2, 'close']);
  const open = [], sink = recorder(open);
  await streamOf(1).pipeTo(sink, { preventClose: true });
  assertEquals([open, sink.locked], [['start', 1], false]);
  const error = new RangeError('x'), aborted = [];
  await assertRejects(error, new ReadableStream({ start(controller) { controller.error(error); } }).pipeTo(recorder(aborted)));
  assertEquals(aborted, ['start', ['abort', error]]);
  const kept = [], source = new ReadableStream({ start(controller) { controller.error(error); } });
  await assertRejects(error, source.pipeTo(recorder(kept), { preventAbort: true }));
  assertEquals(kept, ['start']);
  let cancelled;
  const cancelling = new ReadableStream({ pull(controller) { controller.enqueue(1); }, cancel(reason) { cancelled = reason; } });
  await assertRejects(error, cancelling.pipeTo(new WritableStream({ write() { throw error; } })));
  assertEquals(cancelled, error);
  await assertRejects(TypeError, streamOf(1).pipeTo({}));
  const locked = streamOf(1);
  locked.getReader();
  await assertRejects(TypeError, locked.pipeTo(recorder([])));
});

test('pipeTo with a signal', async () => {
  const controller = new AbortController(), seen = [];
  let cancelled;
  const endless = new ReadableStream({ cancel(reason) { cancelled = reason; } });
  const piping = endless.pipeTo(recorder(seen), { signal: controller.signal });
  await sleep(1);
  controller.abort('stop');
  await assertRejects('stop', piping);
  assertEquals([cancelled, seen], ['stop', ['start', ['abort', 'stop']]]);
  await assertRejects('AbortError', streamOf(1).pipeTo(recorder([]), { signal: AbortSignal.abort() }));
});

test('pipeThrough', async () => {
  assertThrows(TypeError, () => streamOf(1).pipeThrough({}));
  assertThrows(TypeError, () => streamOf(1).pipeThrough({ readable: new ReadableStream() }));
  const own = { readable: streamOf('r'), writable: recorder([]) };
  assert(streamOf(1).pipeThrough(own) === own.readable);
  const twice = () => new TransformStream({ transform(chunk, controller) { controller.enqueue(chunk); controller.enqueue(chunk); } });
  assertEquals(await collect(streamOf('a').pipeThrough(twice()).pipeThrough(twice())), ['a', 'a', 'a', 'a']);
});

test('queuing strategies', () => {
  const count = new CountQueuingStrategy({ highWaterMark: 3 }), length = new ByteLengthQueuingStrategy({ highWaterMark: '16' });
  assertEquals([count.highWaterMark, count.size(), count.size({ byteLength: 9 })], [3, 1, 1]);
  assertEquals([length.highWaterMark, length.size({ byteLength: 9 }), length.size({})], [16, 9, undefined]);
  assert(count.size === new CountQueuingStrategy({ highWaterMark: 1 }).size);
  assertThrows(TypeError, () => length.size());
  for (const Class of [CountQueuingStrategy, ByteLengthQueuingStrategy]) {
    assertThrows(TypeError, () => new Class(), Class.name);
    assertThrows(TypeError, () => new Class({}), Class.name);
  }
});

test('a writer, a transform and a pipe across a pause', async () => {
  const seen = [], writer = recorder(seen).getWriter(), transform = new TransformStream({ transform(chunk, controller) { controller.enqueue(chunk * 2); } });
  await writer.write('before');
  const waiting = writer.write('meanwhile'), doubling = transform.writable.getWriter();
  doubling.write(21);
  const fetching = new ReadableStream({ async pull(controller) { controller.enqueue(await fetch(answering({ value: 'piped' }))); controller.close(); } });
  const piping = fetching.pipeTo(new WritableStream({ async write(chunk) { seen.push(await fetch(answering({ value: `${chunk} through` }))); } }));
  await fetch(ECHO);
  await waiting;
  await writer.close();
  await piping;
  assertEquals(seen, ['start', 'before', 'meanwhile', 'close', 'piped through']);
  assertEquals((await transform.readable.getReader().read()).value, 42);
});
