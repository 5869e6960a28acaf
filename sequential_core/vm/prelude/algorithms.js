// The algorithms of crypto.subtle (Web Cryptography API Level 2, 19 to 36) as a table: which parameters each operation
// takes, which usages and which kinds of JSON Web Key a key may have. The host computes, see vm/webcrypto.py.
import {
  NativeDOMException, NativeString, NativeTypeError, NativeUint8Array, byteLength, create, exec, iteratorSymbol, isObject, parse, quote, setPrototypeOf,
  slice, upper,
} from './intrinsics.js';
import { copyBytes, firstBits, typedArrayName } from './bytes.js';
import { USAGES, keyRecord, listUsages, makeKey } from './cryptokeys.js';
import { host } from './host.js';

export const refuse = (name, message) => { throw new NativeDOMException(message, name); };

export const text = (value) => {
  if (typeof value === 'symbol') throw new NativeTypeError('A symbol is no string');
  return NativeString(value);
};

// --- Conversions of parameters (Web IDL) --------------------------------------------------------

const integer = (most) => (value, name) => {
  const number = +value, whole = number - number % 1;
  // NaN and the infinities leave NaN.
  if (!(whole >= 0 && whole <= most)) throw new NativeTypeError(name + ' must be a number from 0 to ' + most);
  return whole;
};
const octet = integer(0xff), short = integer(0xffff);
export const long = integer(0xffffffff);

const hashName = (value) => {
  const hash = normalize('digest', value).name;
  if (HASHES[hash] === undefined) refuse('NotSupportedError', hash + ' is supported by digest only');
  return hash;
};

const bigInteger = (value) => {
  if (!isObject(value) || typedArrayName(value) !== 'Uint8Array') throw new NativeTypeError('publicExponent must be a Uint8Array');
  return copyBytes(value);
};

const otherKey = (value) => {
  const record = keyRecord(value);
  if (record === undefined) throw new NativeTypeError('public must be a CryptoKey');
  return record;
};

// [name, conversion, whether it is required], in the order in which Web IDL reads them.
const NONE = [];
const HASH = [['hash', hashName, true]];
const LENGTH = [['length', short, true]];
const HMAC_PARAMETERS = [['hash', hashName, true], ['length', long, false]];
const GCM = [['additionalData', copyBytes, false], ['iv', copyBytes, true], ['tagLength', octet, false]];
const CBC = [['iv', copyBytes, true]];
const CTR = [['counter', copyBytes, true], ['length', octet, true]];
const RSA_GENERATION = [['modulusLength', long, true], ['publicExponent', bigInteger, true], ['hash', hashName, true]];
const CURVE = [['namedCurve', text, true]];
const PUBLIC = [['public', otherKey, true]];
const HKDF = [['hash', hashName, true], ['info', copyBytes, true], ['salt', copyBytes, true]];
const PBKDF2 = [['hash', hashName, true], ['iterations', long, true], ['salt', copyBytes, true]];

// What a name, or an object with one, stands for in an operation, or instead in another one (18.4.4): a record with `name`,
// `run`, the algorithm's `definition`, and its parameters. Getters of the code's run here.
export const normalize = (operation, identifier, instead = operation) => {
  const given = isObject(identifier) ? identifier : { __proto__: null, name: text(identifier) };
  const { name } = given;
  if (name === undefined) throw new NativeTypeError('The algorithm has no name');
  const known = text(name), definition = exec(/^[\x20-\x7e]+$/, known) === null ? undefined : ALGORITHMS[upper(known)];
  const step = definition?.operations[operation] ?? definition?.operations[instead];
  if (step === undefined) refuse('NotSupportedError', slice(known, 0, 64) + ' is not supported by ' + operation);
  const algorithm = create(null);
  algorithm.name = definition.name;
  algorithm.definition = definition;
  algorithm.run = step.run;
  for (let i = 0; i < step.parameters.length; i++) {
    const parameter = step.parameters[i], value = given[parameter[0]];
    if (value !== undefined) algorithm[parameter[0]] = parameter[1](value, parameter[0]);
    else if (parameter[2]) throw new NativeTypeError('The algorithm ' + definition.name + ' needs ' + parameter[0]);
  }
  return algorithm;
};

// --- Keys ------------------------------------------------------------------------------------------

