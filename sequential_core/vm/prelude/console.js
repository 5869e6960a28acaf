// The console: the host gets a level and a line of text.
import {
  NativeDate, NativeError, NativeMap, NativeSet, NativeString, create, exec, expose, isArray, isView, keys,
  now, slice, stringify, wellFormed,
} from './intrinsics.js';
import { host } from './host.js';

const MOST_SHOWN = 100;
const MOST_DEEP = 3;

const more = (shown, length) => (length > shown ? [`... ${length - shown} more`] : []);

const inspectKeys = (value, seen) => {
  const names = keys(value), shown = names.slice(0, MOST_SHOWN);
  const fields = shown.map((key) => `${exec(/^[A-Za-z_$][\w$]*$/, key) ? key : stringify(key)}: ${inspect(value[key], seen)}`);
  return [...fields, ...more(shown.length, names.length)];
};

const inspectList = (values, seen) => {
  const shown = values.slice(0, MOST_SHOWN);
  return [...shown.map((item) => inspect(item, seen)), ...more(shown.length, values.length)].join(', ');
};

const inspectPairs = (pairs, seen) =>
  pairs.map(([key, value]) => `${inspect(key, seen)} => ${inspect(value, seen)}`).join(', ');

const isPairs = (value) => typeof value.entries === 'function' && typeof value.getAll === 'function' ||
  typeof value.getSetCookie === 'function';

// The frames of a stack, but for those of these modules.
const frames = (stack) => `${stack ?? ''}`.split('\n').filter((line) => line !== '' && !line.includes('(native:'));

const isTemporal = (value) => {
  const tag = value[Symbol.toStringTag];
  return typeof tag === 'string' && slice(tag, 0, 9) === 'Temporal.' && typeof value.toJSON === 'function';
};

const inspectObject = (value, seen) => {
  if (value instanceof NativeError) return [`${value}`, ...frames(value.stack)].join('\n');
  if (value instanceof NativeDate) return value.getTime() === value.getTime() ? value.toISOString() : 'Invalid Date';
  if (value instanceof RegExp) return `${value}`;
  if (seen.includes(value)) return '[Circular]';
  if (isTemporal(value)) return `${value[Symbol.toStringTag]} ${value}`;
  const name = value.constructor?.name ?? '';
  if (seen.length > MOST_DEEP) return isArray(value) ? '[Array]' : `[${name || 'Object'}]`;
  const inner = [...seen, value];
  if (isArray(value)) return `[${inspectList(value, inner)}]`;
  if (isView(value) && !(value instanceof DataView)) return `${name}(${value.length}) [${inspectList([...value.subarray(0, MOST_SHOWN + 1)], inner)}]`;
  if (value instanceof NativeMap) return `Map(${value.size}) {${inspectPairs([...value], inner)}}`;
  if (value instanceof NativeSet) return `Set(${value.size}) {${inspectList([...value], inner)}}`;
  if (typeof value.href === 'string' && typeof value.toJSON === 'function') return `${name} ${value.href}`;
  if (isPairs(value)) return `${name} {${inspectPairs([...value], inner)}}`;
  const prefix = name && name !== 'Object' ? `${name} ` : '';
  return `${prefix}{${inspectKeys(value, inner).join(', ')}}`;
};

export const inspect = (value, seen) => {
  if (typeof value === 'string') return seen.length ? stringify(value) : value;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  if (value === null || typeof value !== 'object') return NativeString(value);
  try { return inspectObject(value, seen); } catch { return '[object]'; }
};

// Console standard, 2.2: what a format specifier makes of its argument.
const FORMATS = {
  __proto__: null,
  s: (value) => (typeof value === 'object' && value !== null ? inspect(value, [create(null)]) : NativeString(value)),
  d: (value) => NativeString(typeof value === 'symbol' ? NaN : parseInt(value, 10)),
  i: (value) => NativeString(typeof value === 'symbol' ? NaN : parseInt(value, 10)),
  f: (value) => NativeString(typeof value === 'symbol' ? NaN : parseFloat(value)),
  o: (value) => inspect(value, [create(null)]),
  O: (value) => inspect(value, [create(null)]),
  j: (value) => stringify(value),
  c: () => '',
};

const formatted = (kind, value) => {
  try { return FORMATS[kind](value); } catch { return inspect(value, [create(null)]); }
};

const format = (values) => {
  if (typeof values[0] !== 'string' || values.length < 2 || !values[0].includes('%')) return values;
  let used = 1;
  const text = values[0].replace(/%([sdifoOjc%])/g, (all, kind) => {
    if (kind === '%') return '%';
    return used < values.length ? formatted(kind, values[used++]) : all;
  });
  return [text, ...values.slice(used)];
};

let indentation = '';

export const write = (level, values) => {
  let text = format(values).map((value) => inspect(value, [])).join(' ');
  if (indentation !== '') text = indentation + text.replaceAll('\n', `\n${indentation}`);
  host('log', level, wellFormed(text));
};

const console = {};
for (const level of ['debug', 'error', 'info', 'log', 'warn'])
  console[level] = { [level](...values) { write(level, values); } }[level];

const count = new NativeMap(), since = new NativeMap();
const elapsed = (label) => `${label}: ${now() - since.get(label)} ms`;

Object.assign(console, {
  dir(value) { write('log', [value]); },
  dirxml(...values) { write('log', values); },
  table(value) { write('log', [value]); },
  trace(...values) { write('debug', ['Trace:', ...values, ['', ...frames(new NativeError().stack)].join('\n')]); },
  assert(condition = false, ...values) {
    if (condition) return;
    if (typeof values[0] === 'string') values[0] = `Assertion failed: ${values[0]}`;
    else values.unshift('Assertion failed');
    write('error', values);
  },
  clear() { indentation = ''; },
  group(...values) {
    if (values.length) write('log', values);
    indentation += '  ';
  },
  groupCollapsed(...values) { console.group(...values); },
  groupEnd() { indentation = indentation.slice(2); },
  count(label = 'default') {
    label = `${label}`;
    const times = (count.get(label) ?? 0) + 1;
    count.set(label, times);
    write('info', [`${label}: ${times}`]);
  },
  countReset(label = 'default') {
    if (!count.delete(`${label}`)) write('warn', [`there is no count ${label}`]);
  },
  time(label = 'default') {
    label = `${label}`;
    if (since.has(label)) write('warn', [`timer ${label} runs already`]);
    else since.set(label, now());
  },
  timeLog(label = 'default', ...values) {
    label = `${label}`;
    write(since.has(label) ? 'log' : 'warn', since.has(label) ? [elapsed(label), ...values] : [`there is no timer ${label}`]);
  },
  timeEnd(label = 'default') {
    label = `${label}`;
    write(since.has(label) ? 'info' : 'warn', [since.has(label) ? elapsed(label) : `there is no timer ${label}`]);
    since.delete(label);
  },
});
Object.defineProperty(console, Symbol.toStringTag, { value: 'console', configurable: true });
expose('console', console);
