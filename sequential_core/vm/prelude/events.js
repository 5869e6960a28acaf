// Events, AbortSignal, and what becomes of errors that nobody catches.
import {
  Event as PackageEvent, EventTarget, getEventAttributeValue, setErrorHandler, setEventAttributeValue, setWarningHandler,
} from 'event-target-shim';
import {
  NativeDOMException, NativeSet, NativeTypeError, apply, create, defineProperty, expose,
  getOwnPropertyDescriptor, isObject, need, reconstructed, setAdd, setClear, setDelete, setForEach, uncurry,
} from './intrinsics.js';
import { inspect, write } from './console.js';
import { host } from './host.js';
import { addTimer } from './timers.js';

// --- What the package leaves out of the DOM standard ------------------------------------------------

const Event = reconstructed(PackageEvent, 'Event', 1, (args) => args);
['NONE', 'CAPTURING_PHASE', 'AT_TARGET', 'BUBBLING_PHASE'].forEach((name, value) => {
  for (const owner of [Event, Event.prototype]) defineProperty(owner, name, { value, enumerable: true });
});
defineProperty(Event.prototype, Symbol.toStringTag, { value: 'Event', configurable: true });
defineProperty(EventTarget.prototype, Symbol.toStringTag, { value: 'EventTarget', configurable: true });

const packageDispatch = uncurry(EventTarget.prototype.dispatchEvent);
const isCanceled = uncurry(getOwnPropertyDescriptor(Event.prototype, 'defaultPrevented').get);
const getTarget = uncurry(getOwnPropertyDescriptor(Event.prototype, 'target').get);
const targets = new WeakMap(), targetOf = uncurry(WeakMap.prototype.get), setTarget = uncurry(WeakMap.prototype.set);

const redefine = (owner, name, descriptor) => defineProperty(owner, name, { ...descriptor, enumerable: true, configurable: true });

// An event keeps its target when it has gone round.
const keptTarget = { get target() { return getTarget(this) ?? targetOf(targets, this) ?? null; } };
for (const name of ['target', 'srcElement']) redefine(Event.prototype, name, getOwnPropertyDescriptor(keptTarget, 'target'));

export const dispatch = (self, event) => {
  getTarget(event); // throws a TypeError if it is none
  packageDispatch(self, event);
  setTarget(targets, event, self);
  return !isCanceled(event);
};

const { addEventListener, removeEventListener } = EventTarget.prototype;
const checked = {
  addEventListener(...args) {
    need(args.length, 2, 'addEventListener');
    apply(addEventListener, this, args);
  },
  removeEventListener(...args) {
    need(args.length, 2, 'removeEventListener');
    apply(removeEventListener, this, args);
  },
  dispatchEvent(event) {
    need(arguments.length, 1, 'dispatchEvent');
    return dispatch(this, event);
  },
};
for (const name of Object.keys(checked)) redefine(EventTarget.prototype, name, { value: checked[name], writable: true });

expose('Event', Event);
expose('EventTarget', EventTarget);

