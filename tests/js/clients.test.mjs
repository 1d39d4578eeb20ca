// The stock JavaScript clients of three generations, over each transport, on one and on three shards:
// the whole life of a chat, message by message.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Api } from './support/api.mjs';
import { Client, transportSets, versions } from './support/client.mjs';
import { eventually, roomy, Server } from './support/server.mjs';

let nextRoom = 100;
const names = (roster) => Object.values(roster).map((entry) => entry.name).sort();
const local = (email) => email.split('@')[0];

for (const shards of [1, 3]) {
  describe(`${shards} shard(s)`, { concurrency: 3 }, () => {
    let server;
    let api;
    before(async () => {
      server = await Server.start({ shards, config: roomy });
      api = new Api(server);
    });
    after(() => server?.stop());

    for (const version of versions) {
      for (const [name, transports] of Object.entries(transportSets)) {
        test(`socket.io-client ${version}, ${name}: a chat from login to leaving`, async (t) => {
          nextRoom += 1;
          const room = nextRoom;
          const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
          const opened = [];
          t.after(() => opened.forEach((client) => client.close()));
          const open = async (user) => {
            const client = await Client.open(server, { version, transports, token: user.token });
            client.label = `${local(user.email)} (client ${version}, ${name})`;
            opened.push(client);
            return client;
          };

          const a = await open(anna);
          if (name === 'default') {
            await eventually('upgrade to websocket', () => a.transport === 'websocket');
          } else {
            assert.equal(a.transport, name);
          }

          // Login: an event for every client, an acknowledgement for those that ask.
          const welcome = await a.ask('login', { name: anna.email });
          assert.equal(welcome.ok, true);
          assert.deepEqual(
            { id: welcome.user.id, name: welcome.user.name },
            { id: anna.id, name: local(anna.email) },
          );
          // All rooms; an update about a room of another test may come before it.
          const [count] = await a.next('count', (rooms) => 'room1' in rooms && 'room2' in rooms);
          assert.ok(Number.isInteger(count.room1));
          assert.equal(count.room2, 0);

          // Join: the joiner is in their own roster, and the roster holds no secret.
          const joined = await a.ask('room', { roomid: room, name: anna.email });
          assert.equal(joined.ok, true);
          assert.equal(joined.room, room);
          assert.equal(joined.online, 1);
          assert.equal(joined.seq, 0);
          const [first, about] = await a.next('room');
          assert.deepEqual(Object.keys(first), [String(anna.id)]);
          assert.deepEqual(Object.keys(first[anna.id]).sort(), ['avatar', 'id', 'name', 'src']);
          assert.equal(about.room, room);
          assert.equal(about.online, 1);

          const b = await open(boris);
          const second = await b.join(String(room));
          assert.deepEqual(names(second.roster), [local(anna.email), local(boris.email)]);
          const [two, meta] = await a.next('room');
          assert.deepEqual(names(two), [local(anna.email), local(boris.email)]);
          assert.equal(meta.online, 2);

          // A message each way; the author sees their e-mail, the other an opaque id.
          const text = 'hello 你好 😀 ü☃ "quoted" \\ \u2028 end';
          const sent = await a.say(room, text);
          assert.deepEqual(Object.keys(sent).sort(), ['id', 'ok', 'seq']);
          assert.equal(sent.seq, 1);
          const [echo] = await a.next('message');
          const [heard] = await b.next('message');
          assert.equal(echo.userid, anna.email);
          assert.equal(heard.userid, `u${anna.id}`);
          for (const message of [echo, heard]) {
            assert.equal(message.msg, text);
            assert.equal(message.username, local(anna.email));
            assert.equal(message.img, '');
            assert.equal(message.roomid, room);
            assert.equal(message.seq, 1);
            assert.equal(message.id, sent.id);
          }
          const time = '2026-11-23T01:02:37.809Z';
          b.emit('message', { roomid: String(room), msg: 'hi from b', img: '', time });
          const [back] = await a.next('message');
          assert.equal(back.userid, `u${boris.id}`);
          assert.equal(back.time, time);
          assert.equal(back.seq, 2);
          assert.equal((await b.next('message'))[0].userid, boris.email);

          // A second tab: others see one user, whatever the number of their sessions.
          a.forget();
          b.forget();
          const tab = await open(anna);
          const there = await tab.join(room);
          assert.deepEqual(names(there.roster), [local(anna.email), local(boris.email)]);
          await b.say(room, 'to both tabs');
          await Promise.all([a.next('message'), tab.next('message'), b.next('message')]);
          assert.deepEqual(a.pending('room'), []);
          assert.deepEqual(b.pending('room'), []);
          const out = await tab.ask('roomout', { roomid: room });
          assert.equal(out.ok, true);
          const [stay] = await tab.next('roomout');
          assert.deepEqual(names(stay), [local(anna.email), local(boris.email)]);
          await b.say(room, 'one tab left');
          await Promise.all([a.next('message'), b.next('message')]);
          assert.deepEqual(a.pending('roomout'), []);
          assert.deepEqual(b.pending('roomout'), []);
          assert.deepEqual(tab.pending('message'), []);

          // Leaving by the arrow, and leaving by closing.
          b.emit('roomout', { roomid: room, name: boris.email });
          const [left, leftMeta] = await a.next('roomout');
          assert.deepEqual(names(left), [local(anna.email)]);
          assert.equal(leftMeta.online, 1);
          assert.deepEqual(names((await b.next('roomout'))[0]), [local(anna.email)]);
          await b.join(room);
          await a.next('room', (_, m) => m.online === 2);
          b.close();
          const [gone] = await a.next('roomout', (_, m) => m.online === 1);
          assert.deepEqual(names(gone), [local(anna.email)]);
        });
      }
    }

    test('the token may come in the query, the auth payload, or an event', async (t) => {
      const user = await api.register('token');
      const cases = [
        { version: 2, tokenIn: 'query' },
        { version: 3, tokenIn: 'query' },
        { version: 4, tokenIn: 'query' },
        { version: 3, tokenIn: 'auth' },
        { version: 4, tokenIn: 'auth' },
      ];
      for (const options of cases) {
        const client = await Client.open(server, { ...options, token: user.token });
        t.after(() => client.close());
        const answer = await client.ask('login', {});
        assert.equal(answer.ok, true, JSON.stringify(options));
        assert.equal(answer.user.id, user.id, JSON.stringify(options));
      }
      for (const version of versions) {
        const client = await Client.open(server, { version });
        t.after(() => client.close());
        assert.equal((await client.ask('login', {})).code, 'unauthenticated');
        assert.equal((await client.ask('login', { api_token: user.token })).ok, true);
        assert.equal((await client.ask('room', { roomid: 1 })).ok, true, 'bound by the event before');
      }
    });

    test('a token in an event rebinds the connection: the old user leaves their rooms', async (t) => {
      nextRoom += 1;
      const room = nextRoom;
      const [anna, boris, carl] = await Promise.all(['anna', 'boris', 'carl'].map((n) => api.register(n)));
      const watcher = await Client.open(server, { token: carl.token });
      const page = await Client.open(server, { version: 2, token: anna.token });
      t.after(() => [watcher, page].forEach((client) => client.close()));
      await watcher.join(room);
      await page.join(room);
      await watcher.next('room', (_, m) => m.online === 2);
      page.emit('login', { name: boris.email, api_token: boris.token });
      const [roster] = await watcher.next('roomout', (_, m) => m.online === 1);
      assert.deepEqual(Object.keys(roster), [String(carl.id)]);
      page.emit('room', { roomid: room });
      const [next] = await watcher.next('room', (_, m) => m.online === 2);
      assert.deepEqual(Object.keys(next).sort(), [String(boris.id), String(carl.id)].sort());

      // Present but not valid: nothing is done as the old user.
      const refused = await page.ask('message', {
        roomid: room,
        msg: 'as whom?',
        img: '',
        api_token: 'x'.repeat(60),
      });
      assert.equal(refused.code, 'unauthenticated');
      page.emit('message', { roomid: room, msg: 'as whom?', img: '', api_token: 7 });
      assert.deepEqual(await page.next('login'), ['Login to enter chat room']);
    });

    test('what is said in one room is not heard in another', async (t) => {
      const rooms = [(nextRoom += 1), (nextRoom += 1)];
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      for (const version of versions) {
        const a = await Client.open(server, { version, token: anna.token });
        const b = await Client.open(server, { version, token: boris.token });
        t.after(() => [a, b].forEach((client) => client.close()));
        await a.join(rooms[0]);
        await b.join(rooms[1]);
        await a.say(rooms[0], 'only room one');
        await b.say(rooms[1], 'only room two');
        assert.equal((await b.next('message'))[0].msg, 'only room two');
        assert.equal((await a.next('message'))[0].msg, 'only room one');
        assert.deepEqual(b.pending('message'), []);
        assert.deepEqual(a.pending('message'), []);
        assert.equal((await b.say(rooms[0], 'from outside')).code, 'not_member');
      }
    });

    test('an Engine.IO 3 client is in one room at a time, a newer one may be in many', async (t) => {
      const rooms = [(nextRoom += 1), (nextRoom += 1)];
      const users = await Promise.all(['anna', 'boris', 'carl'].map((n) => api.register(n)));
      const [old, modern, watcher] = await Promise.all([
        Client.open(server, { version: 2, token: users[0].token }),
        Client.open(server, { version: 4, token: users[1].token }),
        Client.open(server, { version: 4, token: users[2].token }),
      ]);
      t.after(() => [old, modern, watcher].forEach((client) => client.close()));
      await watcher.join(rooms[0]);
      await old.join(rooms[0]);
      await modern.join(rooms[0]);
      await watcher.next('room', (_, m) => m.online === 3);
      old.forget();
      await modern.join(rooms[1]);
      await old.join(rooms[1]);
      await watcher.next('roomout', (roster) => !(users[0].id in roster));
      assert.deepEqual(old.pending('roomout'), [], 'the joiner only gets the new room');
      await watcher.say(rooms[0], 'who is here?');
      await modern.next('message', (m) => m.msg === 'who is here?');
      assert.deepEqual(old.pending('message'), []);
    });

    test('unknown namespaces are refused, the main one goes on', async (t) => {
      const old = new Client(server, { version: 2, namespace: '/nope' });
      t.after(() => old.close());
      assert.deepEqual(await old.next('#error'), ['Invalid namespace']);
      for (const version of [3, 4]) {
        const client = new Client(server, { version, namespace: '/nope' });
        t.after(() => client.close());
        const [error] = await client.next('#connect_error');
        assert.equal(error.message, 'Invalid namespace');
      }
    });

    test('binary events are refused with a typed error', async (t) => {
      const user = await api.register('binary');
      for (const version of versions) {
        for (const transports of [['websocket'], ['polling']]) {
          const client = await Client.open(server, { version, transports, token: user.token });
          t.after(() => client.close());
          await client.join(1);
          const answer = await client.ask('message', { roomid: 1, msg: Buffer.from([1, 2, 3]), img: '' });
          assert.equal(answer.ok, false);
          assert.equal(answer.code, 'binary_unsupported', `${version} ${transports}`);
          client.emit('message', Buffer.from([0xff, 0xfe]));
          const [error] = await client.next('chat_error');
          assert.equal(error.code, 'binary_unsupported', `${version} ${transports}`);
          assert.equal((await client.say(1, 'still here')).ok, true, `${version} ${transports}`);
        }
      }
    });

    test('the same socket id as the engine in the old protocol, another in the new one', async (t) => {
      const old = await Client.open(server, { version: 2 });
      const modern = await Client.open(server, { version: 4 });
      t.after(() => [old, modern].forEach((client) => client.close()));
      assert.equal(old.socket.id, old.socket.io.engine.id);
      assert.equal(typeof modern.socket.id, 'string');
      assert.notEqual(modern.socket.id, modern.socket.io.engine.id);
    });

    test('ten tabs of one user across shards are one presence', async (t) => {
      nextRoom += 1;
      const room = nextRoom;
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const watcher = await Client.open(server, { token: boris.token });
      const tabs = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          Client.open(server, { version: versions[i % 3], token: anna.token })),
      );
      t.after(() => [watcher, ...tabs].forEach((client) => client.close()));
      await watcher.join(room);
      for (const tab of tabs) assert.equal((await tab.join(room)).meta.online, 2);
      await watcher.next('room', (_, m) => m.online === 2);
      for (const tab of tabs.slice(1)) tab.close();
      await watcher.say(room, 'fence');
      await tabs[0].next('message');
      assert.deepEqual(watcher.pending('roomout'), []);
      assert.deepEqual(watcher.pending('room'), []);
      tabs[0].close();
      await watcher.next('roomout', (_, m) => m.online === 1);
    });
  });
}

