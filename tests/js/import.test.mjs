// `throng import`, as the guide for moving says it: the program against a real MariaDB with the
// original's schema, and then the server on what it made of it.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Api } from './support/api.mjs';
import { Client } from './support/client.mjs';
import { MariaDb } from './support/databases.mjs';
import { binary, run } from './support/programs.mjs';
import { Server } from './support/server.mjs';

const schema = new URL('../../server/import/tests/original.sql', import.meta.url);
/** PHP's bcrypt of the password `U*U`. */
const bcrypt = '$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW';
const tokens = { ann: 'a'.repeat(60), bob: 'b'.repeat(60) };
const rows = `
  SET time_zone = @@GLOBAL.time_zone;
  INSERT INTO users (id, name, email, password, avatar, api_token) VALUES
    (3, 'ann', 'ann@example.org', '${bcrypt}', '/ann.png', '${tokens.ann}'),
    (5, 'bob', 'bob@example.org', '${bcrypt}', '/bob.png', '${tokens.bob}');
  INSERT INTO messages (id, msg, img, user_id, room_id, created_at) VALUES
    (10, 'first', '', 3, 1, '2020-02-03 04:05:06'),
    (11, '', '/storage/x.png', 5, 1, '2020-02-03 04:05:07'),
    (12, 'an orphan', '', 99, 1, '2020-02-03 04:05:08'),
    (13, 'third', '', 5, 1, '2020-02-03 04:05:09'),
    (14, 'elsewhere', '', 5, 2, '2020-02-03 04:05:10');
  INSERT INTO counts (user_id, room_id, count) VALUES (3, 1, 2), (3, 2, 0), (5, 1, 0), (5, 2, 1)`;

let mariadb;
let from;
before(async () => {
  mariadb = await MariaDb.start();
  await mariadb.sql('mysql', `CREATE DATABASE laravel CHARACTER SET utf8mb4;
    CREATE USER laravel@127.0.0.1 IDENTIFIED BY 'old secret'; GRANT SELECT ON laravel.* TO laravel@127.0.0.1`);
  await mariadb.sql('laravel', `${await readFile(schema, 'utf8')};${rows}`);
  from = `mysql://laravel:old%20secret@127.0.0.1:${mariadb.port}/laravel`;
});
after(() => mariadb?.stop());

/** Runs `throng import` to its end: `{code, out, err}`; no secret may be in what it says. */
async function throngImport(args, env = {}) {
  const options = { env: { ...process.env, THRONG_IMPORT_FROM: from, ...env } };
  const done = await run(binary('throng'), ['import', ...args], options).then(
    ({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }),
    ({ code, stdout, stderr }) => ({ code, out: stdout, err: stderr }),
  );
  for (const secret of ['secret', bcrypt, ...Object.values(tokens)]) {
    assert.ok(!`${done.out}${done.err}`.includes(secret), `a secret is printed: ${done.out}${done.err}`);
  }
  return done;
}

/** `database`: makes the URL of the target, or nothing for the embedded one. */
function into(name, database) {
  describe(`into ${name}`, () => {
    let data;
    let env = {};
    let server;
    let api;
    before(async () => {
      data = await mkdtemp(join(tmpdir(), 'throng-import-'));
      const url = await database?.();
      if (url) env = { THRONG_DATABASE: url };
    });
    after(async () => {
      await server?.stop();
      await rm(data, { recursive: true, force: true });
    });
    const open = async (t, user) => {
      const session = await Client.open(server, { token: tokens[user] });
      t.after(() => session.close());
      return session;
    };

    test('a dry run prints what would be written', async () => {
      const { code, out } = await throngImport(['--dry-run', '--data-dir', data], env);
      assert.equal(code, 0);
      assert.match(out, /^a dry run: nothing was written/);
      assert.match(out, /users +2 read +2 written/);
      assert.match(out, /messages +5 read +4 written\n +1 .*author does not exist \(id 12\)/);
    });

    test('the import prints what was written, and is refused a second time', async () => {
      const first = await throngImport(['--data-dir', data], env);
      assert.equal(first.code, 0, first.err);
      assert.match(first.out, /^imported into /);
      assert.match(first.out, /tokens +2 read +2 written/);
      const again = await throngImport(['--data-dir', data], env);
      assert.notEqual(again.code, 0);
      assert.match(again.err, /users|messages/);
      assert.equal(again.out, '');
    });

    test('every user is still logged in, and unread counts are the same', async (t) => {
      server = await Server.start({ data, env });
      server.secrets.add(tokens.ann).add(tokens.bob);
      api = new Api(server);
      const login = await (await open(t, 'ann')).ask('login', {});
      assert.deepEqual([login.user.id, login.user.name], [3, 'ann']);
      assert.deepEqual([login.count.room1, login.count.room2], [2, 0]);
      const bob = await (await open(t, 'bob')).ask('login', {});
      assert.deepEqual([bob.count.room1, bob.count.room2], [0, 1]);
    });

    test('the old password lets in, and is kept as Argon2 from then on', async () => {
      const login = (password) => api.call('POST', '/api/login', { body: { name: 'ann@example.org', password } });
      const { json, text } = await login('U*U');
      assert.equal(json.errno, 0, text);
      assert.equal(json.user.id, 3);
      server.secrets.add(json.user.api_token);
      assert.notEqual((await login('wrong')).json.errno, 0);
      if (env.THRONG_DATABASE) {
        const hashes = await mariadb.sql('throng', 'SELECT id, LEFT(password_hash, 10) FROM users ORDER BY id');
        assert.equal(hashes, '3\t$argon2id$\n5\t$2y$05$CCC');
      }
    });

    test('the history is there, in order, with the times of the original', async () => {
      const { data: page, total } = await api.history(tokens.ann, 1);
      const seen = page.map(({ seq, username, msg, img, time }) => [seq, username, msg, img, time]);
      assert.equal(total, 3);
      assert.deepEqual(seen.sort(([a], [b]) => a - b), [
        [1, 'ann', 'first', '', '2020-02-02T20:05:06Z'],
        [2, 'bob', '', '/storage/x.png', '2020-02-02T20:05:07Z'],
        [3, 'bob', 'third', '', '2020-02-02T20:05:09Z'],
      ]);
    });

    test('the room goes on', async (t) => {
      const [ann, bob] = [await open(t, 'ann'), await open(t, 'bob')];
      await bob.join(1);
      const { ok, seq } = await bob.say(1, 'fourth');
      assert.deepEqual([ok, seq], [true, 4]);
      await ann.next('count', ({ room1 }) => room1 === 3);
    });
  });
}

into('the embedded SQLite');
into('MariaDB', async () => {
  await mariadb.sql('mysql', `CREATE DATABASE throng CHARACTER SET utf8mb4;
    CREATE USER throng@127.0.0.1 IDENTIFIED BY 'new secret'; GRANT ALL ON throng.* TO throng@127.0.0.1`);
  return `mysql://throng:new%20secret@127.0.0.1:${mariadb.port}/throng`;
});
