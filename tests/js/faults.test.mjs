// What people on two nodes notice while what the nodes share fails, or one of them, and how soon
// everything is right again. The table of what was measured is a product of the run, see `table.mjs`.
// What loads the machine is in `floods.test.mjs`.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { fillDisk, forbidWrites, makeReadOnly, onSmallDisk, playAlone, runOnDiskOf, stopThread } from './support/alone.mjs';
import { Api } from './support/api.mjs';
import { Postgres } from './support/databases.mjs';
import { endAll, stops } from './support/end.mjs';
import { play } from './support/fault.mjs';
import { LEASE_MS, nodeConfig, Person, startNode } from './support/nodes.mjs';
import { Proxy } from './support/proxy.mjs';
import { Scene } from './support/scene.mjs';
import { binary, program, run } from './support/programs.mjs';
import { eventually, Server } from './support/server.mjs';
import { Redis, RedisCluster, Sentinels } from './support/services.mjs';
import { isKept, writeTable } from './support/table.mjs';

/** NODE-20: the lease, and 2 s. */
const GONE_MS = LEASE_MS + 2000;
const DEGRADED = ['NODE-30', 'NODE-31', 'NODE-32', 'NODE-33', 'NODE-34'];
const OF_A_NODE = ['NODE-20', 'NODE-21', 'NODE-22', 'NODE-23'];
/** What lasts longest. */
const longMs = isKept ? 10_000 : 5000;
const table = [];
let postgres;
before(async () => {
  postgres = await Postgres.start();
});
after(async () => {
  await postgres?.stop();
  await writeTable(table);
});

/** Two nodes that share one Redis, each through a proxy of its own. */
function arrangement({ config, args, makeDatabases, isEphemeral } = {}) {
  const them = { nodes: [], proxies: [], afterwards: [] };
  before(async () => {
    them.redis = await Redis.start();
    for (let i = 0; i < 2; i += 1) them.proxies.push(await Proxy.start({ port: them.redis.port }));
    const shared = makeDatabases ? await makeDatabases(them) : await postgres.database();
    for (const [i, proxy] of them.proxies.entries()) {
      const database = Array.isArray(shared) ? shared[i] : shared;
      them.nodes.push(await startNode({ redis: proxy.url, database, config, args }));
    }
  });
  after(() => endAll(...stops([...them.nodes, ...them.proxies, them.redis]), ...them.afterwards));
  /** A scene of this arrangement; its people are gone afterwards. */
  them.fault = (name, plan) => test(name, { timeout: 90_000 }, async () => {
    const scene = await Scene.set(them.nodes, (...words) => them.redis.lines(...words), { isEphemeral });
    try {
      table.push(await play(name, scene, plan));
    } finally {
      await scene.quiet?.();
      scene.close();
    }
  });
  return them;
}

/** The other node's people leave the rosters here, in time; who is here too stays. */
async function theyLeave(scene) {
  const [anna] = scene.on(0);
  await eventually('the lease ends and its people leave', () => !anna.roster.includes(scene.users.clara.id), GONE_MS);
  assert.ok(anna.roster.includes(scene.users.dora.id), 'who is on this node too stays');
}

const redisKilled = (them) => ({
  breaks: () => them.redis.kill(),
  heals: () => them.redis.up(),
  truth: 'down',
});

const killed = (them) => ({
  breaks: async (scene) => {
    scene.absent.add(1);
    await them.nodes[1].end('SIGKILL');
    scene.lose(1);
    // Clara's mark is the last seq at the sweep, which is not sent to us.
    scene.marks.set(scene.users.clara.id, 'unknown');
  },
  during: theyLeave,
  heals: async (scene) => {
    await them.nodes[1].launch();
    scene.absent.delete(1);
    await scene.enter(scene.users.clara, 1);
    scene.marks.delete(scene.users.clara.id);
  },
  judged: [0],
  truth: 'up',
});

