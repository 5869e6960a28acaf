// structuredClone of the polyfill, which is installed where core-js finds none.
import 'core-js/web/structured-clone';
import { NativeDOMException, NativeTypeError, expose, isBuffer, isObject, need } from './intrinsics.js';

const { structuredClone: polyfill } = globalThis;
delete globalThis['__core-js_shared__'];

expose('structuredClone', function structuredClone(value, options = undefined) {
  need(arguments.length, 1, 'structuredClone');
  if (options == null) return polyfill(value);
  if (!isObject(options)) throw new NativeTypeError('The options must be an object');
  const { transfer = [] } = options, list = [...transfer];
  if (list.some((each) => isBuffer(each) && each.detached)) throw new NativeDOMException('A buffer was transferred before', 'DataCloneError');
  return polyfill(value, { transfer: list });
});
