// A real server process per test file: started on a free port with its own data directory, its log
// kept, and checked at the end for panics and leaked secrets.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { binary, root, start } from './programs.mjs';

export const artifacts = process.env.E2E_ARTIFACTS ?? join(root, 'target', 'artifacts');

/** The configuration most tests use: no API throttle, and as many rooms as tests care to name. */
export const roomy = `
[http]
api_per_minute = 0
[rooms]
auto_create_max = 10000
`;

/** Rooms and limits as shipped, only without the API throttle (one address runs every test). */
export const shipped = `
[http]
api_per_minute = 0
`;

export class Server {
  #child;
  #exit;
  #dirs = [];

  /**
   * Options: `shards`, `args`, `config` (TOML text), `env`, `bin`, `data` (its folder, kept), `under` (path
   * and arguments of a program that becomes the server).
   */
  constructor(options = {}) {
    this.options = options;
    this.log = [];
    this.secrets = new Set();
  }

  static async start(options) {
    const server = new Server(options);
    await server.#prepare();
    await server.launch(0);
    return server;
  }

  async #prepare() {
    this.dir = await mkdtemp(join(tmpdir(), 'throng-e2e-'));
    this.#dirs.push(this.dir);
    this.config = join(this.dir, 'throng.toml');
    await writeFile(this.config, this.options.config ?? shipped);
  }

  #args(port) {
    const { bin = 'throng', shards = 1, args = [], data = join(this.dir, 'data') } = this.options;
    if (bin === 'conformance') return ['--listen', `127.0.0.1:${port}`, ...args];
    return [
      'serve',
      ...['--listen', `127.0.0.1:${port}`, '--data-dir', data],
      ...['--shards', String(shards), '--config', this.config, ...args],
    ];
  }

  /** Starts the process on `port` (0: any) and waits for the line that says it is ready. */
  async launch(port = this.port) {
    const own = [binary(this.options.bin ?? 'throng'), ...this.#args(port)];
    const [path, ...args] = [...(this.options.under ?? []), ...own];
    const child = start(path, args, {
      env: { ...process.env, RUST_BACKTRACE: '1', ...this.options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.pid = child.pid;
    this.#exit = new Promise((done) => {
      child.once('error', (error) => done({ error }));
      child.once('close', (code, signal) => done({ code, signal }));
    });
    const ready = new Promise((done) => {
      const onLine = (line) => {
        this.log.push(line);
        const found = / listening on http:\/\/(\S+):(\d+)/.exec(line);
        if (found) done(Number(found[2]));
      };
      createInterface({ input: child.stdout }).on('line', onLine);
      createInterface({ input: child.stderr }).on('line', (line) => this.log.push(line));
    });
    const timer = new Promise((done) => setTimeout(done, 20_000, 'no ready line in 20 s').unref());
    const first = await Promise.race([ready, this.#exit, timer]);
    if (typeof first !== 'number') {
      child.kill('SIGKILL');
      throw new Error(`server did not start: ${JSON.stringify(first)}\n${this.log.join('\n')}`);
    }
    this.port = first;
    this.url = `http://127.0.0.1:${first}`;
    this.ws = `ws://127.0.0.1:${first}`;
  }

  /** Sends `signal` and waits for the end of the process: `{code, signal}`. */
  async end(signal = 'SIGTERM', within = 20_000) {
    this.#child.kill(signal);
    const timer = new Promise((done) => setTimeout(done, within, 'late').unref());
    const outcome = await Promise.race([this.#exit, timer]);
    if (outcome === 'late') {
      this.#child.kill('SIGKILL');
      throw new Error(`still running ${within} ms after ${signal}\n${this.log.slice(-20).join('\n')}`);
    }
    return outcome;
  }

  async restart(signal = 'SIGTERM') {
    await this.end(signal);
    await this.launch(this.port);
  }

  /** Stops the server and checks its whole log. */
  async stop() {
    const outcome = this.#child.exitCode === null && this.#child.signalCode === null
      ? await this.end()
      : await this.#exit;
    for (const dir of this.#dirs) await rm(dir, { recursive: true, force: true });
    this.checkLog();
    if (outcome.code !== 0 && outcome.signal !== 'SIGKILL') {
      throw new Error(`server ended with ${JSON.stringify(outcome)}\n${this.log.slice(-30).join('\n')}`);
    }
  }

  /** No panic, and no secret in the log. */
  checkLog() {
    for (const line of this.log) {
      if (line.includes('panicked at')) throw new Error(`server panicked: ${line}`);
      for (const secret of this.secrets) {
        if (line.includes(secret)) throw new Error(`a secret is in the log: ${line}`);
      }
    }
  }

  /** Every sample of `/metrics` as `name{labels}` → number; `sum(name)` adds the label sets up. */
  async metrics() {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const samples = new Map();
    for (const line of text.split('\n')) {
      if (!line || line.startsWith('#')) continue;
      const at = line.lastIndexOf(' ');
      samples.set(line.slice(0, at), Number(line.slice(at + 1)));
    }
    samples.sum = (name, label = '') => {
      let total = 0;
      let seen = false;
      for (const [key, value] of samples) {
        if (key !== name && !key.startsWith(`${name}{`)) continue;
        if (!key.includes(label)) continue;
        total += value;
        seen = true;
      }
      return seen ? total : undefined;
    };
    return samples;
  }
}

/** Polls `probe` until it returns a truthy value; for state that no event announces. */
export async function eventually(what, probe, within = 10_000) {
  const end = Date.now() + within;
  let last;
  for (;;) {
    last = await probe();
    if (last) return last;
    if (Date.now() > end) throw new Error(`not within ${within} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}
