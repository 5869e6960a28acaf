// MessageChannel, MessagePort and MessageEvent (HTML standard, 9.1 and 9.4).
test('the interfaces', () => {
  assertInterface('MessageChannel', [], ['port1', 'port2']);
  assertInterface('MessagePort', ['postMessage', 'start', 'close'], ['onmessage', 'onmessageerror']);
  assertInterface('MessageEvent', [], ['data', 'origin', 'lastEventId', 'source', 'ports']);
  assertThrows(TypeError, () => new MessagePort());
  const { port1, port2 } = new MessageChannel();
  assert(port1 instanceof EventTarget && port1 !== port2);
});

test('MessageEvent', () => {
  const empty = new MessageEvent('message');
  assertEquals([empty.data, empty.origin, empty.lastEventId, empty.source, empty.ports], [null, '', '', null, []]);
  const data = {}, event = new MessageEvent('x', { data, origin: 'o', lastEventId: 5, cancelable: true });
  assertEquals([event.data === data, event.origin, event.lastEventId, event.cancelable, event.ports === event.ports], [true, 'o', '5', true, true]);
  assertThrows(TypeError, () => new MessageEvent());
});

const received = (port, count) => new Promise((resolve) => {
  const messages = [];
  port.onmessage = (event) => { if (messages.push(event.data) === count) resolve(messages); };
});

test('messages both ways, as clones, in order', async () => {
  const { port1, port2 } = new MessageChannel(), sent = { list: [1, new Date(5)] };
  port1.postMessage(sent);
  sent.list = 'changed';
  port1.postMessage('second');
  const [first, second] = await received(port2, 2);
  assertEquals([first.list[0], first.list[1].getTime(), second], [1, 5, 'second']);
  port2.postMessage(3);
  assertEquals(await received(port1, 1), [3]);
});

test('each comes in a turn of its own', async () => {
  const { port1, port2 } = new MessageChannel(), seen = [];
  port2.onmessage = ({ data }) => { seen.push(data); queueMicrotask(() => seen.push(`micro ${data}`)); };
  port1.postMessage('a');
  port1.postMessage('b');
  Promise.resolve().then(() => seen.push('then'));
  seen.push('now');
  await sleep(1);
  assertEquals(seen, ['now', 'then', 'a', 'micro a', 'b', 'micro b']);
  let turns = 0;
  const began = performance.now();
  await new Promise((resolve) => { port2.onmessage = () => { if (++turns === 20) resolve(); else port1.postMessage(0); }; port1.postMessage(0); });
  assertEquals(performance.now() - began, 0, 'nesting does not slow them down');
});

test('starting, closing and what cannot be sent', async () => {
  const { port1, port2 } = new MessageChannel(), seen = [];
  port2.addEventListener('message', (event) => seen.push(event.data));
  port1.postMessage('waits');
  await sleep(1);
  assertEquals(seen, []);
  port2.start();
  port2.start();
  await sleep(1);
  assertEquals(seen, ['waits']);
  assertThrows('DataCloneError', () => port1.postMessage(() => {}));
  assertThrows(TypeError, () => port1.postMessage());
  const { buffer } = bytes('01 02');
  port1.postMessage(buffer, [buffer]);
  const other = bytes('03').buffer;
  port1.postMessage(other, { transfer: [other] });
  await sleep(1);
  assertEquals([buffer.byteLength, other.byteLength, new Uint8Array(seen[1]), new Uint8Array(seen[2])], [0, 0, bytes('01 02'), bytes('03')]);
  port2.addEventListener('close', () => seen.push('close'));
  port1.close();
  port1.close();
  port1.postMessage('lost');
  port2.postMessage('lost');
  await sleep(1);
  assertEquals(seen.slice(3), ['close']);
});

test('a channel across a pause', async () => {
  const { port1, port2 } = new MessageChannel(), waiting = received(port2, 2);
  port1.postMessage(new Map([[1, 2]]));
  await fetch(ECHO);
  port1.postMessage('after');
  const [map, text] = await waiting;
  assertEquals([map.get(1), text], [2, 'after']);
});
