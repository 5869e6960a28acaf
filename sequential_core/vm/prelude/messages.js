// MessageChannel (HTML standard, 9.4). There is nobody else in a task to talk to: a channel connects two places of it, each message is a
// clone, and comes in a turn of its own. Ports cannot be transferred.
import { NativeTypeError, create, defineProperty, expose, isObject, iteratorSymbol, need } from './intrinsics.js';
import { attribute, dispatch } from './events.js';
import { addTask } from './timers.js';

const { Event, EventTarget, structuredClone } = globalThis;
const KEY = create(null);

class MessageEvent extends Event {
  #init;
  constructor(type, init = undefined) {
    super(...arguments);
    const { data = null, lastEventId = '', origin = '', ports = [], source = null } = init ?? create(null);
    this.#init = { data, lastEventId: `${lastEventId}`, origin: `${origin}`, ports: Object.freeze([...ports]), source };
  }
  get data() { return this.#init.data; }
  get lastEventId() { return this.#init.lastEventId; }
  get origin() { return this.#init.origin; }
  get ports() { return this.#init.ports; }
  get source() { return this.#init.source; }
  get [Symbol.toStringTag]() { return 'MessageEvent'; }
}

let connect;

class MessagePort extends EventTarget {
  #other;
  #started = false;
  #waiting = [];

  static {
    connect = (one, other) => {
      one.#other = other;
      other.#other = one;
    };
  }

  constructor(key) {
    if (key !== KEY) throw new NativeTypeError('Illegal constructor');
    super();
  }

  postMessage(message, options = undefined) {
    need(arguments.length, 1, 'postMessage');
    const transfer = isObject(options) && options[iteratorSymbol] != null ? [...options] : options?.transfer ?? [];
    const data = structuredClone(message, { transfer });
    if (this.#other === undefined) return;
    this.#other.#waiting.push(data);
    this.#other.#ask();
  }

  start() {
    if (this.#started) return;
    this.#started = true;
    this.#waiting.forEach(() => this.#ask());
  }

  close() {
    const other = this.#other;
    if (other === undefined) return;
    this.#other = other.#other = undefined;
    this.#waiting = [];
    addTask(() => dispatch(other, new Event('close')));
  }

  // One turn for each message.
  #ask() {
    if (!this.#started) return;
    addTask(() => {
      if (this.#waiting.length > 0) dispatch(this, new MessageEvent('message', { data: this.#waiting.shift() }));
    });
  }

  get [Symbol.toStringTag]() { return 'MessagePort'; }
}
for (const type of ['message', 'messageerror', 'close']) attribute(MessagePort.prototype, (port) => port, type);
const onmessage = Object.getOwnPropertyDescriptor(MessagePort.prototype, 'onmessage');
defineProperty(MessagePort.prototype, 'onmessage', {
  ...onmessage,
  set(listener) {
    onmessage.set.call(this, listener);
    this.start();
  },
});

class MessageChannel {
  #port1 = new MessagePort(KEY);
  #port2 = new MessagePort(KEY);
  constructor() { connect(this.#port1, this.#port2); }
  get port1() { return this.#port1; }
  get port2() { return this.#port2; }
  get [Symbol.toStringTag]() { return 'MessageChannel'; }
}

expose('MessageChannel', MessageChannel);
expose('MessageEvent', MessageEvent);
expose('MessagePort', MessagePort);
