// CompressionStream and DecompressionStream (Compression standard). What is compressed so far lives in the guest's memory, so
// that a stream can be in the middle of its data at a pause; the host's zlib could not.
import { Deflate, Inflate } from 'pako';
import { NativeTypeError, expose, isBuffer, isView } from './intrinsics.js';

const FORMATS = { __proto__: null, 'deflate': 15, 'deflate-raw': -15, 'gzip': 31 };

const windowBits = (format) => {
  const bits = FORMATS[`${format}`];
  if (bits === undefined) throw new NativeTypeError(`The compression format ${format} is not supported`);
  return bits;
};

const bytes = (chunk) => {
  if (isBuffer(chunk)) return new Uint8Array(chunk);
  if (isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new NativeTypeError('A chunk must be an ArrayBuffer or a view of one');
};

class Codec {
  #transform;
  constructor(transformer) { this.#transform = new TransformStream(transformer); }
  get readable() { return this.#transform.readable; }
  get writable() { return this.#transform.writable; }
}

class CompressionStream extends Codec {
  constructor(format) {
    const deflate = new Deflate({ windowBits: windowBits(format) });
    super({
      start(controller) { deflate.onData = (data) => { if (data.length > 0) controller.enqueue(data); }; },
      transform(chunk) { deflate.push(bytes(chunk), false); },
      flush() { deflate.push(new Uint8Array(0), true); },
    });
  }
  get [Symbol.toStringTag]() { return 'CompressionStream'; }
}

class DecompressionStream extends Codec {
  constructor(format) {
    const inflate = new Inflate({ windowBits: windowBits(format) });
    const broken = () => { throw new NativeTypeError(`The compressed data is not valid: ${inflate.msg || 'it is damaged'}`); };
    let ended = false;
    super({
      start(controller) {
        inflate.onData = (data) => { if (data.length > 0) controller.enqueue(data); };
        inflate.onEnd = () => {};
      },
      transform(chunk) {
        const data = bytes(chunk);
        if (data.length === 0) return;
        if (ended) throw new NativeTypeError('There is something behind the end of the compressed data');
        if (!inflate.push(data, false) && inflate.err) broken();
        ended = inflate.ended;
        if (ended && inflate.strm.avail_in > 0)
          throw new NativeTypeError('There is something behind the end of the compressed data');
      },
      flush() { if (!ended) throw new NativeTypeError('The compressed data is cut short'); },
    });
  }
  get [Symbol.toStringTag]() { return 'DecompressionStream'; }
}

expose('CompressionStream', CompressionStream);
expose('DecompressionStream', DecompressionStream);
