// The pending requests and the turns of the event loop: what the host asks between two runs of the job queue.
import { NativeMap, NativeTypeError, create, mapDelete, mapForEach, mapGet, mapSet, mapSize, parse } from './intrinsics.js';
import { reportHandled, reportRejection } from './events.js';
import { responseOf } from './request.js';
import { describeTimers, fire, isDue } from './timers.js';

const pending = new NativeMap();
let lastId = 0;

// Adds a request; `fields` is its JSON from behind the id on. Returns the id.
export const addRequest = (fields, accept, refuse) => {
  lastId += 1;
  const request = create(null);
  request.accept = accept;
  request.refuse = refuse;
  request.text = '{"id":' + lastId + ',' + fields;
  mapSet(pending, lastId, request);
  return lastId;
};

export const removeRequest = (id) => { mapDelete(pending, id); };

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
  mapDelete(pending, id);
  if (kind === 'error') request.refuse(new NativeTypeError(payload));
  else request.accept(value);
  return true;
};

// Whether the request of that answer is pending.
export const isPending = (text) => mapGet(pending, parse(text)[0]) !== undefined;
