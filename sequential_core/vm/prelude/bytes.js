// Bytes that the code gives, without touching what it can change. Nothing is sliced: ArrayBuffer.prototype.slice and
// the typed arrays' ask a constructor that the code may have set for the copy, and would hand it what is copied. And `length` of
// a typed array is a getter, which the code may have replaced, and to which the array would be handed.
import {
  NativeTypeError, NativeUint8Array, byteLength, getOwnPropertyDescriptor, getPrototypeOf, isBuffer, isView, uncurry,
} from './intrinsics.js';

const TypedArray = getPrototypeOf(Uint8Array);
const getter = (owner, name) => uncurry(getOwnPropertyDescriptor(owner.prototype, name).get);
const viewed = getter(TypedArray, 'buffer'), viewStart = getter(TypedArray, 'byteOffset');
export const viewLength = getter(TypedArray, 'byteLength');
const dataViewed = getter(DataView, 'buffer'), dataStart = getter(DataView, 'byteOffset'), dataLength = getter(DataView, 'byteLength');
const isDetached = getter(ArrayBuffer, 'detached'), isResizable = getter(ArrayBuffer, 'resizable');
const put = uncurry(TypedArray.prototype.set);

// 'Uint8Array' and so on; undefined of what is no typed array.
export const typedArrayName = getter(TypedArray, Symbol.toStringTag);

// The bytes of a typed array, an ArrayBuffer or a DataView, as they are at this moment.
const windowOn = (source) => {
  let buffer = source, start = 0, length = -1;
  if (isView(source)) {
    const isTyped = typedArrayName(source) !== undefined;
    buffer = isTyped ? viewed(source) : dataViewed(source);
    if (isBuffer(buffer) && !isDetached(buffer)) {
      start = isTyped ? viewStart(source) : dataStart(source);
      length = isTyped ? viewLength(source) : dataLength(source);
    }
  }
  if (!isBuffer(buffer)) throw new NativeTypeError('The bytes must be an ArrayBuffer or a view of one');
  if (isResizable(buffer)) throw new NativeTypeError('The buffer must not be resizable');
  if (isDetached(buffer)) return new NativeUint8Array(0);
  return new NativeUint8Array(buffer, start, length < 0 ? byteLength(buffer) : length);
};

// An ArrayBuffer with a copy of the bytes of a BufferSource (Web IDL, 3.2.26).
export const copyBytes = (source) => {
  const from = windowOn(source), copy = new NativeUint8Array(viewLength(from));
  put(copy, from);
  return viewed(copy);
};

// Writes the bytes of an ArrayBuffer over those of a view.
export const overwrite = (view, buffer) => { put(windowOn(view), new NativeUint8Array(buffer)); };

// The first bits of an ArrayBuffer, in another one; the rest of the last byte is zeros.
export const firstBits = (buffer, bits) => {
  const length = (bits + 7 - (bits + 7) % 8) / 8, part = new NativeUint8Array(length);
  put(part, new NativeUint8Array(buffer, 0, length));
  if (bits % 8 !== 0) part[length - 1] &= 0xff << (8 - bits % 8);
  return viewed(part);
};
