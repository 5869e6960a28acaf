// Bodies of requests and responses (Fetch standard, 2.2.4 and 5.3).
//
// A body is a record {source, stream, used}. Its source is a string, a Uint8Array that nobody else has, or a Blob. A stream is
// only made of it when the code asks for one: until then the state has the bytes once, as they came.
import { TextDecoder, TextEncoder } from '@exodus/bytes/encoding.js';
import { parseMultipart } from '@remix-run/multipart-parser';
import { formDataToBlob } from 'formdata-polyfill/esm.min.js';
import { MIMEType } from 'whatwg-mimetype';
import { host } from './host.js';
import {
  NativeTypeError, NativeUint8Array, create, getOwnPropertyDescriptor, isBuffer, isObject, isView, parse,
  uncurry, wellFormed, toText,
} from './intrinsics.js';

const { Blob, File, FormData, ReadableStream, URLSearchParams } = globalThis;
// The coders are written in JavaScript, and take half a second for each MB. The host takes a few milliseconds.
const MANY = 4096;
const encodeHere = uncurry(TextEncoder.prototype.encode), encoder = new TextEncoder();
const encode = (text) => (text.length < MANY ? encodeHere(encoder, text) : new NativeUint8Array(host('utf8.encode', text)));
const decode = (bytes) => {
  if (bytes.byteLength < MANY) return new TextDecoder().decode(bytes);
  const { buffer, byteOffset, byteLength } = bytes;
  return host('utf8.decode', byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength));
};
const MOST_BYTES = 2 ** 31;

export const makeBody = (source) => {
  const body = create(null);
  body.source = source;
  body.stream = undefined;
  body.used = false;
  return body;
};

const isKind = (constructor) => (value) => isObject(value) && value instanceof constructor;
const isStream = isKind(ReadableStream), isParams = isKind(URLSearchParams);
const isBlob = isKind(Blob), isFormData = isKind(FormData);

// What `body` of a Request or Response stands for, and the content type that follows from it.
export const extractBody = (value) => {
  const extracted = create(null);
  extracted.type = null;
  if (typeof value === 'string') {
    extracted.body = makeBody(wellFormed(value));
    extracted.type = 'text/plain;charset=UTF-8';
  } else if (isView(value)) {
    extracted.body = makeBody(new NativeUint8Array(value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength)));
  } else if (isBuffer(value)) {
    extracted.body = makeBody(new NativeUint8Array(value.slice(0)));
  } else if (isParams(value)) {
    extracted.body = makeBody(wellFormed(toText(value)));
    extracted.type = 'application/x-www-form-urlencoded;charset=UTF-8';
  } else if (isBlob(value)) {
    extracted.body = makeBody(value);
    if (value.type !== '') extracted.type = value.type;
  } else if (isFormData(value)) {
    const form = formDataToBlob(value), blob = new Blob([form, '\r\n'], { type: form.type }); // as every browser ends it
    extracted.body = makeBody(blob);
    extracted.body.isForm = true;
    extracted.type = blob.type;
  } else if (isStream(value)) {
    if (value.locked || value._disturbed) throw new NativeTypeError('The body stream is locked, or was read from');
    extracted.body = makeBody(undefined);
    extracted.body.stream = value;
  } else {
    extracted.body = makeBody(wellFormed(toText(value)));
    extracted.type = 'text/plain;charset=UTF-8';
  }
  return extracted;
};

export const isUsed = (body) => body !== null && (body.stream === undefined ? body.used : body.stream._disturbed);
const isLocked = (body) => body !== null && body.stream !== undefined && body.stream.locked;

const sourceBytes = async (source) => {
  if (typeof source === 'string') return encode(source);
  return isView(source) ? source : new NativeUint8Array(await source.arrayBuffer());
};

const streamOf = (body) => {
  if (body.stream === undefined) {
    const { source } = body;
    body.stream = isBlob(source) ? source.stream() : new ReadableStream({
      type: 'bytes',
      async pull(controller) {
        const bytes = await sourceBytes(source);
        if (bytes.byteLength > 0) controller.enqueue(bytes.slice());
        controller.close();
        controller.byobRequest?.respond(0);
      },
    }, { highWaterMark: 0 });
    if (body.used) body.stream.cancel();
    body.source = undefined;
  }
  return body.stream;
};

