// CryptoKey, and what the algorithms keep of a key.
import { NativeTypeError, create, defineProperty, expose, isObject, setPrototypeOf } from './intrinsics.js';

// In the order in which `usages` has them.
export const USAGES = ['encrypt', 'decrypt', 'sign', 'verify', 'deriveKey', 'deriveBits', 'wrapKey', 'unwrapKey'];

export const append = (list, value) => {
  defineProperty(list, list.length, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
};

export const listUsages = (uses) => {
  const list = [];
  for (let i = 0; i < USAGES.length; i++) if (uses[USAGES[i]] === true) append(list, USAGES[i]);
  return list;
};

// A record becomes an object as the code makes them; while it had no prototype, setters of the code's saw nothing.
export const disclose = (record) => setPrototypeOf(record, Object.prototype);

// makeKey({type, name, material, ...}) makes a key of a record that nobody else has; keyRecord gives it, or undefined of
// anything else. The record: type, extractable, uses {usage: true}, name of the algorithm, and as far as there are
// hash, length in bits, curve; `material`, an ArrayBuffer: the secret itself, or the DER of a SubjectPublicKeyInfo or of a
// PrivateKeyInfo; `algorithm`, which the code sees and may change.
export let makeKey, keyRecord;

const KEY = create(null); // what the constructor wants to see

class CryptoKey {
  #record;
  #usages;

  static {
    makeKey = (record) => {
      const key = new CryptoKey(KEY), { algorithm } = record;
      key.#record = record;
      if (algorithm.hash !== undefined) disclose(algorithm.hash);
      disclose(algorithm);
      return key;
    };
    keyRecord = (value) => (isObject(value) && #record in value ? value.#record : undefined);
  }

  constructor(key) { if (key !== KEY) throw new NativeTypeError('Illegal constructor'); }

  get type() { return this.#record.type; }
  get extractable() { return this.#record.extractable; }
  get algorithm() { return this.#record.algorithm; }
  get usages() { return this.#usages ??= listUsages(this.#record.uses); }
  get [Symbol.toStringTag]() { return 'CryptoKey'; }
}
expose('CryptoKey', CryptoKey);
