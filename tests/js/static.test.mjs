// What the server serves besides the API: the embedded page, another front end, and CORS.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

import { getCoded, getExactly, request } from './support/raw.mjs';
import { Server, shipped } from './support/server.mjs';

test('the embedded client is served with its assets', async (t) => {
  const server = await Server.start({ shards: 2 });
  t.after(() => server.stop());
  const page = await request(`${server.url}/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type'), /^text\/html; *charset=utf-8/i);
  const assets = [...page.text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map((found) => found[1]);
  assert.ok(assets.length >= 2, page.text);
  for (const path of assets) {
    const asset = await request(server.url + path);
    assert.equal(asset.status, 200, path);
    assert.match(asset.headers.get('content-type'), path.endsWith('.css') ? /text\/css/ : /javascript/, path);
    assert.ok(asset.bytes.length > 1000, path);
    // They were compressed when the page was built.
    for (const [coding, decode] of [['br', brotliDecompressSync], ['gzip', gunzipSync]]) {
      const { status, headers, body } = await getCoded(server, path, coding);
      assert.deepEqual([status, headers['content-encoding']], [200, coding], path);
      assert.match(headers.vary ?? '', /accept-encoding/i, path);
      assert.equal(headers['content-type'], asset.headers.get('content-type'), path);
      assert.ok(body.length < asset.bytes.length / 2, `${path}: ${body.length} of ${asset.bytes.length} bytes`);
      assert.ok(decode(body).equals(asset.bytes), `${path} is the same in ${coding}`);
    }
  }
  assert.equal((await request(`${server.url}/assets/nothing.js`)).status, 404);
});

test('--static-dir serves another front end and nothing outside of it', async (t) => {
  const top = await mkdtemp(join(tmpdir(), 'throng-static-'));
  t.after(() => rm(top, { recursive: true, force: true }));
  const dir = join(top, 'public');
  for (const folder of ['js', 'api', 'storage', 'socket.io']) await mkdir(join(dir, folder), { recursive: true });
  await writeFile(join(dir, 'index.html'), '<p>another front end');
  await writeFile(join(dir, 'js', 'app.js'), 'export {};');
  await writeFile(join(dir, 'favicon.ico'), '');
  for (const folder of ['api', 'storage', 'socket.io']) await writeFile(join(dir, folder, 'trap.txt'), 'trap');
  await writeFile(join(top, 'secret.txt'), 'outside');
  const server = await Server.start({ args: ['--static-dir', dir] });
  t.after(() => server.stop());
  const get = (path) => request(server.url + path);
  assert.equal((await get('/')).text, '<p>another front end');
  assert.match((await get('/')).headers.get('content-type'), /^text\/html; *charset=utf-8/i);
  assert.equal((await get('/js/app.js?v=1')).text, 'export {};');
  assert.equal((await get('/favicon.ico')).status, 200);
  for (const path of ['/api/trap.txt', '/storage/trap.txt', '/socket.io/trap.txt', '/../secret.txt', '/%2e%2e/secret.txt',
    '/..%2fsecret.txt', '/js/%2e%2e/%2e%2e/secret.txt', '/%2e%2e%5csecret.txt', '/nothing.html']) {
    const { status, text } = await getExactly(server, path);
    assert.notEqual(status, 200, path);
    assert.ok(!/outside|trap/.test(text), path);
  }
});

test('foreign origins are refused unless the operator lists them', async (t) => {
  const config = `${shipped}allowed_origins = ["https://friend.example"]\n`;
  const server = await Server.start({ config });
  t.after(() => server.stop());
  const url = `${server.url}/socket.io/?EIO=4&transport=polling`;
  const open = (origin, options = {}) => request(url, { ...options, headers: { Origin: origin } });
  const foreign = await open('https://elsewhere.example');
  assert.deepEqual([foreign.status, JSON.parse(foreign.text)], [403, { code: 4, message: 'Forbidden' }]);
  assert.equal(foreign.headers.get('access-control-allow-origin'), null);
  assert.equal((await open('null')).status, 403);
  assert.equal((await open(server.url)).status, 200, 'its own');
  const friend = await open('https://friend.example');
  assert.equal(friend.status, 200);
  assert.equal(friend.headers.get('access-control-allow-origin'), 'https://friend.example');
  assert.equal(friend.headers.get('access-control-allow-credentials'), 'true');
  assert.match(friend.headers.get('vary') ?? '', /origin/i);
  const preflight = await open('https://friend.example', { method: 'OPTIONS' });
  assert.ok([200, 204].includes(preflight.status));
  assert.match(preflight.headers.get('access-control-allow-methods'), /GET/);
  assert.match(preflight.headers.get('access-control-allow-methods'), /POST/);
});
