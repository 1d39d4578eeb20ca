// Messages that their author sends again (CHAT-90 to CHAT-99), as the stock client does it, and after
// everything was killed.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { Api } from './support/api.mjs';
import { Client } from './support/client.mjs';
import { eventually, roomy, Server } from './support/server.mjs';

const ROOM = 5;

async function scene(t, options) {
  const server = await Server.start({ config: roomy, ...options });
  t.after(() => server.stop());
  const api = new Api(server);
  const [author, watcher] = await Promise.all(['author', 'watcher'].map((name) => api.register(name)));
  const open = async (user, more = {}) => {
    const client = await Client.open(server, { token: user.token, ...more });
    t.after(() => client.close());
    return client;
  };
  const witness = await open(watcher);
  await witness.join(ROOM);
  return { server, api, author, witness, open };
}

/** Stops a process. Its threads run on for a moment: long enough to answer. */
async function stopped(pid) {
  process.kill(pid, 'SIGSTOP');
  await eventually('each of its threads has stopped', async () => {
    const tasks = await readdir(`/proc/${pid}/task`);
    const states = await Promise.all(tasks.map((task) => readFile(`/proc/${pid}/task/${task}/stat`, 'utf8')));
    return states.every((stat) => stat.slice(stat.lastIndexOf(')') + 2).startsWith('T'));
  });
}

/** Counts what the client has sent. */
function sent(client, name) {
  const counts = { packets: 0 };
  client.socket.io.engine.on('packetCreate', (packet) => {
    if (typeof packet.data === 'string' && packet.data.includes(`"${name}"`)) counts.packets += 1;
  });
  return counts;
}

for (const args of [[], ['--ephemeral']]) {
  test(`emitWithAck with retries publishes one message ${args}`, async (t) => {
    const { server, author, witness, open } = await scene(t, { args, shards: 2 });
    const client = await open(author, { retries: 3, ackTimeout: 400, transports: ['websocket'] });
    assert.equal((await client.socket.emitWithAck('room', { roomid: ROOM })).ok, true);
    const counts = sent(client, 'message');
    await stopped(server.pid);
    const message = { roomid: ROOM, msg: 'once', cid: 'stock-1' };
    const answer = client.socket.emitWithAck('message', message);
    await eventually('the client has sent it three times', () => counts.packets >= 3);
    process.kill(server.pid, 'SIGCONT');
    const ack = await answer;
    assert.equal(ack.ok, true, JSON.stringify(ack));
    assert.equal(counts.packets >= 3, true);
    // The same session's next message is behind all of them.
    const next = await client.socket.emitWithAck('message', { roomid: ROOM, msg: 'fence' });
    assert.equal(next.seq, ack.seq + 1);
    await witness.next('message', (m) => m.msg === 'fence');
    assert.equal(witness.pending('message').length, 1);
    assert.equal(witness.pending('message')[0][0].seq, ack.seq);
    const metrics = await server.metrics();
    assert.equal(metrics.sum('throng_messages_repeated_total') >= 2, true);
  });
}

test('a message is known after a kill -9, and its cid to its author', async (t) => {
  const { server, api, author, witness, open } = await scene(t, { shards: 2 });
  const client = await open(author);
  await client.join(ROOM);
  const first = await client.say(ROOM, 'once', { cid: 'kept' });
  await server.restart('SIGKILL');
  await client.next('#connect', () => true, 20_000);
  await witness.next('#connect', () => true, 20_000);
  await client.join(ROOM);
  await witness.join(ROOM);
  witness.forget();
  assert.deepEqual(await client.say(ROOM, 'another text', { cid: 'kept' }), first);
  assert.equal((await client.say(ROOM, 'fence')).seq, first.seq + 1);
  await witness.next('message', (m) => m.msg === 'fence');
  assert.deepEqual(witness.pending('message'), []);
  const page = await api.history(author.token, ROOM);
  assert.deepEqual(page.data.map(({ msg, cid }) => [msg, cid]), [['once', 'kept'], ['fence', undefined]]);
});
