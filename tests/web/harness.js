// What the files beside this one are written with. They are posted behind it, as one program, whose result is
// {assertions, tests, failures}.
const ECHO = 'https://echo.test/'; // answers with the request, in its JSON form
const answering = (answer) => `https://answer.test/?${encodeURIComponent(JSON.stringify(answer))}`;
// Answers with bytes that Python made of the body: compress/FORMAT, decompress/FORMAT, encode/ENCODING.
const PYTHON = 'https://python.test/';

const harness = { assertions: 0, tests: [], failures: [], names: new Set(), running: '' };

const test = (name, run) => {
  if (harness.names.has(name)) throw new Error(`two tests are called ${name}`);
  harness.names.add(name);
  harness.tests.push([name, run]);
};

const show = (value) => {
  if (typeof value === 'string') return JSON.stringify(value);
  if (ArrayBuffer.isView(value)) return `${value.constructor.name}[${[...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)]}]`;
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (Object.is(value, -0)) return '-0';
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    return `{${Object.keys(value).map((key) => `${key}: ${show(value[key])}`).join(', ')}}`;
  return String(value);
};

const same = (a, b) => {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (ArrayBuffer.isView(a)) return show(a) === show(b);
  if (!Array.isArray(a) && Object.getPrototypeOf(a) !== Object.prototype) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
};

// Where the file called the harness.
const lineOf = (stack) => {
  const frames = String(stack).split('\n').filter((frame) => !/at (?:fail|assert\w*|checkThrown|table|lineOf|addFailure)\b/.test(frame));
  const found = frames.map((frame) => /task\.js:(\d+)/.exec(frame)).find((each) => each !== null);
  return found === undefined ? null : Number(found[1]);
};
const addFailure = (message, stack) => harness.failures.push({ name: harness.running, message, line: lineOf(stack) });

// A test goes on, so that all of its failures are told.
const fail = (message) => addFailure(message, new Error().stack);
const note = (text) => (text === undefined ? '' : `${text}: `);

const assert = (condition, text) => {
  harness.assertions++;
  if (!condition) fail(`${note(text)}it does not hold`);
};
const assertEquals = (actual, expected, text) => {
  harness.assertions++;
  if (!same(actual, expected)) fail(`${note(text)}got ${show(actual)}, not ${show(expected)}`);
};

// `kind` is a class of errors, the name of a DOMException, or the very value that is to be thrown.
const checkThrown = (error, kind, text) => {
  if (error === kind) return;
  if (typeof kind === 'function') {
    if (!(error instanceof kind) || error.constructor !== kind) fail(`${note(text)}threw ${show(error)}, not a ${kind.name}`);
  } else if (typeof kind === 'string') {
    if (!(error instanceof DOMException) || error.name !== kind) fail(`${note(text)}threw ${show(error)}, not a ${kind}`);
  } else fail(`${note(text)}threw ${show(error)}, not ${show(kind)}`);
};
const assertThrows = (kind, run, text) => {
  harness.assertions++;
  let value;
  try { value = run(); } catch (error) { checkThrown(error, kind, text); return; }
  fail(`${note(text)}it did not throw, but gave ${show(value)}`);
};
const assertRejects = async (kind, promise, text) => {
  harness.assertions++;
  let value;
  try { value = await (typeof promise === 'function' ? promise() : promise); } catch (error) { checkThrown(error, kind, text); return; }
  fail(`${note(text)}it was not rejected, but gave ${show(value)}`);
};

// One assertion for each row: `run(...inputs)` gives the last item of the row.
const table = (rows, run) => {
  for (const row of rows) {
    const inputs = row.slice(0, -1);
    assertEquals(run(...inputs), row.at(-1), inputs.map(show).join(', '));
  }
};

const bytes = (text) => Uint8Array.fromHex(text.replaceAll(' ', ''));
const ascii = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));
const join = (chunks) => {
  const all = [];
  for (const chunk of chunks) all.push(...chunk);
  return Uint8Array.from(all);
};
const collect = async (stream) => {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
};
const streamOf = (...chunks) => new ReadableStream({
  pull(controller) {
    if (chunks.length === 0) controller.close();
    else controller.enqueue(chunks.shift());
  },
});

// That an interface looks as Web IDL has it.
const assertInterface = (name, methods, attributes = []) => {
  const Class = globalThis[name];
  assertEquals(typeof Class, 'function', name);
  assertEquals(Class.name, name);
  const global = Object.getOwnPropertyDescriptor(globalThis, name);
  assertEquals([global.enumerable, global.writable, global.configurable], [false, true, true], name);
  assertEquals(Object.prototype.toString.call(Class.prototype), `[object ${name}]`);
  assertThrows(TypeError, () => Class(), `${name} called as a function`);
  for (const method of methods) assertEquals(typeof Class.prototype[method], 'function', `${name}.${String(method)}`);
  for (const attribute of attributes) {
    let owner = Class.prototype;
    while (owner && !Object.hasOwn(owner, attribute)) owner = Object.getPrototypeOf(owner);
    assertEquals(typeof Object.getOwnPropertyDescriptor(owner ?? {}, attribute)?.get, 'function', `${name}.${attribute}`);
  }
};

const outcome = async () => {
  for (const [name, run] of harness.tests) {
    harness.running = name;
    try { await run(); } catch (error) { addFailure(show(error), error.stack); }
  }
  return { assertions: harness.assertions, tests: harness.tests.length, failures: harness.failures };
};
