// structuredClone of the polyfill, which is installed where core-js finds none.
import 'core-js/web/structured-clone';

delete globalThis['__core-js_shared__'];