describe('one redis, two nodes', () => {
  const them = arrangement();
  const { fault } = them;

  fault('Redis killed, restarted empty', {
    ...redisKilled(them),
    promised: DEGRADED,
    saw: 'chat within each node at once, between nodes late; presence of the other node frozen',
  });

  fault(`Redis stopped for ${longMs / 1000} s (SIGSTOP)`, {
    breaks: () => them.redis.pause(),
    heals: () => them.redis.resume(),
    lasts: longMs,
    truth: 'down',
    promised: DEGRADED,
    saw: 'the same',
  });

  fault('Redis slow (200 ms each way)', {
    breaks: () => them.proxies.forEach((proxy) => proxy.slow(200)),
    heals: () => them.proxies.forEach((proxy) => proxy.heal()),
    truth: 'up',
    promised: ['NODE-5', 'NODE-10', 'NODE-34'],
    saw: 'messages and people of the other node somewhat late',
  });

  fault('wrong password', {
    breaks: async () => {
      await them.redis.cli('CONFIG', 'SET', 'requirepass', 'changed');
      them.redis.password = 'changed';
      await them.redis.cli('CLIENT', 'KILL', 'TYPE', 'normal').catch(() => {});
      await them.redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub').catch(() => {});
    },
    heals: async () => {
      await them.redis.cli('CONFIG', 'SET', 'requirepass', '');
      them.redis.password = undefined;
    },
    truth: 'down',
    promised: DEGRADED,
    saw: 'as when it is gone; `/ready` names the cause',
  });

  fault('network cut between one node and Redis', {
    breaks: () => them.proxies[1].cut(),
    during: theyLeave,
    heals: () => them.proxies[1].heal(),
    judged: [1],
    truth: 'down',
    promised: [...DEGRADED, 'NODE-20', 'NODE-23'],
    saw: 'people of the cut node leave for the others when its lease ends, and come back; they chat on',
  });

  fault('a node stopped past its lease (SIGSTOP), then resumed', {
    breaks: (scene) => {
      scene.absent.add(1);
      process.kill(them.nodes[1].pid, 'SIGSTOP');
    },
    during: theyLeave,
    heals: (scene) => {
      process.kill(them.nodes[1].pid, 'SIGCONT');
      scene.absent.delete(1);
    },
    lasts: 6000,
    judged: [0],
    truth: 'up',
    promised: OF_A_NODE,
    saw: 'its people receive nothing, and leave for the others when the lease ends; all come back',
  });

  fault('a node killed (kill -9), started again', {
    ...killed(them),
    promised: OF_A_NODE,
    saw: 'its people are cut off, and leave for the others when the lease ends',
  });
});

describe('a logout that Redis forgets', () => {
  const them = arrangement();

  test('ends the sessions on the other node, which never heard of it (NODE-36)', { timeout: 60_000 }, async () => {
    const [here, there] = them.nodes;
    const api = new Api(here);
    const user = await api.register('hugo');
    const person = await Person.open(there, user, 710_001);
    try {
      await person.join();
      them.proxies[1].cut();
      const out = await api.call('POST', '/api/logout', { body: { api_token: user.token } });
      assert.equal(out.json?.errno, 0, out.text);
      // `v` is the kind of entry that announces logouts.
      const log = () => them.redis.lines('XRANGE', 'throng:log:{0}', '-', '+');
      await eventually('the logout is in Redis', async () => (await log()).includes('v'));
      assert.equal((await person.say('not heard of yet')).ok, true);
      // The node that could announce it again is gone too; only the database knows.
      await here.end('SIGKILL');
      await them.redis.kill();
      await them.redis.up();
      them.proxies[1].renew();
      const isLoggedOut = async () => (await person.say('logged out?')).code === 'unauthenticated';
      await eventually('the session has lost its identity', isLoggedOut, 10_000);
    } finally {
      person.close();
      await here.launch();
    }
  });
});

describe('one redis without memory, two nodes', () => {
  const them = arrangement();

  them.fault('Redis out of memory', {
    breaks: async () => {
      await them.redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
      await them.redis.cli('CONFIG', 'SET', 'maxmemory', '1');
    },
    heals: () => them.redis.cli('CONFIG', 'SET', 'maxmemory', '0'),
    truth: 'down',
    promised: DEGRADED,
    saw: 'as when it is gone',
  });
});

describe('two nodes that keep no messages', () => {
  const them = arrangement({ args: ['--ephemeral'], isEphemeral: true });

  them.fault('ephemeral: a node killed (kill -9), started again', {
    ...killed(them),
    promised: ['NODE-20', 'NODE-21', 'NODE-23'],
    saw: 'its people are cut off, and leave for the others when the lease ends',
  });

  them.fault('ephemeral: Redis killed, restarted empty', {
    ...redisKilled(them),
    truth: 'redis',
    refuses: 'storage_unavailable',
    promised: ['NODE-30', 'NODE-32', 'NODE-33', 'NODE-34', 'NODE-35'],
    saw: 'no message is accepted; people come and go within each node',
  });
});

describe('two nodes, and a database that answers late or not at all', () => {
  let database;
  let wire;
  const them = arrangement({
    config: nodeConfig('[store]\nanswer_timeout_ms = 1000'),
    makeDatabases: async ({ afterwards }) => {
      database = await Postgres.start();
      const folder = await mkdtemp(join(tmpdir(), 'throng-wire-'));
      wire = await Proxy.start({ path: database.socket }, { path: join(folder, '.s.PGSQL.5432') });
      afterwards.push(() => wire.stop(), () => database.stop(), () => rm(folder, { recursive: true }));
      const url = await database.database();
      return [url, url.replace(database.dir, folder)];
    },
  });

  them.fault('a node stopped inside a transaction of the room, then resumed', {
    breaks: async (scene) => {
      const isHeld = async () => {
        const row = `SELECT 1 FROM rooms WHERE id = ${scene.room} FOR UPDATE NOWAIT`;
        return database.sql('throng1', row).then(() => false, (error) => /could not obtain lock/.test(error.message));
      };
      await new Promise((done) => {
        wire.cutBefore('COMMIT', () => {
          scene.absent.add(1);
          process.kill(them.nodes[1].pid, 'SIGSTOP');
          done();
        });
      });
      assert.ok(await isHeld(), 'the stopped node holds the row of the room');
      await eventually('the database ends the transaction', async () => !(await isHeld()));
    },
    during: theyLeave,
    heals: (scene) => {
      wire.heal();
      process.kill(them.nodes[1].pid, 'SIGCONT');
      scene.absent.delete(1);
    },
    lasts: 6000,
    judged: [0],
    truth: 'locked',
    refuses: 'storage_unavailable',
    promised: ['NODE-20', 'NODE-22', 'NODE-23', 'REST-75'],
    saw: 'as when it is stopped; in the room no message is accepted until the database ends the transaction',
  });

  them.fault('the database killed, restarted', {
    breaks: () => database.crash(),
    heals: () => database.up(),
    truth: 'store',
    refuses: 'storage_unavailable',
    promised: ['CHAT-65', 'NODE-22'],
    saw: 'no message is accepted; people come and go, and see each other do so',
  });
});