const readStream = async (stream) => {
  const reader = stream.getReader(), chunks = [];
  let size = 0;
  for (let next; !(next = await reader.read()).done;) {
    if (!(next.value instanceof NativeUint8Array)) {
      const error = new NativeTypeError('A body stream must give Uint8Arrays');
      reader.cancel(error).catch(() => {});
      throw error;
    }
    chunks.push(next.value);
    size += next.value.byteLength;
    if (size > MOST_BYTES) throw new NativeTypeError('The body is too large');
  }
  const bytes = new NativeUint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
};

// The whole body, which is then used: a string if that is what it was made of, else a Uint8Array of the caller's own.
export const take = async (body) => {
  if (body === null) return '';
  if (isUsed(body) || isLocked(body)) throw new NativeTypeError('Body has already been read');
  if (body.stream !== undefined) return readStream(body.stream);
  const { source } = body;
  body.used = true;
  body.source = '';
  return typeof source === 'string' ? source : sourceBytes(source);
};

const takeBytes = async (body) => {
  const content = await take(body);
  return typeof content === 'string' ? encode(content) : content;
};

const takeText = async (body) => {
  const content = await take(body);
  if (typeof content !== 'string') return decode(content);
  return content.charCodeAt(0) === 0xfeff ? content.slice(1) : content;
};

export const cloneBody = (body) => {
  if (body === null) return null;
  if (isUsed(body) || isLocked(body)) throw new NativeTypeError('Body has already been read');
  const copy = makeBody(body.source);
  copy.isForm = body.isForm;
  if (body.stream !== undefined) {
    const branches = body.stream.tee();
    body.stream = branches[0];
    copy.stream = branches[1];
  }
  return copy;
};

// The body of a request that is taken over by another one.
export const moveBody = (body) => {
  if (body === null) return null;
  if (isUsed(body) || isLocked(body)) throw new NativeTypeError('The request has been used');
  const moved = makeBody(body.source);
  moved.stream = body.stream;
  moved.isForm = body.isForm;
  body.stream = undefined;
  body.source = '';
  body.used = true;
  return moved;
};

// How names and file names are written in a form (HTML standard, 4.10.21.8), backwards.
const unescapeName = (name) => name.replace(/%0D|%0A|%22/gi, decodeURIComponent);

const toFormData = (bytes, type) => {
  const mime = type === null ? null : MIMEType.parse(type), form = new FormData();
  if (mime?.essence === 'application/x-www-form-urlencoded') {
    for (const [name, value] of new URLSearchParams(decode(bytes))) form.append(name, value);
    return form;
  }
  const boundary = mime?.essence === 'multipart/form-data' ? mime.parameters.get('boundary') : undefined;
  if (boundary === undefined) throw new NativeTypeError(`A body of type ${type} is no form`);
  if (bytes.byteLength === 0) throw new NativeTypeError('An empty body is no form');
  try {
    const most = bytes.byteLength + 1;
    for (const part of parseMultipart(bytes, { boundary, maxFileSize: most, maxTotalSize: most, maxParts: most })) {
      if (part.name === undefined) throw new NativeTypeError('a part has no name');
      const name = unescapeName(part.name);
      if (part.filename === undefined) form.append(name, part.text);
      else form.append(name, new File([part.bytes], unescapeName(part.filename), { type: part.mediaType ?? 'text/plain' }));
    }
  } catch (error) {
    throw new NativeTypeError(`The body is no form: ${error.message}`);
  }
  return form;
};

// Gives a class the methods of a body. `parts(self)` is {body, type}, type being its Content-Type or null.
export const mixBody = (Class, parts) => {
  const methods = {
    get body() { const { body } = parts(this); return body === null ? null : streamOf(body); },
    get bodyUsed() { return isUsed(parts(this).body); },
    async arrayBuffer() { return (await takeBytes(parts(this).body)).buffer; },
    async bytes() { return takeBytes(parts(this).body); },
    async blob() {
      const { body, type } = parts(this);
      const content = await takeBytes(body), mime = type === null ? null : MIMEType.parse(type);
      return new Blob([content], { type: mime === null ? '' : `${mime}` });
    },
    async formData() {
      const { body, type } = parts(this);
      return toFormData(await takeBytes(body), type);
    },
    async json() { return parse(await takeText(parts(this).body)); },
    async text() { return takeText(parts(this).body); },
  };
  for (const name of Object.keys(methods))
    Object.defineProperty(Class.prototype, name, { ...getOwnPropertyDescriptor(methods, name), enumerable: true });
};