const checkUses = (uses, allowed) => {
  for (let i = 0; i < USAGES.length; i++)
    if (uses[USAGES[i]] === true && allowed[USAGES[i]] !== true) refuse('SyntaxError', 'The key cannot be used for ' + USAGES[i]);
};

const only = (uses, allowed) => {
  const both = create(null);
  for (let i = 0; i < USAGES.length; i++) if (uses[USAGES[i]] === true && allowed[USAGES[i]] === true) both[USAGES[i]] = true;
  return both;
};

export const isUseless = (uses) => {
  for (let i = 0; i < USAGES.length; i++) if (uses[USAGES[i]] === true) return false;
  return true;
};

const newRecord = (type, algorithm, material, extractable, uses) => {
  const record = create(null), visible = create(null);
  record.type = type;
  record.name = visible.name = algorithm.name;
  record.definition = algorithm.definition;
  record.material = material;
  record.extractable = extractable;
  record.uses = uses;
  record.algorithm = visible;
  if (algorithm.hash !== undefined) {
    record.hash = algorithm.hash;
    visible.hash = create(null);
    visible.hash.name = algorithm.hash;
  }
  return record;
};

const JWK_TEXTS = ['alg', 'crv', 'd', 'dp', 'dq', 'e', 'ext', 'k', 'key_ops', 'kty', 'n', 'oth', 'p', 'q', 'qi', 'use', 'x', 'y'];

// A record of a JsonWebKey (15); getters of the code's run here.
export const readJwk = (given) => {
  const jwk = create(null);
  for (let i = 0; i < JWK_TEXTS.length; i++) {
    const name = JWK_TEXTS[i], value = given[name];
    if (value === undefined) continue;
    if (name === 'ext') jwk.ext = !!value;
    else if (name === 'oth') jwk.oth = true;
    else if (name === 'key_ops') {
      jwk.operations = create(null);
      if (!isObject(value) || typeof value[iteratorSymbol] !== 'function') throw new NativeTypeError('key_ops must be a list');
      for (const each of value) {
        const operation = text(each);
        if (jwk.operations[operation] === true) jwk.repeats = true;
        jwk.operations[operation] = true;
      }
    } else jwk[name] = text(value);
  }
  return jwk;
};

// The JSON of a key comes from where the code must not see it: so the object of it has no prototype before it is read.
export const parseJwk = (json) => {
  try {
    const object = parse(json);
    if (!isObject(object)) throw undefined;
    return readJwk(setPrototypeOf(object, null));
  } catch {
    refuse('DataError', 'The unwrapped bytes are no JSON Web Key');
  }
};

// What every import of a JSON Web Key checks. `algs` {name: true} are the values that `alg` may have, all if undefined.
const checkJwk = (jwk, kty, use, algs, uses, extractable) => {
  const wrong = (name) => refuse('DataError', 'The ' + name + ' of the JSON Web Key does not fit');
  if (jwk.kty !== kty) wrong('kty');
  if (!isUseless(uses) && jwk.use !== undefined && jwk.use !== use) wrong('use');
  if (jwk.operations !== undefined) {
    if (jwk.repeats) wrong('key_ops');
    for (let i = 0; i < USAGES.length; i++) if (uses[USAGES[i]] === true && jwk.operations[USAGES[i]] !== true) wrong('key_ops');
  }
  if (jwk.ext === false && extractable) wrong('ext');
  if (algs !== undefined && jwk.alg !== undefined && algs[jwk.alg] !== true) wrong('alg');
};

const oneOf = (name) => { const names = create(null); names[name] = true; return names; };

const unknownFormat = (format) => refuse('NotSupportedError', 'The format ' + format + ' is not supported for this key');

// --- Secrets: AES, HMAC, HKDF, PBKDF2 --------------------------------------------------------------

const bitsOf = (buffer) => byteLength(buffer) * 8;

// The secret of raw bytes or of a JSON Web Key.
const importSecret = (format, data, use, uses, extractable, algs) => {
  if (format === 'raw') return data;
  if (format !== 'jwk') unknownFormat(format);
  if (data.k === undefined && data.kty === 'oct') refuse('DataError', 'The JSON Web Key has no k');
  checkJwk(data, 'oct', use, undefined, uses, extractable);
  const secret = host('crypto.jwk_secret', data.k);
  checkJwk(data, 'oct', use, algs(bitsOf(secret)), uses, extractable);
  return secret;
};

