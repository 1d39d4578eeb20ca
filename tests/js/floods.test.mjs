// What people notice while one node is stopped, or flooded. Floods take all of the machine and latency is
// judged, so nothing else runs next to this file. Its rows stand in the table of faults.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { descriptors, memory, pause, playAlone } from './support/alone.mjs';
import { Api } from './support/api.mjs';
import { Flood } from './support/flood.mjs';
import { Healthy, kinds } from './support/healthy.mjs';
import { program, run } from './support/programs.mjs';
import { getFrom } from './support/raw.mjs';
import { eventually, Server } from './support/server.mjs';
import { isKept, writeTable } from './support/table.mjs';

const table = [];
after(() => writeTable(table));

describe('one node that is stopped, or flooded', () => {
  // A pause longer than the ping timeout, and shorter than a client waits for the next ping.
  const [pauseMs, intervalMs, timeoutMs] = isKept ? [60_000, 50_000, 15_000] : [5000, 6000, 2500];
  const pings = `ping_interval_ms = ${intervalMs}\nping_timeout_ms = ${timeoutMs}\n`;
  const floodMs = isKept ? 10_000 : 5000;
  const HEALTHY_OF_A_KIND = 5;
  const LOGINS_AT_ONCE = 40;
  /** Descriptors that the test keeps for itself. */
  const SPARED = 1000;
  const FLOODER = '127.0.0.2';
  const perClient = isKept ? 4096 : 500;
  /** Others may wait three times as long as before, and half a second on a busy machine. */
  const p99Max = (before) => Math.max(500, 3 * before);
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const config = `[http]\napi_per_minute = 0\n[storage]\nmin_free_mb = 0\n[limits]\nconnections_per_ip_max = ${perClient}\n`;
  let server;
  before(async () => {
    server = await Server.start({ shards: 2, config: `${pings}${config}` });
  });
  after(() => server?.stop());
  const row = (name, fault) => test(name, { timeout: 120_000 + 4 * pauseMs }, async () => {
    table.push(await playAlone(name, server, await fault()));
  });

  row(`the process stopped for ${pauseMs / 1000} s (SIGSTOP)`, async () => {
    const { token } = await new Api(server).register('healthy');
    const crowd = [];
    for (let n = 0; n < HEALTHY_OF_A_KIND; n += 1) {
      for (const kind of kinds) {
        crowd.push(await Healthy.open(server, { ...kind, token, intervalMs }));
        // Their heartbeats are spread over an interval.
        await sleep(4000 / (HEALTHY_OF_A_KIND * kinds.length));
      }
    }
    return {
      breaks: () => pause(server),
      lasts: pauseMs,
      isSilent: true,
      promised: ['EIO-57', 'LIM-93', 'REST-75'],
      saw: 'nothing for as long as it lasts; then everything, and nobody is thrown out',
      afterwards: async () => {
        const before = crowd.map((client) => client.pings);
        await sleep(intervalMs + timeoutMs + 1000);
        const thrown = crowd.filter(({ thrownOut }) => thrownOut).map(({ label, thrownOut }) => `${label}: ${thrownOut}`);
        assert.deepEqual(thrown, [], 'who keeps to the heartbeats is not thrown out');
        const asked = crowd.filter((client, n) => client.version === 4 && client.pings > before[n]);
        assert.equal(asked.length, crowd.length / 2, 'Engine.IO 4 clients are asked again');
        await Promise.all(crowd.map((client) => client.works()));
        crowd.forEach((client) => client.close());
        return `${thrown.length} of ${crowd.length} clients thrown out`;
      },
    };
  });

  row(`${LOGINS_AT_ONCE} logins at a time for ${floodMs / 1000} s`, async () => {
    const api = new Api(server);
    const accounts = [];
    const memoryBefore = await memory(server);
    for (let n = 0; n < LOGINS_AT_ONCE; n += 1) accounts.push(await api.register('flood'));
    return {
      memoryBefore,
      breaks: () => {
        const flood = Flood.logins(server, accounts, LOGINS_AT_ONCE);
        return () => flood.stop();
      },
      lasts: floodMs,
      promised: ['REST-75'],
      saw: 'chat goes on, somewhat later',
      p99Max,
      memoryMax: 64,
      afterwards: async ({ answered, accepted, statuses }) => {
        assert.ok(accepted > 0, JSON.stringify(statuses));
        return `${answered} logins answered, ${accepted} accepted: ${JSON.stringify(statuses)}`;
      },
    };
  });

  row(`connections from one address for ${floodMs / 1000} s, half idle, half with garbage`, async () => {
    const limit = Number((await run(program('prlimit'), ['--nofile', '--output', 'SOFT', '--noheadings', '--pid', String(process.pid)])).stdout);
    const opened = await descriptors(server);
    return {
      breaks: () => {
        const flood = Flood.connections(server, FLOODER, limit - SPARED);
        return () => flood.stop();
      },
      lasts: floodMs,
      promised: ['LIM-5', 'LIM-13', 'REST-75'],
      saw: 'nothing; who floods is refused',
      p99Max,
      memoryMax: 64,
      afterwards: async (counts) => {
        const ended = Date.now();
        assert.ok(counts.opened > perClient, `more than one client may have: ${JSON.stringify(counts)}`);
        assert.ok(counts.refused > 0, JSON.stringify(counts));
        const isFree = async () => (await descriptors(server)) <= opened + 10;
        await eventually('the descriptors are free', isFree);
        const after = Date.now() - ended;
        assert.match(await getFrom(server, FLOODER, '/health'), /^HTTP\/1.1 200/, 'who flooded is served again');
        return `${JSON.stringify(counts)}, free after ${after} ms`;
      },
    };
  });
});
