// A TCP proxy that does what a network can do: delay everything, swallow everything, or break.
import net from 'node:net';

export class Proxy {
  #links = new Set();
  #delay = 0;
  #isCut = false;

  static async start(port) {
    const proxy = new Proxy();
    proxy.target = port;
    proxy.server = net.createServer((client) => proxy.#link(client));
    await new Promise((done) => proxy.server.listen(0, '127.0.0.1', done));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  #link(client) {
    const upstream = net.connect(this.target, '127.0.0.1');
    const link = { client, upstream, waiting: [] };
    this.#links.add(link);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.setNoDelay(true);
      from.on('data', (bytes) => this.#pass(link, to, bytes));
      from.on('error', () => {});
      from.on('close', () => {
        this.#pass(link, to, null);
      });
    }
  }

  /** A cut network loses nothing yet: TCP holds it back and sends it when the way is free again. */
  #pass(link, to, bytes) {
    const write = () => {
      if (bytes === null) {
        this.#links.delete(link);
        to.destroy();
      } else if (!to.destroyed) {
        to.write(bytes);
      }
    };
    if (this.#isCut) link.waiting.push(write);
    else if (this.#delay > 0) setTimeout(() => (this.#isCut ? link.waiting.push(write) : write()), this.#delay);
    else write();
  }

  /** Delays each piece by so many milliseconds, in each direction. */
  slow(ms) {
    this.#delay = ms;
  }

  /** No byte passes, no connection ends, new ones hang: as when a cable is pulled. */
  cut() {
    this.#isCut = true;
  }

  heal() {
    this.#isCut = false;
    this.#delay = 0;
    for (const link of this.#links) link.waiting.splice(0).forEach((write) => write());
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  async stop() {
    for (const { client, upstream } of this.#links) {
      client.destroy();
      upstream.destroy();
    }
    await new Promise((done) => this.server.close(done));
  }
}
