// A page that behaves on its socket as the original page does, written anew around the browser bundle
// of socket.io-client 2.3.0, in a real browser and served by `--static-dir`. What goes over the wire is
// taken from the browser's own network events and compared with the original's sequences.
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Api } from './support/api.mjs';
import { Browser, shoot } from './support/browser.mjs';
import { split3 } from './support/raw.mjs';
import { eventually, Server } from './support/server.mjs';

const bundle = join(
  dirname(createRequire(import.meta.url).resolve('socket.io-client-2.3/package.json')),
  'dist',
  'socket.io.js',
);

// The state of the original lives in local storage and in the hash; both are kept here in the same
// places: `token`, `userid`, `src`, and `#/chat?roomId=1`.
const page = `<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<h1 id="head"></h1>
<ol id="messages"></ol>
<script src="/socket.io.js"></script>
<script>
  const stored = (key) => localStorage.getItem(key) ?? false;
  const form = new URL(location).searchParams.get('form');
  const token = stored('token');
  const socket = form === '1'
    ? io(location.origin, { path: '/ws', transports: ['websocket'] })
    : io(location.origin + '?api_token=' + token);
  window.socket = socket;
  window.events = [];
  const onevent = socket.onevent;
  socket.onevent = (packet) => {
    events.push(packet.data);
    onevent.call(socket, packet);
  };
  const roomId = () => (/roomId=(\\d+)/.exec(location.hash) ?? [])[1];
  let wasGone = false;
  const setUsers = (users) => {
    document.querySelector('#head').textContent = 'Chat(' + Object.keys(users).length + ')';
  };
  const append = (message) => {
    const line = document.createElement('li');
    line.className = message.userid === stored('userid') ? 'own' : 'other';
    line.textContent = message.username + ': ' + message.msg + (message.img ? '[image]' : '');
    document.querySelector('#messages').append(line);
  };
  socket.on('connect', () => {
    if (stored('userid')) socket.emit('login', { name: stored('userid'), api_token: stored('token') });
    if (roomId()) socket.emit('room', { name: stored('userid'), src: stored('src'), roomid: roomId() });
    if (wasGone && roomId()) {
      document.querySelector('#messages').textContent = '';
      fetch('/api/history/message?current=1&roomid=' + roomId(), { headers: { Accept: 'application/json' } })
        .then((answer) => answer.json())
        .then((answer) => answer.data.data.forEach(append));
    }
  });
  socket.on('disconnect', () => { wasGone = true; });
  socket.on('room', setUsers);
  socket.on('roomout', setUsers);
  socket.on('message', append);
  const who = () => ({ name: stored('userid'), src: stored('src'), roomid: roomId(), api_token: stored('token') });
  window.mountChat = () => socket.emit('room', who());
  window.arrow = () => {
    const { name, roomid, api_token } = who();
    socket.emit('roomout', { name, roomid, api_token });
    location.hash = '#/';
  };
  window.say = (msg, img = '') => socket.emit('message', {
    username: stored('userid'), src: stored('src'), img, msg, roomid: roomId(),
    time: new Date().toISOString(), api_token: stored('token'),
  });
  if (roomId()) mountChat();
</script>
`;

