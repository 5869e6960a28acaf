// crypto and crypto.subtle (Web Cryptography API Level 2, 10 and 14).
//
// Everything is done at the call, and the promise is settled then: the algorithms run on the host, which keeps nothing. What a
// key is made of never goes where the code could see it: see bytes.js, and parseJwk.
import {
  NativePromise, NativeTypeError, create, exec, expose, isBuffer, isObject, isView, iteratorSymbol, parse, reject,
} from './intrinsics.js';
import { isUseless, long, normalize, parseJwk, readJwk, refuse, text } from './algorithms.js';
import { copyBytes, overwrite, typedArrayName, viewLength } from './bytes.js';
import { USAGES, disclose, keyRecord, makeKey } from './cryptokeys.js';
import { host } from './host.js';

const KEY = create(null); // what the constructors want to see

const illegal = (key) => { if (key !== KEY) throw new NativeTypeError('Illegal constructor'); };

const attempt = (count, needed, step) => {
  try {
    if (count < needed) throw new NativeTypeError(needed + ' arguments are needed, and ' + count + ' are there');
    const value = step();
    return new NativePromise((accept) => { accept(value); });
  } catch (error) {
    return reject(error);
  }
};

const keyOf = (value) => {
  const record = keyRecord(value);
  if (record === undefined) throw new NativeTypeError('The key must be a CryptoKey');
  return record;
};

const isUsage = create(null), isFormat = create(null);
for (let i = 0; i < USAGES.length; i++) isUsage[USAGES[i]] = true;
isFormat.raw = isFormat.spki = isFormat.pkcs8 = isFormat.jwk = true;

const formatOf = (value) => {
  const format = text(value);
  if (isFormat[format] !== true) throw new NativeTypeError('The format of a key is raw, spki, pkcs8 or jwk');
  return format;
};

const usesOf = (value) => {
  if (!isObject(value) || typeof value[iteratorSymbol] !== 'function') throw new NativeTypeError('The usages must be a list');
  const uses = create(null);
  for (const each of value) {
    const usage = text(each);
    if (isUsage[usage] !== true) throw new NativeTypeError('There is no such usage of a key');
    uses[usage] = true;
  }
  return uses;
};

// The record of a key that may be used so.
const usable = (key, algorithm, usage) => {
  if (key.name !== algorithm.name) refuse('InvalidAccessError', 'The key is for ' + key.name);
  if (key.uses[usage] !== true) refuse('InvalidAccessError', 'The key may not be used for ' + usage);
  return key;
};

const exported = (format, key) => {
  if (key.definition.exports === undefined) refuse('NotSupportedError', 'A key for ' + key.name + ' cannot be exported');
  if (!key.extractable) refuse('InvalidAccessError', 'The key is not extractable');
  return key.definition.exports(format, key);
};

const imported = (algorithm, format, data, extractable, uses) => {
  const record = algorithm.run(algorithm, format, data, extractable, uses);
  if (record.type !== 'public' && isUseless(uses)) refuse('SyntaxError', 'The key has no usages');
  return makeKey(record);
};

// AES-KW takes multiples of 8 bytes, and JSON may end in spaces (14.3.11).
const padded = (json, name) => {
  while (name === 'AES-KW' && json.length % 8 !== 0) json += ' ';
  return json;
};

let isSubtle, isCrypto;

class SubtleCrypto {
  #brand;