const exportSecret = (format, record) => {
  if (format === 'raw') return copyBytes(record.material);
  if (format !== 'jwk') unknownFormat(format);
  return jwkText(host('crypto.secret_jwk', record.material), record);
};

// The JSON of a key; `fields` is the JSON object of what the host knows.
const jwkText = (fields, record) => {
  const alg = record.definition.alg(record), uses = listUsages(record.uses);
  let operations = '';
  for (let i = 0; i < uses.length; i++) operations += (i === 0 ? '' : ',') + quote(uses[i]);
  return slice(fields, 0, -1) + (alg === undefined ? '' : ',"alg":' + quote(alg)) + ',"key_ops":[' + operations +
    '],"ext":' + (record.extractable ? 'true' : 'false') + '}';
};

const ENCRYPTION = { __proto__: null, encrypt: true, decrypt: true, wrapKey: true, unwrapKey: true };
const WRAPPING = { __proto__: null, wrapKey: true, unwrapKey: true };
const SIGNING = { __proto__: null, sign: true, verify: true };
const DERIVING = { __proto__: null, deriveKey: true, deriveBits: true };
const isAesLength = (bits) => bits === 128 || bits === 192 || bits === 256;
const tagLength = (algorithm) => '' + (algorithm.tagLength ?? 128);

const aesLength = (algorithm) => {
  if (!isAesLength(algorithm.length)) refuse('OperationError', 'An AES key has 128, 192 or 256 bits');
  return algorithm.length;
};

const aes = (name, suffix, allowed, operations) => {
  const alg = (bits) => 'A' + bits + suffix;
  const record = (algorithm, secret, extractable, uses) => {
    const made = newRecord('secret', algorithm, secret, extractable, uses);
    made.algorithm.length = made.length = bitsOf(secret);
    return made;
  };
  return {
    __proto__: null,
    name,
    alg: (key) => alg(key.length),
    exports: exportSecret,
    operations: {
      __proto__: null,
      ...operations,
      generateKey: { parameters: LENGTH, run(algorithm, extractable, uses) {
        checkUses(uses, allowed);
        return makeSecret(record(algorithm, host('random', '' + aesLength(algorithm) / 8), extractable, uses));
      } },
      importKey: { parameters: NONE, run(algorithm, format, data, extractable, uses) {
        checkUses(uses, allowed);
        const secret = importSecret(format, data, 'enc', uses, extractable, (bits) => (isAesLength(bits) ? oneOf(alg(bits)) : undefined));
        if (!isAesLength(bitsOf(secret))) refuse('DataError', 'An AES key has 128, 192 or 256 bits');
        return record(algorithm, secret, extractable, uses);
      } },
      getKeyLength: { parameters: LENGTH, run: aesLength },
    },
  };
};

const makeSecret = (record) => {
  if (isUseless(record.uses)) refuse('SyntaxError', 'The key has no usages');
  return makeKey(record);
};

// The hashes that other algorithms are made of: the size of a block, and what the names of JSON Web Algorithms have of them.
const HASHES = {
  __proto__: null,
  'SHA-1': { __proto__: null, block: 512, digits: '1' },
  'SHA-256': { __proto__: null, block: 512, digits: '256' },
  'SHA-384': { __proto__: null, block: 1024, digits: '384' },
  'SHA-512': { __proto__: null, block: 1024, digits: '512' },
};

// The host gives no more random bytes at a time.
const MOST_HMAC_BITS = 65536 * 8;

const hmacLength = (algorithm) => algorithm.length ?? HASHES[algorithm.hash].block;

const hmacRecord = (algorithm, secret, length, extractable, uses) => {
  const made = newRecord('secret', algorithm, firstBits(secret, length), extractable, uses);
  made.algorithm.length = made.length = length;
  return made;
};

