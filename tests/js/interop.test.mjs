// Other programs next to the server: one that reads who is where from Redis, one that emits into
// rooms, and a Socket.IO server of Node that shares rooms with us. All real, on a real Redis.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { createAdapter } from '@socket.io/redis-adapter';
import { Emitter } from '@socket.io/redis-emitter';
import { Server as SocketIo } from 'socket.io';
import { io } from 'socket.io-client-4';

import { Api } from './support/api.mjs';
import { Client } from './support/client.mjs';
import { nodeConfig } from './support/nodes.mjs';
import { eventually, Server } from './support/server.mjs';
import { Redis } from './support/services.mjs';

let redis;
let server;
let api;
let client;
before(async () => {
  redis = await Redis.start();
  client = await redis.client();
  server = await Server.start({
    shards: 2,
    config: nodeConfig('adapter_publish = true'),
    args: ['--redis', redis.url, '--unlimited'],
  });
  api = new Api(server);
  await eventually('the server listens', async () => (await client.pubSubNumPat()) > 0);
});
after(async () => {
  await server?.stop();
  await client?.close();
  await redis?.stop();
});

const open = async (t, user, options = {}) => {
  const session = await Client.open(server, { token: user?.token, ...options });
  t.after(() => session.close());
  return session;
};
let rooms = 800_000;
const freshRoom = () => (rooms += 1);

describe('who is where, as the original keeps it', () => {
  const fdOf = async (user) => {
    const fd = await client.hGet('socket_id', `${user.id}`);
    return fd === null ? undefined : fd;
  };
  const members = async (room) => (await client.sMembers(`swoole:rooms:room${room}`)).sort();
  const roomsOf = async (fd) => (await client.sMembers(`swoole:fds:${fd}`)).sort();

  test('a session with an identity has an fd, in the room of its user', async (t) => {
    const user = await api.register('map');
    await open(t, user);
    const fd = await eventually('the fd', () => fdOf(user));
    assert.match(fd, /^\d+$/);
    assert.ok(Number(fd) < 2 ** 53);
    await eventually('the uid room', async () => (await roomsOf(fd)).includes(`uid_${user.id}`));
    assert.deepEqual(await client.sMembers(`swoole:rooms:uid_${user.id}`), [fd]);
  });

  test('an anonymous session is not in the map', async (t) => {
    await eventually('those of earlier tests are gone', async () => (await client.hLen('socket_id')) === 0);
    await open(t);
    const user = await api.register('later');
    await open(t, user);
    const fd = await eventually('the fd of the one after it', () => fdOf(user));
    assert.deepEqual(await client.keys('swoole:fds:*'), [`swoole:fds:${fd}`]);
  });

  test('joining, leaving and closing', async (t) => {
    const [room, user] = [freshRoom(), await api.register('map')];
    const session = await open(t, user);
    const fd = await eventually('the fd', () => fdOf(user));
    await session.join(room);
    await eventually('the fd is in the room', async () => (await members(room)).includes(fd));
    await eventually('the room is with the fd', async () => (await roomsOf(fd)).includes(`room${room}`));
    await session.ask('roomout', { roomid: room });
    await eventually('the room is empty', async () => (await members(room)).length === 0);
    await eventually('the fd keeps its uid room', async () => (await roomsOf(fd)).join() === `uid_${user.id}`);
    await session.join(room);
    await eventually('the fd is in the room again', async () => (await members(room)).includes(fd));
    session.close();
    await eventually('nothing is left', async () =>
      (await fdOf(user)) === undefined && (await members(room)).length === 0
      && (await client.exists([`swoole:fds:${fd}`, `swoole:rooms:uid_${user.id}`])) === 0);
  });

  test('two tabs: the hash names the newer, and its close leaves the older alone', async (t) => {
    const [room, user] = [freshRoom(), await api.register('tabs')];
    const older = await open(t, user);
    const first = await eventually('the fd', () => fdOf(user));
    await older.join(room);
    const newer = await open(t, user);
    const second = await eventually('the newer fd', async () => {
      const fd = await fdOf(user);
      return fd !== first && fd;
    });
    await newer.join(room);
    await eventually('both are in the room', async () =>
      (await members(room)).join() === [first, second].sort().join());
    older.close();
    await eventually('the older is out', async () => (await members(room)).join() === second);
    assert.equal(await fdOf(user), second, 'the close of the older does not erase the newer');
    newer.close();
    await eventually('no session is left', async () => (await fdOf(user)) === undefined);
  });

  test('what is not ours is left alone', async (t) => {
    await client.hSet('socket_id', '999999999', '7');
    await client.sAdd('swoole:rooms:elsewhere', '7');
    const user = await api.register('own');
    const session = await open(t, user);
    await eventually('the fd', () => fdOf(user));
    session.close();
    await eventually('it is gone', async () => (await fdOf(user)) === undefined);
    assert.equal(await client.hGet('socket_id', '999999999'), '7');
    assert.deepEqual(await client.sMembers('swoole:rooms:elsewhere'), ['7']);
  });
});

/** What the emitter itself refuses to send: an event that every client takes for its own. */
const reserved = (room) => {
  const text = (value) => [0xa0 + value.length, ...Buffer.from(value)];
  return Buffer.from([
    ...[0x93, ...text('emitter')],
    ...[0x83, ...text('type'), 2, ...text('data'), 0x92, ...text('connect'), ...text('x'), ...text('nsp'), ...text('/')],
    ...[0x83, ...text('rooms'), 0x91, ...text(`room${room}`), ...text('flags'), 0x80, ...text('except'), 0x90],
  ]);
};

