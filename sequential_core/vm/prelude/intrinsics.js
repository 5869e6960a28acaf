// What the host's own bookkeeping is made of.
//
// The posted code shares this realm and may change every prototype in it. So the bookkeeping (`pending`, `timers`,
// `outcome` and what they call) touches nothing that the code can reach: intrinsics are taken here, before any
// posted code runs, methods are called through `uncurry`, records have no prototype, lists are records with numbers
// for keys. It uses no template literals, which the engine joins with String.prototype.concat, no spreading, no
// destructuring of arrays, no `for of` and `instanceof` but for values of the code's own, and but for these gives only strings to
// JSON.stringify, which otherwise goes through setters of Array.prototype.

export const globalScope = globalThis;
export const { apply, construct } = Reflect;
export const uncurry = (method) => (self, ...args) => apply(method, self, args);
export const { create, defineProperty, getOwnPropertyDescriptor, getPrototypeOf, keys, setPrototypeOf } = Object;
export const { stringify, parse } = JSON;
export const NativePromise = Promise, NativeError = Error, NativeTypeError = TypeError, NativeRangeError = RangeError;
export const NativeMap = Map, NativeSet = Set, NativeDate = Date, NativeString = String, NativeNumber = Number;
export const NativeUint8Array = Uint8Array, NativeDOMException = DOMException;
export const iteratorSymbol = Symbol.iterator;
export const isView = ArrayBuffer.isView, { isArray } = Array;
export const mapGet = uncurry(Map.prototype.get), mapSet = uncurry(Map.prototype.set);
export const mapHas = uncurry(Map.prototype.has), mapDelete = uncurry(Map.prototype.delete);
export const mapForEach = uncurry(Map.prototype.forEach);
export const mapSize = uncurry(getOwnPropertyDescriptor(Map.prototype, 'size').get);
export const setAdd = uncurry(Set.prototype.add), setDelete = uncurry(Set.prototype.delete);
export const setForEach = uncurry(Set.prototype.forEach), setClear = uncurry(Set.prototype.clear);
export const exec = uncurry(RegExp.prototype.exec);
export const upper = uncurry(String.prototype.toUpperCase), lower = uncurry(String.prototype.toLowerCase);
export const slice = uncurry(String.prototype.slice);
export const indexOf = uncurry(String.prototype.indexOf), split = uncurry(String.prototype.split);
export const wellFormed = uncurry(String.prototype.toWellFormed);
export const reject = NativePromise.reject.bind(NativePromise);
export const now = Date.now;
export const byteLength = uncurry(getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength').get);
export const fromBase64 = Uint8Array.fromBase64.bind(Uint8Array);
export const toBase64 = uncurry(Uint8Array.prototype.toBase64);

export const isBuffer = (value) => {
  try { byteLength(value); return true; } catch { return false; }
};

// Web IDL's conversion to a string, which takes no symbol.
export const toText = (value) => {
  if (typeof value === 'symbol') throw new NativeTypeError('A symbol cannot be converted to a string');
  return NativeString(value);
};

export const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

export const cut = (text, length) => wellFormed(text.length > length ? slice(text, 0, length) + '...' : text);
export const quote = (text) => (text === null ? 'null' : stringify(text));

// What Web IDL says of a call with too few arguments.
export const need = (given, wanted, what) => {
  if (given < wanted) throw new NativeTypeError(what + (wanted === 1 ? ' needs an argument' : ' needs ' + wanted + ' arguments'));
};

// A class of a package whose constructor gets other arguments than the code gives.
export const reconstructed = (Class, name, wanted, prepare) => {
  const outer = {
    [name]: function (...args) {
      if (new.target === undefined) throw new NativeTypeError(name + ' needs new');
      need(args.length, wanted, name);
      return construct(Class, prepare(args), new.target);
    },
  }[name];
  defineProperty(outer, 'length', { value: wanted, configurable: true });
  defineProperty(outer, 'prototype', { value: Class.prototype, writable: false });
  defineProperty(Class.prototype, 'constructor', { value: outer, writable: true, enumerable: false, configurable: true });
  const Parent = getPrototypeOf(Class.prototype).constructor;
  if (Parent !== Object) Object.setPrototypeOf(outer, Parent);
  return outer;
};

// A global as those of the web platform are: it can be replaced, and does not show in a loop over the names.
export const expose = (name, value) => {
  // The bundler gives another name to what shares one with a global.
  if (typeof value === 'function' && value.name !== name) defineProperty(value, 'name', { value: name, configurable: true });
  defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
};

// A call site would hand out the functions below to an Error.prepareStackTrace of the code's. And raw JSON would
// write numbers that are none.
const { prepareStackTrace } = Error;
Error.prepareStackTrace = (_, sites) => sites;
const callSite = getPrototypeOf(new Error().stack[0]);
Error.prepareStackTrace = prepareStackTrace;
delete callSite.getFunction;
delete callSite.getThis;
delete JSON.rawJSON;
delete JSON.isRawJSON;
