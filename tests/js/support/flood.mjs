// Floods, each from a thread of its own: what the others are measured with does not wait for it.
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

/** New connections: so many every ten milliseconds. */
const OPENED_EACH = 40;
const OPENED_EVERY_MS = 10;
const GARBAGE_BYTES = 200;

export class Flood {
  /** `parallel` logins at a time, again and again; `accounts`: `{email, password}`. */
  static logins(server, accounts, parallel) {
    return new Flood({ kind: 'logins', url: server.url, accounts, parallel });
  }

  /**
   * Connections from the address `from`, as fast as they can be opened: every second one is idle, the
   * others send garbage. At most `most` are open at a time.
   */
  static connections(server, from, most) {
    return new Flood({ kind: 'connections', port: server.port, from, most });
  }

  constructor(data) {
    this.worker = new Worker(fileURLToPath(import.meta.url), { workerData: data });
  }

  /** Ends it; answers what it counted. */
  async stop() {
    const counts = new Promise((done, fail) => {
      this.worker.once('message', done);
      this.worker.once('error', fail);
    });
    this.worker.postMessage('stop');
    const counted = await counts;
    await this.worker.terminate();
    return counted;
  }
}

function logins({ url, accounts, parallel }) {
  const counts = { answered: 0, accepted: 0, statuses: {} };
  let isOver = false;
  const one = async (index) => {
    while (!isOver) {
      const { email, password } = accounts[index % accounts.length];
      const response = await fetch(`${url}/api/login`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
        body: JSON.stringify({ name: email, password }),
      });
      const { errno } = await response.json();
      counts.answered += 1;
      counts.accepted += Number(errno === 0);
      counts.statuses[response.status] = (counts.statuses[response.status] ?? 0) + 1;
    }
  };
  const all = Promise.all(Array.from({ length: parallel }, (_, index) => one(index)));
  return async () => {
    isOver = true;
    await all;
    return counts;
  };
}

function connections({ port, from, most }) {
  const counts = { opened: 0, most_open: 0, refused: 0, failed: 0 };
  const sockets = new Set();
  const open = (isIdle) => {
    const socket = net.connect({ host: '127.0.0.1', port, localAddress: from });
    sockets.add(socket);
    socket.once('connect', () => {
      counts.opened += 1;
      counts.most_open = Math.max(counts.most_open, sockets.size);
      if (!isIdle) socket.write(randomBytes(GARBAGE_BYTES));
    });
    socket.on('data', (bytes) => {
      counts.refused += Number(bytes.includes(' 503 '));
    });
    socket.on('error', () => {
      counts.failed += 1;
    });
    socket.once('close', () => sockets.delete(socket));
  };
  const timer = setInterval(() => {
    for (let n = 0; n < OPENED_EACH && sockets.size < most; n += 1) open(n % 2 === 0);
  }, OPENED_EVERY_MS);
  return async () => {
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
    return counts;
  };
}

if (!isMainThread) {
  const stop = { logins, connections }[workerData.kind](workerData);
  parentPort.once('message', async () => parentPort.postMessage(await stop()));
}
