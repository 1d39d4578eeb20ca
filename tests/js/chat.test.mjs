// The chat's rules beyond the happy path: every error code, unread counts, history, images, presence
// forms, and limits, as one modern client sees them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Api, png, pngUrl } from './support/api.mjs';
import { Client } from './support/client.mjs';
import { program, start } from './support/programs.mjs';
import { eventually, roomy, Server, shipped } from './support/server.mjs';

for (const shards of [1, 3]) {
  describe(`${shards} shard(s)`, () => {
    let server;
    let api;
    const open = (t, user, options = {}) =>
      Client.open(server, { token: user?.token, ...options }).then((client) => {
        t.after(() => client.close());
        return client;
      });
    before(async () => {
      server = await Server.start({ shards, config: shipped });
      api = new Api(server);
    });
    after(() => server?.stop());

    test('each mistake has its code, by acknowledgement and by event', async (t) => {
      const user = await api.register('errors');
      const client = await open(t, user);
      const text = { msg: 'x', img: '', roomid: 1 };
      const cases = [
        // [event, payload, code, why, after joining room 1]
        ['room', { roomid: '' }, 'invalid_argument', 'empty room'],
        ['room', { roomid: 0 }, 'invalid_argument', 'room zero'],
        ['room', { roomid: false }, 'invalid_argument', 'the page without a room'],
        ['room', {}, 'invalid_argument', 'no room'],
        ['room', { roomid: -1 }, 'invalid_argument', 'negative'],
        ['room', { roomid: 1.5 }, 'invalid_argument', 'fraction'],
        ['room', { roomid: '1x' }, 'invalid_argument', 'not a number'],
        ['room', { roomid: '1234567890' }, 'invalid_argument', 'ten digits'],
        ['room', { roomid: [1] }, 'invalid_argument', 'list'],
        ['room', { roomid: { $ne: 1 } }, 'invalid_argument', 'object'],
        ['room', { roomid: 999 }, 'unknown_room', 'no such room'],
        ['room', { roomid: '999999999' }, 'unknown_room', 'nine digits are a number'],
        ['room', 'text', 'invalid_argument', 'a string for the payload'],
        ['room', [1], 'invalid_argument', 'a list for the payload'],
        ['room', null, 'invalid_argument', 'null for the payload'],
        ['room', { roomid: 1, presence: 'loud' }, 'invalid_argument', 'unknown presence'],
        ['roomout', { roomid: 'x' }, 'invalid_argument', 'leaving nowhere'],
        ['message', { ...text }, 'not_member', 'before joining'],
        ['message', { ...text, roomid: 999 }, 'unknown_room', 'to no room'],
        ['message', { ...text, roomid: '' }, 'invalid_argument', 'to an empty room id'],
        ['message', { ...text, msg: '' }, 'invalid_argument', 'nothing said', 'inside'],
        ['message', { ...text, msg: 7 }, 'invalid_argument', 'a number said'],
        ['message', { ...text, msg: { a: 1 } }, 'invalid_argument', 'an object said'],
        ['message', { ...text, img: 1 }, 'invalid_argument', 'a number for an image'],
        ['message', { ...text, img: true }, 'invalid_argument', 'true for an image'],
        ['message', { ...text, msg: 'x'.repeat(2001) }, 'too_large', 'one character too many'],
        ['message', { ...text, msg: '', img: 'javascript:alert(1)' }, 'image_invalid', 'a script'],
        ['message', { ...text, msg: '', img: 'data:image/png;base64,AAAA' }, 'image_invalid', 'no png'],
        ['message', { ...text, msg: '', img: 'data:image/svg+xml;base64,PHN2Zy8+' }, 'image_invalid', 'svg'],
        ['message', { ...text, msg: '', img: 'data:image/png;base64,@@' }, 'image_invalid', 'no base64'],
        ['message', { ...text, msg: '', img: 'https://elsewhere.example/a.png' }, 'image_invalid', 'foreign'],
        ['login', { api_token: 'nonsense' }, 'unauthenticated', 'a wrong token'],
        ['login', { api_token: 5 }, 'unauthenticated', 'a number for a token'],
        ['login', { api_token: { $gt: '' } }, 'unauthenticated', 'an object for a token'],
        ['dance', {}, 'unknown_event', 'no such event'],
        ['__proto__', {}, 'unknown_event', 'a name that is a trap in other languages'],
      ];
      for (const [event, payload, code, why, inside] of cases) {
        if (inside === 'inside') await client.join(1);
        const answer = await client.ask(event, payload);
        assert.equal(answer?.ok, false, `${why}: ${JSON.stringify(answer)}`);
        assert.equal(answer.code, code, `${why}: ${JSON.stringify(answer)}`);
        assert.equal(typeof answer.message, 'string', why);
        assert.deepEqual(client.pending('chat_error'), [], `${why}: an ack and nothing else`);
        client.emit(event, payload);
        if (code === 'unauthenticated') {
          assert.deepEqual(await client.next('login'), ['Login to enter chat room'], why);
        } else {
          const [error] = await client.next('chat_error');
          assert.equal(error.code, code, `${why}, by event`);
          assert.equal(error.event, event, `${why}, by event`);
        }
      }
      assert.equal((await client.say(1, 'x'.repeat(2000))).ok, true, 'the bound itself');
      assert.equal((await client.say(1, '😀'.repeat(2000))).ok, true, 'the bound in astral characters');
      assert.equal((await client.say(1, '0')).ok, true, 'a zero is a message');
    });

    test('an error names the event, but no more of it than needed', async (t) => {
      const client = await open(t);
      const name = 'n'.repeat(300);
      client.emit(name, {});
      const [error] = await client.next('chat_error');
      assert.deepEqual(Object.keys(error).sort(), ['code', 'event', 'message']);
      assert.equal(error.event, name.slice(0, 64));
      assert.ok(!error.message.includes('nn'), 'quotes nothing the client sent');
      client.emit('login');
      assert.deepEqual(await client.next('login'), ['Login to enter chat room'], 'no argument is {}');
    });

    test('a visitor is asked to log in, and stays connected', async (t) => {
      const visitor = await open(t, undefined, { version: 2 });
      visitor.emit('room', { name: false, src: false, roomid: '1', api_token: false });
      assert.deepEqual(await visitor.next('login'), ['Login to enter chat room']);
      visitor.emit('login', { name: 'who', api_token: '' });
      assert.deepEqual(await visitor.next('login'), ['Login to enter chat room']);
      for (const event of ['login', 'room', 'roomout', 'message']) {
        const answer = await visitor.ask(event, { roomid: 1, msg: 'x', img: '' });
        assert.deepEqual([answer.ok, answer.code], [false, 'unauthenticated'], event);
      }
      const user = await api.register('late');
      visitor.emit('room', { roomid: '1', api_token: user.token });
      await visitor.next('room', (roster) => String(user.id) in roster);
    });

    test('leaving a room one is not in changes nothing', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const a = await open(t, anna);
      const b = await open(t, boris);
      await a.join(2);
      b.emit('roomout', { roomid: 2 });
      const [roster, meta] = await b.next('roomout');
      assert.deepEqual(roster, {});
      assert.equal(meta.room, 2);
      assert.equal((await b.ask('roomout', { roomid: 2 })).ok, true);
      await a.say(2, 'fence');
      await a.next('message');
      assert.deepEqual(a.pending('roomout'), []);
    });

    test('joining twice answers that session only', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const a = await open(t, anna);
      const b = await open(t, boris);
      await a.join(2);
      await b.join(2);
      await a.next('room', (_, m) => m.online === 2);
      const { meta } = await b.join(2, { name: boris.email });
      assert.equal(meta.online, 2);
      await b.say(2, 'fence');
      await a.next('message');
      assert.deepEqual(a.pending('room'), []);
    });

    test('unread counts rise for who is away, and are settled by being there', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const a = await open(t, anna);
      const b = await open(t, boris);
      await a.join(1);
      const start = (await a.say(1, 'one')).seq;
      b.emit('login', {});
      await b.next('count', (count) => count.room1 === start); // never there: everything is unread

      await b.join(1);
      await a.say(1, 'two');
      await b.next('message');
      await b.ask('roomout', { roomid: 1 });
      assert.equal((await b.ask('login', {})).count.room1, 0, 'leaving settles it');

      for (const word of ['three', 'four', 'five']) await a.say(1, word);
      await b.next('count', (c) => c.room1 === 3);
      assert.equal((await b.ask('login', {})).count.room1, 3);
      assert.equal((await a.ask('login', {})).count.room1, 0, 'who is there reads');

      b.close();
      const again = await open(t, boris);
      assert.equal((await again.ask('login', {})).count.room1, 3, 'kept over a reconnect');
    });

    test('history: pages of twenty, newest page first, ascending, anchored by the total', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const a = await open(t, anna);
      await a.join(2);
      const before = (await api.history(anna.token, 2)).total;
      for (let i = 0; i < 45; i += 1) {
        const answer = await a.say(2, `line ${i}`);
        assert.equal(answer.ok, true, JSON.stringify(answer));
      }
      const first = await api.history(anna.token, 2);
      assert.equal(first.errno, 0);
      assert.equal(first.total, before + 45);
      assert.equal(first.current, 1);
      assert.deepEqual(first.data.map((m) => m.msg), Array.from({ length: 20 }, (_, i) => `line ${i + 25}`));
      await a.say(2, 'meanwhile');
      const second = await api.history(anna.token, 2, `current=2&total=${first.total}`);
      assert.deepEqual(second.data.map((m) => m.msg), Array.from({ length: 20 }, (_, i) => `line ${i + 5}`));
      const own = first.data[0];
      assert.equal(own.userid, anna.email);
      assert.equal(typeof own.id, 'number');
      assert.equal(own.roomid, 2);
      const others = await api.history(boris.token, 2);
      assert.equal(others.data[0].userid, `u${anna.id}`);
      for (const query of ['roomid=0&current=1', 'roomid=x&current=1', 'roomid=2&current=0', 'current=1']) {
        const { json } = await api.call('GET', `/api/history/message?${query}&api_token=${anna.token}`);
        assert.deepEqual(json, { data: { errno: 1 } }, query);
      }
    });

    test('an image is stored once and broadcast as its URL', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const a = await open(t, anna, { version: 2 });
      const b = await open(t, boris);
      await a.join(1);
      await b.join(1);
      a.emit('message', { roomid: '1', msg: '', img: pngUrl, time: new Date().toISOString() });
      const [heard] = await b.next('message');
      assert.match(heard.img, /^\/storage\/images\//);
      assert.equal(heard.msg, '');
      const file = await fetch(server.url + heard.img);
      assert.equal(file.status, 200);
      assert.equal(file.headers.get('content-type'), 'image/png');
      assert.equal(file.headers.get('x-content-type-options'), 'nosniff');
      assert.match(file.headers.get('content-security-policy') ?? '', /default-src 'none'/);
      assert.deepEqual(Buffer.from(await file.arrayBuffer()), png);
      assert.equal((await a.ask('message', { roomid: 1, msg: '', img: pngUrl })).ok, true);
      assert.equal((await b.next('message'))[0].img, heard.img, 'the same bytes are the same file');
      assert.equal((await b.ask('message', { roomid: 1, msg: '', img: heard.img })).ok, true, 'own URL');
    });

    test('a date is kept, anything else becomes the server time', async (t) => {
      const user = await api.register('time');
      const client = await open(t, user);
      await client.join(1);
      const kept = ['2026-11-23T01:02:37.809Z', '2026-11-23T01:02:37Z', '2026-11-23T01:02:37+08:00'];
      const replaced = ['yesterday', '', 5, null, { a: 1 }, `2026-11-23T01:02:37.${'0'.repeat(60)}Z`];
      for (const time of [...kept, ...replaced]) {
        const answer = await client.ask('message', { roomid: 1, msg: 'x', img: '', time });
        assert.equal(answer.ok, true, JSON.stringify({ time, answer }));
        const [message] = await client.next('message');
        if (kept.includes(time)) assert.equal(message.time, time);
        else assert.match(message.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, String(time));
      }
      const bare = await client.ask('message', { roomid: 1, msg: 'no img, no time' });
      assert.equal(bare.ok, true);
      assert.equal((await client.next('message'))[0].img, '');
    });

    test('presence by deltas and by number, next to the full roster', async (t) => {
      const users = await Promise.all(['full', 'delta', 'number', 'guest'].map((n) => api.register(n)));
      const [full, delta, number, guest] = await Promise.all(users.map((user) => open(t, user)));
      await full.join(2);
      const { roster } = await delta.join(2, { presence: 'delta' });
      assert.equal(Object.keys(roster).length, 2, 'a snapshot first');
      number.emit('room', { roomid: 2, presence: 'count' });
      const [known] = await number.next('presence', (p) => p.online === 3);
      assert.equal(known.joined, undefined);
      await delta.next('presence', (p) => p.joined.some((entry) => entry.id === users[2].id));
      await guest.join(2);
      const [came] = await delta.next('presence', (p) => p.joined.some((entry) => entry.id === users[3].id));
      assert.equal(came.room, 2);
      assert.equal(came.online, 4);
      assert.deepEqual(came.left, []);
      await number.next('presence', (p) => p.online === 4);
      await full.next('room', (_, m) => m.online === 4);
      guest.close();
      const [went] = await delta.next('presence', (p) => p.left.includes(users[3].id));
      assert.equal(went.online, 3);
      assert.ok(went.version > came.version);
      assert.deepEqual(delta.pending('roomout'), []);
      assert.deepEqual(number.pending('room'), []);
    });

    test('too many messages at once are refused, not punished by a closed connection', async (t) => {
      const [fast, calm] = await Promise.all([api.register('fast'), api.register('calm')]);
      const f = await open(t, fast);
      const c = await open(t, calm);
      await f.join(1);
      await c.join(1);
      const answers = await Promise.all(Array.from({ length: 120 }, (_, i) => f.say(1, `burst ${i}`)));
      const refused = answers.filter((answer) => answer.code === 'rate_limited');
      const taken = answers.filter((answer) => answer.ok);
      assert.equal(refused.length + taken.length, 120);
      assert.ok(refused.length > 0, 'a burst of 120 is over the limit');
      assert.ok(taken.length >= 25, 'a burst of 25 is within it');
      assert.equal((await c.say(1, 'undisturbed')).ok, true);
      await f.next('message', (m) => m.msg === 'undisturbed');
      assert.equal(f.socket.connected, true);
      const heard = c.pending('message').map(([m]) => m.seq);
      assert.deepEqual(heard, [...heard].sort((x, y) => x - y), 'in order');
      const sample = (await server.metrics()).sum('throng_refusals_total', 'rate_limited');
      assert.ok(sample >= refused.length, `throng_refusals_total ${sample}`);
    });

    test('logout ends the identity of the open connection', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const a = await open(t, anna);
      const b = await open(t, boris);
      await b.join(2);
      await a.join(2);
      await b.next('room', (roster) => String(anna.id) in roster);
      const out = await api.call('POST', '/api/logout', { body: { api_token: anna.token } });
      assert.equal(out.json?.errno, 0, out.text);
      await b.next('roomout', (roster) => !(String(anna.id) in roster));
      assert.equal((await a.say(2, 'after')).code, 'unauthenticated');
      assert.equal((await api.call('GET', `/api/user?api_token=${anna.token}`)).status, 401);
    });
  });
}

