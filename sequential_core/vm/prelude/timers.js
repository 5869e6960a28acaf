// Timers. What waits is a heap of records, ordered by when they are due and then by their age, so that ten thousand
// of them cost a hop no more than one does. The host asks for the next turn; nothing here waits.
import {
  NativeMap, NativeNumber, NativePromise, NativeTypeError, apply, create, expose, globalScope, isObject, mapDelete, mapGet, mapSet, now,
} from './intrinsics.js';
import { reportException } from './events.js';

// The HTML standard takes delays for signed 32-bit integers: 24 days. A task may wait for longer; a hundred years are enough.
const MOST_MILLISECONDS = 36525 * 86400e3;
// HTML standard, 8.7, step 9 of the timer initialization steps.
const NESTING_CLAMPED = 5, CLAMPED_MILLISECONDS = 4;
const SHOWN = 16;

const byId = new NativeMap();
const heap = create(null); // from 1 on
let size = 0, lastId = 0, order = 0, nesting = 0, kept = 0;

// After the bake has used a timer, the first of a task is number 1 all the same.
export const restart = () => { lastId = order = 0; };

const before = (a, b) => a.due < b.due || (a.due === b.due && a.order < b.order);

const place = (timer, at) => { heap[at] = timer; timer.at = at; };

const rise = (timer, at) => {
  for (let above; at > 1 && before(timer, heap[above = at >> 1]); at = above) place(heap[above], at);
  place(timer, at);
};

const sink = (timer, at) => {
  for (let below; (below = at * 2) <= size; at = below) {
    if (below < size && before(heap[below + 1], heap[below])) below++;
    if (!before(heap[below], timer)) break;
    place(heap[below], at);
  }
  place(timer, at);
};

const insert = (timer, delay) => {
  if (timer.nesting > NESTING_CLAMPED && delay < CLAMPED_MILLISECONDS) delay = CLAMPED_MILLISECONDS;
  timer.due = now() + (delay > MOST_MILLISECONDS ? MOST_MILLISECONDS : delay);
  timer.order = ++order;
  size++;
  if (timer.keeps) kept++;
  rise(timer, size);
};

const remove = (timer) => {
  const { at } = timer, last = heap[size];
  delete heap[size];
  size--;
  if (timer.keeps) kept--;
  timer.at = 0;
  if (last !== timer) {
    if (at > 1 && before(last, heap[at >> 1])) rise(last, at);
    else sink(last, at);
  }
};

const milliseconds = (delay) => {
  const number = +delay;
  return number > 0 && number < 1 / 0 ? number - (number % 1) : 0;
};

// `every`: milliseconds between two calls, -1 for a single one. `keeps`: the program has not ended while it waits.
export const addTimer = (callback, delay, args, every, keeps) => {
  const timer = create(null);
  timer.id = ++lastId;
  timer.callback = callback;
  timer.args = args;
  timer.every = every;
  timer.keeps = keeps;
  timer.nesting = nesting + 1;
  mapSet(byId, timer.id, timer);
  insert(timer, delay);
  return timer.id;
};

// Calls it in a turn of its own, soon: it counts for no nesting, which would slow it down.
export const addTask = (callback) => {
  const before = nesting;
  nesting = -1;
  addTimer(callback, 0, create(null), -1, true);
  nesting = before;
};

export const removeTimer = (id) => {
  const timer = mapGet(byId, id);
  if (timer === undefined) return;
  mapDelete(byId, id);
  if (timer.at !== 0) remove(timer);
};

const start = (name, callback, delay, args, repeats) => {
  if (typeof callback !== 'function') throw new NativeTypeError(name + ' takes a function');
  const after = milliseconds(delay);
  return addTimer(callback, after, args, repeats ? after : -1, true);
};

export const isDue = () => size > 0 && heap[1].due <= now();

// Calls the timer that is due first; its callback may throw, and may do anything else.
export const fire = () => {
  const timer = heap[1];
  remove(timer);
  nesting = timer.nesting;
  if (timer.every < 0) mapDelete(byId, timer.id);
  try {
    apply(timer.callback, globalScope, timer.args);
  } catch (error) {
    reportException(error);
  }
  if (timer.every >= 0 && mapGet(byId, timer.id) === timer) {
    timer.nesting = nesting + 1;
    insert(timer, timer.every);
  }
  nesting = 0;
};

// The timers as a JSON object, '' if there are none: the soonest of them, and how many keep the program from ending.
export const describeTimers = () => {
  if (size === 0) return '';
  // The children of a place in the heap come after it: the next one is always at the edge of those that were taken.
  const edge = create(null);
  let edges = 1, soonest = '';
  edge[1] = 1;
  for (let shown = 0; shown < SHOWN && edges > 0; shown++) {
    let first = 1;
    for (let i = 2; i <= edges; i++) if (before(heap[edge[i]], heap[edge[first]])) first = i;
    const at = edge[first];
    soonest += (shown === 0 ? '[' : ',[') + heap[at].id + ',' + heap[at].due + ']';
    edge[first] = edge[edges--];
    if (at * 2 <= size) edge[++edges] = at * 2;
    if (at * 2 < size) edge[++edges] = at * 2 + 1;
  }
  return '{"count":' + size + ',"keeping":' + kept + ',"wakeAt":' + heap[1].due + ',"soonest":[' + soonest + ']}';
};

expose('setTimeout', function setTimeout(callback, delay = 0, ...args) {
  return start('setTimeout', callback, delay, args, false);
});
expose('setInterval', function setInterval(callback, delay = 0, ...args) {
  return start('setInterval', callback, delay, args, true);
});
const clear = (id) => {
  if (id !== undefined && !(isObject(id))) removeTimer(NativeNumber(id));
};
expose('clearTimeout', function clearTimeout(id = undefined) { clear(id); });
expose('clearInterval', function clearInterval(id = undefined) { clear(id); });
expose('sleep', function sleep(delay = 0) {
  return new NativePromise((accept) => { start('sleep', () => accept(), delay, create(null), false); });
});
