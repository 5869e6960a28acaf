// Temporal. The package derives a zone's offsets from dates that Intl.DateTimeFormat writes, one sample for every 19 days, and
// keeps each sample. The host reads the tables of the zone instead: exact at any time, in one call, and nothing to keep.
import { Temporal, toTemporalInstant } from 'temporal-polyfill/implementation';
// What it does not export by a name. Its version is pinned, and a name that is missing fails the bundle or the bake.
import {
  checkEpochNanoInBounds, isoDateTimeToEpochNano, queryTimeZone,
} from '../node_modules/temporal-polyfill/chunks/internal.js';
import { create, defineProperty, expose, getPrototypeOf, parse } from './intrinsics.js';
import { host } from './host.js';

const BILLION = 1_000_000_000n;
const DAY_SECONDS = 86400, MOST_SECONDS = 864e10;

// Rounds down.
const toSeconds = (nanoseconds) => {
  const quotient = nanoseconds / BILLION;
  return Number(quotient * BILLION > nanoseconds ? quotient - 1n : quotient);
};

const holds = (span, seconds) => span !== undefined && span.since <= seconds && seconds < span.until;

// The span of time around `seconds` in which the zone has one offset. The zone keeps the last two: what a program
// asks next is mostly near to what it asked before, on the same or on the other side of a transition.
const spanAt = (zone, seconds) => {
  if (holds(zone.span, seconds)) return zone.span;
  const other = zone.otherSpan;
  zone.otherSpan = zone.span;
  if (holds(other, seconds)) zone.span = other;
  else {
    const answer = parse(host('zone.span', zone.id, `${seconds}`)), span = create(null);
    span.offset = answer[0];
    span.since = answer[1] ?? -Infinity;
    span.until = answer[2] ?? Infinity;
    zone.span = span;
    zone.me = undefined; // the package's own way, and its samples
  }
  return zone.span;
};

// --- The methods of a named zone, by the names that the package's minifier gave them -----------------

const METHODS = {
  // The offset at an instant, in nanoseconds.
  B(instant) { return spanAt(this, toSeconds(instant)).offset * 1e9; },

  // The instants at which a clock in the zone shows a date and time: none in a gap, two in a fold, the earlier one first.
  O(dateTime) {
    const local = isoDateTimeToEpochNano(dateTime), seconds = toSeconds(local), instants = [];
    for (let at = seconds - DAY_SECONDS; at <= seconds + DAY_SECONDS;) {
      const span = spanAt(this, at);
      if (holds(span, seconds - span.offset)) instants.push(checkEpochNanoInBounds(local - BigInt(span.offset) * BILLION));
      at = span.until;
    }
    return instants;
  },

  // The transition after an instant, or before it if `direction` is negative.
  C(instant, direction) {
    const span = spanAt(this, toSeconds(direction < 0 ? instant - 1n : instant));
    const at = direction < 0 ? span.since : span.until;
    return Math.abs(at) <= MOST_SECONDS ? BigInt(at) * BILLION : undefined;
  },
};

const zoneClass = getPrototypeOf(queryTimeZone('Etc/UTC'));
for (const name of Object.keys(METHODS)) {
  if (zoneClass[name]?.length !== METHODS[name].length) throw new Error('temporal-polyfill has changed');
  zoneClass[name] = METHODS[name];
}

// ECMA-262 with Temporal and without ECMA-402: it is toString().
for (const name of Object.keys(Object.getOwnPropertyDescriptors(Temporal))) {
  const { prototype } = Temporal[name];
  if (prototype === undefined) continue;
  const { toString } = prototype;
  const { toLocaleString } = { toLocaleString() { return Reflect.apply(toString, this, []); } };
  defineProperty(prototype, 'toLocaleString', { value: toLocaleString, writable: true, configurable: true });
}

expose('Temporal', Temporal);
defineProperty(Date.prototype, 'toTemporalInstant', { value: toTemporalInstant, writable: true, configurable: true });
