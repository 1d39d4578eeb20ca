// Database servers of our own, on a socket or a spare port, ended with the test.
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { program, run } from './programs.mjs';
import { eventually } from './server.mjs';
import { Service, sparePort } from './services.mjs';

/** Neither may run as root. */
async function giveAway(dir, user) {
  if (process.getuid() !== 0) return;
  const [uid, gid] = (await readFile('/etc/passwd', 'utf8'))
    .split('\n').find((line) => line.startsWith(`${user}:`)).split(':').slice(2, 4).map(Number);
  await chown(dir, uid, gid);
}

/** A PostgreSQL server on a socket of its own. */
export class Postgres extends Service {
  static async start() {
    const self = new Postgres('postgres');
    self.dir = await mkdtemp(join(tmpdir(), 'throng-pg-'));
    await giveAway(self.dir, 'postgres');
    const init = ['-D', join(self.dir, 'data'), '-U', 'throng', '--auth=trust', '--no-sync', '-E', 'UTF8', '--locale=C'];
    await self.launch(program('initdb'), init, 'postgres');
    if (await self.exit) throw new Error(`initdb: ${self.log.join('')}`);
    await self.up();
    return self;
  }

  async up() {
    const settings = ['-c', 'listen_addresses=', '-c', 'fsync=off', '-c', 'max_connections=200'];
    const places = ['-D', join(this.dir, 'data'), '-k', this.dir];
    await this.launch(program('postgres'), [...places, ...settings], 'postgres');
    await eventually('postgres answers', () => this.sql('postgres', 'SELECT 1').catch(() => false), 60_000);
  }

  /** Where it listens. */
  get socket() {
    return join(this.dir, '.s.PGSQL.5432');
  }

  /** Ends it at once and all of its processes with it; a SIGKILL would leave them for a moment. */
  async crash() {
    await this.kill('SIGQUIT');
  }

  async sql(database, text) {
    const args = ['-h', this.dir, '-U', 'throng', '-d', database, '-Atc', text];
    return (await run(program('psql'), args)).stdout.trim();
  }

  /** The URL of a new database. */
  async database() {
    this.databases = (this.databases ?? 0) + 1;
    const name = `throng${this.databases}`;
    await this.sql('postgres', `CREATE DATABASE ${name}`);
    return `postgres://throng@localhost/${name}?host=${this.dir}`;
  }

  async stop() {
    await this.crash();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** A MariaDB server, which `root` reaches by its socket and others by its port. */
export class MariaDb extends Service {
  static async start() {
    const self = new MariaDb('mariadb');
    self.dir = await mkdtemp(join(tmpdir(), 'throng-my-'));
    self.port = await sparePort();
    await giveAway(self.dir, 'mysql');
    const data = `--datadir=${join(self.dir, 'data')}`;
    // It removes, when it starts, the temporary tables of others that lie in the same place.
    const temporaries = `--tmpdir=${self.dir}`;
    const install = ['--no-defaults', data, temporaries, '--auth-root-authentication-method=normal', '--skip-test-db'];
    await self.launch(program('mariadb-install-db'), install, 'mysql');
    if (await self.exit) throw new Error(`mariadb-install-db: ${self.log.join('')}`);
    const files = [`--socket=${join(self.dir, 'sock')}`, `--pid-file=${join(self.dir, 'pid')}`];
    // Neither the zone of this machine nor UTC, so that a confusion is seen.
    const settings = ['--bind-address=127.0.0.1', `--port=${self.port}`, '--default-time-zone=+03:00'];
    await self.launch(program('mariadbd'), ['--no-defaults', data, temporaries, ...files, ...settings], 'mysql');
    await eventually('mariadb answers', () => self.sql('mysql', 'SELECT 1').catch(() => false), 60_000);
    return self;
  }

  /** The URL of a new database. */
  async database() {
    this.databases = (this.databases ?? 0) + 1;
    const name = `test${this.databases}`;
    await this.sql('mysql', `CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
    return `mysql://root@localhost/${name}?socket=${join(this.dir, 'sock')}`;
  }

  async sql(database, text) {
    const login = ['--no-defaults', '-u', 'root', '-S', join(this.dir, 'sock'), '-D', database];
    return (await run(program('mariadb'), [...login, '-BN', '-e', text])).stdout.trim();
  }

  async stop() {
    await this.kill();
    await rm(this.dir, { recursive: true, force: true });
  }
}