test('one order for all: many authors, three shards, every member sees the same sequence', async (t) => {
  const server = await Server.start({ shards: 3, config: roomy, args: ['--unlimited'] });
  t.after(() => server.stop());
  const api = new Api(server);
  const users = await Promise.all(Array.from({ length: 9 }, (_, i) => api.register(`order${i}`)));
  const clients = await Promise.all(users.map((user) => Client.open(server, { token: user.token })));
  t.after(() => clients.forEach((client) => client.close()));
  for (const client of clients) await client.join(5);
  const total = clients.length * 40;
  const acks = await Promise.all(
    clients.flatMap((client, who) => Array.from({ length: 40 }, (_, i) => client.say(5, `${who}:${i}`))),
  );
  assert.equal(acks.filter((ack) => ack.ok).length, total, JSON.stringify(acks.find((ack) => !ack.ok)));
  const seen = (client) => client.pending('message').map(([m]) => `${m.seq} ${m.msg}`);
  await eventually('all messages everywhere', () =>
    clients.every((client) => client.pending('message').length === total));
  const reference = seen(clients[0]);
  assert.deepEqual(reference.map((line) => Number(line.split(' ')[0])), Array.from({ length: total }, (_, i) => i + 1));
  for (const client of clients.slice(1)) assert.deepEqual(seen(client), reference);
  for (let who = 0; who < clients.length; who += 1) {
    const own = clients[0].pending('message').map(([m]) => m.msg).filter((msg) => msg.startsWith(`${who}:`));
    assert.deepEqual(own, Array.from({ length: 40 }, (_, i) => `${who}:${i}`), 'each author in their own order');
  }
});

