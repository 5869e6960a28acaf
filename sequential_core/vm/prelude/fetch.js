// fetch: a pending request, and the promise that its answer settles.
import { TextDecoder } from '@exodus/bytes/encoding.js';
import fromDataUrl from 'data-urls';
import {
  NativePromise, NativeString, NativeTypeError, create, exec, expose, quote, reject, slice, toBase64,
} from './intrinsics.js';
import { take } from './body.js';
import { abortReason, isAborted } from './events.js';
import { headersText } from './headers.js';
import { isFinishing } from './outcome.js';
import { ask, callPosition } from './pending.js';
import { readRequest, responseOf } from './request.js';

const HTTP = /^https?:/, DATA = /^data:/;

// The fields of a request as JSON, but for its id. `content` is its body: a string, a Uint8Array or null.
const fieldsText = (request, content, position) => {
  let text = '"url":' + quote(request.url) + ',"method":' + quote(request.method) + ',"headers":{' +
    headersText(request.headers, quote) + '},"body":';
  if (content === null || typeof content === 'string') text += quote(content);
  else text += '"' + toBase64(content) + '","body_encoding":"base64"';
  const redirect = request.members === undefined ? undefined : request.members.redirect;
  if (redirect !== undefined && redirect !== 'follow') text += ',"redirect":' + quote(redirect);
  return text + ',' + position + '}';
};

const isUtf8 = (bytes) => {
  try { new TextDecoder('utf-8', { fatal: true }).decode(bytes); return true; } catch { return false; }
};

// A form whose files are text too is easier to read as text.
const readBody = async (body) => {
  const content = await take(body);
  return body.isForm && isUtf8(content) ? new TextDecoder('utf-8', { ignoreBOM: true }).decode(content) : content;
};

const send = (request, content, position) => ask(fieldsText(request, content, position), undefined, request.signal);

const sendLater = async (request, position) => {
  const content = await readBody(request.body);
  if (request.signal !== undefined && isAborted(request.signal)) throw abortReason(request.signal);
  return send(request, content, position);
};

const fromData = (request) => {
  const data = fromDataUrl(request.url);
  if (data === null) return reject(new NativeTypeError('Invalid data: URL'));
  const answer = create(null), type = create(null);
  type['content-type'] = NativeString(data.mimeType);
  answer.status = 200;
  answer.statusText = 'OK';
  answer.headers = type;
  answer.url = request.url;
  answer.redirected = false;
  answer.body = toBase64(data.body);
  answer.bodyEncoding = 'base64';
  return NativePromise.resolve(responseOf(answer));
};

expose('fetch', function fetch(input, init = undefined) {
  try {
    if (arguments.length === 0) throw new NativeTypeError('fetch needs a URL');
    if (isFinishing()) throw new NativeTypeError('fetch cannot be called while the outcome is being written');
    const request = readRequest(input, init), { signal } = request;
    if (signal !== undefined && isAborted(signal)) return reject(abortReason(signal));
    if (exec(HTTP, request.url) === null) {
      if (exec(DATA, request.url) !== null) return fromData(request);
      throw new NativeTypeError('fetch takes http: and https: URLs, not ' + slice(request.url, 0, 64));
    }
    const position = callPosition();
    if (request.body === null) return send(request, null, position);
    if (typeof request.body.source === 'string' && request.body.stream === undefined) {
      request.body.used = true;
      return send(request, request.body.source, position);
    }
    return sendLater(request, position);
  } catch (error) {
    return reject(error);
  }
});
