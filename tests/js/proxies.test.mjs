// The recipes of server/docs/proxies.md, word for word, in front of the server: TLS on an odd port.
import assert from 'node:assert/strict';
import { chmod, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

import WebSocket from 'ws';

import { freshEmail } from './support/api.mjs';
import { Client } from './support/client.mjs';
import { program, startService } from './support/programs.mjs';
import { getCoded, request } from './support/raw.mjs';
import { eventually, Server, shipped } from './support/server.mjs';
import { sparePort } from './support/services.mjs';

const page = await readFile(new URL('../../server/docs/proxies.md', import.meta.url), 'utf8');
/** The blocks below a heading, by their language. */
function recipe(heading) {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  assert.ok(section, `the page has no ${heading}`);
  return Object.fromEntries([...section.matchAll(/^```(\w+)\n(.*?)^```/gms)].map(([, language, text]) => [language, text]));
}

/** Replaces what is there. */
function put(text, old, by) {
  assert.ok(text.includes(old), `the recipe has no ${old}`);
  return text.replace(old, by);
}

/** Connections of one client: enough for the sessions of a test, and too few for two clients together. */
const connectionsMax = 6;
const limits = `\n[limits]\nconnections_per_ip_max = ${connectionsMax}\n`;
const certificate = new URL('./support/localhost.pem', import.meta.url);

/** What each proxy needs besides its recipe: `start({dir, front, server, pem, recipe})`. */
const proxies = {
  nginx: async ({ dir, front, server, pem, text }) => {
    text = put(text, 'listen 443 ssl;', `listen 127.0.0.1:${front.port} ssl;`);
    text = put(text, '127.0.0.1:8090', `127.0.0.1:${server.port}`);
    text = put(put(text, '/etc/ssl/chat.pem', pem), '/etc/ssl/chat.key', pem);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`);
    const file = join(dir, 'nginx.conf');
    await writeFile(file, `daemon off; pid ${dir}/pid; error_log ${dir}/errors; events {}\nhttp { access_log off; ${temporary.join(' ')}\n${text}\n}\n`);
    return startService(program('nginx'), ['-p', dir, '-c', file], { stdio: 'inherit' });
  },
  Caddy: async ({ dir, front, server, pem, text }) => {
    text = put(text, 'chat.example {', `https://127.0.0.1:${front.port} {\n    bind 127.0.0.1\n    tls ${pem} ${pem}`);
    text = put(text, '127.0.0.1:8090', `127.0.0.1:${server.port}`);
    const file = join(dir, 'Caddyfile');
    await writeFile(file, `{\n    admin off\n    auto_https disable_redirects\n}\n${text}`);
    const env = { ...process.env, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir };
    return startService(program('caddy'), ['run', '--config', file, '--adapter', 'caddyfile'], { env, stdio: 'ignore' });
  },
  HAProxy: async ({ dir, front, server, pem, text }) => {
    text = put(text, 'bind :443', `bind 127.0.0.1:${front.port}`);
    text = put(put(text, '/etc/ssl/chat.pem', pem), '127.0.0.1:8090', `127.0.0.1:${server.port}`);
    const file = join(dir, 'haproxy.cfg');
    await writeFile(file, text);
    return startService(program('haproxy'), ['-db', '-f', file], { stdio: 'ignore' });
  },
};
proxies['A balancer of TCP connections'] = proxies.HAProxy;

/** One HTTPS request from a loopback address of its own: `{status, headers, text}`. */
const ask = (front, path, { from = '127.0.0.1', method = 'GET', headers = {}, body } = {}) =>
  new Promise((done, fail) => {
    const options = { host: '127.0.0.1', port: front.port, path, method, headers, localAddress: from, agent: false, rejectUnauthorized: false };
    const asked = https.request(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString() }));
    });
    asked.on('error', fail);
    asked.end(body);
  });

