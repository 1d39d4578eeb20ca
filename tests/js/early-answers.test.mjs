// Answers that come before a request has arrived whole, as Node's own HTTP client hears them.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';

import { Server, shipped } from './support/server.mjs';

const BODY = Buffer.alloc(8 << 20, 'x');

describe('early answers', () => {
  let server;
  before(async () => {
    server = await Server.start({ shards: 2, config: shipped });
  });
  after(() => server?.stop());

  // The status, or the error that the client got instead.
  const post = (path, headers, agent) => new Promise((resolve) => {
    const request = http.request(server.url + path, { method: 'POST', headers, agent }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
      response.on('error', (error) => resolve(error.code));
    });
    request.on('error', (error) => resolve(error.code));
    request.end(BODY);
  });

  for (const [name, framing] of [['announced', { 'Content-Length': BODY.length }], ['chunked', {}]]) {
    test(`100 large POSTs, ${name}, each hear their status`, async () => {
      const agent = new http.Agent({ keepAlive: true });
      const statuses = [];
      for (let round = 0; round < 100; round += 1) {
        const path = ['/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA', '/api/nothing'][round % 2];
        statuses.push(await post(path, framing, round % 3 === 0 ? false : agent));
      }
      agent.destroy();
      assert.deepEqual([...new Set(statuses)].sort(), [400, 404]);
    });
  }

  test('and so do those of a session', async () => {
    for (let round = 0; round < 50; round += 1) {
      const open = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`);
      const { sid } = JSON.parse((await open.text()).slice(1));
      const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
      assert.equal(await post(path, round % 2 ? { 'Content-Length': BODY.length } : {}, false), 413);
    }
  });
});
