// Engine.IO without a client library: plain requests and a WebSocket that keeps its frames in order.
import http from 'node:http';
import net from 'node:net';

import WebSocket from 'ws';

/** A WebSocket whose messages and close are taken one by one. */
export class Wire {
  static async open(url, options) {
    const wire = new Wire(url, options);
    await wire.opened;
    return wire;
  }

  constructor(url, options = {}) {
    this.frames = [];
    this.waiters = [];
    this.socket = new WebSocket(url, options);
    this.socket.on('message', (data, binary) => this.#push(binary ? data : data.toString()));
    this.opened = new Promise((done, fail) => {
      this.socket.once('open', done);
      this.socket.once('error', fail);
    });
    this.opened.catch(() => {});
    /** `{code, reason}` when the connection is over, refused handshakes included. */
    this.closed = new Promise((done) => {
      this.socket.on('error', () => {});
      this.socket.once('close', (code, reason) => {
        done({ code, reason: reason.toString() });
        for (const waiter of this.waiters.splice(0)) waiter(undefined);
      });
    });
  }

  #push(frame) {
    const waiter = this.waiters.shift();
    if (waiter) waiter(frame);
    else this.frames.push(frame);
  }

  /** The next frame; `undefined` when the connection closed instead. */
  async next(within = 5000) {
    if (this.frames.length) return this.frames.shift();
    if (this.socket.readyState === WebSocket.CLOSED) return undefined;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no frame in ${within} ms`)), within);
      this.waiters.push((frame) => {
        clearTimeout(timer);
        resolve(frame);
      });
    });
  }

  /** The next frame that is not a heartbeat of the server. */
  async payload() {
    for (;;) {
      const frame = await this.next();
      if (frame !== '2') return frame;
      this.send('3');
    }
  }

  /** Skips frames until one passes `test`. */
  async until(test) {
    for (;;) {
      const frame = await this.payload();
      if (frame === undefined) throw new Error('closed while waiting for a frame');
      if (test(frame)) return frame;
    }
  }

  send(data) {
    this.socket.send(data);
  }

  close() {
    this.socket.terminate();
  }
}

/** One request; answers `{status, text, bytes, headers}`. */
export async function request(url, { method = 'GET', body, headers, signal } = {}) {
  const response = await fetch(url, { method, body, headers, signal });
  const bytes = Buffer.from(await response.arrayBuffer());
  return { status: response.status, text: bytes.toString('utf8'), bytes, headers: response.headers };
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Splits an Engine.IO 3 text payload; lengths are UTF-16 code units. */
export function split3(payload) {
  const packets = [];
  let at = 0;
  while (at < payload.length) {
    const colon = payload.indexOf(':', at);
    const length = Number(payload.slice(at, colon));
    packets.push(payload.slice(colon + 1, colon + 1 + length));
    at = colon + 1 + length;
  }
  return packets;
}

export const join3 = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join('');

/** GETs a path exactly as written; `fetch` would resolve its dots. Answers `{status, text}`. */
export const getExactly = (server, path) =>
  new Promise((done, fail) => {
    http.get({ host: '127.0.0.1', port: server.port, path, agent: false }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => done({ status: response.statusCode, text: Buffer.concat(parts).toString() }));
    }).on('error', fail);
  });

/** GETs a path with one `Accept-Encoding`; answers `{status, headers, body}`, the body as it came. */
export const getCoded = (server, path, coding) =>
  new Promise((done, fail) => {
    const options = { host: '127.0.0.1', port: server.port, path, agent: false, headers: { 'Accept-Encoding': coding } };
    http.get(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
    }).on('error', fail);
  });

/** The whole answer to a GET from the local address `from`. */
export const getFrom = (server, from, path) =>
  new Promise((done, fail) => {
    const parts = [];
    const socket = net.connect({ host: '127.0.0.1', port: server.port, localAddress: from }, () => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
    });
    socket.on('data', (part) => parts.push(part));
    socket.once('close', () => done(Buffer.concat(parts).toString()));
    socket.once('error', fail);
  });

/** A poll whose client is gone once its whole request is under way: the server reads it, then the end. */
export const abandonedPoll = (server, url) =>
  new Promise((done, fail) => {
    const { pathname, search } = new URL(url);
    const socket = net.connect(server.port, '127.0.0.1', () => {
      socket.end(`GET ${pathname}${search} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
    });
    // Read to the end: unread bytes would turn the close into a reset.
    socket.resume();
    socket.once('close', done);
    socket.once('error', fail);
  });