/** A WebSocket from a loopback address: `open`, or the status of the refusal. */
const dial = (front, from, options = {}) =>
  new Promise((done) => {
    const url = `wss://127.0.0.1:${front.port}/socket.io/?EIO=4&transport=websocket`;
    const socket = new WebSocket(url, options.protocols ?? [], { origin: front.url, localAddress: from, rejectUnauthorized: false, ...options });
    socket.on('error', () => {});
    socket.once('open', () => done({ socket, status: 'open' }));
    socket.once('unexpected-response', (_, response) => done({ socket, status: response.statusCode, headers: response.headers }));
  });

for (const [name, begin] of Object.entries(proxies)) {
  describe(name, () => {
    let dir;
    let front;
    let proxy;
    let server;
    before(async () => {
      const blocks = recipe(name);
      const text = blocks.nginx ?? blocks.caddy ?? blocks.haproxy;
      const config = put(shipped + limits, '[http]\n', blocks.toml);
      server = await Server.start({ shards: 2, config });
      dir = await mkdtemp(join(tmpdir(), 'throng-proxy-'));
      // Workers of some proxies have another user when we are root.
      await chmod(dir, 0o755);
      const pem = join(dir, 'localhost.pem');
      await copyFile(certificate, pem);
      const port = await sparePort();
      front = { port, url: `https://127.0.0.1:${port}`, secrets: server.secrets };
      proxy = await begin({ dir, front, server, pem, text });
      await eventually(`${name} answers`, () => ask(front, '/').then(({ status }) => status === 200, () => false));
    });
    after(async () => {
      proxy?.kill('SIGTERM');
      await server?.stop();
      if (dir) await rm(dir, { recursive: true, force: true });
    });

    test('the own origin is accepted with its port, on both transports, and no other', async (t) => {
      for (const transports of [['websocket'], ['polling']]) {
        const headers = { Origin: front.url };
        const session = await Client.open(front, { transports, rejectUnauthorized: false, extraHeaders: headers, transportOptions: { polling: { extraHeaders: headers } } });
        t.after(() => session.close());
        assert.equal(session.transport, transports[0]);
      }
      const foreign = { headers: { Origin: 'https://127.0.0.1' } };
      assert.equal((await ask(front, '/socket.io/?EIO=4&transport=polling', foreign)).status, 403);
    });

    test('each client is counted for itself', async (t) => {
      const open = [];
      t.after(() => open.forEach(({ socket }) => socket.terminate()));
      for (const from of ['127.0.1.1', '127.0.1.2']) {
        for (let i = 0; i < connectionsMax; i += 1) open.push(await dial(front, from));
      }
      assert.deepEqual(new Set(open.map(({ status }) => status)), new Set(['open']));
      const refused = await dial(front, '127.0.1.1');
      assert.equal(refused.status, 503);
      assert.ok(Number(refused.headers['retry-after']) > 0);
      // What the client writes itself is not the last word of the chain.
      const forged = await dial(front, '127.0.1.2', { headers: { 'X-Forwarded-For': '192.0.2.9' } });
      assert.equal(forged.status, 503);
      const free = await dial(front, '127.0.1.3');
      open.push(free);
      assert.equal(free.status, 'open');
    });

    test('the cookie of a login over TLS is secure', async () => {
      const body = JSON.stringify({ name: freshEmail('tls'), password: 'secret-123' });
      const headers = { 'Content-Type': 'application/json', Origin: front.url };
      const answer = await ask(front, '/api/register', { method: 'POST', headers, body });
      assert.equal(answer.status, 200, answer.text);
      const { errno, user } = JSON.parse(answer.text);
      server.secrets.add(user.api_token);
      assert.equal(errno, 0);
      assert.match(answer.headers['set-cookie'][0], /; Secure/);
    });

    test('a subprotocol that is offered comes back', async (t) => {
      const { socket, status } = await dial(front, '127.0.1.9', { protocols: ['chat.v2', 'chat'] });
      t.after(() => socket.terminate());
      assert.deepEqual([status, socket.protocol], ['open', 'chat.v2']);
    });
  });
}

