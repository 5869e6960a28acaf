// How a task ends: its result, or its error, as JSON.
import { NativeString, NativeTypeError, create, cut, isObject, quote, stringify } from './intrinsics.js';
import { inspect } from './console.js';

// What import() rejects with.
export const importError = () =>
  new NativeTypeError('import() is not supported: a task is one script, and there are no modules');

let finishing = false;

export const isFinishing = () => finishing;

// The result of the task as JSON; undefined, which JSON has not, is null.
export const result = (value) => {
  finishing = true;
  const text = stringify(value);
  return text === undefined ? 'null' : text;
};

// An uncaught error as a JSON object. Getters and traps of the code may run here, and may throw.
export const describe = (error) => {
  finishing = true;
  const record = create(null);
  const read = (key, length) => {
    try { return isObject(error) ? cut(NativeString(error[key] ?? ''), length) : ''; } catch { return ''; }
  };
  record.name = read('name', 256);
  record.message = read('message', 4096);
  record.stack = read('stack', 8192);
  if (record.message === '' && record.stack === '') {
    let text = 'a value';
    try { text = cut(inspect(error, [create(null)]), 4096); } catch { /* nothing more can be said of it */ }
    record.name = 'Error';
    record.message = 'uncaught ' + text;
  }
  record.name = record.name || 'Error';
  return '{"name":' + quote(record.name) + ',"message":' + quote(record.message) + ',"stack":' +
    quote(record.stack) + '}';
};