  static { isSubtle = (value) => { if (!isObject(value) || !(#brand in value)) throw new NativeTypeError('Illegal invocation'); }; }

  constructor(key) { illegal(key); }

  encrypt(algorithm, key, data) { return cipher(this, arguments.length, 'encrypt', algorithm, key, data); }
  decrypt(algorithm, key, data) { return cipher(this, arguments.length, 'decrypt', algorithm, key, data); }
  sign(algorithm, key, data) { return cipher(this, arguments.length, 'sign', algorithm, key, data); }

  verify(algorithm, key, signature, data) {
    return attempt(arguments.length, 4, () => {
      isSubtle(this);
      const record = keyOf(key), given = copyBytes(signature), bytes = copyBytes(data), asked = normalize('verify', algorithm);
      return asked.run(asked, usable(record, asked, 'verify'), given, bytes);
    });
  }

  digest(algorithm, data) {
    return attempt(arguments.length, 2, () => {
      isSubtle(this);
      const bytes = copyBytes(data), asked = normalize('digest', algorithm);
      return asked.run(asked, bytes);
    });
  }

  generateKey(algorithm, extractable, keyUsages) {
    return attempt(arguments.length, 3, () => {
      isSubtle(this);
      const uses = usesOf(keyUsages), asked = normalize('generateKey', algorithm);
      const made = asked.run(asked, !!extractable, uses);
      return keyRecord(made) === undefined ? disclose(made) : made;
    });
  }

  deriveKey(algorithm, baseKey, derivedKeyType, extractable, keyUsages) {
    return attempt(arguments.length, 5, () => {
      isSubtle(this);
      const record = keyOf(baseKey), uses = usesOf(keyUsages), asked = normalize('deriveBits', algorithm);
      const type = normalize('importKey', derivedKeyType), measure = normalize('getKeyLength', derivedKeyType);
      usable(record, asked, 'deriveKey');
      const secret = asked.run(asked, record, measure.run(measure));
      return imported(type, 'raw', secret, !!extractable, uses);
    });
  }

  deriveBits(algorithm, baseKey, length = null) {
    return attempt(arguments.length, 2, () => {
      isSubtle(this);
      const record = keyOf(baseKey), bits = length === null ? null : long(length, 'length'), asked = normalize('deriveBits', algorithm);
      return asked.run(asked, usable(record, asked, 'deriveBits'), bits);
    });
  }

  importKey(format, keyData, algorithm, extractable, keyUsages) {
    return attempt(arguments.length, 5, () => {
      isSubtle(this);
      const kind = formatOf(format);
      if (!isObject(keyData)) throw new NativeTypeError('The key must be bytes, or a JSON Web Key');
      const isBytes = isView(keyData) || isBuffer(keyData);
      if (isBytes === (kind === 'jwk')) throw new NativeTypeError('A JSON Web Key is an object, and a key of another format is bytes');
      const data = isBytes ? copyBytes(keyData) : readJwk(keyData), uses = usesOf(keyUsages);
      return imported(normalize('importKey', algorithm), kind, data, !!extractable, uses);
    });
  }

  exportKey(format, key) {
    return attempt(arguments.length, 2, () => {
      isSubtle(this);
      const kind = formatOf(format), made = exported(kind, keyOf(key));
      return kind === 'jwk' ? parse(made) : made;
    });
  }

  wrapKey(format, key, wrappingKey, wrapAlgorithm) {
    return attempt(arguments.length, 4, () => {
      isSubtle(this);
      const kind = formatOf(format), record = keyOf(key), wrapper = keyOf(wrappingKey);
      const asked = normalize('wrapKey', wrapAlgorithm, 'encrypt');
      usable(wrapper, asked, 'wrapKey');
      const made = exported(kind, record);
      return asked.run(asked, wrapper, kind === 'jwk' ? host('crypto.encode', padded(made, asked.name)) : made);
    });
  }

  unwrapKey(format, wrappedKey, unwrappingKey, unwrapAlgorithm, unwrappedKeyAlgorithm, extractable, keyUsages) {
    return attempt(arguments.length, 7, () => {
      isSubtle(this);
      const kind = formatOf(format), bytes = copyBytes(wrappedKey), unwrapper = keyOf(unwrappingKey), uses = usesOf(keyUsages);
      const asked = normalize('unwrapKey', unwrapAlgorithm, 'decrypt'), type = normalize('importKey', unwrappedKeyAlgorithm);
      const plain = asked.run(asked, usable(unwrapper, asked, 'unwrapKey'), bytes);
      return imported(type, kind, kind === 'jwk' ? parseJwk(host('crypto.decode', plain)) : plain, !!extractable, uses);
    });
  }

  get [Symbol.toStringTag]() { return 'SubtleCrypto'; }
}
expose('SubtleCrypto', SubtleCrypto);

const cipher = (self, count, operation, algorithm, key, data) => attempt(count, 3, () => {
  isSubtle(self);
  const record = keyOf(key), bytes = copyBytes(data), asked = normalize(operation, algorithm);
  return asked.run(asked, usable(record, asked, operation), bytes);
});

// --- Crypto -----------------------------------------------------------------------------------------

const MOST_RANDOM_BYTES = 65536;
const INTEGERS = /^(?:Big)?(?:Int|Uint)\d+(?:Clamped)?Array$/;

class Crypto {
  #brand;

  static { isCrypto = (value) => { if (!isObject(value) || !(#brand in value)) throw new NativeTypeError('Illegal invocation'); }; }

  constructor(key) { illegal(key); }

  get subtle() {
    isCrypto(this);
    return subtle;
  }

  getRandomValues(array) {
    isCrypto(this);
    if (!isView(array)) throw new NativeTypeError('getRandomValues takes a typed array');
    const name = typedArrayName(array);
    if (name === undefined || exec(INTEGERS, name) === null) refuse('TypeMismatchError', 'getRandomValues takes a typed array of integers');
    const length = viewLength(array);
    if (length > MOST_RANDOM_BYTES) refuse('QuotaExceededError', 'getRandomValues gives 65536 bytes at a time, not ' + length);
    if (length > 0) overwrite(array, host('random', '' + length));
    return array;
  }

  randomUUID() {
    isCrypto(this);
    return host('crypto.uuid');
  }

  get [Symbol.toStringTag]() { return 'Crypto'; }
}
expose('Crypto', Crypto);

const subtle = new SubtleCrypto(KEY);
expose('crypto', new Crypto(KEY));
