// The smaller parts of the global scope.
import { NativeTypeError, create, expose, now } from './intrinsics.js';

class Navigator {
  get userAgent() { return 'Sequential'; }
  get [Symbol.toStringTag]() { return 'Navigator'; }
}
expose('Navigator', Navigator);
expose('navigator', new Navigator());
expose('self', globalThis);

// The engine's own counts from the moment of the bake, and on another machine from another one. This one is the wall clock from
// the beginning of the task on, and never goes back: a pause takes as long as it takes.
let origin = 0, latest = 0;

export const begin = () => { origin = now(); };

class Performance extends EventTarget {
  constructor(key) {
    if (key !== begin) throw new NativeTypeError('Illegal constructor');
    super();
  }
  get timeOrigin() { return origin; }
  now() {
    const elapsed = now() - origin;
    if (elapsed > latest) latest = elapsed;
    return latest;
  }
  toJSON() {
    const record = create(Object.prototype);
    record.timeOrigin = origin;
    return record;
  }
  get [Symbol.toStringTag]() { return 'Performance'; }
}
expose('Performance', Performance);
expose('performance', new Performance(begin));
