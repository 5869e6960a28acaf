// What the posted code finds beyond the language: fetch, Headers, Response and console.
// It is evaluated once, while the guest is baked, and gives the functions that the host calls.
//
// The posted code shares this realm and may change every prototype in it. So the host's own
// bookkeeping touches nothing that the code can reach: intrinsics are taken here, before any posted
// code runs, methods are called through `uncurry`, and records have no prototype. Outside the console
// there are no template literals, which the engine joins with String.prototype.concat, no `for of` and
// `instanceof` but for values of the code's own, and only strings are given to JSON.stringify, which
// otherwise goes through setters of Array.prototype.
(hostLog) => {
  'use strict';
  const { apply } = Reflect;
  const uncurry = (method) => (self, ...args) => apply(method, self, args);
  const { create, defineProperty, getOwnPropertyDescriptor, keys } = Object;
  const { stringify, parse } = JSON;
  const NativePromise = Promise, NativeError = Error, NativeTypeError = TypeError, NativeRangeError = RangeError;
  const NativeMap = Map, NativeSet = Set, NativeDate = Date, NativeString = String;
  const iteratorSymbol = Symbol.iterator;
  const isView = ArrayBuffer.isView, { isArray } = Array;
  const mapGet = uncurry(Map.prototype.get), mapSet = uncurry(Map.prototype.set);
  const mapHas = uncurry(Map.prototype.has), mapDelete = uncurry(Map.prototype.delete);
  const mapForEach = uncurry(Map.prototype.forEach);
  const exec = uncurry(RegExp.prototype.exec);
  const upper = uncurry(String.prototype.toUpperCase), lower = uncurry(String.prototype.toLowerCase);
  const trim = uncurry(String.prototype.trim), slice = uncurry(String.prototype.slice);
  const wellFormed = uncurry(String.prototype.toWellFormed);
  const reject = NativePromise.reject.bind(NativePromise);
  const byteLength = uncurry(getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength').get);

  const cut = (text, length) => wellFormed(text.length > length ? slice(text, 0, length) + '...' : text);
  const quote = (text) => (text === null ? 'null' : stringify(text));

  // A call site would hand out the functions below to an Error.prepareStackTrace of the code's. And raw JSON would
  // write numbers that are none.
  const { prepareStackTrace } = Error;
  Error.prepareStackTrace = (_, sites) => sites;
  const callSite = Object.getPrototypeOf(new Error().stack[0]);
  Error.prepareStackTrace = prepareStackTrace;
  delete callSite.getFunction;
  delete callSite.getThis;
  delete JSON.rawJSON;
  delete JSON.isRawJSON;

  const isBuffer = (value) => {
    try { byteLength(value); return true; } catch { return false; }
  };
  const expose = (name, value) =>
    defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

  // --- Headers: names in lower case, the values of one name joined by ', ' (Fetch standard, 2.2.2)

  const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
  const BAD_VALUE = /[\0\r\n]|[^\0-\xff]/;
  let headersMap;

  const headerName = (name) => {
    const text = NativeString(name);
    if (exec(TOKEN, text) === null) throw new NativeTypeError('Invalid header name: ' + slice(text, 0, 64));
    return lower(text);
  };
  const headerValue = (value) => {
    const text = trim(NativeString(value));
    if (exec(BAD_VALUE, text) !== null) throw new NativeTypeError('Invalid header value');
    return text;
  };
  const addHeader = (map, name, value) => {
    const key = headerName(name), text = headerValue(value);
    mapSet(map, key, mapHas(map, key) ? mapGet(map, key) + ', ' + text : text);
  };
  const fillHeaders = (map, init) => {
    if (init === undefined) return map;
    if (init === null || typeof init !== 'object') throw new NativeTypeError('Headers must be an object');
    const other = headersMap(init);
    if (other !== undefined) mapForEach(other, (value, name) => mapSet(map, name, value));
    else if (init[iteratorSymbol] != null) {
      for (const pair of init) {
        if (pair.length !== 2) throw new NativeTypeError('A header is a pair of name and value');
        addHeader(map, pair[0], pair[1]);
      }
    }
    else {
      const names = keys(init);
      for (let i = 0; i < names.length; i++) addHeader(map, names[i], init[names[i]]);
    }
    return map;
  };

  class Headers {
    #map = new NativeMap();
    static { headersMap = (value) => (#map in value ? value.#map : undefined); }
    constructor(init = undefined) { fillHeaders(this.#map, init); }
    get(name) { return mapGet(this.#map, headerName(name)) ?? null; }
    has(name) { return mapHas(this.#map, headerName(name)); }
    set(name, value) { mapSet(this.#map, headerName(name), headerValue(value)); }
    append(name, value) { addHeader(this.#map, name, value); }
    delete(name) { mapDelete(this.#map, headerName(name)); }
    forEach(callback, self = undefined) {
      for (const [name, value] of this) apply(callback, self, [value, name, this]);
    }
    *entries() { for (const name of [...this.#map.keys()].sort()) yield [name, mapGet(this.#map, name)]; }
    *keys() { for (const [name] of this.entries()) yield name; }
    *values() { for (const [, value] of this.entries()) yield value; }
    [iteratorSymbol]() { return this.entries(); }
    get [Symbol.toStringTag]() { return 'Headers'; }
  }
  expose('Headers', Headers);

  // --- Response: its body is text, or null -----------------------------------------------------

  let makeResponse;
  class Response {
    #body; #status; #statusText; #headers; #url = ''; #redirected = false; #used = false;
    static {
      makeResponse = (answer) => {
        const response = new Response(answer.body, answer);
        response.#url = answer.url;
        response.#redirected = answer.redirected;
        return response;
      };
    }
    constructor(body = null, init = undefined) {
      const { status: given = 200, statusText = '', headers } = init ?? { __proto__: null };
      const status = +given;
      if (!(status >= 200 && status <= 599)) throw new NativeRangeError('Response status must be 200 to 599');
      this.#body = body === null ? null : NativeString(body);
      this.#status = status;
      this.#statusText = NativeString(statusText);
      this.#headers = new Headers(headers);
    }
    get status() { return this.#status; }
    get statusText() { return this.#statusText; }
    get ok() { return this.#status >= 200 && this.#status <= 299; }
    get headers() { return this.#headers; }
    get url() { return this.#url; }
    get redirected() { return this.#redirected; }
    get type() { return 'default'; }
    get bodyUsed() { return this.#used; }
    #take() {
      if (this.#used) throw new NativeTypeError('Body has already been read');
      this.#used = this.#body !== null;
      return this.#body ?? '';
    }
    async text() { return this.#take(); }
    async json() { return parse(this.#take()); }
    clone() {
      if (this.#used) throw new NativeTypeError('Body has already been read');
      const copy = new Response(this.#body, this);
      copy.#url = this.#url;
      copy.#redirected = this.#redirected;
      return copy;
    }
    get [Symbol.toStringTag]() { return 'Response'; }
  }
  expose('Response', Response);

  // --- fetch: a pending request, and the promise that its answer settles -----------------------

  const pending = new NativeMap();
  let lastId = 0, finishing = false;

  const POSITION = /task\.js:(\d{1,9}):(\d{1,9})/;
  const callPosition = () => {
    const stack = new NativeError().stack; // not a string where the code set Error.prepareStackTrace
    const found = typeof stack === 'string' ? exec(POSITION, stack) : null;
    return found === null ? '"line":null,"column":null' : '"line":' + found[1] + ',"column":' + found[2];
  };

  // The fields of a request as JSON, but for its id: code of the posted program may run here, and call fetch.
  const requestFields = (input, init) => {
    const record = create(null);
    if (typeof input === 'symbol') throw new NativeTypeError('A symbol is no URL');
    record.url = wellFormed(NativeString(input));
    const method = NativeString(init.method ?? 'GET');
    if (exec(TOKEN, method) === null) throw new NativeTypeError('Invalid method: ' + slice(method, 0, 64));
    // The standard normalises the methods that were always written in lower case, and no others.
    record.method = exec(/^(?:delete|get|head|options|post|put)$/i, method) === null ? method : upper(method);
    const headers = fillHeaders(new NativeMap(), init.headers);
    const body = init.body ?? null;
    record.body = null;
    if (body !== null) {
      if (record.method === 'GET' || record.method === 'HEAD')
        throw new NativeTypeError('A ' + record.method + ' request cannot have a body');
      if (isView(body) || isBuffer(body))
        throw new NativeTypeError('A request body of bytes is not supported; use a string');
      record.body = wellFormed(NativeString(body));
      if (!mapHas(headers, 'content-type')) mapSet(headers, 'content-type', 'text/plain;charset=UTF-8');
    }
    let fields = '';
    mapForEach(headers, (value, name) => { fields += (fields === '' ? '' : ',') + quote(name) + ':' + quote(value); });
    return '"url":' + quote(record.url) + ',"method":' + quote(record.method) + ',"headers":{' + fields + '},"body":' +
      quote(record.body) + ',' + callPosition() + '}';
  };

  expose('fetch', function fetch(input, init = undefined) {
    try {
      if (arguments.length === 0) throw new NativeTypeError('fetch needs an URL');
      if (finishing) throw new NativeTypeError('fetch cannot be called while the outcome is being written');
      const fields = requestFields(input, init ?? { __proto__: null });
      return new NativePromise((accept, refuse) => {
        lastId += 1;
        const text = '{"id":' + lastId + ',' + fields;
        mapSet(pending, lastId, { __proto__: null, accept, refuse, text });
      });
    } catch (error) {
      return reject(error);
    }
  });

  // --- console: the host gets a level and a line of text ---------------------------------------

  const inspectKeys = (value, seen) =>
    keys(value).map((key) => `${exec(/^[A-Za-z_$][\w$]*$/, key) ? key : stringify(key)}: ${inspect(value[key], seen)}`);

  const inspectObject = (value, seen) => {
    if (value instanceof NativeError) return value.stack ? `${value}\n${trim(value.stack)}` : `${value}`;
    if (value instanceof NativeDate) return value.getTime() === value.getTime() ? value.toISOString() : 'Invalid Date';
    if (value instanceof RegExp) return `${value}`;
    if (seen.includes(value)) return '[Circular]';
    const name = value.constructor?.name ?? '';
    if (seen.length > 3) return isArray(value) ? '[Array]' : `[${name || 'Object'}]`;
    const inner = [...seen, value];
    if (isArray(value)) return `[${value.map((item) => inspect(item, inner)).join(', ')}]`;
    if (isView(value) && !(value instanceof DataView)) return `${name}(${value.length}) [${[...value].join(', ')}]`;
    if (value instanceof NativeMap)
      return `Map(${value.size}) {${[...value].map(([k, v]) => `${inspect(k, inner)} => ${inspect(v, inner)}`).join(', ')}}`;
    if (value instanceof NativeSet) return `Set(${value.size}) {${[...value].map((v) => inspect(v, inner)).join(', ')}}`;
    const prefix = name && name !== 'Object' ? `${name} ` : '';
    return `${prefix}{${inspectKeys(value, inner).join(', ')}}`;
  };

  const inspect = (value, seen) => {
    if (typeof value === 'string') return seen.length ? stringify(value) : value;
    if (typeof value === 'bigint') return `${value}n`;
    if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
    if (value === null || typeof value !== 'object') return NativeString(value);
    try { return inspectObject(value, seen); } catch { return '[object]'; }
  };

  const write = (level, values) => {
    hostLog(level, wellFormed(values.map((value) => inspect(value, [])).join(' ')));
  };
  const console = {};
  for (const level of ['debug', 'error', 'info', 'log', 'warn']) {
    console[level] = { [level](...values) { write(level, values); } }[level];
  }
  console.dir = function dir(value) { write('log', [value]); };
  console.trace = function trace(...values) { write('debug', ['Trace:', ...values, `\n${new NativeError().stack}`]); };
  console.assert = function assert(condition, ...values) {
    if (!condition) write('error', ['Assertion failed', ...values]);
  };
  expose('console', console);

  // The engine's `performance` counts from the moment of the bake.
  delete globalThis.performance;

  // --- What the host calls ---------------------------------------------------------------------

  return {
    __proto__: null,

    // The pending requests, oldest first, as a JSON array.
    requests() {
      let text = '';
      mapForEach(pending, (request) => { text += text === '' ? request.text : ',' + request.text; });
      return '[' + text + ']';
    },

    // Takes '[id, kind, payload]' and settles that request; says whether it was pending.
    settle(text) {
      const answer = parse(text), id = answer[0], kind = answer[1], payload = answer[2];
      const request = mapGet(pending, id);
      if (request === undefined) return false;
      const value = kind === 'response' ? makeResponse(payload) : payload;
      mapDelete(pending, id);
      if (kind === 'error') request.refuse(new NativeTypeError(payload));
      else request.accept(value);
      return true;
    },

    // The result of the task as JSON; undefined, which JSON has not, is null.
    result(value) {
      finishing = true;
      const text = stringify(value);
      return text === undefined ? 'null' : text;
    },

    // An uncaught error as a JSON object. Getters and traps of the code may run here, and may throw.
    describe(error) {
      finishing = true;
      const record = create(null);
      const isObject = (typeof error === 'object' && error !== null) || typeof error === 'function';
      const read = (key, length) => {
        try { return isObject ? cut(NativeString(error[key] ?? ''), length) : ''; } catch { return ''; }
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
    },
  };
}
