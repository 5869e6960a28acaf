// The loop of a side's process in Node; see bench/worker.py.

import { createInterface } from 'node:readline';

/** A side cannot run a workload; the message says why. */
export class Cannot extends Error {}

/** Times of `step` in milliseconds: `rounds` many, or fewer when `seconds` are over. */
export async function repeated(step, rounds, seconds) {
  const began = performance.now();
  const times = [];
  do {
    const start = performance.now();
    await step();
    times.push(performance.now() - start);
  } while (times.length < rounds && performance.now() - began < 1000 * seconds);
  return times;
}

export async function serve(worker) {
  const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
  say({ versions: { Node: process.versions.node, ...worker.versions } });
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    try {
      say(request.do === 'prepare' ? ((await worker.prepare(request)), {}) : await worker.measure(request));
    } catch (error) {
      say(error instanceof Cannot ? { cannot: error.message } : { failed: String(error?.stack ?? error) });
    }
  }
}
