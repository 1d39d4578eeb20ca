// The REST API as the original page calls it.
import assert from 'node:assert/strict';

let serial = 0;

/** A name that this process has not used before. */
export function freshEmail(prefix = 'user') {
  serial += 1;
  return `${prefix}${process.pid}x${serial}@example.com`;
}

export class Api {
  constructor(server) {
    this.server = server;
  }

  async call(method, path, { body, form, headers = {} } = {}) {
    const init = { method, headers: { Accept: 'application/json', ...headers } };
    if (body !== undefined) {
      init.body = typeof body === 'string' ? body : JSON.stringify(body);
      init.headers['Content-Type'] ??= 'application/json';
    }
    if (form) init.body = form;
    const response = await fetch(this.server.url + path, init);
    const text = await response.text();
    let json;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    return { status: response.status, headers: response.headers, text, json };
  }

  /** Registers a new user; answers `{id, name, email, token, avatar}`. */
  async register(prefix = 'user', password = 'secret-123') {
    const email = freshEmail(prefix);
    const { status, json, text } = await this.call('POST', '/api/register', {
      body: { name: email, password },
    });
    assert.equal(status, 200, text);
    assert.equal(json.errno, 0, text);
    const { id, name, avatar, api_token: token } = json.user;
    this.server.secrets.add(token);
    return { id, name, email, avatar, token, password };
  }

  async history(token, roomid, query = 'current=1&total=0') {
    const { status, json, text } = await this.call(
      'GET',
      `/api/history/message?${query}&roomid=${roomid}&api_token=${token}`,
    );
    assert.equal(status, 200, text);
    return json.data;
  }
}

/** A 1×1 PNG, and the same as a data URL. */
export const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
export const pngUrl = `data:image/png;base64,${png.toString('base64')}`;
