// A proxy that does what a network can do: delay everything, or swallow everything.
import net from 'node:net';

export class Proxy {
  #links = new Set();
  #delay = 0;
  #isCut = false;
  #trap;

  /** `target`: where to, `{port}` or `{path}`; `at`: where it listens, a spare port by default. */
  static async start(target, at = { port: 0, host: '127.0.0.1' }) {
    const proxy = new Proxy();
    proxy.target = target;
    proxy.server = net.createServer((client) => proxy.#link(client));
    await new Promise((done) => proxy.server.listen(at, done));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  #link(client) {
    const upstream = net.connect({ host: '127.0.0.1', ...this.target });
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
    if (this.#trap && to === link.upstream && bytes?.includes(this.#trap.text)) {
      this.#trap.spring();
      this.#trap = undefined;
      this.cut();
    }
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

  /** Cuts the network just before a client's bytes with `text` pass, and calls `spring`. */
  cutBefore(text, spring) {
    this.#trap = { text, spring };
  }

  heal() {
    this.#isCut = false;
    this.#delay = 0;
    for (const link of this.#links) link.waiting.splice(0).forEach((write) => write());
  }

  /** As `heal`, but the connections end, and what they held is lost with them. */
  renew() {
    for (const { client, upstream, waiting } of this.#links) {
      waiting.length = 0;
      client.destroy();
      upstream.destroy();
    }
    this.heal();
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
