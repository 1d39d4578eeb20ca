// Services next to the server, Redis in its three arrangements among them: real processes on spare
// ports, with files of their own, ended with the test.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createClient } from 'redis';

import { endAll, stops } from './end.mjs';
import { program, run, startService } from './programs.mjs';
import { eventually } from './server.mjs';

/** A port without a listener, below the range of outgoing connections, so that it stays free. */
export async function sparePort() {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 10_000);
    const isFree = await new Promise((done) => {
      const probe = createServer();
      probe.once('error', () => done(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => done(true)));
    });
    if (isFree) return port;
  }
}

/** A process that is killed, stopped and started again; it ends when we do. */
export class Service {
  constructor(label) {
    this.label = label;
  }

  async launch(path, args, user) {
    this.child = startService(path, args, { user, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
    this.log = [];
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on('data', (text) => this.log.push(text.toString()));
    }
    this.exit = new Promise((done) => this.child.once('close', done));
  }

  get isRunning() {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  async kill(signal = 'SIGKILL') {
    if (!this.isRunning) return;
    this.child.kill(signal);
    await this.exit;
  }

  pause() {
    this.child.kill('SIGSTOP');
  }

  resume() {
    this.child.kill('SIGCONT');
  }
}

/** One redis-server without persistence: started again it is empty. */
export class Redis extends Service {
  /** Options: `args`, `sentinel` (the text of its configuration file). */
  static async start(options = {}) {
    const redis = new Redis('redis');
    redis.port = await sparePort();
    redis.dir = await mkdtemp(join(tmpdir(), 'throng-redis-'));
    redis.options = options;
    await redis.up();
    return redis;
  }

  async up() {
    const { args = [], sentinel } = this.options;
    const common = ['--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.dir];
    if (sentinel) {
      const file = join(this.dir, 'sentinel.conf');
      await writeFile(file, sentinel);
      await this.launch(program('redis-server'), [file, '--sentinel', ...common]);
    } else {
      await this.launch(program('redis-server'), [...common, '--save', '', '--appendonly', 'no', ...args]);
    }
    await eventually(`redis on ${this.port} answers`, async () => {
      const answer = await this.cli('PING').catch((error) => error.message);
      if (!this.isRunning) throw new Error(`redis ended: ${this.log.join('')}`);
      return /PONG|NOAUTH/.test(answer);
    });
  }

  /** What `redis-cli` prints, trimmed. */
  async cli(...args) {
    const login = this.password ? ['-a', this.password, '--no-auth-warning'] : [];
    const all = ['-h', '127.0.0.1', '-p', `${this.port}`, ...login, ...args.map(String)];
    const { stdout } = await run(program('redis-cli'), all, { timeout: 10_000 });
    return stdout.trim();
  }

  /** The lines of what `redis-cli` prints. */
  async lines(...args) {
    const text = await this.cli(...args);
    return text === '' ? [] : text.split('\n');
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** A client of the npm package `redis`, connected; an `error` of it is no end of the test. */
  async client() {
    const client = createClient({ url: this.url, password: this.password });
    client.on('error', () => {});
    return client.connect();
  }

  async stop() {
    await this.kill();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** A master, a replica and three Sentinels that watch them. */
export class Sentinels {
  static async start() {
    const self = new Sentinels();
    self.master = await Redis.start();
    self.replica = await Redis.start({ args: ['--replicaof', '127.0.0.1', `${self.master.port}`] });
    const sentinel = [
      `sentinel monitor throng 127.0.0.1 ${self.master.port} 2`,
      'sentinel down-after-milliseconds throng 1000',
      'sentinel failover-timeout throng 5000',
      'sentinel parallel-syncs throng 1',
      '',
    ].join('\n');
    self.sentinels = [];
    for (let i = 0; i < 3; i += 1) self.sentinels.push(await Redis.start({ sentinel }));
    await eventually('the replica follows', async () =>
      (await self.replica.cli('INFO', 'replication')).includes('master_link_status:up'));
    await eventually('the sentinels know each other and the replica', async () => {
      const answers = await Promise.all(self.sentinels.map((each) => each.cli('SENTINEL', 'MASTER', 'throng')));
      return answers.every((text) => /num-other-sentinels\n2\n/.test(text) && /num-slaves\n1\n/.test(text));
    }, 30_000);
    return self;
  }

  get url() {
    return `redis+sentinel://${this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/throng`;
  }

  async stop() {
    await endAll(...stops([...this.sentinels, this.replica, this.master]));
  }
}

/** Three masters that share the slots. */
export class RedisCluster {
  static async start() {
    const self = new RedisCluster();
    const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'];
    self.masters = [];
    // The bus takes the port plus 10,000.
    for (let i = 0; i < 3; i += 1) self.masters.push(await Redis.start({ args }));
    const addresses = self.masters.map(({ port }) => `127.0.0.1:${port}`);
    await run(program('redis-cli'), ['--cluster', 'create', ...addresses, '--cluster-yes'], { timeout: 60_000 });
    for (const master of self.masters) {
      await eventually('the cluster stands', async () =>
        (await master.cli('CLUSTER', 'INFO')).includes('cluster_state:ok'), 30_000);
    }
    return self;
  }

  get url() {
    return `redis+cluster://${this.masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  }

  /** A command about one key, wherever that is. */
  async lines(...args) {
    const { stdout } = await run(program('redis-cli'), ['-c', '-p', `${this.masters[0].port}`, ...args.map(String)]);
    const text = stdout.trim();
    return text === '' ? [] : text.split('\n');
  }

  /** Moves the slot of `key` to another master, with its keys, as an operator's tool does. */
  async moveSlotOf(key) {
    const slot = await this.masters[0].cli('CLUSTER', 'KEYSLOT', key);
    const ids = await Promise.all(this.masters.map((master) => master.cli('CLUSTER', 'MYID')));
    const owns = async (master) => (await master.cli('CLUSTER', 'COUNTKEYSINSLOT', slot)) !== '0';
    const holds = await Promise.all(this.masters.map(owns));
    const from = Math.max(0, holds.indexOf(true));
    const to = (from + 1) % this.masters.length;
    const [source, target] = [this.masters[from], this.masters[to]];
    await target.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from]);
    await source.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to]);
    for (;;) {
      const keys = await source.lines('CLUSTER', 'GETKEYSINSLOT', slot, 100);
      if (keys.length === 0) break;
      await source.cli('MIGRATE', '127.0.0.1', target.port, '', 0, 5000, 'KEYS', ...keys);
    }
    for (const master of [target, source, ...this.masters]) {
      await master.cli('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to]);
    }
    return { slot: Number(slot), from, to };
  }

  async stop() {
    await endAll(...stops(this.masters));
  }
}