test('limits per session and per user are what the operator sets', async (t) => {
  const config = `${shipped}
[rooms]
auto_create_max = 2
[limits]
rooms_per_session_max = 3
sessions_per_user_max = 2
`;
  // One shard: each shard counts a user's sessions for itself.
  const server = await Server.start({ shards: 1, config });
  t.after(() => server.stop());
  const api = new Api(server);
  const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
  const a = await Client.open(server, { token: anna.token });
  t.after(() => a.close());
  for (const roomid of [1, 2, 77]) assert.equal((await a.ask('room', { roomid })).ok, true, `${roomid}`);
  assert.equal((await a.ask('room', { roomid: 78 })).code, 'room_limit');
  assert.equal((await a.ask('roomout', { roomid: 1 })).ok, true);
  assert.equal((await a.ask('room', { roomid: 78 })).ok, true, 'the second room made on demand');
  assert.equal((await a.ask('roomout', { roomid: 78 })).ok, true);
  assert.equal((await a.ask('room', { roomid: 79 })).code, 'unknown_room', 'no third one');

  const two = await Client.open(server, { token: anna.token });
  t.after(() => two.close());
  assert.equal((await two.ask('login', {})).ok, true);
  const three = new Client(server, { token: anna.token, transports: ['websocket'], reconnection: false });
  t.after(() => three.close());
  three.emit('login', {});
  const closed = await new Promise((done) => {
    three.socket.io.engine.on('close', (reason, why) => done(why?.context?.code ?? reason));
  });
  assert.equal(closed, 4004);
  const other = await Client.open(server, { token: boris.token });
  t.after(() => other.close());
  assert.equal((await other.ask('login', {})).ok, true, 'others are not concerned');
});

