// Request and Response (Fetch standard, 5.4 and 5.5).
import {
  NativeMap, NativeRangeError, NativeTypeError, create, exec, expose, fromBase64, getOwnPropertyDescriptor, indexOf, isObject,
  mapGet, mapHas, mapSet, slice, stringify, toText, uncurry, upper, wellFormed,
} from './intrinsics.js';
import { cloneBody, extractBody, makeBody, mixBody, moveBody } from './body.js';
import { followingSignal, isSignal } from './events.js';
import { addHeader, copyHeaders, fillFromAnswer, fillHeaders, headersOf, isToken } from './headers.js';

const { URL } = globalThis;
const href = uncurry(getOwnPropertyDescriptor(URL.prototype, 'href').get);

// A URL of which is plain to see that parsing would leave it as it is. Most are, and parsing takes as long as all the rest.
const PLAIN = /^https?:\/\/(?:[a-z][a-z0-9-]*|[a-z0-9][a-z0-9.-]*\.[a-z]{2,}|(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3})(?::(?:[1-9]\d{3}|[1-5]\d{4}))?(?:\/(?!\.)[A-Za-z0-9\-._~!$&'()*+,;=:@|]*)+(?:\?[!$-&(-;=?-~]*)?$/;
const PUNYCODE = /xn--/;

const parsedUrl = (given) => {
  const text = toText(given);
  if (exec(PLAIN, text) !== null && exec(PUNYCODE, text) === null) return text;
  let url;
  try {
    url = new URL(text);
  } catch {
    throw new NativeTypeError('Invalid URL: ' + slice(wellFormed(text), 0, 200));
  }
  if (url.username !== '' || url.password !== '') throw new NativeTypeError('The URL of a request cannot have credentials');
  return href(url);
};

const FORBIDDEN_METHOD = /^(?:connect|trace|track)$/i;
const NORMALIZED_METHOD = /^(?:delete|get|head|options|post|put)$/i;

const methodOf = (given) => {
  const method = toText(given);
  if (!isToken(method)) throw new NativeTypeError('Invalid method: ' + slice(method, 0, 64));
  if (exec(FORBIDDEN_METHOD, method) !== null) throw new NativeTypeError('The method ' + method + ' is not allowed');
  // The standard normalises the methods that were always written in lower case, and no others.
  return exec(NORMALIZED_METHOD, method) === null ? method : upper(method);
};

const choice = (name, values) => (given) => {
  const value = toText(given);
  if (values[value] !== true) throw new NativeTypeError('Invalid ' + name + ': ' + slice(value, 0, 64));
  return value;
};

// Members that are looked up again, but change nothing here; of `redirect` whoever performs the request is told.
const MEMBERS = {
  __proto__: null,
  mode: ['cors', choice('mode', { __proto__: null, 'same-origin': true, 'no-cors': true, cors: true })],
  credentials: ['same-origin', choice('credentials', { __proto__: null, omit: true, 'same-origin': true, include: true })],
  cache: ['default', choice('cache', {
    __proto__: null, default: true, 'no-store': true, reload: true, 'no-cache': true, 'force-cache': true, 'only-if-cached': true,
  })],
  redirect: ['follow', choice('redirect', { __proto__: null, follow: true, error: true, manual: true })],
  referrer: ['about:client', toText],
  referrerPolicy: ['', choice('referrerPolicy', {
    __proto__: null, '': true, 'no-referrer': true, 'no-referrer-when-downgrade': true, 'same-origin': true, origin: true,
    'strict-origin': true, 'origin-when-cross-origin': true, 'strict-origin-when-cross-origin': true, 'unsafe-url': true,
  })],
  integrity: ['', toText],
  keepalive: [false, (value) => !!value],
};
const MEMBER_NAMES = Object.keys(MEMBERS);

const NO_INIT = create(null);

// The record of a request, from what the constructor of Request or `fetch` was given. Code of the posted program may
// run here: getters, iterators and conversions.
export const readRequest = (input, init = NO_INIT) => {
  if (init === null) init = NO_INIT;
  if (!isObject(init)) throw new NativeTypeError('The second argument must be an object');
  const record = create(null), other = isObject(input) ? requestRecord(input) : undefined;
  record.url = other === undefined ? parsedUrl(input) : other.url;
  record.method = other === undefined ? 'GET' : other.method;
  record.signal = other?.signal;
  record.members = other?.members;
  for (let i = 0; i < MEMBER_NAMES.length; i++) {
    const name = MEMBER_NAMES[i], given = init[name];
    if (given === undefined) continue;
    const value = MEMBERS[name][1](given);
    record.members = { __proto__: null, ...record.members };
    record.members[name] = value;
  }
  const { body: given = null, duplex, headers, method, signal, window = null } = init;
  if (window !== null) throw new NativeTypeError('window can only be null');
  if (duplex !== undefined && toText(duplex) !== 'half') throw new NativeTypeError('Invalid duplex: ' + slice(toText(duplex), 0, 64));
  if (method !== undefined) record.method = methodOf(method);
  if (signal !== undefined) {
    if (signal !== null && !isSignal(signal)) throw new NativeTypeError('signal must be an AbortSignal');
    record.signal = signal ?? undefined;
  }
  if (headers === undefined && other !== undefined) record.headers = copyHeaders(other.headers);
  else record.headers = fillHeaders(new NativeMap(), headers);
  const bodiless = record.method === 'GET' || record.method === 'HEAD';
  if (bodiless && (given !== null || (other !== undefined && other.body !== null)))
    throw new NativeTypeError('A ' + record.method + ' request cannot have a body');
  if (given !== null) {
    const extracted = extractBody(given);
    record.body = extracted.body;
    if (record.body.stream !== undefined && duplex === undefined) throw new NativeTypeError('A stream as a body needs duplex: "half"');
    if (extracted.type !== null && !mapHas(record.headers, 'content-type')) addHeader(record.headers, 'content-type', extracted.type);
  } else record.body = other === undefined ? null : moveBody(other.body);
  return record;
};

let requestRecord;

class Request {
  #record;

  static {
    requestRecord = (value) => (#record in value ? value.#record : undefined);
  }

  constructor(input, init = undefined) {
    if (arguments.length === 0) throw new NativeTypeError('Request needs a URL or a Request');
    this.#record = readRequest(input, init);
    this.#record.signal = followingSignal(this.#record.signal);
    this.#record.visible = headersOf(this.#record.headers, false);
  }

  get url() { return this.#record.url; }
  get method() { return this.#record.method; }
  get headers() { return this.#record.visible; }
  get signal() { return this.#record.signal; }
  get destination() { return ''; }
  get duplex() { return 'half'; }

  clone() {
    const body = cloneBody(this.#record.body), copy = new Request(this.#record.url);
    const record = { __proto__: null, ...this.#record, body, headers: copyHeaders(this.#record.headers) };
    record.signal = followingSignal(this.#record.signal);
    record.visible = headersOf(record.headers, false);
    copy.#record = record;
    return copy;
  }

  get [Symbol.toStringTag]() { return 'Request'; }
}
for (const name of MEMBER_NAMES) {
  const accessor = { get [name]() { return (requestRecord(this).members ?? NO_INIT)[name] ?? MEMBERS[name][0]; } };
  Object.defineProperty(Request.prototype, name, { ...getOwnPropertyDescriptor(accessor, name), enumerable: true });
}
mixBody(Request, (request) => {
  const record = requestRecord(request);
  return { body: record.body, type: mapGet(record.headers, 'content-type') ?? null };
});
expose('Request', Request);

// --- Response --------------------------------------------------------------------------------------

const REASON = /^[\t\x20-\x7e\x80-\xff]*$/;
const isNullBodyStatus = (status) => status === 204 || status === 205 || status === 304;
const isRedirectStatus = (status) => status === 301 || status === 302 || status === 303 || status === 307 || status === 308;

let responseRecord;
// The Response of an answer, which was checked; or of {status, statusText, headers, body, url}.
export let responseOf;

class Response {
  #record;

  static {
    responseRecord = (response) => response.#record;
    responseOf = (answer) => {
      const response = new Response(), record = response.#record;
      record.status = answer.status;
      record.statusText = answer.statusText;
      const hash = indexOf(answer.url, '#');
      record.url = hash < 0 ? answer.url : slice(answer.url, 0, hash);
      record.redirected = answer.redirected;
      record.type = 'basic';
      fillFromAnswer(record.headers, answer.headers);
      record.immutable = true;
      if (answer.body !== null && !isNullBodyStatus(record.status))
        record.body = makeBody(answer.bodyEncoding === 'base64' ? fromBase64(answer.body) : wellFormed(answer.body));
      return response;
    };
  }

  constructor(body = null, init = undefined) {
    const given = init ?? NO_INIT;
    if (!isObject(given)) throw new NativeTypeError('The second argument must be an object');
    const { headers, status = 200, statusText = '' } = given;
    const record = create(null);
    // Web IDL's unsigned short: what it makes of 65736 is 200.
    record.status = +status & 0xffff;
    if (record.status < 200 || record.status > 599) throw new NativeRangeError('Response status must be 200 to 599');
    record.statusText = toText(statusText);
    if (exec(REASON, record.statusText) === null) throw new NativeTypeError('Invalid statusText');
    record.headers = fillHeaders(new NativeMap(), headers);
    record.body = null;
    if (body !== null) {
      if (isNullBodyStatus(record.status)) throw new NativeTypeError('A response with status ' + record.status + ' cannot have a body');
      const extracted = extractBody(body);
      record.body = extracted.body;
      if (extracted.type !== null && !mapHas(record.headers, 'content-type')) addHeader(record.headers, 'content-type', extracted.type);
    }
    this.#record = record;
  }

  static error() {
    const response = new Response(), record = response.#record;
    record.status = 0;
    record.type = 'error';
    record.immutable = true;
    return response;
  }

  static redirect(url, status = 302) {
    let location;
    try { location = new URL(url); } catch { throw new NativeTypeError('Invalid URL'); }
    if (!isRedirectStatus(+status)) throw new NativeRangeError('The status of a redirect is 301, 302, 303, 307 or 308');
    const response = new Response(null, { __proto__: null, status });
    mapSet(response.#record.headers, 'location', href(location));
    response.#record.immutable = true;
    return response;
  }

  static json(data, init = undefined) {
    const text = stringify(data);
    if (text === undefined) throw new NativeTypeError('The value cannot be written as JSON');
    const response = new Response(null, init), record = response.#record;
    if (isNullBodyStatus(record.status)) throw new NativeTypeError('A response with status ' + record.status + ' cannot have a body');
    record.body = makeBody(text);
    if (!mapHas(record.headers, 'content-type')) mapSet(record.headers, 'content-type', 'application/json');
    return response;
  }

  get type() { return this.#record.type ?? 'default'; }
  get url() { return this.#record.url ?? ''; }
  get redirected() { return this.#record.redirected ?? false; }
  get status() { return this.#record.status; }
  get statusText() { return this.#record.statusText; }
  get ok() { return this.#record.status >= 200 && this.#record.status <= 299; }
  get headers() { return this.#record.visible ??= headersOf(this.#record.headers, this.#record.immutable === true); }

  clone() {
    const body = cloneBody(this.#record.body), copy = new Response();
    copy.#record = { __proto__: null, ...this.#record, body, headers: copyHeaders(this.#record.headers), visible: undefined };
    return copy;
  }

  get [Symbol.toStringTag]() { return 'Response'; }
}
mixBody(Response, (response) => {
  const record = responseRecord(response);
  return { body: record.body, type: mapGet(record.headers, 'content-type') ?? null };
});
expose('Response', Response);