const hmac = {
  __proto__: null,
  name: 'HMAC',
  alg: (key) => 'HS' + HASHES[key.hash].digits,
  exports: exportSecret,
  operations: {
    __proto__: null,
    sign: { parameters: NONE, run: (algorithm, key, data) => host('crypto.hmac', key.hash, key.material, data) },
    verify: { parameters: NONE, run: (algorithm, key, signature, data) =>
      host('crypto.hmac_verify', key.hash, key.material, signature, data) !== '' },
    generateKey: { parameters: HMAC_PARAMETERS, run(algorithm, extractable, uses) {
      checkUses(uses, SIGNING);
      const length = hmacLength(algorithm);
      if (length === 0 || length > MOST_HMAC_BITS) refuse('OperationError', 'A generated HMAC key has 1 to ' + MOST_HMAC_BITS + ' bits');
      return makeSecret(hmacRecord(algorithm, host('random', '' + (length + 7 - (length + 7) % 8) / 8), length, extractable, uses));
    } },
    importKey: { parameters: HMAC_PARAMETERS, run(algorithm, format, data, extractable, uses) {
      checkUses(uses, SIGNING);
      const secret = importSecret(format, data, 'sig', uses, extractable, () => oneOf('HS' + HASHES[algorithm.hash].digits));
      const bits = bitsOf(secret), length = algorithm.length ?? bits;
      if (bits === 0) refuse('DataError', 'An HMAC key is not empty');
      if (length > bits || length <= bits - 8) refuse('DataError', 'The length is not that of the key');
      return hmacRecord(algorithm, secret, length, extractable, uses);
    } },
    getKeyLength: { parameters: HMAC_PARAMETERS, run(algorithm) {
      if (algorithm.length === 0) throw new NativeTypeError('The length of an HMAC key is not zero');
      return hmacLength(algorithm);
    } },
  },
};

const derivation = (name, parameters, derive) => ({
  __proto__: null,
  name,
  exports: undefined,
  operations: {
    __proto__: null,
    importKey: { parameters: NONE, run(algorithm, format, data, extractable, uses) {
      if (format !== 'raw') unknownFormat(format);
      checkUses(uses, DERIVING);
      if (extractable) refuse('SyntaxError', 'A key for ' + name + ' cannot be extractable');
      return newRecord('secret', algorithm, data, false, uses);
    } },
    deriveBits: { parameters, run(algorithm, key, length) {
      if (length === null || length % 8 !== 0) refuse('OperationError', 'The length must be a multiple of 8');
      return derive(algorithm, key.material, '' + length / 8);
    } },
    getKeyLength: { parameters: NONE, run: () => null },
  },
});

// --- Pairs: RSA, elliptic curves ----------------------------------------------------------------------

// `kind` is the host's word for the type of key. `describe` completes the record of a key; `param` gives what distinguishes keys
// of a kind: the curve, or the length of the modulus.
const pair = (name, { kind, kty, use, uses: { privateKey, publicKey }, algs, alg, parameters, generation, operations, describe, param }) => {
  const both = { __proto__: null, ...privateKey, ...publicKey };
  const record = (type, algorithm, material, extractable, uses) => {
    const made = newRecord(type, algorithm, material, extractable, uses);
    describe(made, algorithm);
    return made;
  };
  const ofType = (record, type) => {
    if (record.type !== type) refuse('InvalidAccessError', 'The format is that of a ' + type + ' key');
    return record.material;
  };
  return {
    __proto__: null,
    name,
    alg,
    exports(format, record) {
      if (format === 'spki') return copyBytes(ofType(record, 'public'));
      if (format === 'pkcs8') return copyBytes(ofType(record, 'private'));
      if (format === 'jwk') return jwkText(host('key.jwk', record.type, record.material), record);
      if (kind === 'RSA') unknownFormat(format);
      return host('key.raw', ofType(record, 'public'));
    },
    operations: {
      __proto__: null,
      ...operations,
      generateKey: { parameters: generation, run(algorithm, extractable, uses) {
        checkUses(uses, both);
        const privateUses = only(uses, privateKey);
        if (isUseless(privateUses)) refuse('SyntaxError', 'The private key has no usages');
        const made = host('key.generate', kind, param(algorithm), algorithm.publicExponent), keys = create(null);
        keys.publicKey = makeKey(record('public', algorithm, host('key.public', made), true, only(uses, publicKey)));
        keys.privateKey = makeKey(record('private', algorithm, made, extractable, privateUses));
        return keys;
      } },
      importKey: { parameters, run(algorithm, format, data, extractable, uses) {
        if (format === 'raw' && kind === 'RSA') unknownFormat(format);
        const isPrivate = format === 'pkcs8' || (format === 'jwk' && data.d !== undefined);
        let source = data;
        checkUses(uses, isPrivate ? privateKey : publicKey);
        if (format === 'jwk') {
          checkJwk(data, kty, use, algs?.(algorithm), uses, extractable);
          if (data.oth !== undefined) refuse('NotSupportedError', 'RSA keys of more than two primes are not supported');
          source = '';
          for (let i = 0; i < JWK_TEXTS.length; i++) {
            const field = JWK_TEXTS[i];
            if (typeof data[field] === 'string') source += (source === '' ? '{' : ',') + quote(field) + ':' + quote(data[field]);
          }
          source += '}';
        }
        const material = host('key.import', format, kind, source, param(algorithm));
        return record(isPrivate ? 'private' : 'public', algorithm, material, extractable, uses);
      } },
    },
  };
};

