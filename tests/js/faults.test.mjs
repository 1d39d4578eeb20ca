// What people on two nodes notice while Redis, a node or the network between them fails, and how
// soon everything is right again. The table of what was measured is an artefact of the run.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { LEASE_MS, Scene, startNode, state } from './support/nodes.mjs';
import { Proxy } from './support/proxy.mjs';
import { artifacts, eventually } from './support/server.mjs';
import { Postgres, Redis, RedisCluster, Sentinels } from './support/services.mjs';

/** An unanswered command takes a second to be given up; after this time a node must know. */
const NOTICED_MS = 2500;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const table = [];
let postgres;
before(async () => {
  postgres = await Postgres.start();
});
after(async () => {
  await postgres?.stop();
  await mkdir(artifacts, { recursive: true });
  await writeFile(join(artifacts, 'faults.md'), [
    `Two nodes, PostgreSQL, lease ${LEASE_MS} ms; times in ms on the machine of this run.`,
    '',
    '| fault | messages acked meanwhile | refused | slowest ack | what users saw | right again after |',
    '|---|---|---|---|---|---|',
    ...table.map((row) => `| ${row.join(' | ')} |`),
    '',
  ].join('\n'));
});

/**
 * Plays one fault: people chat, the fault comes, one leaves and one enters on each side, `during`
 * looks around, the fault ends, and everything must be right within 10 s with nothing lost.
 *
 * `truth`: what the nodes in `judged` must say meanwhile: `down`, or `up`, or nothing in particular.
 */
async function play(name, scene, fault) {
  const { breaks, heals, during = () => {}, saw, truth, judged = [0, 1], lasts = 4000 } = fault;
  scene.chat();
  await sleep(300);
  const begun = Date.now();
  await breaks(scene);
  const local = scene.on(0);
  const fritz = local.find(({ user }) => user === scene.users.fritz);
  // Presence on the node itself goes on, whatever Redis does.
  if (fritz) {
    await scene.exit(fritz);
    const [anna] = scene.on(0);
    await eventually('a leave is told on the node itself', () => !anna.roster.includes(fritz.user.id));
  }
  await during(scene);
  await sleep(Math.max(0, lasts - (Date.now() - begun)));
  const acked = scene.acked.size;
  const healed = Date.now();
  await heals?.(scene);
  await scene.quiet();
  const took = await scene.right(`all is right after: ${name}`, healed, 10_000);
  const samples = scene.samples.filter(({ at, node }) => at > begun + NOTICED_MS && at < healed && judged.includes(node));
  assert.deepEqual(scene.samples.filter(({ status }) => status !== 200), [], '/ready stays 200 while people chat');
  if (truth === 'down') {
    for (const node of judged) {
      const told = samples.filter((sample) => sample.node === node);
      assert.ok(told.length > 0 && told.at(-1).up === 0, `node ${node}: the metric says down: ${JSON.stringify(told.at(-1))}`);
      assert.match(JSON.stringify(told.at(-1).redis), /down/, `node ${node}: /ready says down`);
    }
  }
  if (truth === 'up') {
    assert.deepEqual(samples.filter(({ up }) => up !== 1), [], 'the metric says up');
  }
  for (const [index, node] of scene.nodes.entries()) {
    if (scene.absent.has(index)) continue;
    const told = await eventually('the node says it is up', async () => {
      const now = await state(node);
      return now.up === 1 && now;
    });
    assert.equal(told.status, 200);
  }
  assert.deepEqual(scene.refused, [], 'nobody was refused');
  assert.ok(acked > 5, `people went on chatting: ${acked} messages`);
  await scene.checkHistory();
  table.push([name, acked, scene.refused.length, scene.worstAck, saw, took]);
}

/** Two nodes that share one Redis, each through a proxy of its own. */
function arrangement() {
  const them = { nodes: [], proxies: [] };
  before(async () => {
    them.redis = await Redis.start();
    for (let i = 0; i < 2; i += 1) them.proxies.push(await Proxy.start(them.redis.port));
    const database = await postgres.database();
    for (const proxy of them.proxies) them.nodes.push(await startNode({ redis: proxy.url, database }));
  });
  after(async () => {
    for (const node of them.nodes) await node.stop();
    for (const proxy of them.proxies) await proxy.stop();
    await them.redis?.stop();
  });
  /** A scene of this arrangement; its people are gone afterwards. */
  them.scene = async (work) => {
    const scene = await Scene.set(them.nodes, (...args) => them.redis.lines(...args));
    try {
      await work(scene);
    } finally {
      await scene.quiet?.();
      scene.close();
    }
  };
  them.fault = (name, plan) =>
    test(name, { timeout: 90_000 }, () => them.scene((scene) => play(name, scene, plan)));
  return them;
}