describe('the original page', () => {
  let dir;
  let browser;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'throng-page-'));
    await writeFile(join(dir, 'index.html'), page);
    await copyFile(bundle, join(dir, 'socket.io.js'));
    browser = await Browser.launch();
  });
  after(async () => {
    await browser?.close();
    await rm(dir, { recursive: true, force: true });
  });

  /** A person with the page open; `wire` is what the browser sent and got, in order. */
  const visit = async (server, user, where, options = {}) => {
    const person = await browser.person();
    const { context, page: tab } = person;
    const wire = [];
    tab.on('websocket', (socket) => {
      wire.push(`WS-OPEN ${socket.url().replace(/^ws:\/\/[^/]+/, '')}`);
      socket.on('framesent', ({ payload }) => wire.push(`WS> ${payload}`));
      socket.on('framereceived', ({ payload }) => wire.push(`WS< ${payload}`));
    });
    tab.on('request', (request) => {
      const url = new URL(request.url());
      if (!/^\/(socket\.io|ws)\//.test(url.pathname)) return;
      if (request.method() === 'POST') wire.push(...split3(request.postData()).map((p) => `POST ${p}`));
      else if (request.method() === 'GET') wire.push(`GET ${url.pathname}${url.search}`);
    });
    if (options.noWebSocket) await tab.addInitScript('window.WebSocket = undefined');
    if (user) {
      await context.addInitScript(([email, token, src]) => {
        localStorage.setItem('userid', email);
        localStorage.setItem('token', token);
        localStorage.setItem('src', src);
      }, [user.email, user.token, user.avatar]);
    }
    await tab.goto(`${server.url}/${where}`);
    const head = (n) => tab.waitForFunction((want) => document.querySelector('#head').textContent === want, `Chat(${n})`);
    const lines = () => tab.locator('#messages li').allTextContents();
    return { ...person, wire, head, lines };
  };

  for (const shards of [1, 3]) {
    test(`second form, ${shards} shard(s): two people, a reload, the arrow, a restart`, async (t) => {
      const server = await Server.start({ shards, args: ['--static-dir', dir] });
      t.after(() => server.stop());
      const api = new Api(server);
      const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
      // As after login or registration in the page: the cookie is there for history on reconnect.
      const a = await visit(server, anna, '#/chat?roomId=1');
      await a.head(1);
      const cookie = await a.page.request.post(`${server.url}/api/login`, {
        data: { name: anna.email, password: anna.password },
      });
      server.secrets.add((await cookie.json()).user.api_token);

      // At load: login, the room without a token, the room with one; in this order, on polling first.
      const sent = () => a.wire.filter((line) => /^(POST|WS>) 42/.test(line)).map((line) => JSON.parse(line.replace(/^(POST|WS>) 42/, '')));
      assert.deepEqual(sent().map(([name, payload]) => [name, 'api_token' in payload]), [
        ['login', true],
        ['room', false],
        ['room', true],
      ]);
      assert.match(a.wire[0], /^GET \/socket\.io\/\?api_token=[A-Za-z0-9]{60}&EIO=3&transport=polling&t=/);
      await eventually('upgrade', () => a.wire.includes('WS> 5'));
      const at = (line) => a.wire.findIndex((entry) => entry.startsWith(line));
      assert.ok(at('POST 42["login"') < at('WS> 5'), 'posted before the upgrade');
      assert.ok(at('WS> 2probe') < at('WS< 3probe') && at('WS< 3probe') < at('WS> 5'));
      assert.equal(a.wire.filter((line) => line.startsWith('WS<'))[0], 'WS< 3probe', 'the first frame');
      assert.ok(!a.wire.some((line) => line.includes('"connect"')));

      const b = await visit(server, boris, '#/chat?roomId=1');
      await Promise.all([a.head(2), b.head(2)]);
      await a.page.evaluate(() => say('hello from A 你好 😀'));
      await b.page.locator('#messages li.other', { hasText: 'hello from A 你好 😀' }).waitFor();
      await a.page.locator('#messages li.own').waitFor();
      await b.page.evaluate(() => say('hi from B'));
      await a.page.locator('#messages li.other', { hasText: 'hi from B' }).waitFor();
      const image = 'data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';
      await b.page.evaluate((img) => say('', img), image);
      await a.page.locator('#messages li.other', { hasText: '[image]' }).waitFor();

      await b.page.reload();
      await Promise.all([a.head(2), b.head(2)]);
      await shoot(a.page, `legacy-page-${shards}`);
      await b.page.evaluate(() => arrow());
      await a.head(1);
      await b.page.evaluate(() => { location.hash = '#/chat?roomId=1'; mountChat(); });
      await Promise.all([a.head(2), b.head(2)]);

      // A second tab of B changes nothing; closing it neither; closing both does.
      const tab = await b.context.newPage();
      await tab.goto(`${server.url}/#/chat?roomId=1`);
      await tab.waitForFunction(() => document.querySelector('#head').textContent === 'Chat(2)');
      await tab.close();
      await b.page.evaluate(() => say('one tab left'));
      await a.page.locator('#messages li.other', { hasText: 'one tab left' }).waitFor();
      assert.equal(await a.page.locator('#head').textContent(), 'Chat(2)');

      // Restart: both come back by themselves, and history is read without a token, by cookie.
      await server.restart();
      await Promise.all([a.head(2), b.head(2)]);
      await a.page.locator('#messages li', { hasText: 'one tab left' }).waitFor();
      await b.context.close();
      await a.head(1);
      assert.deepEqual(a.errors, []);
      await a.context.close();
    });

    test(`first form, ${shards} shard(s): WebSocket at /ws, the token in each message`, async (t) => {
      const server = await Server.start({ shards, args: ['--static-dir', dir] });
      t.after(() => server.stop());
      const api = new Api(server);
      const anna = await api.register('anna');
      const a = await visit(server, anna, '?form=1#/chat?roomId=2');
      await a.head(1);
      assert.equal(a.wire[0], 'WS-OPEN /ws/?EIO=3&transport=websocket');
      const got = a.wire.filter((line) => line.startsWith('WS<'));
      assert.match(got[0], /^WS< 0\{"sid":/);
      assert.equal(got[1], 'WS< 40');
      await a.page.evaluate(() => say('first form'));
      await a.page.locator('#messages li.own', { hasText: 'first form' }).waitFor();
      assert.ok(!a.wire.some((line) => /^(GET|POST)/.test(line)), 'no polling');
      assert.deepEqual(a.errors, []);
      await a.context.close();
    });
  }

  test('a visitor connects, is asked to log in, and can log in without a reload', async (t) => {
    const server = await Server.start({ shards: 3, args: ['--static-dir', dir] });
    t.after(() => server.stop());
    const api = new Api(server);
    const anna = await api.register('anna');
    const a = await visit(server, undefined, '#/chat?roomId=1');
    await a.page.waitForFunction(() => events.some(([name]) => name === 'login'));
    const [name, text] = await a.page.evaluate(() => events.find((entry) => entry[0] === 'login'));
    assert.deepEqual([name, text], ['login', 'Login to enter chat room']);
    assert.match(a.wire[0], /api_token=false/);
    await a.page.evaluate(([email, token, src]) => {
      localStorage.setItem('userid', email);
      localStorage.setItem('token', token);
      localStorage.setItem('src', src);
      socket.emit('login', { name: email });
      mountChat();
    }, [anna.email, anna.token, anna.avatar]);
    await a.head(1);
    await a.context.close();
  });

  test('where WebSockets are blocked the page works by polling alone', async (t) => {
    // A page that closes between two polls is missed by the heartbeat alone: a short one.
    const heartbeat = ['--ping-interval-ms', '5000', '--ping-timeout-ms', '5000'];
    const server = await Server.start({ shards: 3, args: ['--static-dir', dir, ...heartbeat] });
    t.after(() => server.stop());
    const api = new Api(server);
    const [anna, boris] = await Promise.all([api.register('anna'), api.register('boris')]);
    const a = await visit(server, anna, '#/chat?roomId=1', { noWebSocket: true });
    const b = await visit(server, boris, '#/chat?roomId=1');
    await Promise.all([a.head(2), b.head(2)]);
    await a.page.evaluate(() => say('by polling 你好 😀'));
    await b.page.locator('#messages li.other', { hasText: 'by polling 你好 😀' }).waitFor();
    assert.ok(!a.wire.some((line) => line.startsWith('WS')));
    await a.page.close();
    await b.head(1);
    await b.context.close();
  });
});