const signing = { __proto__: null, privateKey: { __proto__: null, sign: true }, publicKey: { __proto__: null, verify: true } };
const deriving = { __proto__: null, privateKey: DERIVING, publicKey: { __proto__: null } };

const privateOnly = (key) => {
  if (key.type !== 'private') refuse('InvalidAccessError', 'The key is not a private key');
  return key.material;
};
const publicOnly = (key) => {
  if (key.type !== 'public') refuse('InvalidAccessError', 'The key is not a public key');
  return key.material;
};

// Signatures of a scheme: its parameters, the hash of one, the length of its salt.
const signatures = (scheme, parameters, hash = () => undefined, salt = () => undefined) => ({
  __proto__: null,
  sign: { parameters, run: (algorithm, key, data) =>
    host('key.sign', scheme, privateOnly(key), data, hash(algorithm, key), salt(algorithm)) },
  verify: { parameters, run: (algorithm, key, signature, data) =>
    host('key.verify', scheme, publicOnly(key), signature, data, hash(algorithm, key), salt(algorithm)) !== '' },
});

const rsa = (name, prefix, use, uses, operations) => {
  const alg = ({ hash }) => prefix(HASHES[hash].digits);
  return pair(name, {
    __proto__: null, kind: 'RSA', kty: 'RSA', use, uses, parameters: HASH, generation: RSA_GENERATION, operations, alg,
    algs: (algorithm) => oneOf(alg(algorithm)),
    param: (algorithm) => '' + (algorithm.modulusLength ?? ''),
    describe(record) {
      const buffer = host('key.modulus', record.type, record.material), described = new NativeUint8Array(buffer);
      const size = byteLength(buffer) - 2, exponent = new NativeUint8Array(size);
      for (let i = 0; i < size; i++) exponent[i] = described[i + 2];
      record.algorithm.modulusLength = described[0] * 256 + described[1];
      record.algorithm.publicExponent = exponent;
    },
  });
};
const keyHash = (algorithm, key) => key.hash;
const oaep = {
  __proto__: null, privateKey: { __proto__: null, decrypt: true, unwrapKey: true }, publicKey: { __proto__: null, encrypt: true, wrapKey: true },
};
const LABEL = [['label', copyBytes, false]];

const CURVES = { __proto__: null, 'P-256': 'ES256', 'P-384': 'ES384', 'P-521': 'ES512' };

const curve = ({ namedCurve }) => {
  if (CURVES[namedCurve] === undefined) refuse('NotSupportedError', 'The curve ' + slice(namedCurve, 0, 64) + ' is not supported');
  return namedCurve;
};

const elliptic = (name, use, uses, algs, operations) => pair(name, {
  __proto__: null, kind: 'EC', kty: 'EC', use, uses, parameters: CURVE, generation: CURVE, operations, algs,
  alg: () => undefined,
  param: curve,
  describe(record, algorithm) { record.algorithm.namedCurve = record.curve = algorithm.namedCurve; },
});

const octets = (name, use, uses, algs, operations) => pair(name, {
  __proto__: null, kind: name, kty: 'OKP', use, uses, parameters: NONE, generation: NONE, operations, algs,
  alg: () => (algs === undefined ? undefined : name),
  param: () => name,
  describe() {},
});

const agreement = (kind) => ({
  __proto__: null,
  deriveBits: { parameters: PUBLIC, run(algorithm, key, length) {
    const other = algorithm.public, own = privateOnly(key);
    if (other.name !== key.name || other.curve !== key.curve) refuse('InvalidAccessError', 'The keys are not of one kind');
    const secret = host('key.agree', kind, own, publicOnly(other));
    if (length === null) return secret;
    if (length > bitsOf(secret)) refuse('OperationError', 'The secret has only ' + bitsOf(secret) + ' bits');
    return firstBits(secret, length);
  } },
});

