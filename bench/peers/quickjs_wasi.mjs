// quickjs-wasi in Node: the same engine as ours, with the package's own snapshots of all of its memory.
//
// A hop: `deserializeSnapshot` and `restore` of the bytes with the module compiled once, the answer into the guest's promise,
// `executePendingJobs`, the URL of the next request out, `serializeSnapshot`, `dispose`. As the package's manual says
// to do; with gzip (level 1) and zstd (level 3), which it advises, measured beside.

import { readFileSync } from 'node:fs';
import * as zlib from 'node:zlib';
import { EvalFlags, QuickJS } from 'quickjs-wasi';
import { Cannot, repeated, serve } from './worker.mjs';

const root = new URL('../node_modules/quickjs-wasi/', import.meta.url);
const module = new WebAssembly.Module(readFileSync(new URL('quickjs.wasm', root)));

// Host functions that return promises are lost with their host, so the promises are made by the guest.
const PRELUDE = `
globalThis.fetch = (url) => new Promise((resolve) => { globalThis.__pending = { url, resolve }; });
globalThis.__answer = (value) => { const { resolve } = __pending; __pending = undefined; resolve(value); };`;

const zstd = { params: { [zlib.constants.ZSTD_c_compressionLevel]: 3 } };
const PACKINGS = {
  hop: [(bytes) => bytes, (bytes) => bytes],
  'hop, gzip': [(bytes) => zlib.gzipSync(bytes, { level: 1 }), (bytes) => zlib.gunzipSync(bytes)],
  'hop, compressed': [(bytes) => zlib.zstdCompressSync(bytes, zstd), (bytes) => zlib.zstdDecompressSync(bytes)],
};

const states = new Map();

async function start(program) {
  const vm = await QuickJS.create({ wasm: module });
  vm.evalCode(PRELUDE).dispose();
  vm.evalCode(program, 'task.js', EvalFlags.ASYNC).dispose();
  vm.executePendingJobs();
  return vm;
}

function answer(vm, value) {
  const [answer, given] = [vm.global.getProp('__answer'), vm.hostToHandle(value)];
  vm.callFunction(answer, vm.undefined, given).dispose();
  answer.dispose();
  given.dispose();
  vm.executePendingJobs();
}

function requested(vm) {
  const pending = vm.global.getProp('__pending');
  const url = pending.getProp('url');
  const text = url.toString();
  url.dispose();
  pending.dispose();
  if (!text.startsWith('https://api.example.com/')) throw new Error(`no request: ${text}`);
}

async function hop(bytes, value) {
  const vm = await QuickJS.restore(QuickJS.deserializeSnapshot(bytes), { wasm: module });
  answer(vm, value);
  requested(vm);
  const next = QuickJS.serializeSnapshot(vm.snapshot());
  vm.dispose();
  return next;
}

async function compute({ program, result }) {
  const vm = await QuickJS.create({ wasm: module });
  const handle = vm.evalCode(program);
  const got = handle.toNumber();
  handle.dispose();
  vm.dispose();
  if (got !== result) throw new Error(`${got} is not ${result}`);
}

const worker = {
  versions: { 'quickjs-wasi': JSON.parse(readFileSync(new URL('package.json', root))).version },

  async prepare(request) {
    if (request.program === undefined) throw new Cannot('is not one of its workloads');
    if (request.result !== undefined) return compute(request);
    const vm = await start(request.program);
    // In one machine: it has the same memory as after that many snapshots.
    for (let i = 0; i < request.answered; i++) answer(vm, request.answer);
    requested(vm);
    const bytes = QuickJS.serializeSnapshot(vm.snapshot());
    vm.dispose();
    states.set(request.workload, bytes);
    for (let i = 0; i < 20; i++) await hop(bytes, request.answer);
  },

  async measure(request) {
    const { workload, rounds, seconds } = request;
    if (request.result !== undefined) return { times: { compute: await repeated(() => compute(request), rounds, seconds) } };
    const bytes = states.get(workload);
    const times = {};
    for (const [name, [pack, unpack]] of Object.entries(PACKINGS)) {
      const packed = pack(bytes);
      times[name] = await repeated(async () => pack(await hop(unpack(packed), request.answer)), rounds, seconds / 3);
    }
    return {
      times,
      sizes: {
        'state, raw': bytes.length,
        'state, gzip': PACKINGS['hop, gzip'][0](bytes).length,
        state: PACKINGS['hop, compressed'][0](bytes).length,
      },
    };
  },
};

if (process.argv[2] === 'first-pause') {
  const vm = await start(process.argv[3]);
  requested(vm);
  QuickJS.serializeSnapshot(vm.snapshot());
  console.log('paused');
} else {
  await serve(worker);
}