describe('one node on its own disk', () => {
  const config = '[http]\napi_per_minute = 0\n[storage]\nmin_free_mb = 0\n';
  let data;
  let server;
  before(async () => {
    data = await mkdtemp(join(tmpdir(), 'throng-disk-'));
    const under = onSmallDisk(data, 64);
    server = await Server.start({ shards: 2, config, data, under, args: ['--unlimited'] });
  });
  after(async () => {
    await server?.stop();
    await rm(data, { recursive: true });
  });
  for (const [name, fault] of [
    [`disk full for ${longMs / 1000} s`, {
      breaks: () => fillDisk(server, data),
      lasts: longMs,
      reason: /^(store|disk): down: /,
      refuses: 'storage_unavailable',
      promised: ['REST-75', 'CHAT-66'],
      saw: 'no message is accepted while the disk is full; reading goes on',
    }],
    ['the disk becomes read-only', {
      breaks: () => makeReadOnly(server, data),
      reason: /^store: down: the storage is read-only/,
      refuses: 'storage_unavailable',
      promised: ['REST-75', 'CHAT-66'],
      saw: 'the same',
    }],
    ['no file can be written (as on a read-only disk)', {
      breaks: () => forbidWrites(server),
      reason: /^store: down: /,
      refuses: 'storage_unavailable',
      promised: ['REST-75', 'CHAT-66'],
      saw: 'the same',
    }],
    ['a second process on the same directory', {
      breaks: async () => {
        const args = ['serve', '--listen', '127.0.0.1:0', '--data-dir', data];
        const second = runOnDiskOf(server, [binary('throng'), ...args]);
        const { code, stderr } = await second.then(() => assert.fail('it starts'), (error) => error);
        assert.equal(code, 74, stderr);
        assert.ok(stderr.includes(`process ${server.pid}`), stderr);
      },
      promised: [],
      saw: 'nothing; the second process exits and names the first',
    }],
    ['a shard hangs (one thread stopped)', {
      breaks: () => stopThread(server, 'shard-1'),
      reason: /^shards: down: no turn in shard 1/,
      promised: ['REST-75', 'REST-77'],
      saw: 'those on the shard wait; requests are answered, and new sessions go to the other shard',
    }],
  ]) {
    test(name, { timeout: 60_000 }, async () => {
      table.push(await playAlone(name, server, fault));
    });
  }
});

describe('redis in other arrangements', () => {
  for (const [name, Arrangement, plan] of [
    ['Sentinel fails over to the replica', Sentinels, (them) => ({
      breaks: () => them.master.kill(),
      during: () => eventually('the replica is master', async () =>
        (await them.replica.cli('ROLE').catch(() => '')).startsWith('master'), 30_000),
      map: (...args) => them.replica.lines(...args),
      before: (...args) => them.master.lines(...args),
      truth: 'passing',
      promised: DEGRADED,
      saw: 'as when Redis is gone, till a new master is chosen',
    })],
    ['a slot of the cluster moved', RedisCluster, (them) => ({
      breaks: async (scene) => {
        // The slots of the room's presence and log, while people chat.
        for (const key of [`swoole:rooms:room${scene.room}`, 'socket_id', `throng:log:${scene.room % 16}`]) {
          await them.moveSlotOf(key);
        }
      },
      map: (...args) => them.lines(...args),
      before: (...args) => them.lines(...args),
      truth: 'up',
      promised: ['NODE-5', 'NODE-10', 'NODE-34'],
      saw: 'nothing',
    })],
  ]) {
    test(name, { timeout: 120_000 }, async () => {
      const them = await Arrangement.start();
      const database = await postgres.database();
      const nodes = [];
      let scene;
      try {
        for (let i = 0; i < 2; i += 1) nodes.push(await startNode({ redis: them.url, database }));
        const { map, before: mapBefore, ...rest } = plan(them);
        scene = await Scene.set(nodes, mapBefore);
        const { breaks } = rest;
        table.push(await play(name, scene, {
          ...rest,
          breaks: async (it) => {
            await breaks(it);
            it.mapOf = map;
          },
        }));
      } finally {
        await scene?.quiet?.();
        scene?.close();
        await endAll(...stops([...nodes, them]));
      }
    });
  }
});
