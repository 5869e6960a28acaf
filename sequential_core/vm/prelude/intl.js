// What the packages find as `Intl`, which the engine does not have: bundle.py injects this one wherever it is named. It is
// the part that temporal-polyfill needs to learn which time zones there are. The posted code does not see it.
import { NativeRangeError } from './intrinsics.js';
import { host } from './host.js';

// Known without asking: the host is not there while the guest is baked.
const UTC_NAMES = /^(?:etc\/)?utc$/i;

// The name that a zone and its other names share (ECMA-402, 6.5.1: its primary identifier).
const primaryName = (name) => {
  if (UTC_NAMES.test(name)) return 'UTC';
  const primary = host('zone.primary', name);
  if (primary === '') throw new NativeRangeError('Invalid time zone: ' + name);
  return primary;
};

class DateTimeFormat {
  #timeZone;
  constructor(locales, options) {
    this.#timeZone = options?.timeZone === undefined ? 'UTC' : primaryName(options.timeZone);
  }
  resolvedOptions() { return { timeZone: this.#timeZone }; }
}

export const Intl = { __proto__: null, DateTimeFormat };
