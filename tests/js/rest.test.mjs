// The REST API with the original's shapes, and what else is served over plain HTTP.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Api, freshEmail, png } from './support/api.mjs';
import { getExactly } from './support/raw.mjs';
import { Server, shipped } from './support/server.mjs';

describe('REST', () => {
  let server;
  let api;
  before(async () => {
    server = await Server.start({ shards: 2, config: shipped });
    api = new Api(server);
  });
  after(() => server?.stop());
  const post = (path, body, headers) => api.call('POST', path, { body, headers });

  test('register and login answer with the user and a new token', async () => {
    const email = freshEmail('rest');
    const registered = await post('/api/register', { name: email, password: 'secret-123' });
    assert.equal(registered.status, 200);
    assert.match(registered.headers.get('content-type'), /^application\/json/);
    const { user } = registered.json;
    assert.deepEqual(Object.keys(user).sort(), [
      'api_token', 'avatar', 'created_at', 'email', 'id', 'name', 'updated_at',
    ]);
    assert.equal(registered.json.message, 'Registered');
    assert.equal(user.name, email.split('@')[0]);
    assert.equal(user.email, email);
    assert.match(user.api_token, /^[A-Za-z0-9]{60}$/);
    assert.equal((await fetch(server.url + user.avatar)).status, 200, 'the default avatar is served');
    server.secrets.add(user.api_token);

    const cookie = registered.headers.get('set-cookie');
    assert.match(cookie, /^throng_session=/);
    for (const part of [/HttpOnly/i, /SameSite=Strict/i, /Path=\/api/i]) assert.match(cookie, part);

    const login = await post('/api/login', { name: email.toUpperCase(), password: 'secret-123' });
    assert.equal(login.json.errno, 0, login.text);
    assert.equal(login.json.message, 'Logged in');
    assert.equal(login.json.user.email_verified_at, null);
    assert.equal(login.json.user.id, user.id);
    assert.notEqual(login.json.user.api_token, user.api_token);
    server.secrets.add(login.json.user.api_token);
    for (const token of [user.api_token, login.json.user.api_token]) {
      assert.equal((await api.call('GET', `/api/user?api_token=${token}`)).json.id, user.id, 'both valid');
    }
  });

  test('the validator speaks as the original did', async () => {
    const taken = freshEmail('taken');
    await post('/api/register', { name: taken, password: 'secret-123' });
    const cases = [
      [{}, 'The name field is required.'],
      [{ name: '  ', password: 'secret-123' }, 'The name field is required.'],
      [{ name: 'not an address', password: 'secret-123' }, 'The name must be a valid email address.'],
      [{ name: `${'a'.repeat(60)}@${'b'.repeat(40)}.example.com`, password: 'secret-123' },
        'The name may not be greater than 100 characters.'],
      [{ name: taken, password: 'secret-123' }, 'The name has already been taken.'],
      [{ name: taken.toUpperCase(), password: 'secret-123' }, 'The name has already been taken.'],
      [{ name: freshEmail() }, 'The password field is required.'],
      [{ name: freshEmail(), password: 123456 }, 'The password must be a string.'],
      [{ name: freshEmail(), password: '12345' }, 'The password must be at least 6 characters.'],
      [{ name: freshEmail(), password: 'secret-123', src: 'not a url' }, 'The src is not a valid URL.'],
      [{ name: freshEmail(), password: 'secret-123', src: `https://example.com/${'a'.repeat(250)}` },
        'The src may not be greater than 255 characters.'],
    ];
    for (const [body, message] of cases) {
      const { status, json } = await post('/api/register', body);
      assert.equal(status, 200, message);
      assert.deepEqual(json, { errno: 1, message });
    }
    const wrong = await post('/api/login', { name: taken, password: 'wrong-123' });
    assert.deepEqual(wrong.json, { errno: 1, message: 'The e-mail or password is wrong.' });
    const unknown = await post('/api/login', { name: freshEmail(), password: 'secret-123' });
    assert.deepEqual(unknown.json, wrong.json, 'the answer does not show who is registered');
  });

  test('a token comes by query, body, bearer header, or cookie; without one 401', async () => {
    const user = await api.register('who');
    const answers = [
      await api.call('GET', `/api/user?api_token=${user.token}`),
      await api.call('GET', '/api/user', { headers: { Authorization: `Bearer ${user.token}` } }),
    ];
    for (const { status, json } of answers) {
      assert.equal(status, 200);
      assert.equal(json.id, user.id);
      assert.equal(json.password, undefined);
    }
    const login = await post('/api/login', { name: user.email, password: user.password });
    server.secrets.add(login.json.user.api_token);
    const cookie = login.headers.get('set-cookie').split(';')[0];
    const own = await api.call('GET', '/api/user', { headers: { Cookie: cookie } });
    assert.equal(own.json.id, user.id);
    assert.equal(own.json.api_token, undefined, 'a cookie is not exchanged for a token');
    const history = await api.call('GET', '/api/history/message?current=1&roomid=1', { headers: { Cookie: cookie } });
    assert.equal(history.json.data.errno, 0, 'the page that lost its token reads on');
    const change = await api.call('POST', '/api/logout', { headers: { Cookie: cookie }, body: {} });
    assert.equal(change.status, 401, 'a cookie never changes anything');

    for (const path of ['/api/user', '/api/user?api_token=', '/api/user?api_token=x', '/api/history/message?roomid=1&current=1', '/api/rooms', '/api/robot?info=x&id=1']) {
      const { status, json } = await api.call('GET', path);
      assert.equal(status, 401, path);
      assert.deepEqual(json, { message: 'Unauthenticated.' }, path);
    }
    const numeric = await post('/api/logout', { api_token: 1 });
    assert.equal(numeric.status, 401);
  });

  test('rooms, robot, and the routes that do not exist', async () => {
    const { token } = await api.register('routes');
    const rooms = (await api.call('GET', `/api/rooms?api_token=${token}`)).json;
    assert.equal(rooms.errno, 0);
    assert.deepEqual(rooms.rooms.map((room) => [room.id, room.name]), [[1, 'Lobby'], [2, 'Lounge']]);
    assert.deepEqual(Object.keys(rooms.rooms[0]).sort(), ['id', 'name', 'online', 'seq', 'unread']);
    const robot = (await api.call('GET', `/api/robot?info=hello&id=1&api_token=${token}`)).json;
    const said = JSON.parse(robot.data);
    assert.equal(said.code, 100000);
    assert.equal(typeof said.text, 'string');
    const missing = await api.call('GET', `/api/nothing?api_token=${token}`);
    assert.deepEqual([missing.status, missing.json], [404, { message: 'Not Found' }]);
    assert.equal((await api.call('GET', '/api/login')).status, 405);
    const broken = await api.call('POST', '/api/login', { body: '{"name":' });
    assert.ok([200, 400, 422].includes(broken.status), `${broken.status}`);
    assert.notEqual(broken.json?.errno, 0);
  });

  test('uploads are sniffed, not believed', async () => {
    const { token } = await api.register('upload');
    const send = (path, bytes, name, fields = {}) => {
      const form = new FormData();
      form.set('api_token', token);
      for (const [key, value] of Object.entries(fields)) form.set(key, value);
      if (bytes) form.set('file', new Blob([bytes], { type: 'image/jpeg' }), name);
      return api.call('POST', path, { form });
    };
    const image = await send('/api/file/uploadimg', png, 'photo.jpg', { roomid: '1' });
    assert.equal(image.json?.errno, 200, image.text);
    assert.equal(image.json.msg, 'Saved');
    assert.match(image.json.url, /^\/storage\/images\/messages\//);
    const served = await fetch(`${server.url}${image.json.url}?imageView2/2/w/360`);
    assert.equal(served.headers.get('content-type'), 'image/png', 'by content, whatever it was called');
    assert.equal(served.headers.get('x-content-type-options'), 'nosniff');

    const avatar = await send('/api/file/avatar', png, 'me.jpg');
    assert.equal(avatar.json?.errno, 0, avatar.text);
    assert.match(avatar.json.data.url, /^\/storage\/images\/avatars\//);
    assert.equal((await api.call('GET', `/api/user?api_token=${token}`)).json.avatar, avatar.json.data.url);

    const evil = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>';
    for (const [bytes, fields] of [[evil, { roomid: '1' }], ['', { roomid: '1' }], [null, { roomid: '1' }], [png, {}], [png, { roomid: '0' }]]) {
      const { json } = await send('/api/file/uploadimg', bytes, 'x.png', fields);
      assert.deepEqual(json, {
        errno: 500,
        msg: 'Invalid parameters (room or image file is missing or invalid)',
      });
    }
    assert.deepEqual((await send('/api/file/avatar', evil, 'x.png')).json, {
      errno: 500,
      msg: 'Invalid parameters (the avatar image is missing or invalid)',
    });
    const form = new FormData();
    form.set('file', new Blob([png]), 'x.png');
    form.set('roomid', '1');
    assert.equal((await api.call('POST', '/api/file/uploadimg', { form })).status, 401);
  });

  test('files outside the storage cannot be reached', async () => {
    const names = ['throng.db', 'data.db', 'throng.sqlite', 'throng.sqlite3'];
    const paths = names.flatMap((name) => [`/storage/../${name}`, `/storage/%2e%2e/${name}`, `/storage/images/..%2f..%2f${name}`]);
    for (const path of [...paths, '/storage/', '/storage/images/', '/storage/..%2f..%2f..%2f..%2fetc/passwd', '/..%2f..%2f..%2fetc/passwd']) {
      const { status, text } = await getExactly(server, path);
      assert.ok(!text.includes('SQLite format') && !text.includes('root:'), path);
      if (path.startsWith('/storage')) assert.notEqual(status, 200, path);
    }
  });

  test('health, readiness, metrics, and the page', async () => {
    const health = await api.call('GET', '/health');
    assert.deepEqual([health.status, health.json], [200, { status: 'ok' }]);
    const ready = await api.call('GET', '/ready');
    assert.equal(ready.status, 200);
    assert.equal(ready.json.ready, true);
    const samples = await server.metrics();
    for (const name of [
      'throng_connections', 'throng_sessions', 'throng_sessions_opened_total', 'throng_rooms',
      'throng_joins_total', 'throng_leaves_total', 'throng_messages_in_total', 'throng_deliveries_total',
      'throng_flushes_total', 'throng_bytes_in_total', 'throng_bytes_out_total', 'throng_lane_depth',
      'throng_lane_refusals_total', 'throng_store_commits_total', 'throng_build_info',
    ]) {
      assert.notEqual(samples.sum(name), undefined, name);
    }
    assert.notEqual(samples.sum('throng_store_commit_seconds_count'), undefined);
    const page = await api.call('GET', '/');
    assert.equal(page.status, 200);
    assert.match(page.headers.get('content-type'), /^text\/html/);
  });
});

test('the API is throttled per address, with the original headers', async (t) => {
  const server = await Server.start({ config: '[http]\napi_per_minute = 5\n' });
  t.after(() => server.stop());
  const api = new Api(server);
  const answers = [];
  for (let i = 0; i < 7; i += 1) answers.push(await api.call('GET', '/api/user'));
  assert.deepEqual(answers.map((answer) => answer.status), [401, 401, 401, 401, 401, 429, 429]);
  assert.equal(answers[0].headers.get('x-ratelimit-limit'), '5');
  assert.equal(answers[0].headers.get('x-ratelimit-remaining'), '4');
  assert.equal(answers[5].json.message, 'Too Many Attempts.');
  assert.ok(Number(answers[5].headers.get('retry-after')) > 0);
  assert.equal((await api.call('GET', '/health')).status, 200, 'only the API is');
});