// --- The table --------------------------------------------------------------------------------------------

const digest = (name) => ({
  __proto__: null,
  name,
  operations: { __proto__: null, digest: { parameters: NONE, run: (algorithm, data) => host('crypto.digest', name, data) } },
});

const DEFINITIONS = [
  digest('SHA-1'), digest('SHA-256'), digest('SHA-384'), digest('SHA-512'),
  digest('SHA3-256'), digest('SHA3-384'), digest('SHA3-512'),
  aes('AES-GCM', 'GCM', ENCRYPTION, {
    encrypt: { parameters: GCM, run: (algorithm, key, data) =>
      host('cipher.gcm_encrypt', key.material, algorithm.iv, data, tagLength(algorithm), algorithm.additionalData) },
    decrypt: { parameters: GCM, run: (algorithm, key, data) =>
      host('cipher.gcm_decrypt', key.material, algorithm.iv, data, tagLength(algorithm), algorithm.additionalData) },
  }),
  aes('AES-CBC', 'CBC', ENCRYPTION, {
    encrypt: { parameters: CBC, run: (algorithm, key, data) => host('cipher.cbc_encrypt', key.material, algorithm.iv, data) },
    decrypt: { parameters: CBC, run: (algorithm, key, data) => host('cipher.cbc_decrypt', key.material, algorithm.iv, data) },
  }),
  aes('AES-CTR', 'CTR', ENCRYPTION, {
    encrypt: { parameters: CTR, run: (algorithm, key, data) =>
      host('cipher.ctr', key.material, algorithm.counter, data, '' + algorithm.length) },
    decrypt: { parameters: CTR, run: (algorithm, key, data) =>
      host('cipher.ctr', key.material, algorithm.counter, data, '' + algorithm.length) },
  }),
  aes('AES-KW', 'KW', WRAPPING, {
    wrapKey: { parameters: NONE, run: (algorithm, key, data) => host('cipher.kw_wrap', key.material, data) },
    unwrapKey: { parameters: NONE, run: (algorithm, key, data) => host('cipher.kw_unwrap', key.material, data) },
  }),
  hmac,
  derivation('HKDF', HKDF, ({ hash, salt, info }, secret, length) => host('cipher.hkdf', hash, secret, salt, info, length)),
  derivation('PBKDF2', PBKDF2, ({ hash, salt, iterations }, secret, length) =>
    host('crypto.pbkdf2', hash, secret, salt, '' + iterations, length)),
  rsa('RSASSA-PKCS1-v1_5', (digits) => 'RS' + digits, 'sig', signing, signatures('RSASSA-PKCS1-v1_5', NONE, keyHash)),
  rsa('RSA-PSS', (digits) => 'PS' + digits, 'sig', signing,
    signatures('RSA-PSS', [['saltLength', long, true]], keyHash, (algorithm) => '' + algorithm.saltLength)),
  rsa('RSA-OAEP', (digits) => 'RSA-OAEP' + (digits === '1' ? '' : '-' + digits), 'enc', oaep, {
    encrypt: { parameters: LABEL, run: (algorithm, key, data) =>
      host('key.encrypt', publicOnly(key), data, key.hash, algorithm.label) },
    decrypt: { parameters: LABEL, run: (algorithm, key, data) =>
      host('key.decrypt', privateOnly(key), data, key.hash, algorithm.label) },
  }),
  elliptic('ECDSA', 'sig', signing, (algorithm) => oneOf(CURVES[curve(algorithm)]), signatures('ECDSA', HASH, ({ hash }) => hash)),
  elliptic('ECDH', 'enc', deriving, undefined, agreement('EC')),
  octets('Ed25519', 'sig', signing, () => ({ __proto__: null, Ed25519: true, EdDSA: true }), signatures('Ed25519', NONE)),
  octets('X25519', 'enc', deriving, undefined, agreement('X25519')),
];

const ALGORITHMS = create(null);
for (let i = 0; i < DEFINITIONS.length; i++) ALGORITHMS[upper(DEFINITIONS[i].name)] = DEFINITIONS[i];
