// V8's interpreter: `node --jitless`, each program in a fresh context. It has neither snapshots of a program nor a sandbox.

import { runInNewContext } from 'node:vm';
import { Cannot, repeated, serve } from './worker.mjs';

function compute({ program, result }) {
  const got = runInNewContext(program);
  if (got !== result) throw new Error(`${got} is not ${result}`);
}

await serve({
  versions: { V8: process.versions.v8 },
  prepare(request) {
    if (request.result === undefined) throw new Cannot('it has no snapshots');
    compute(request);
  },
  async measure(request) {
    return { times: { compute: await repeated(() => compute(request), request.rounds, request.seconds) } };
  },
});
