// The pending requests and the turns of the event loop: what the host asks between two runs of the job queue.
import {
  NativeError, NativeMap, NativePromise, NativeTypeError, create, exec, mapDelete, mapForEach, mapGet, mapSet, mapSize, parse,
} from './intrinsics.js';
import { abortReason, offAbort, onAbort, reportHandled, reportRejection } from './events.js';
import { responseOf } from './request.js';
import { addTimer, describeTimers, fire, isDue, removeTimer } from './timers.js';

const pending = new NativeMap();
let lastId = 0;

// It is no longer pending, and neither its signal nor its timer knows of it.
const remove = (request) => {
  mapDelete(pending, request.id);
  if (request.signal !== undefined) offAbort(request.signal, request.aborted);
  if (request.timer !== undefined) removeTimer(request.timer);
};

const takeBack = (request, reason) => {
  remove(request);
  request.refuse(reason);
};

// Makes a request, and gives the promise of its answer. `fields` is its JSON from behind the id on, `Failure` what an error becomes,
// undefined: a TypeError. When `signal` is aborted or after `timeout` milliseconds, if they are given, the request is taken
// back, and the promise rejects with the reason of the signal or with what `late` makes.
export const ask = (fields, Failure, signal = undefined, timeout = undefined, late = undefined) =>
  new NativePromise((accept, refuse) => {
    const id = ++lastId, request = create(null);
    request.id = id;
    request.accept = accept;
    request.refuse = refuse;
    request.text = '{"id":' + id + ',' + fields;
    mapSet(pending, id, request);
    // A record has no more than it needs: it is in the state, and most requests are a fetch without a signal.
    if (Failure !== undefined) request.Failure = Failure;
    if (signal !== undefined) {
      request.signal = signal;
      request.aborted = () => takeBack(request, abortReason(signal));
      onAbort(signal, request.aborted);
    }
    if (timeout !== undefined) request.timer = addTimer(() => takeBack(request, late()), timeout, create(null), -1, true);
  });

// No leading zeros, which JSON has not: the code may make up its stacks.
const POSITION = /task\.js:([1-9]\d{0,8}):(0|[1-9]\d{0,8})/;

// The members of a request that say where the code made it.
export const callPosition = () => {
  const stack = new NativeError().stack; // not a string where the code set Error.prepareStackTrace
  const found = typeof stack === 'string' ? exec(POSITION, stack) : null;
  return found === null ? '"line":null,"column":null' : '"line":' + found[1] + ',"column":' + found[2];
};

// --- Rejections that nobody handles (HTML standard, 8.1.6.4) -----------------------------------------

const rejections = new NativeMap(); // of this turn, promise to reason
const reported = new NativeMap();

// The engine tells of a promise that is rejected and has no handler, and of one that gets a handler later.
export const rejected = (promise, reason, handled) => {
  if (!handled) mapSet(rejections, promise, reason);
  else if (!mapDelete(rejections, promise)) mapSet(reported, promise, reason);
};

const tell = (map, report) => {
  mapForEach(map, (reason, promise) => {
    mapDelete(map, promise);
    report(promise, reason);
  });
};

// Not this one: its rejection is the outcome of the task.
export const forget = (promise) => { mapDelete(rejections, promise); };

export const report = () => {
  tell(rejections, reportRejection);
  tell(reported, reportHandled);
};

// --- What the host calls -------------------------------------------------------------------------------

// One turn, the job queue being empty. Returns '' if code has run, so that there may be jobs again; REPORT if `report` is to be
// called first; else what the program waits for: a JSON array of the pending requests, oldest first, and of the timers or null.
const REPORT = '!';

export const turn = () => {
  if (mapSize(rejections) > 0 || mapSize(reported) > 0) return REPORT;
  if (isDue()) {
    fire();
    return '';
  }
  let text = '';
  mapForEach(pending, (request) => { text += text === '' ? request.text : ',' + request.text; });
  const timers = describeTimers();
  return '[[' + text + '],' + (timers === '' ? 'null' : timers) + ']';
};

// Takes '[id, kind, payload]' and settles that request. Returns false if it is not pending, or if timers are due, which
// come before the answer: the host lets them run and asks again.
export const settle = (text) => {
  if (isDue()) return false;
  const answer = parse(text), id = answer[0], kind = answer[1], payload = answer[2];
  const request = mapGet(pending, id);
  if (request === undefined) return false;
  const value = kind === 'response' ? responseOf(payload) : payload;
  remove(request);
  if (kind === 'error') request.refuse(new (request.Failure ?? NativeTypeError)(payload));
  else request.accept(value);
  return true;
};

// Whether the request of that answer is pending.
export const isPending = (text) => mapGet(pending, parse(text)[0]) !== undefined;
