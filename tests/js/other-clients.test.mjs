// Socket.IO clients of other languages, each a program of its own against a running server.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'node:test';

import { Api } from './support/api.mjs';
import { run } from './support/programs.mjs';
import { roomy, Server } from './support/server.mjs';

const script = fileURLToPath(new URL('../python/chat.py', import.meta.url));

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
          // One that fails rejects with what it wrote.
          const { stdout } = await run(program, [...before, ...args], { timeout: 60_000 });
          assert.match(stdout, /^ok$/m);
        });
      }
    }
  });
}
