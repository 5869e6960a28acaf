// callTool and waitForEvent: pending requests that are not sent anywhere, and that the host answers from what it has.
import { NativeDOMException, NativeError, NativeTypeError, exec, expose, isObject, reject, stringify } from './intrinsics.js';
import { abortReason, isAborted, isSignal } from './events.js';
import { isFinishing } from './outcome.js';
import { ask, callPosition } from './pending.js';

// Needs no quotes in JSON, and nothing in a URL or a file name.
const NAME = /^[A-Za-z0-9_.:-]{1,128}$/;

// The JSON of such a request, up to its name. `caller` is the function that the code called.
const begin = (caller, kind, name) => {
  if (isFinishing()) throw new NativeTypeError(caller + ' cannot be called while the outcome is being written');
  if (typeof name !== 'string' || exec(NAME, name) === null)
    throw new NativeTypeError(caller + ' takes a name of 1 to 128 characters from A-Z, a-z, 0-9 and _.:-');
  return '"kind":"' + kind + '","name":"' + name + '",';
};

// undefined: none.
const readTimeout = (timeout) => {
  if (timeout === undefined) return undefined;
  if (typeof timeout !== 'number' || !(timeout >= 0))
    throw new NativeTypeError('timeout must be a number of milliseconds, not negative');
  return timeout === 1 / 0 ? undefined : timeout - (timeout % 1);
};

const readSignal = (signal = null) => {
  if (signal === null) return undefined;
  if (!isSignal(signal)) throw new NativeTypeError('signal must be an AbortSignal');
  return signal;
};

expose('waitForEvent', function waitForEvent(name, options = undefined) {
  try {
    const start = begin('waitForEvent', 'event', name);
    let timeout, signal;
    if (options !== undefined && options !== null) {
      if (!isObject(options)) throw new NativeTypeError('The second argument must be an object');
      timeout = readTimeout(options.timeout);
      signal = readSignal(options.signal);
    }
    if (signal !== undefined && isAborted(signal)) return reject(abortReason(signal));
    const late = () => new NativeDOMException('The event ' + name + ' did not come within ' + timeout + ' ms', 'TimeoutError');
    return ask(start + callPosition() + '}', NativeError, signal, timeout, late);
  } catch (error) {
    return reject(error);
  }
});

expose('callTool', function callTool(name, args = undefined) {
  try {
    const start = begin('callTool', 'tool', name), text = args === undefined ? 'null' : stringify(args);
    if (text === undefined) throw new NativeTypeError('The arguments of a tool must be what JSON can hold');
    return ask(start + '"args":' + text + ',' + callPosition() + '}', NativeError);
  } catch (error) {
    return reject(error);
  }
});
