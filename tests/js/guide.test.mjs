// The guide for moving from the original, word for word: its nginx configuration in front of the
// server, and its PHP next to it.
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Api, png, pngUrl } from './support/api.mjs';
import { Client } from './support/client.mjs';
import { nodeConfig } from './support/nodes.mjs';
import { program, run, startService } from './support/programs.mjs';
import { eventually, Server } from './support/server.mjs';
import { Redis, sparePort } from './support/services.mjs';

const guide = await readFile(new URL('../../server/docs/migrating.md', import.meta.url), 'utf8');
/** The blocks of the guide in a language. */
const blocks = (language) => [...guide.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, text]) => text);

/** Replaces what is there, once. */
function put(text, old, by) {
  assert.ok(text.includes(old), `the guide has no ${old}`);
  return text.replace(old, by);
}

let redis;
let server;
before(async () => {
  redis = await Redis.start();
  server = await Server.start({
    config: nodeConfig().replace('[http]', '[http]\ntrusted_proxies = ["127.0.0.1"]'),
    args: ['--redis', redis.url, '--unlimited'],
  });
});
after(async () => {
  await server?.stop();
  await redis?.stop();
});

describe('nginx in front', () => {
  let dir;
  let nginx;
  let front;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'throng-nginx-'));
    // Its workers have another user when we are root.
    await chmod(dir, 0o755);
    const site = join(dir, 'public');
    await mkdir(join(site, 'storage'), { recursive: true });
    await writeFile(join(site, 'index.html'), 'the page of the original');
    await writeFile(join(site, 'storage', 'old.png'), png);
    front = { url: `http://127.0.0.1:${await sparePort()}`, secrets: server.secrets };
    let [text] = blocks('nginx');
    text = put(text, 'listen 443 ssl;', `listen ${front.url.slice('http://'.length)};`);
    text = put(text, '127.0.0.1:8090', `127.0.0.1:${server.port}`);
    // There is no PHP behind it here; what it would answer is not asked for.
    text = put(text, 'include fastcgi_params;', '').replaceAll('/srv/webchat/public', site);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`);
    await writeFile(join(dir, 'nginx.conf'), [
      `daemon off; pid ${dir}/pid; error_log ${dir}/errors; events {}`,
      `http { access_log off; ${temporary.join(' ')} types { text/html html; image/png png; }`,
      text,
      '}',
    ].join('\n'));
    nginx = startService(program('nginx'), ['-p', dir, '-c', join(dir, 'nginx.conf')], { stdio: 'inherit' });
    await eventually('nginx answers', () => fetch(front.url).then(({ ok }) => ok, () => false));
  });
  after(async () => {
    nginx?.kill('SIGTERM');
    await rm(dir, { recursive: true, force: true });
  });

  test('the page comes from the disk, the API from the server', async () => {
    assert.equal(await (await fetch(front.url)).text(), 'the page of the original');
    const user = await new Api(front).register('proxied');
    assert.ok(user.token.length > 0);
  });

  test('a host that the client makes up is not believed', async () => {
    const headers = { 'Content-Type': 'application/json', Origin: 'http://evil.example', 'X-Forwarded-Host': 'evil.example' };
    const login = await fetch(`${front.url}/api/login`, { method: 'POST', headers, body: '{}' });
    assert.equal(login.status, 403);
    const handshake = await fetch(`${front.url}/socket.io/?EIO=4&transport=polling`, { headers });
    assert.equal(handshake.status, 403);
  });

  test('an image of the original comes from the disk, a new one from the server', async (t) => {
    const api = new Api(front);
    const old = await fetch(`${front.url}/storage/old.png`);
    assert.deepEqual([old.status, old.headers.get('x-content-type-options')], [200, 'nosniff']);
    const user = await api.register('painter');
    const session = await Client.open(front, { token: user.token });
    t.after(() => session.close());
    await session.join(1);
    assert.equal((await session.say(1, '', { img: pngUrl })).ok, true);
    const [{ img }] = await session.next('message');
    const url = new URL(img, front.url);
    assert.equal((await fetch(`${front.url}${url.pathname}`)).status, 200);
  });

  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`people talk over ${transports.join(', then ')}`, async (t) => {
      const user = await new Api(front).register('talker');
      const session = await Client.open(front, { token: user.token, transports });
      t.after(() => session.close());
      await session.join(1);
      await eventually('the last transport', () => session.transport === transports.at(-1));
      assert.equal((await session.say(1, transports.join(' '))).ok, true);
      await session.next('message', ({ msg }) => msg === transports.join(' '));
    });
  }
});

describe('PHP next to it', () => {
  /** Runs PHP with what Laravel would give it: the facade `Redis`, on a connection without prefix. */
  async function php(code) {
    const facade = `<?php
      final class Facade {
        public static function __callStatic(string $name, array $arguments) {
          static $redis;
          if (!$redis) { $redis = new \\Redis(); $redis->connect('127.0.0.1', ${redis.port}); }
          return $redis->$name(...$arguments);
        }
      }`;
    const dir = await mkdtemp(join(tmpdir(), 'throng-php-'));
    await writeFile(join(dir, 'facade.php'), facade);
    await writeFile(join(dir, 'main.php'), `<?php require 'facade.php'; use Facade as Redis;\n${code}`);
    const { stdout } = await run(program('php'), ['main.php'], { cwd: dir });
    await rm(dir, { recursive: true });
    return stdout;
  }
  const [reads, emits] = blocks('php');
  let api;
  let user;
  let session;
  before(async () => {
    api = new Api(server);
    user = await api.register('present');
    session = await Client.open(server, { token: user.token });
    await session.join(1);
  });
  after(() => session?.close());

  test('it reads who is there', async () => {
    const ask = (id, room) => php(`$userId = ${id}; $roomId = ${room}; ${reads}
      echo json_encode([(bool) $isOnline, $connections]);`);
    await eventually('the user is in the map', async () => (await ask(user.id, 1)) === '[true,1]');
    assert.equal(await ask(999_999, 77), '[false,0]');
  });

  test('it emits to a room and to a user', async () => {
    const notices = new Set();
    session.socket.on('notice', ({ text }) => notices.add(text));
    const code = emits.replaceAll('uid_42', `uid_${user.id}`);
    // At most once, and not before the node has subscribed: see the guide.
    await eventually('both notices', async () => {
      await php(code);
      return notices.size === 2;
    });
    assert.deepEqual([...notices].sort(), ['Maintenance at six.', 'Only for you.']);
  });
});