describe('@socket.io/redis-emitter', () => {
  const two = async (t) => {
    const room = freshRoom();
    const [anna, boris] = [await api.register('anna'), await api.register('boris')];
    const inside = await open(t, anna);
    await inside.join(room);
    return { room, anna, boris, inside, outside: await open(t, boris) };
  };
  /** The event arrives, and none of the others have heard it by the time of the next one to all. */
  const onlyHeardBy = async (emitter, name, who, others) => {
    for (const each of who) await each.next(name);
    emitter.emit(`after ${name}`);
    for (const each of [...who, ...others]) {
      await each.next(`after ${name}`);
      assert.deepEqual(each.pending(name), []);
    }
  };

  test('into a room: its members and no others', async (t) => {
    const { room, inside, outside } = await two(t);
    const emitter = new Emitter(client);
    emitter.to(`room${room}`).emit('news', { x: 1, text: 'ü☃😀', list: [1, 2.5, null, true] }, 'second');
    const args = await inside.next('news');
    assert.deepEqual(args, [{ x: 1, text: 'ü☃😀', list: [1, 2.5, null, true] }, 'second']);
    emitter.to(`room${room}`).emit('only', 1);
    await onlyHeardBy(emitter, 'only', [inside], [outside]);
  });

  test('into a room by its number, and to a user', async (t) => {
    const { room, boris, inside, outside } = await two(t);
    const emitter = new Emitter(client);
    emitter.to(`${room}`).emit('by-number', room);
    await onlyHeardBy(emitter, 'by-number', [inside], [outside]);
    emitter.to(`uid_${boris.id}`).emit('to-user', boris.id);
    await onlyHeardBy(emitter, 'to-user', [outside], [inside]);
  });

  test('into several rooms each session hears it once, and `except` leaves out', async (t) => {
    const { room, boris, inside, outside } = await two(t);
    const emitter = new Emitter(client);
    emitter.to([`room${room}`, `uid_${boris.id}`]).emit('several');
    await onlyHeardBy(emitter, 'several', [inside, outside], []);
    emitter.except(`room${room}`).emit('all-but');
    await onlyHeardBy(emitter, 'all-but', [outside], [inside]);
  });

  test('old clients hear it too', async (t) => {
    const [room, user] = [freshRoom(), await api.register('old')];
    const old = await open(t, user, { version: 2 });
    await old.join(room);
    new Emitter(client).to(`room${room}`).emit('news', 'old');
    assert.deepEqual(await old.next('news'), ['old']);
  });

  test('what is no broadcast does no harm', async (t) => {
    const { room, inside } = await two(t);
    for (const garbage of ['', '{}', 'x'.repeat(1000), Buffer.from([0x93, 0xa1])]) {
      await client.publish(`socket.io#/#room${room}#`, garbage);
      await client.publish('socket.io#/#', garbage);
    }
    await client.publish(`socket.io#/#room${room}#`, reserved(room));
    new Emitter(client).to(`room${room}`).emit('binary', Buffer.from([1, 2, 3]));
    new Emitter(client, { key: 'socket.io' }, '/other').to(`room${room}`).emit('elsewhere', 1);
    new Emitter(client).to(`room${room}`).emit('news', 'still here');
    assert.deepEqual(await inside.next('news'), ['still here']);
    assert.deepEqual([...inside.pending('binary'), ...inside.pending('elsewhere')], []);
  });
});

describe('a Socket.IO server of Node with @socket.io/redis-adapter', () => {
  let node;
  let url;
  const clients = [];
  before(async () => {
    const [pub, sub] = [await redis.client(), await redis.client()];
    clients.push(pub, sub);
    const http = createServer();
    node = new SocketIo(http, { adapter: createAdapter(pub, sub) });
    node.on('connection', (socket) => {
      socket.on('enter', (room, done) => {
        socket.join(room);
        done();
      });
      socket.on('forward', (room, text) => node.to(room).emit('news', text));
    });
    await new Promise((done) => http.listen(0, '127.0.0.1', done));
    url = `http://127.0.0.1:${http.address().port}`;
  });
  after(async () => {
    await node?.close();
    for (const each of clients) await each.close();
  });

  test('room broadcasts cross both ways', async (t) => {
    const [room, user] = [freshRoom(), await api.register('bridge')];
    const ours = await open(t, user);
    await ours.join(room);
    const theirs = io(url, { transports: ['websocket'], forceNew: true });
    t.after(() => theirs.close());
    await new Promise((done) => theirs.once('connect', done));
    await theirs.emitWithAck('enter', `room${room}`);

    theirs.emit('forward', `room${room}`, 'from Node');
    assert.deepEqual(await ours.next('news'), ['from Node']);

    const heard = new Promise((done) => theirs.once('message', done));
    const answer = await ours.say(room, 'from Throng');
    assert.equal(answer.ok, true);
    const message = await heard;
    assert.deepEqual(
      [message.msg, message.roomid, message.seq, message.userid],
      ['from Throng', room, answer.seq, `u${user.id}`],
    );
    const [own] = await ours.next('message');
    assert.equal(own.msg, 'from Throng');
    assert.deepEqual(ours.pending('message'), [], 'its own broadcast does not come back');
  });

  test('Node neither waits for us nor fails because of us', async () => {
    const sockets = await node.timeout(2000).fetchSockets();
    assert.ok(Array.isArray(sockets));
  });
});
