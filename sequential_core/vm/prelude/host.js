// The one function of the host. `__host` is a parameter of the function that the bundle is wrapped into.
import { NativeDOMException, NativeTypeError, indexOf, slice } from './intrinsics.js';

// Calls an operation of the host, see vm/host.py. Arguments are strings and ArrayBuffers; so is the value,
// or it is undefined. What the host refuses is thrown, as a TypeError or a DOMException of the name that it says.
export const host = (operation, a, b, c, d, e, f) => {
  try {
    return __host(operation, a, b, c, d, e, f);
  } catch (refusal) {
    if (typeof refusal !== 'string') throw refusal;
    const at = indexOf(refusal, '\n'), name = slice(refusal, 0, at), message = slice(refusal, at + 1);
    throw name === 'TypeError' ? new NativeTypeError(message) : new NativeDOMException(message, name);
  }
};
