// Timers (HTML standard, 8.7), and sleep, which is ours.
test('the functions', () => {
  for (const name of ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval', 'sleep']) assertEquals(typeof globalThis[name], 'function', name);
  for (const set of [setTimeout, setInterval]) {
    for (const value of [undefined, null, 'code', 5, {}]) assertThrows(TypeError, () => set(value), show(value));
    assertThrows(TypeError, () => set());
  }
});

test('ids', () => {
  const ids = [setTimeout(() => {}), setTimeout(() => {}), setInterval(() => {}, 1)];
  assertEquals(ids.every((id) => Number.isInteger(id) && id > 0), true);
  assertEquals(new Set(ids).size, 3);
  for (const id of ids) clearTimeout(id);
});

test('order', async () => {
  const seen = [], note = (what) => () => seen.push(what);
  setTimeout(note('10'), 10);
  setTimeout(note('5'), 5);
  setTimeout(note('0'));
  setTimeout(note('5 again'), 5);
  setTimeout(note('negative'), -7);
  setTimeout(note('text'), '7');
  setTimeout(note('nonsense'), 'x');
  setTimeout(note('fraction'), 5.9);
  await sleep(20);
  assertEquals(seen, ['0', 'negative', 'nonsense', '5', '5 again', 'fraction', 'text', '10']);
});

test('arguments and this', async () => {
  const seen = [];
  setTimeout(function (...args) { seen.push(args, this === globalThis); }, 0, 1, 'two', [3]);
  const id = setInterval((...args) => { seen.push(args); clearInterval(id); }, 0, 'i');
  await sleep(1);
  assertEquals(seen, [[1, 'two', [3]], true, ['i']]);
});

test('microtasks come between two timers', async () => {
  const seen = [];
  setTimeout(() => { seen.push('a'); queueMicrotask(() => seen.push('micro a')); Promise.resolve().then(() => seen.push('then a')); });
  setTimeout(() => { seen.push('b'); });
  await sleep(1);
  assertEquals(seen, ['a', 'micro a', 'then a', 'b']);
});

test('clearing', async () => {
  const seen = [], note = (what) => () => seen.push(what);
  const first = setTimeout(note('first'), 1), second = setTimeout(note('second'), 1), third = setInterval(note('third'), 1);
  clearTimeout(first);
  clearInterval(second);
  clearTimeout(third);
  setTimeout(() => clearTimeout(later), 1);
  const later = setTimeout(note('later'), 1);
  for (const id of [undefined, null, 0, -1, 'x', {}, 1e9, String(first)]) assertEquals(clearTimeout(id), undefined, show(id));
  clearTimeout();
  await sleep(5);
  assertEquals(seen, []);
});

test('intervals', async () => {
  const times = [], began = performance.now();
  const id = setInterval(() => { times.push(performance.now() - began); if (times.length === 3) clearInterval(id); }, 10);
  await sleep(100);
  assertEquals(times, [10, 20, 30]);
  let fast = 0;
  const zero = setInterval(() => { if (++fast === 8) clearInterval(zero); }, 0);
  await sleep(100);
  assertEquals(fast, 8);
});

test('nesting is slowed down after five', async () => {
  const times = [], began = performance.now();
  await new Promise((resolve) => {
    const next = () => { times.push(performance.now() - began); if (times.length === 8) resolve(); else setTimeout(next, 0); };
    setTimeout(next, 0);
  });
  assertEquals(times, [0, 0, 0, 0, 0, 4, 8, 12]);
});

test('long delays', async () => {
  const began = Date.now(), seen = [];
  setTimeout(() => seen.push(Date.now() - began), 2 ** 31 + 1000);
  await sleep(2 ** 31 + 2000);
  assertEquals(seen, [2 ** 31 + 1000], 'a task may wait for longer than 24 days');
  const id = setTimeout(() => seen.push('never'), Infinity);
  await sleep(0);
  assertEquals(seen.length, 2, 'infinity is no delay at all');
  clearTimeout(id);
});

test('sleep', async () => {
  const began = performance.now();
  assertEquals(await sleep(30), undefined);
  assertEquals(performance.now() - began, 30);
  assert(sleep(0) instanceof Promise);
  assertEquals(await Promise.race([sleep(20).then(() => 'slow'), sleep(10).then(() => 'fast')]), 'fast');
});

test('a callback that throws leaves the others', async () => {
  const seen = [], note = (event) => { seen.push(event.error); event.preventDefault(); };
  addEventListener('error', note);
  setTimeout(() => { throw 'thrown'; });
  const id = setInterval(() => { seen.push('interval'); if (seen.length > 3) clearInterval(id); throw 'again'; }, 1);
  await sleep(10);
  removeEventListener('error', note);
  clearInterval(id);
  assertEquals(seen.slice(0, 4), ['thrown', 'interval', 'again', 'interval']);
});

test('timers across a pause, and those that fall due in it', async () => {
  const seen = [], began = performance.now(), note = (what) => () => seen.push([what, performance.now() - began]);
  setTimeout(note('late'), 2000);
  setTimeout(note('soon'), 10);
  const every = setInterval(note('every'), 700);
  const answer = await fetch(answering({ value: 'answer', after: 1 }));
  seen.push([answer, performance.now() - began]);
  await sleep(1500);
  clearInterval(every);
  assertEquals(seen, [['soon', 10], ['every', 700], ['answer', 1000], ['every', 1400], ['late', 2000], ['every', 2100]]);
});