describe('without a proxy', () => {
  let server;
  before(async () => {
    server = await Server.start();
  });
  after(() => server?.stop());
  const sizes = async (path, coding, from = server) => {
    const { status, headers, body } = await getCoded(from, path, coding);
    return { status, coding: headers['content-encoding'], bytes: body.length, body };
  };

  test('the client library is served as a Socket.IO server does, and works', async () => {
    const names = ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js', 'socket.io.msgpack.min.js'];
    for (const name of [...names, ...names.map((each) => `${each}.map`)]) {
      const { status, text, headers } = await request(`${server.url}/socket.io/${name}`);
      assert.equal(status, 200, name);
      if (!name.endsWith('.map')) assert.match(headers.get('content-type'), /javascript; charset=utf-8/i, name);
      assert.ok(text.length > 10_000, name);
      assert.ok(headers.get('etag'), name);
    }
    const { text } = await request(`${server.url}/socket.io/socket.io.esm.min.js`);
    const { io } = await import(`data:text/javascript,${encodeURIComponent(text)}`);
    assert.equal(typeof io, 'function');
    assert.match((await request(`${server.url}/socket.io/LICENSE`)).text, /MIT/);
  });

  test('files are compressed, and in the coding that the client reads', async () => {
    const plain = await sizes('/socket.io/socket.io.js', 'identity');
    assert.deepEqual([plain.status, plain.coding], [200, undefined]);
    for (const coding of ['br', 'gzip']) {
      const small = await sizes('/socket.io/socket.io.js', coding);
      assert.equal(small.coding, coding);
      assert.ok(small.bytes < plain.bytes / 3, `${coding}: ${small.bytes} of ${plain.bytes}`);
    }
    assert.equal((await sizes('/health', 'br, gzip')).coding, undefined, 'too small to be worth it');
  });

  test('a long poll of 1 KiB or more is compressed, a short one is not', async () => {
    const { text } = await request(`${server.url}/socket.io/?EIO=4&transport=polling`);
    const { sid } = JSON.parse(text.slice(1));
    const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    await request(server.url + path, { method: 'POST', body: '40' });
    assert.equal((await sizes(path, 'gzip')).coding, undefined);
    // Each is refused with an answer of its own.
    const packets = Array.from({ length: 30 }, (_, id) => `42${id}["room",{"roomid":0}]`);
    await request(server.url + path, { method: 'POST', body: packets.join('\x1e') });
    const answer = await sizes(path, 'gzip');
    assert.deepEqual([answer.status, answer.coding], [200, 'gzip']);
    assert.ok(answer.bytes < 1024, `${answer.bytes} bytes`);
  });

  // TRN-47: what is shorter costs more than it saves, and what is longer too much of a thread that all share.
  for (const coding of ['br', 'gzip']) {
    test(`an answer of 1024 to 65536 bytes to a poll is compressed with ${coding}, no other`, async (t) => {
      const echo = await Server.start({ bin: 'conformance', args: ['--ping-interval-ms', '25000'] });
      t.after(() => echo.stop());
      const polling = '/engine.io/?EIO=4&transport=polling';
      const { text } = await request(echo.url + polling);
      const path = `${polling}&sid=${JSON.parse(text.slice(1)).sid}`;
      for (const length of [1023, 1024, 65_536, 65_537]) {
        const message = `4${'x'.repeat(length - 1)}`;
        await request(echo.url + path, { method: 'POST', body: message });
        const answer = await sizes(path, coding, echo);
        assert.deepEqual([answer.status, answer.coding], [200, length < 1024 || length > 65_536 ? undefined : coding], `${length} bytes`);
        const decoded = { br: brotliDecompressSync, gzip: gunzipSync }[answer.coding]?.(answer.body) ?? answer.body;
        assert.equal(decoded.toString(), message);
        if (answer.coding) assert.ok(answer.bytes < length / 5, `${answer.bytes} of ${length} bytes`);
      }
    });
  }
});