test('an image at its bound passes, one above it is refused', async (t) => {
  const config = `${shipped}
[limits]
image_bytes_max = 20000
`;
  const server = await Server.start({ shards: 2, config });
  t.after(() => server.stop());
  const api = new Api(server);
  const user = await api.register('image');
  const client = await Client.open(server, { token: user.token });
  t.after(() => client.close());
  await client.join(1);
  // Bytes after the end of a PNG belong to no picture, but to the file.
  const url = (size) => `data:image/png;base64,${Buffer.concat([png, Buffer.alloc(size - png.length)]).toString('base64')}`;
  const fits = await client.ask('message', { roomid: 1, msg: '', img: url(20_000) });
  assert.equal(fits.ok, true, JSON.stringify(fits));
  assert.equal((await client.ask('message', { roomid: 1, msg: '', img: url(20_001) })).code, 'too_large');
});

test('a message that cannot be stored is refused, and takes no number', async (t) => {
  const server = await Server.start({ shards: 2, config: shipped });
  t.after(() => server.stop());
  const api = new Api(server);
  const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
  const a = await Client.open(server, { token: anna.token });
  const b = await Client.open(server, { token: boris.token });
  t.after(() => [a, b].forEach((client) => client.close()));
  await a.join(1);
  await b.join(1);
  assert.equal((await a.say(1, 'stored')).seq, 1);
  assert.equal((await b.next('message'))[0].seq, 1);

  // Another program holds the database for writing.
  const script = 'import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n'
    + 'db.execute("BEGIN IMMEDIATE")\nprint("held", flush=True)\nsys.stdin.read()\n';
  const holder = start(program('python3'), ['-c', script, join(server.dir, 'data', 'throng.db')]);
  t.after(() => holder.kill());
  await once(holder.stdout, 'data');
  const refused = await a.ask('message', { roomid: 1, msg: 'lost', img: '' });
  assert.deepEqual([refused.ok, refused.code], [false, 'storage_unavailable']);
  holder.stdin.end();
  await once(holder, 'exit');

  assert.equal((await a.say(1, 'stored again')).seq, 2);
  const [message] = await b.next('message');
  assert.deepEqual([message.msg, message.seq], ['stored again', 2]);
  const history = await api.history(anna.token, 1);
  assert.deepEqual(history.data.map((row) => row.msg), ['stored', 'stored again']);
});
