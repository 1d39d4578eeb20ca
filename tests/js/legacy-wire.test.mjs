// The original page's conversations, frame by frame: the token-per-message form at /ws and the
// token-in-the-handshake form at /socket.io, a reload inside a room, and life without WebSockets.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Api } from './support/api.mjs';
import { Client } from './support/client.mjs';
import { join3, request, split3, Wire } from './support/raw.mjs';
import { Server } from './support/server.mjs';

const event = (name, ...args) => `42${JSON.stringify([name, ...args])}`;
const parse = (packet) => JSON.parse(packet.replace(/^42\d*/, ''));
const isEvent = (name) => (packet) => packet.startsWith(`42["${name}"`);
const local = (email) => email.split('@')[0];

for (const shards of [1, 3]) {
  describe(`${shards} shard(s)`, () => {
    let server;
    let api;
    before(async () => {
      server = await Server.start({ shards });
      api = new Api(server);
    });
    after(() => server?.stop());

    /** Polls until an event of that name came; answers all packets seen. */
    const poll = async (url, name) => {
      const seen = [];
      for (let i = 0; i < 20; i += 1) {
        const { status, text } = await request(url);
        assert.equal(status, 200, text);
        seen.push(...split3(text));
        if (seen.some(isEvent(name))) return seen;
      }
      throw new Error(`no ${name} in ${seen.join(' ')}`);
    };

    test('first form: /ws, WebSocket only, the token in each message', async (t) => {
      const anna = await api.register('anna');
      const wire = await Wire.open(`${server.ws}/ws/?EIO=3&transport=websocket`);
      t.after(() => wire.close());
      const open = await wire.next();
      assert.match(open, /^0\{/);
      const about = JSON.parse(open.slice(1));
      assert.deepEqual(about.upgrades, []);
      assert.equal(about.sid.length, 20);
      assert.equal(await wire.next(), '40', 'connected unasked, in a frame of its own');

      // After the login form: only a name, no token yet.
      wire.send(event('login', { name: anna.email }));
      assert.equal(await wire.next(), '42["login","Login to enter chat room"]', 'and no 42["connect"');
      wire.send(event('room', { name: anna.email, src: anna.avatar, roomid: '1', api_token: anna.token }));
      const [, roster] = parse(await wire.next());
      assert.deepEqual(roster[anna.id], {
        id: anna.id,
        name: local(anna.email),
        avatar: anna.avatar,
        src: anna.avatar,
      });
      const time = '2026-11-23T01:02:37.809Z';
      const said = { username: anna.email, src: anna.avatar, img: '', msg: 'hello from A 你好 😀', roomid: '1', time };
      wire.send(event('message', { ...said, api_token: anna.token }));
      const [, message] = parse(await wire.until(isEvent('message')));
      const { id, seq, ...rest } = message;
      assert.deepEqual(rest, {
        userid: anna.email,
        username: local(anna.email),
        src: anna.avatar,
        msg: said.msg,
        img: '',
        roomid: 1,
        time,
      });
      assert.ok(id > 0 && seq > 0);
      const html = '&lt;img src=x onerror="window.pwned=1"> a & b "q" http://example.com/?a=1&b=2';
      wire.send(event('message', { ...said, msg: html, api_token: anna.token }));
      assert.equal(parse(await wire.until(isEvent('message')))[1].msg, html, 'stored and sent as received');

      wire.send('2');
      assert.equal(await wire.next(), '3', 'the client pings, the server never does');
      wire.send(event('roomout', { name: anna.email, roomid: '1', api_token: anna.token }));
      const [, left] = parse(await wire.until(isEvent('roomout')));
      assert.ok(!(anna.id in left));
      wire.close();
    });

    test('second form: a reload inside a room, packets posted before the upgrade', async (t) => {
      const boris = await api.register('boris');
      const base = `/socket.io/?api_token=${boris.token}&EIO=3&transport=polling`;
      const first = await request(`${server.url}${base}&t=Q85xjUj`);
      assert.equal(first.status, 200);
      assert.match(first.headers.get('content-type'), /^text\/plain/);
      const packets = split3(first.text);
      const open = JSON.parse(packets[0].slice(1));
      assert.deepEqual(open.upgrades, ['websocket']);
      const sid = encodeURIComponent(open.sid);
      const pollUrl = `${server.url}${base}&t=Q85xjWG&sid=${sid}`;
      if (packets.length === 1) packets.push(...split3((await request(pollUrl)).text));
      assert.equal(packets[1], '40');

      // Socket opens, poll waits, login is posted: all at once, before the probe.
      const wire = await Wire.open(
        `${server.ws}/socket.io/?api_token=${boris.token}&EIO=3&transport=websocket&sid=${sid}`,
      );
      t.after(() => wire.close());
      const waiting = request(pollUrl);
      const login = event('login', { name: boris.email, api_token: boris.token });
      const posted = await request(pollUrl, {
        method: 'POST',
        body: join3(login),
        headers: { 'Content-Type': 'text/plain;charset=UTF-8' },
      });
      assert.deepEqual([posted.status, posted.text], [200, 'ok']);
      const answer = await waiting;
      assert.equal(answer.status, 200);
      const [name, count] = parse(split3(answer.text)[0]);
      assert.equal(name, 'count');
      assert.deepEqual(Object.keys(count).sort(), ['room1', 'room2']);

      const rooms = [
        event('room', { name: boris.email, src: boris.avatar, roomid: '1' }),
        event('room', { name: boris.email, src: boris.avatar, roomid: '1', api_token: boris.token }),
      ];
      const again = request(pollUrl);
      const both = await request(pollUrl, { method: 'POST', body: join3(...rooms) });
      assert.equal(both.status, 200);
      const heard = split3((await again).text);
      assert.ok(heard.some((packet) => isEvent('room')(packet) && boris.id in parse(packet)[1]), heard.join(' '));

      // Now the upgrade: the probe is answered first, the waiting poll is released.
      const last = request(pollUrl);
      wire.send('2probe');
      assert.equal(await wire.next(), '3probe');
      const released = split3((await last).text);
      assert.ok(released.every((packet) => packet === '6' || isEvent('room')(packet)), released.join(' '));
      wire.send('5');
      wire.send(event('message', { username: boris.email, src: boris.avatar, img: '', msg: 'on the socket', roomid: '1', time: new Date().toISOString(), api_token: boris.token }));
      const message = parse(await wire.until(isEvent('message')))[1];
      assert.equal(message.msg, 'on the socket');
      assert.equal(message.userid, boris.email);
      assert.equal((await request(pollUrl)).status, 400, 'polling is over');
    });

    test('without WebSockets polling carries everything, lengths in UTF-16 units', async () => {
      const anna = await api.register('anna');
      const base = `${server.url}/socket.io/?api_token=false&EIO=3&transport=polling`;
      const first = await request(base);
      const { sid } = JSON.parse(split3(first.text)[0].slice(1));
      const url = `${base}&t=Q862ved.0&sid=${encodeURIComponent(sid)}`;
      const post = async (...packets) => {
        const { status, text } = await request(url, { method: 'POST', body: join3(...packets) });
        assert.deepEqual([status, text], [200, 'ok']);
      };
      await post(event('login', { name: anna.email }));
      const greeted = await poll(url, 'login');
      assert.ok(greeted.includes('42["login","Login to enter chat room"]'));
      await post(event('room', { name: anna.email, src: anna.avatar, roomid: '2', api_token: anna.token }));
      await poll(url, 'room');
      const body = event('message', { username: anna.email, src: '', img: '', msg: '你好😀', roomid: '2', time: '2026-11-23T01:36:01.601Z', api_token: anna.token });
      await post(body);
      const { text } = await request(url);
      const [packet] = split3(text);
      assert.equal(parse(packet)[1].msg, '你好😀');
      assert.equal(text, `${packet.length}:${packet}`);
      await post('2');
      assert.equal((await request(url)).text, '1:3');
      await post('1');
    });

    test('reconnecting: login, then the room without a token, then what was typed offline', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const page = await Client.open(server, { version: 2.3, token: anna.token });
      const other = await Client.open(server, { version: 2.3, token: boris.token });
      t.after(() => [page, other].forEach((client) => client.close()));
      await other.join('1');
      const onConnect = () => {
        page.emit('login', { name: anna.email, api_token: anna.token });
        page.emit('room', { name: anna.email, src: anna.avatar, roomid: '1' });
      };
      onConnect();
      await page.next('room', (roster) => anna.id in roster);
      await other.next('room', (roster) => anna.id in roster);
      page.socket.on('connect', onConnect);
      page.socket.io.engine.close();
      await other.next('roomout', (roster) => !(anna.id in roster));
      page.emit('message', { username: anna.email, src: '', img: '', msg: 'typed offline', roomid: '1', time: new Date().toISOString(), api_token: anna.token });
      await other.next('room', (roster) => anna.id in roster);
      const [message] = await other.next('message');
      assert.equal(message.msg, 'typed offline');
    });

    test('browser Back sends no roomout: another room ends the former', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const page = await Client.open(server, { version: 2.3, token: anna.token });
      const other = await Client.open(server, { version: 2.3, token: boris.token });
      t.after(() => [page, other].forEach((client) => client.close()));
      await other.join('1');
      await page.join('1');
      await other.next('room', (roster) => anna.id in roster);
      page.forget();
      page.emit('room', { name: anna.email, src: anna.avatar, roomid: '2', api_token: anna.token });
      const [roster, meta] = await page.next('room');
      assert.equal(meta.room, 2);
      assert.ok(anna.id in roster);
      await other.next('roomout', (left) => !(anna.id in left));
      assert.deepEqual(page.pending('roomout'), [], 'the page would show the wrong roster');
      await other.say('1', 'only room one');
      await other.next('message');
      await page.say('2', 'only room two');
      assert.equal((await page.next('message'))[0].msg, 'only room two');
      assert.deepEqual(page.pending('message'), []);
    });

    test('a wrong token in the handshake does not keep anybody out', async (t) => {
      const anna = await api.register('anna');
      for (const token of ['false', '', 'x'.repeat(60), '"; drop table users']) {
        const query = `EIO=3&transport=websocket&api_token=${encodeURIComponent(token)}`;
        const wire = await Wire.open(`${server.ws}/socket.io/?${query}`);
        t.after(() => wire.close());
        await wire.next();
        assert.equal(await wire.next(), '40');
        wire.send(event('room', { name: false, src: false, roomid: '1', api_token: false }));
        assert.equal(await wire.next(), '42["login","Login to enter chat room"]');
        wire.send(event('room', { name: anna.email, roomid: '1', api_token: anna.token }));
        assert.ok(anna.id in parse(await wire.until(isEvent('room')))[1]);
        wire.close();
      }
    });

    test('both paths, with and without the trailing slash', async () => {
      for (const path of ['/socket.io/', '/socket.io', '/ws/', '/ws']) {
        const { status, text } = await request(`${server.url}${path}?EIO=3&transport=polling`);
        assert.equal(status, 200, path);
        assert.match(text, /^\d+:0\{/, path);
        const wire = await Wire.open(`${server.ws}${path}?EIO=3&transport=websocket`);
        assert.match(await wire.next(), /^0\{/, path);
        wire.close();
      }
    });

    test('an aborted poll is a disconnect, noticed at once', async (t) => {
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      const other = await Client.open(server, { version: 2.3, token: boris.token });
      t.after(() => other.close());
      await other.join('1');
      const base = `${server.url}/socket.io/?api_token=${anna.token}&EIO=3&transport=polling`;
      const { sid } = JSON.parse(split3((await request(base)).text)[0].slice(1));
      const url = `${base}&sid=${encodeURIComponent(sid)}`;
      await request(url, { method: 'POST', body: join3(event('room', { roomid: '1' })) });
      await other.next('room', (roster) => anna.id in roster);
      await poll(url, 'room');
      // Other events may come in between; what is aborted must be a poll that waits.
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 100);
      await assert.rejects(async () => {
        for (;;) await request(url, { signal: controller.signal });
      }, /abort/);
      const begun = Date.now();
      await other.next('roomout', (roster) => !(anna.id in roster));
      assert.ok(Date.now() - begun < 1000, 'a closed tab is noticed within a second');
    });
  });
}
