// Socket.IO clients of other languages, each a program of its own against a running server.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'node:test';

import { Api } from './support/api.mjs';
import { roomy, Server } from './support/server.mjs';

const script = fileURLToPath(new URL('../python/chat.py', import.meta.url));

/** Runs a program to its end; answers `{code, output}`. */
const run = (program, args) =>
  new Promise((done) => {
    execFile(program, args, { timeout: 60_000 }, (error, stdout, stderr) =>
      done({ code: error ? error.code ?? error.signal : 0, output: stdout + stderr }));
  });

const programs = [
  { name: 'python-socketio 4 (Engine.IO 3)', program: process.env.E2E_PYTHON_4, before: [script] },
  { name: 'python-socketio 5 (Engine.IO 4)', program: process.env.E2E_PYTHON_5, before: [script] },
  { name: 'rust_socketio 0.6', program: process.env.E2E_RUST_CLIENT, before: [] },
];

for (const { name, program, before } of programs) {
  const skip = program ? false : 'its path is not set: run through `cargo xtask test`';
  describe(name, { skip }, () => {
    for (const shards of [1, 3]) {
      for (const transport of ['default', 'websocket', 'polling']) {
        test(`${transport}, ${shards} shard(s)`, async (t) => {
          const server = await Server.start({ shards, config: roomy });
          t.after(() => server.stop());
          const api = new Api(server);
          const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
          const args = [server.url, transport, '42', anna.token, anna.email, boris.token, boris.email];
          const { code, output } = await run(program, [...before, ...args]);
          assert.equal(code, 0, output);
          assert.match(output, /^ok$/m);
        });
      }
    }
  });
}