describe('one redis, two nodes', () => {
  const them = arrangement();
  const { fault } = them;

  fault('Redis killed, restarted empty', {
    breaks: () => them.redis.kill(),
    heals: () => them.redis.up(),
    truth: 'down',
    saw: 'chat within each node at once, between nodes late; presence of the other node frozen',
  });

  fault('Redis stopped for 10 s (SIGSTOP)', {
    breaks: () => them.redis.pause(),
    heals: () => them.redis.resume(),
    lasts: 10_000,
    truth: 'down',
    saw: 'the same',
  });

  fault('Redis slow (200 ms each way)', {
    breaks: () => them.proxies.forEach((proxy) => proxy.slow(200)),
    heals: () => them.proxies.forEach((proxy) => proxy.heal()),
    saw: 'messages of the other node up to a second late',
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
    saw: 'as when it is gone; /ready names the cause',
  });

  fault('network cut between one node and Redis', {
    breaks: () => them.proxies[1].cut(),
    during: async (scene) => {
      const gone = scene.users.clara.id;
      const [anna] = scene.on(0);
      await eventually('the lease ends and its people leave', () => !anna.roster.includes(gone), 10_000);
    },
    heals: () => them.proxies[1].heal(),
    judged: [1],
    truth: 'down',
    saw: 'people of the cut node leave for the others when its lease ends, and come back',
  });

  fault('a node stopped past its lease (SIGSTOP), then resumed', {
    breaks: (scene) => {
      scene.absent.add(1);
      process.kill(them.nodes[1].pid, 'SIGSTOP');
    },
    during: async (scene) => {
      const gone = scene.users.clara.id;
      const [anna] = scene.on(0);
      await eventually('the lease ends and its people leave', () => !anna.roster.includes(gone), 10_000);
      assert.ok(anna.roster.includes(scene.users.dora.id), 'who is on the other node too stays');
    },
    heals: (scene) => {
      process.kill(them.nodes[1].pid, 'SIGCONT');
      scene.absent.delete(1);
    },
    judged: [0],
    truth: 'up',
    saw: 'its people hear nothing, and leave for the others when the lease ends; all come back',
  });

  test('a node killed (kill -9)', { timeout: 90_000 }, () => them.scene(async (scene) => {
    await play('a node killed (kill -9)', scene, {
      breaks: async () => {
        scene.absent.add(1);
        await them.nodes[1].end('SIGKILL');
        scene.lose(1);
        // Clara's mark is the last seq at the sweep, which nobody tells us.
        scene.marks.set(scene.users.clara.id, 'unknown');
      },
      lasts: 0,
      judged: [0],
      truth: 'up',
      saw: 'its people are cut, and leave for the others when the lease ends',
    });
    await them.nodes[1].launch();
    scene.absent.delete(1);
    await scene.enter(scene.users.clara, 1);
    scene.marks.delete(scene.users.clara.id);
    await scene.right('the node is back');
  }));
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
    saw: 'as when it is gone',
  });

});

describe('redis in other arrangements', () => {
  for (const [name, Arrangement, plan] of [
    ['Sentinel fails over to the replica', Sentinels, (them) => ({
      breaks: () => them.master.kill(),
      during: () => eventually('the replica is master', async () =>
        (await them.replica.cli('ROLE').catch(() => '')).startsWith('master'), 30_000),
      map: (...args) => them.replica.lines(...args),
      before: (...args) => them.master.lines(...args),
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
        await play(name, scene, {
          ...rest,
          breaks: async (it) => {
            await breaks(it);
            it.mapOf = map;
          },
        });
      } finally {
        await scene?.quiet?.();
        scene?.close();
        for (const node of nodes) await node.stop();
        await them.stop();
      }
    });
  }
});
