// What the posted code finds beyond the language. The bundle of these modules is evaluated once, while the guest is baked,
// and gives the functions that the host calls. See docs/web-platform.md for which package serves what.
import './intrinsics.js';
import './console.js';
import './encoding.js';
import './events.js';
import './timers.js';
import './streams.js';
import './url.js';
import './blob.js';
import './clone.js';
import './compression.js';
import './messages.js';
import './temporal.js';
import './headers.js';
import './request.js';
import './fetch.js';
import './waits.js';
import './crypto.js';

export { forget, isPending, rejected, report, settle, turn } from './pending.js';
export { describe, importError, result } from './outcome.js';
export { begin } from './scope.js';
export { warm } from './warm.js';
