// Runs last in the bake, and makes what is otherwise made at its first use: the engine builds its functions when they are
// looked up, packages fill their registries when they are called. All that is then in the image, and in no state.

import { restart } from './timers.js';

const seen = new Set();
const touch = (first) => {
  const waiting = [first];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) continue;
    seen.add(value);
    for (const key of Reflect.ownKeys(value)) {
      const property = Reflect.getOwnPropertyDescriptor(value, key);
      waiting.push(property.value, property.get, property.set);
    }
    waiting.push(Object.getPrototypeOf(value));
  }
};

const use = async () => {
  const url = new URL('https://user@example.com:8080/a/../b?x=1#y');
  url.searchParams.append('z', '2');
  [...url.searchParams];
  URL.canParse('/a', url.href);
  new URLPattern({ pathname: '/a/:b' }).exec('https://example.com/a/c');
  const controller = new AbortController(), signal = AbortSignal.any([controller.signal]);
  signal.addEventListener('abort', () => {}, { once: true });
  controller.abort();
  const headers = new Headers([['a', '1'], ['set-cookie', 'b']]);
  [...headers];
  headers.getSetCookie();
  const form = new FormData();
  form.append('a', 'b');
  form.append('c', new File(['d'], 'e.txt', { type: 'text/plain' }));
  const request = new Request(url.origin, { method: 'POST', headers, body: new URLSearchParams({ a: '1' }) });
  await request.clone().text();
  const posted = new Response(form), copy = posted.clone();
  await copy.formData();
  await Response.json({ a: 1 }).json();
  await new Response(new Uint8Array([0xc3, 0xa9])).text();
  const reader = new Response('text').body.pipeThrough(new TextDecoderStream()).getReader();
  while (!(await reader.read()).done);
  for await (const chunk of new Blob(['text']).stream().pipeThrough(new CompressionStream('gzip'))
    .pipeThrough(new DecompressionStream('gzip'))) void chunk;
  const [one, other] = new ReadableStream({ pull(c) { c.enqueue(1); c.close(); } }).tee();
  await Promise.all([one.getReader().read(), other.cancel()]);
  structuredClone({ a: new Map([[1, new Date(0)]]), b: new Set([new Uint8Array(1)]), c: /x/, d: new Error('e') });
  dispatchEvent(new Event('warm'));
  new MessageChannel().port1.postMessage({});
  clearTimeout(setTimeout(() => {}, 1e9));
  atob(btoa('a'));
};

export const warm = () => use().then(() => {
  touch(globalThis);
  for (const value of [
    function* () {}, async function () {}, async function* () {}, (function* () {})(), (async function* () {})(), new Proxy({}, {}),
    [][Symbol.iterator](), ''[Symbol.iterator](), new Map()[Symbol.iterator](), new Set()[Symbol.iterator](),
    'a'.matchAll(/a/g), [].values().map((x) => x), Iterator.from({ next() {} }), (function () { return arguments; })(),
  ]) touch(value);
  seen.clear();
  restart();
});