for (const shards of [1, 3]) {
  test(`clients return after a restart of the server (${shards} shards)`, async (t) => {
    const server = await Server.start({ shards, config: roomy });
    t.after(() => server.stop());
    const api = new Api(server);
    const users = await Promise.all(Array.from({ length: 9 }, () => api.register('back')));
    const clients = [];
    for (const version of versions) {
      for (const transports of Object.values(transportSets)) {
        const token = users[clients.length].token;
        clients.push(await Client.open(server, { version, transports, token }));
      }
    }
    t.after(() => clients.forEach((client) => client.close()));
    for (const client of clients) await client.join(7);
    assert.equal((await clients[0].say(7, 'before')).seq, 1);

    for (const signal of ['SIGTERM', 'SIGKILL']) {
      clients.forEach((client) => client.forget());
      await server.restart(signal);
      await Promise.all(clients.map((client) => client.next('#connect', () => true, 20_000)));
      // As the original page: login first, then the room without a token.
      for (const client of clients) {
        client.emit('login', {});
        client.emit('room', { roomid: '7' });
      }
      await Promise.all(clients.map((client) =>
        client.next('room', (_, meta) => meta.online === clients.length, 20_000)));
    }
    const { seq } = await clients[4].say(7, 'after');
    assert.equal(seq, 2, 'numbering goes on where it was');
    for (const client of clients) {
      const [message] = await client.next('message', (m) => m.msg === 'after');
      assert.equal(message.seq, 2);
    }
  });
}
