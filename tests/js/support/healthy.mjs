// Clients that keep to the heartbeats of their protocol and wait as long as it takes: one of them that
// is thrown out was thrown out by the server.
import assert from 'node:assert/strict';

import { join3, request, split3, Wire } from './raw.mjs';
import { eventually } from './server.mjs';

/** Longer than any test. */
const FOR_EVER_MS = 600_000;

/** Every protocol over every transport. */
export const kinds = [3, 4].flatMap((version) => ['websocket', 'polling'].map((transport) => ({ version, transport })));

export class Healthy {
  /** `intervalMs`: how often a client of Engine.IO 3 sends its ping. */
  static async open(server, { version, transport, token, intervalMs }) {
    const client = transport === 'polling' ? new Polling(server, version) : new Socket(server, version);
    client.label = `EIO ${version} ${transport}`;
    client.version = version;
    await client.open(token);
    if (version === 3) client.timer = setInterval(() => client.send('2'), intervalMs);
    await client.works();
    return client;
  }

  constructor() {
    this.asked = 0;
    this.answered = new Set();
    this.pings = 0;
    this.isOver = false;
    /** Why the server ended the session. */
    this.thrownOut = undefined;
  }

  /** In Engine.IO 3 the token is part of the address, and nobody sends a CONNECT. */
  path(transport, token) {
    const more = this.version === 3 ? `&b64=1&api_token=${token}` : '';
    return `/socket.io/?EIO=${this.version}&transport=${transport}${more}`;
  }

  connect(token) {
    if (this.version === 4) this.send(`40${JSON.stringify({ token })}`);
  }

  end(why) {
    if (!this.isOver) this.thrownOut ??= why;
  }

  packet(packet) {
    if (packet === '1') this.end('the server closes');
    if (packet === '2') {
      this.pings += 1;
      this.send('3');
    }
    const ack = /^43(\d+)/.exec(packet);
    if (ack) this.answered.add(Number(ack[1]));
  }

  /** The server answers it. */
  async works(within = 10_000) {
    this.asked += 1;
    const id = this.asked;
    this.send(`42${id}["login",{}]`);
    const isAnswered = () => this.answered.has(id) || this.thrownOut;
    await eventually(`an answer to ${this.label}`, isAnswered, within);
    assert.equal(this.thrownOut, undefined, this.label);
  }

  close() {
    this.isOver = true;
    clearInterval(this.timer);
    this.leave();
  }
}

class Socket extends Healthy {
  constructor(server, version) {
    super();
    Object.assign(this, { server, version });
  }

  async open(token) {
    this.wire = await Wire.open(this.server.ws + this.path('websocket', token));
    this.wire.closed.then(({ code, reason }) => this.end(`${code} ${reason}`));
    this.listening = this.#listen();
    this.connect(token);
  }

  async #listen() {
    for (;;) {
      const frame = await this.wire.next(FOR_EVER_MS);
      if (frame === undefined) return;
      this.packet(frame);
    }
  }

  send(packet) {
    if (!this.thrownOut) this.wire.send(packet);
  }

  leave() {
    this.wire.close();
  }
}

class Polling extends Healthy {
  #gone = new AbortController();
  #posting = Promise.resolve();

  constructor(server, version) {
    super();
    Object.assign(this, { server, version });
  }

  async open(token) {
    const path = this.path('polling', token);
    const { text } = await request(this.server.url + path);
    const [opened] = this.#split(text);
    const { sid } = JSON.parse(opened.slice(1));
    this.server.secrets.add(sid);
    this.url = `${this.server.url}${path}&sid=${sid}`;
    this.polling = this.#poll();
    this.connect(token);
  }

  #split(text) {
    return this.version === 3 ? split3(text) : text.split('\x1e');
  }

  async #request(options) {
    try {
      const { status, text } = await request(this.url, { ...options, signal: this.#gone.signal });
      if (status === 200) return text;
      this.end(`${status} ${text}`);
    } catch (error) {
      this.end(`${error.message} ${error.cause ?? ''}`);
    }
    return undefined;
  }

  async #poll() {
    while (!this.isOver && !this.thrownOut) {
      const text = await this.#request();
      if (text !== undefined) this.#split(text).forEach((packet) => this.packet(packet));
    }
  }

  /** One POST at a time. */
  send(packet) {
    const body = this.version === 3 ? join3(packet) : packet;
    this.#posting = this.#posting.then(async () => {
      if (!this.isOver && !this.thrownOut) await this.#request({ method: 'POST', body });
    });
  }

  leave() {
    this.#gone.abort();
  }
}
