// The smaller parts of the global scope.
import { NativeTypeError, create, expose, need, now } from './intrinsics.js';

class Navigator {
  constructor(key) { if (key !== begin) throw new NativeTypeError('Illegal constructor'); }
  get userAgent() { return 'Sequential'; }
  get [Symbol.toStringTag]() { return 'Navigator'; }
}
expose('Navigator', Navigator);
expose('self', globalThis);

// The engine's take undefined for an argument.
for (const name of ['atob', 'btoa']) {
  const convert = globalThis[name];
  expose(name, {
    [name](text) {
      need(arguments.length, 1, name);
      return convert(text);
    },
  }[name]);
}

// The engine's own counts from the moment of the bake, and on another machine from another one. This one is the wall clock from
// the beginning of the task on, and never goes back: a pause takes as long as it takes.
let origin = 0, latest = 0;

export const begin = () => { origin = now(); };

expose('navigator', new Navigator(begin));

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