class ErrorEvent extends Event {
  #init;
  constructor(type, init = undefined) {
    super(...arguments);
    this.#init = { message: '', filename: '', lineno: 0, colno: 0, error: undefined, ...init };
  }
  get message() { return String(this.#init.message); }
  get filename() { return String(this.#init.filename); }
  get lineno() { return this.#init.lineno >>> 0; }
  get colno() { return this.#init.colno >>> 0; }
  get error() { return this.#init.error; }
  get [Symbol.toStringTag]() { return 'ErrorEvent'; }
}

class PromiseRejectionEvent extends Event {
  #promise; #reason;
  constructor(type, init) {
    super(type, init);
    if (!isObject(init) || !isObject(init.promise)) throw new NativeTypeError('PromiseRejectionEvent needs a promise');
    this.#promise = init.promise;
    this.#reason = init.reason;
  }
  get promise() { return this.#promise; }
  get reason() { return this.#reason; }
  get [Symbol.toStringTag]() { return 'PromiseRejectionEvent'; }
}

class CustomEvent extends Event {
  #detail;
  constructor(type, init = undefined) {
    super(...arguments);
    this.#detail = init?.detail ?? null;
  }
  get detail() { return this.#detail; }
  get [Symbol.toStringTag]() { return 'CustomEvent'; }
}

expose('ErrorEvent', ErrorEvent);
expose('PromiseRejectionEvent', PromiseRejectionEvent);
expose('CustomEvent', CustomEvent);

// --- The global scope as a target --------------------------------------------------------------

const scope = new EventTarget();
for (const name of ['addEventListener', 'removeEventListener', 'dispatchEvent']) {
  const method = EventTarget.prototype[name];
  expose(name, { [name](...args) { return apply(method, scope, args); } }[name]);
}

export const attribute = (target, owner, type) => {
  const name = 'on' + type;
  const accessors = Object.getOwnPropertyDescriptor({
    get [name]() { return getEventAttributeValue(owner(this), type); },
    set [name](value) { setEventAttributeValue(owner(this), type, value); },
  }, name);
  Object.defineProperty(target, name, { ...accessors, enumerable: true, configurable: true });
};

for (const type of ['error', 'unhandledrejection', 'rejectionhandled']) attribute(globalThis, () => scope, type);

// --- What nobody catches is an event, and unless that is prevented a line of the console ----------

const complain = (what, error) => {
  try {
    write('error', [what, error]);
  } catch { // the code has broken what the console is made of
    host('log', 'error', what + ' [object]');
  }
};

const offer = (make) => {
  try {
    const event = make();
    dispatch(scope, event);
    return isCanceled(event);
  } catch {
    return false;
  }
};

let reporting = false;

export const reportException = (error) => {
  // A listener that throws while an error is reported is not reported in turn.
  if (reporting) { complain('Uncaught', error); return; }
  reporting = true;
  let handled;
  try {
    handled = offer(() => {
      const message = isObject(error) && 'message' in error ? 'Uncaught ' + error : 'Uncaught ' + inspect(error, []);
      return new ErrorEvent('error', { error, message, cancelable: true });
    });
  } finally {
    reporting = false;
  }
  if (!handled) complain('Uncaught', error);
};

export const reportRejection = (promise, reason) => {
  const handled = offer(() => new PromiseRejectionEvent('unhandledrejection', { promise, reason, cancelable: true }));
  if (!handled) complain('Uncaught (in promise)', reason);
};

export const reportHandled = (promise, reason) => {
  offer(() => new PromiseRejectionEvent('rejectionhandled', { promise, reason }));
};

setErrorHandler(reportException);
setWarningHandler(() => {});

expose('reportError', function reportError(error) {
  if (arguments.length === 0) throw new NativeTypeError('reportError needs an error');
  reportException(error);
});

// --- AbortController and AbortSignal (DOM standard, 3.2) -------------------------------------------

const KEY = create(null); // what the constructor wants to see
const MOST_SAFE = 2 ** 53 - 1;
const noReason = () => new NativeDOMException('This operation was aborted', 'AbortError');

export let isSignal, isAborted, abortReason, onAbort, offAbort;
let abort;

class AbortSignal extends EventTarget {
  #aborted = false;
  #reason = undefined;
  #algorithms = new NativeSet();
  // Of a signal made by `any`: what it follows. A source keeps those that follow it only if somebody listens to them.
  #sources = undefined;
  #followers = undefined;
  #heeded = undefined;

  static {
    isSignal = (value) => isObject(value) && #aborted in value;
    isAborted = (signal) => signal.#aborted;
    abortReason = (signal) => signal.#reason;
    onAbort = (signal, algorithm) => { setAdd(signal.#algorithms, algorithm); signal.#heed(); };
    offAbort = (signal, algorithm) => { setDelete(signal.#algorithms, algorithm); };
    abort = (signal, reason) => {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason;
      const followers = create(null);
      let count = 0;
      if (signal.#followers !== undefined) {
        setForEach(signal.#followers, (reference) => {
          const follower = reference.deref();
          if (follower === undefined || follower.#aborted) return;
          follower.#aborted = true;
          follower.#reason = reason;
          followers[count++] = follower;
        });
        signal.#followers = signal.#heeded = undefined;
      }
      signal.#run();
      for (let i = 0; i < count; i++) {
        followers[i].#leave();
        followers[i].#run();
      }
    };
  }

  constructor(key) {
    if (key !== KEY) throw new NativeTypeError('Illegal constructor');
    super();
  }

  get aborted() { return this.#aborted; }
  get reason() { return this.#reason; }
  throwIfAborted() { if (this.#aborted) throw this.#reason; }

  addEventListener(...args) {
    super.addEventListener(...args);
    this.#heed();
  }

  static abort(reason = noReason()) {
    const signal = new AbortSignal(KEY);
    signal.#aborted = true;
    signal.#reason = reason;
    return signal;
  }

  static timeout(milliseconds) {
    const delay = Math.trunc(+milliseconds);
    if (!(delay >= 0 && delay <= MOST_SAFE)) throw new NativeTypeError('AbortSignal.timeout takes a number of milliseconds');
    const signal = new AbortSignal(KEY);
    const expire = () => abort(signal, new NativeDOMException('The operation timed out.', 'TimeoutError'));
    addTimer(expire, delay, [], -1, false);
    return signal;
  }

  static any(signals) {
    const given = [...signals];
    if (!given.every(isSignal)) throw new NativeTypeError('AbortSignal.any takes AbortSignals');
    const result = new AbortSignal(KEY), first = given.find((signal) => signal.#aborted);
    if (first !== undefined) {
      result.#aborted = true;
      result.#reason = first.#reason;
      return result;
    }
    result.#sources = new NativeSet();
    for (const signal of given) for (const source of signal.#sources ?? [signal]) result.#sources.add(source);
    for (const source of result.#sources) {
      source.#followers ??= new NativeSet();
      for (const reference of source.#followers)
        if (reference.deref() === undefined) source.#followers.delete(reference);
      source.#followers.add(new WeakRef(result));
    }
    return result;
  }

  #heed() {
    if (this.#aborted || this.#sources === undefined) return;
    setForEach(this.#sources, (source) => setAdd(source.#heeded ??= new NativeSet(), this));
  }

  #leave() {
    if (this.#sources === undefined) return;
    setForEach(this.#sources, (source) => { if (source.#heeded !== undefined) setDelete(source.#heeded, this); });
    this.#sources = undefined;
  }

  #run() {
    const algorithms = this.#algorithms;
    this.#algorithms = new NativeSet();
    setForEach(algorithms, (algorithm) => algorithm());
    setClear(algorithms);
    dispatch(this, new Event('abort'));
  }

  get [Symbol.toStringTag]() { return 'AbortSignal'; }
}
attribute(AbortSignal.prototype, (signal) => signal, 'abort');

class AbortController {
  #signal = new AbortSignal(KEY);
  get signal() { return this.#signal; }
  abort(reason = noReason()) { abort(this.#signal, reason); }
  get [Symbol.toStringTag]() { return 'AbortController'; }
}

// A signal of its own for a request that may or may not have been given one.
export const followingSignal = (signal) => (signal === undefined ? new AbortController().signal : AbortSignal.any([signal]));

expose('AbortSignal', AbortSignal);
expose('AbortController', AbortController);
