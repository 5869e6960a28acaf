// Headers: names in lower case, the values of one name joined by ', ' but for Set-Cookie (Fetch standard, 2.2.2 and 5.1).
import {
  NativeMap, NativeTypeError, apply, defineProperty, exec, expose, getPrototypeOf, indexOf, isArray, isObject, iteratorSymbol, keys,
  lower, mapDelete, mapForEach, mapGet, mapHas, mapSet, need, slice, split, toText,
} from './intrinsics.js';

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const BAD_VALUE = /[\0\r\n]|[^\0-\xff]/;

// Cookies are kept apart by a character that no value has.
const BETWEEN_COOKIES = '\0';

export const isToken = (text) => exec(TOKEN, text) !== null;

const headerName = (name) => {
  const text = toText(name);
  if (!isToken(text)) throw new NativeTypeError('Invalid header name: ' + slice(text, 0, 64));
  return lower(text);
};

const headerValue = (value) => {
  let text = toText(value), start = 0, end = text.length;
  const isSpace = (at) => indexOf('\t\n\r ', text[at]) >= 0;
  while (start < end && isSpace(start)) start++;
  while (end > start && isSpace(end - 1)) end--;
  if (end - start < text.length) text = slice(text, start, end);
  if (exec(BAD_VALUE, text) !== null) throw new NativeTypeError('Invalid header value');
  return text;
};

export const addHeader = (map, name, value) => {
  const key = headerName(name), text = headerValue(value);
  const between = key === 'set-cookie' ? BETWEEN_COOKIES : ', ';
  mapSet(map, key, mapHas(map, key) ? mapGet(map, key) + between + text : text);
};

const shown = (value) => {
  let text = '', at;
  while ((at = indexOf(value, BETWEEN_COOKIES)) >= 0) {
    text += slice(value, 0, at) + ', ';
    value = slice(value, at + 1);
  }
  return text + value;
};

// Fills a map of headers from whatever the constructor of Headers takes.
export const fillHeaders = (map, init) => {
  if (init === undefined) return map;
  if (!isObject(init)) throw new NativeTypeError('Headers must be an object');
  const other = headersMap(init);
  if (other !== undefined) mapForEach(other, (value, name) => mapSet(map, name, value));
  else if (init[iteratorSymbol] != null) {
    for (const given of init) {
      if (!isObject(given)) throw new NativeTypeError('A header is a pair of name and value');
      const pair = [...given];
      if (pair.length !== 2) throw new NativeTypeError('A header is a pair of name and value');
      addHeader(map, pair[0], pair[1]);
    }
  } else {
    const names = keys(init);
    for (let i = 0; i < names.length; i++) addHeader(map, names[i], init[names[i]]);
  }
  return map;
};

// Copied by what the code cannot change, so that it never gets hold of the map itself.
export const copyHeaders = (map) => {
  const copy = new NativeMap();
  mapForEach(map, (value, name) => { mapSet(copy, name, value); });
  return copy;
};

// Of an answer, which was checked: a value may be a list.
export const fillFromAnswer = (map, headers) => {
  const names = keys(headers);
  for (let i = 0; i < names.length; i++) {
    const value = headers[names[i]];
    if (isArray(value)) for (let j = 0; j < value.length; j++) addHeader(map, names[i], value[j]);
    else addHeader(map, names[i], value);
  }
  return map;
};

export let headersMap, headersOf;

// What is added while somebody walks over them is met too, at its place (Web IDL, 3.7.10).
class HeadersIterator {
  #headers; #pick;
  #at = 0;
  constructor(headers, pick) {
    this.#headers = headersMap(headers);
    this.#pick = pick;
  }
  next() {
    const pairs = [], map = this.#headers;
    const names = [];
    mapForEach(map, (_, name) => { names[names.length] = name; });
    for (const name of names.sort()) {
      if (name === 'set-cookie') for (const cookie of split(mapGet(map, name), BETWEEN_COOKIES)) pairs.push([name, cookie]);
      else pairs.push([name, mapGet(map, name)]);
    }
    if (this.#at >= pairs.length) return { value: undefined, done: true };
    return { value: this.#pick(pairs[this.#at++]), done: false };
  }
}
const IteratorPrototype = getPrototypeOf(getPrototypeOf([][iteratorSymbol]()));
Object.setPrototypeOf(HeadersIterator.prototype, IteratorPrototype);
delete HeadersIterator.prototype.constructor;
defineProperty(HeadersIterator.prototype, Symbol.toStringTag, { value: 'Headers Iterator', configurable: true });

class Headers {
  #map = new NativeMap();
  #immutable = false;

  static {
    headersMap = (value) => (#map in value ? value.#map : undefined);
    // The Headers of a Request or a Response, over a map that is theirs.
    headersOf = (map, immutable) => {
      const headers = new Headers();
      headers.#map = map;
      headers.#immutable = immutable;
      return headers;
    };
  }

  constructor(init = undefined) { fillHeaders(this.#map, init); }

  #writable() {
    if (this.#immutable) throw new NativeTypeError('These headers cannot be changed');
    return this.#map;
  }

  get(name) {
    need(arguments.length, 1, 'get');
    const value = mapGet(this.#map, headerName(name));
    return value === undefined ? null : shown(value);
  }
  has(name) {
    need(arguments.length, 1, 'has');
    return mapHas(this.#map, headerName(name));
  }
  set(name, value) {
    need(arguments.length, 2, 'set');
    const key = headerName(name), text = headerValue(value);
    mapSet(this.#writable(), key, text);
  }
  append(name, value) {
    need(arguments.length, 2, 'append');
    const key = headerName(name), text = headerValue(value);
    addHeader(this.#writable(), key, text);
  }
  delete(name) {
    need(arguments.length, 1, 'delete');
    const key = headerName(name);
    mapDelete(this.#writable(), key);
  }
  getSetCookie() {
    const value = mapGet(this.#map, 'set-cookie');
    return value === undefined ? [] : split(value, BETWEEN_COOKIES);
  }
  forEach(callback, self = undefined) {
    if (typeof callback !== 'function') throw new NativeTypeError('forEach takes a function');
    for (const [name, value] of this) apply(callback, self, [value, name, this]);
  }
  entries() { return new HeadersIterator(this, (pair) => pair); }
  keys() { return new HeadersIterator(this, (pair) => pair[0]); }
  values() { return new HeadersIterator(this, (pair) => pair[1]); }
  get [Symbol.toStringTag]() { return 'Headers'; }
}
defineProperty(Headers.prototype, iteratorSymbol, {
  value: Headers.prototype.entries, writable: true, enumerable: false, configurable: true,
});
expose('Headers', Headers);

// The headers of a pending request as the fields of a JSON object.
export const headersText = (map, quote) => {
  let text = '';
  mapForEach(map, (value, name) => { text += (text === '' ? '' : ',') + quote(toText(name)) + ':' + quote(shown(value)); });
  return text;
};
