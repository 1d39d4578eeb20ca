// What the protocol documents of Engine.IO 3 and 4 and of Socket.IO 5 ask of any server, checked on
// the conformance surface with its short heartbeat; the checks are our own.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { abandonedPoll, join3, request, sleep, split3, Wire } from './support/raw.mjs';
import { eventually, Server } from './support/server.mjs';

// Heartbeats have a server of their own with short timings. On the other one no heartbeat falls into
// a case, however slow the machine is at the moment.
const interval = 500;
const timeout = 500;
const calm = { interval: 25_000, timeout: 20_000 };
const start = (pingInterval, pingTimeout) =>
  Server.start({
    bin: 'conformance',
    args: [
      ...['--ping-interval-ms', `${pingInterval}`, '--ping-timeout-ms', `${pingTimeout}`],
      ...['--max-payload', '1000000'],
    ],
  });
let server;
let quick;
before(async () => {
  [server, quick] = await Promise.all([start(calm.interval, calm.timeout), start(interval, timeout)]);
});
after(() => Promise.all([server?.stop(), quick?.stop()]));

/** Closed by the server because of what was sent: long before any heartbeat would do it. */
const closes = async (wire, within = 10_000) => {
  const late = sleep(within).then(() => 'open');
  const outcome = await Promise.race([wire.closed, late]);
  assert.notEqual(outcome, 'open', `still open after ${within} ms`);
  return outcome;
};

// The two versions differ in framing and in who pings; everything else is the same case list.
const dialects = {
  3: {
    frame: (...packets) => join3(...packets),
    first: (text) => split3(text)[0],
    bad: 'abc',
    noop: '1:6',
    close: '1:1',
  },
  4: {
    frame: (...packets) => packets.join('\x1e'),
    first: (text) => text,
    bad: 'abc',
    noop: '6',
    close: '1',
  },
};

for (const [path, eio] of [['/engine.io/', 3], ['/engine.io/', 4], ['/socket.io/', 4]]) {
  const { frame, first, bad, noop, close } = dialects[eio];
  const echoes = path === '/engine.io/';
  describe(`Engine.IO ${eio} at ${path}`, () => {
    const speaking = (to) => {
      const url = (rest = '') => `${to().url}${path}?EIO=${eio}&transport=polling${rest}`;
      return {
        url,
        wsUrl: (rest = '') => `${to().ws}${path}?EIO=${eio}&transport=websocket${rest}`,
        get: (sid, rest = '', options) => request(url(`&sid=${sid}${rest}`), options),
        post: (sid, body, headers) => request(url(`&sid=${sid}`), { method: 'POST', body, headers }),
        handshake: async (rest = eio === 3 ? '&b64=1' : '') => {
          const { status, text } = await request(url(rest));
          assert.equal(status, 200);
          return JSON.parse(first(text).slice(1)).sid;
        },
      };
    };
    const { url, wsUrl, get, post, handshake } = speaking(() => server);

    describe('handshake', () => {
      test('polling opens a session', async () => {
        const { status, text, headers } = await request(url());
        assert.equal(status, 200);
        assert.match(headers.get('content-type'), /^text\/plain; charset=utf-8/i);
        const packet = first(text);
        assert.equal(packet[0], '0');
        const open = JSON.parse(packet.slice(1));
        assert.deepEqual(Object.keys(open).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
        assert.equal(typeof open.sid, 'string');
        assert.deepEqual(open.upgrades, ['websocket']);
        assert.deepEqual([open.pingInterval, open.pingTimeout, open.maxPayload], [calm.interval, calm.timeout, 1_000_000]);
      });

      test('a WebSocket opens a session, with nothing left to upgrade to', async () => {
        const wire = await Wire.open(wsUrl());
        const packet = await wire.next();
        assert.equal(packet[0], '0');
        const open = JSON.parse(packet.slice(1));
        assert.deepEqual(open.upgrades, []);
        assert.deepEqual([open.pingInterval, open.pingTimeout, open.maxPayload], [calm.interval, calm.timeout, 1_000_000]);
        wire.close();
      });

      const base = () => `${server.url}${path}`;
      const refusals = [
        ['no EIO', 'GET', '?transport=polling', 5],
        ['an unknown EIO', 'GET', '?EIO=abc&transport=polling', 5],
        ['EIO 5', 'GET', '?EIO=5&transport=polling', 5],
        ['no transport', 'GET', `?EIO=${eio}`, 0],
        ['an unknown transport', 'GET', `?EIO=${eio}&transport=abc`, 0],
        ['POST without a session', 'POST', `?EIO=${eio}&transport=polling`, 2],
        ['PUT without a session', 'PUT', `?EIO=${eio}&transport=polling`, 2],
        ['an unknown session', 'GET', `?EIO=${eio}&transport=polling&sid=zzzzzzzzzzzzzzzzzzzz`, 1],
        ['a short session id', 'GET', `?EIO=${eio}&transport=polling&sid=x`, 1],
        ['websocket without an upgrade', 'GET', `?EIO=${eio}&transport=websocket`, 3],
      ];
      for (const [why, method, query, code] of refusals) {
        test(`${why}: 400 with code ${code}`, async () => {
          const { status, text, headers } = await request(base() + query, { method });
          assert.equal(status, 400);
          assert.match(headers.get('content-type'), /^application\/json/);
          const error = JSON.parse(text);
          assert.equal(error.code, code);
          assert.equal(typeof error.message, 'string');
        });
      }

      test('a WebSocket handshake with a wrong query is refused', async () => {
        for (const query of ['?transport=websocket', '?EIO=abc&transport=websocket', `?EIO=${eio}`,
          `?EIO=${eio}&transport=abc`, `?EIO=${eio}&transport=websocket&sid=zzzzzzzzzzzzzzzzzzzz`]) {
          const wire = new Wire(`${server.ws}${path}${query}`);
          await assert.rejects(wire.opened, /400/, query);
        }
      });

      test('the path may come without its trailing slash', async () => {
        const { status } = await request(url().replace('/?', '?'));
        assert.equal(status, 200);
      });
    });

    if (echoes) {
      describe('messages by polling', () => {
        test('one, and several in one payload, in order', async () => {
          const sid = await handshake();
          for (const packets of [['4hello'], ['4test1', '4test2', '4test3'], ['4你好 😀 ü☃']]) {
            const pushed = await post(sid, frame(...packets));
            assert.deepEqual([pushed.status, pushed.text], [200, 'ok']);
            assert.match(pushed.headers.get('content-type'), /^text\/html/);
            const polled = await get(sid);
            assert.deepEqual([polled.status, polled.text], [200, frame(...packets)]);
          }
        });

        test('binary as base64', async () => {
          const sid = await handshake();
          const binary = eio === 3 ? 'b4AQIDBA==' : 'bAQIDBA==';
          assert.equal((await post(sid, frame('4hello', binary))).status, 200);
          assert.equal((await get(sid)).text, frame('4hello', binary));
        });

        if (eio === 3) {
          test('binary in the binary payload form', async () => {
            const sid = await handshake('');
            const want = Buffer.from([0, 6, 255, 0x34, ...Buffer.from('hello'), 1, 5, 255, 4, 1, 2, 3, 4]);
            assert.equal((await post(sid, '6:4hello10:b4AQIDBA==')).status, 200);
            const polled = await get(sid);
            assert.equal(polled.headers.get('content-type'), 'application/octet-stream');
            assert.deepEqual(polled.bytes, want);
            const headers = { 'Content-Type': 'application/octet-stream' };
            assert.equal((await post(sid, want, headers)).status, 200, 'and back');
            assert.deepEqual((await get(sid)).bytes, want);
          });

          test('JSONP, both ways', async () => {
            const opened = await request(url('&j=0'));
            assert.match(opened.headers.get('content-type'), /^text\/javascript; charset=utf-8/i);
            const script = /^___eio\[0\]\((".*")\);$/s.exec(opened.text);
            assert.ok(script, opened.text);
            const { sid } = JSON.parse(split3(JSON.parse(script[1]))[0].slice(1));
            // As the client's form does: an escaped newline and a real one are distinguished.
            const said = '4line\nend "q" and \\n as text';
            const escaped = join3(said).replaceAll('\\n', '\\\n').replaceAll('\n', '\\n');
            const pushed = await request(url(`&sid=${sid}&j=1`), {
              method: 'POST',
              body: `d=${encodeURIComponent(escaped)}`,
              headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
            });
            assert.equal(pushed.status, 200);
            const polled = await get(sid, '&j=2');
            const answer = /^___eio\[2\]\((".*")\);$/s.exec(polled.text);
            assert.ok(answer, polled.text);
            assert.equal(split3(JSON.parse(answer[1]))[0], said);
          });
        }

        test('a malformed payload is a 400 and the end of the session', async () => {
          const sid = await handshake();
          assert.equal((await post(sid, bad)).status, 400);
          assert.equal((await get(sid)).status, 400);
        });

        test('a payload over the bound is refused and ends the session', async () => {
          const sid = await handshake();
          const outcome = await post(sid, frame(`4${'x'.repeat(1_000_001)}`)).catch(() => ({ status: 413 }));
          assert.equal(outcome.status, 413);
          assert.equal((await get(sid)).status, 400);
        });

        test('a second poll while the first waits ends the session', async () => {
          const sid = await handshake();
          // Which of the two arrives first is not for us to say.
          const both = await Promise.all([get(sid), get(sid, '&t=burst')]);
          const [one, two] = both.sort((a, b) => a.status - b.status);
          assert.deepEqual([one.status, one.text], [200, close]);
          assert.equal(two.status, 400);
          assert.equal((await get(sid)).status, 400);
        });

        test('an aborted poll is a disconnect', async () => {
          const sid = await handshake();
          await abandonedPoll(server, url(`&sid=${sid}`));
          await eventually('the session is over', async () => (await post(sid, frame('4x'))).status === 400);
        });
      });

      describe('messages by WebSocket', () => {
        test('text and binary come back', async () => {
          const wire = await Wire.open(wsUrl());
          await wire.next();
          wire.send('4hello 你好 😀');
          assert.equal(await wire.payload(), '4hello 你好 😀');
          const bytes = eio === 3 ? Buffer.from([4, 1, 2, 3, 4]) : Buffer.from([1, 2, 3, 4]);
          wire.send(bytes);
          assert.deepEqual(await wire.payload(), bytes);
          wire.close();
        });

        test('a malformed packet closes', async () => {
          const wire = await Wire.open(wsUrl());
          await wire.next();
          wire.send('abc');
          await closes(wire);
        });
      });
    }

    describe('heartbeat', () => {
      const { wsUrl, get, post, handshake } = speaking(() => quick);
      if (eio === 4) {
        test('the server pings in polling', async () => {
          const sid = await handshake();
          for (let i = 0; i < 3; i += 1) {
            const started = Date.now();
            const polled = await get(sid);
            assert.deepEqual([polled.status, polled.text], [200, '2']);
            assert.ok(Date.now() - started > interval - 100, 'not at once');
            assert.equal((await post(sid, '3')).status, 200);
          }
        });

        test('the server pings on a WebSocket', async () => {
          const wire = await Wire.open(wsUrl());
          await wire.next();
          for (let i = 0; i < 3; i += 1) {
            assert.equal(await wire.next(), '2');
            wire.send('3');
          }
          wire.close();
        });
      } else {
        test('the client pings in polling', async () => {
          const sid = await handshake();
          for (let i = 0; i < 3; i += 1) {
            assert.equal((await post(sid, '1:2')).status, 200);
            assert.equal((await get(sid)).text, '1:3');
          }
        });

        test('the client pings on a WebSocket, its payload comes back', async () => {
          const wire = await Wire.open(wsUrl());
          await wire.next();
          for (const data of ['', 'xyz', '']) {
            wire.send(`2${data}`);
            assert.equal(await wire.next(), `3${data}`);
          }
          wire.close();
        });
      }

      test('silence ends a polling session exactly at the deadline', async () => {
        const sid = await handshake();
        await sleep(interval + timeout);
        const late = eio === 3 ? await post(sid, '1:2') : await get(sid);
        assert.equal(late.status, 400);
      });

      test('a heartbeat in the wrong direction closes', async () => {
        const wire = await Wire.open(wsUrl());
        await wire.next();
        wire.send(eio === 4 ? '2' : '3');
        await closes(wire);
      });

      test('silence closes a WebSocket', async () => {
        const wire = await Wire.open(wsUrl());
        await wire.next();
        await closes(wire);
      });
    });

    describe('close', () => {
      test('by polling: the waiting poll is released', async () => {
        // On its own connection the POST may overtake the poll, which then finds no session.
        const released = async () => {
          const sid = await handshake();
          const [polled] = await Promise.all([get(sid), sleep(2).then(() => post(sid, frame('1')))]);
          assert.equal((await get(sid)).status, 400);
          return polled.status !== 400 && polled;
        };
        const polled = await eventually('a poll that was there first', released);
        assert.deepEqual([polled.status, polled.text], [200, noop]);
      });

      test('by WebSocket', async () => {
        const wire = await Wire.open(wsUrl());
        await wire.next();
        wire.send('1');
        await closes(wire);
      });
    });

    describe('upgrade', () => {
      const probed = async () => {
        const sid = await handshake();
        const wire = await Wire.open(wsUrl(`&sid=${sid}`));
        wire.send('2probe');
        assert.equal(await wire.next(), '3probe');
        return { sid, wire };
      };

      if (echoes) {
        test('probe, release of the poll, upgrade, message', async () => {
          const { sid, wire } = await probed();
          const polled = await get(sid);
          assert.deepEqual([polled.status, polled.text], [200, noop]);
          wire.send('5');
          wire.send('4hello');
          assert.equal(await wire.payload(), '4hello');
          wire.close();
        });

        test('a poll that waits is released by the probe', async () => {
          const sid = await handshake();
          const waiting = get(sid);
          await sleep(20);
          const wire = await Wire.open(wsUrl(`&sid=${sid}`));
          wire.send('2probe');
          assert.equal(await wire.next(), '3probe');
          assert.equal((await waiting).text, noop);
          wire.send('5');
          wire.send('4hello');
          assert.equal(await wire.payload(), '4hello');
          wire.close();
        });

        test('what was queued before the upgrade arrives once, in order', async () => {
          const sid = await handshake();
          assert.equal((await post(sid, frame('4one', '4two'))).status, 200);
          const wire = await Wire.open(wsUrl(`&sid=${sid}`));
          wire.send('2probe');
          assert.equal(await wire.next(), '3probe');
          wire.send('5');
          wire.send('4three');
          const got = [await wire.payload(), await wire.payload(), await wire.payload()];
          assert.deepEqual(got, ['4one', '4two', '4three']);
          wire.close();
        });
      }

      test('a first frame that is no probe closes the WebSocket, the session goes on', async () => {
        const sid = await handshake();
        const wire = await Wire.open(wsUrl(`&sid=${sid}`));
        wire.send('4too early');
        await closes(wire);
        assert.equal((await post(sid, frame(eio === 4 ? '3' : '2'))).status, 200);
      });

      test('polling after the upgrade is a 400, the WebSocket lives on', async () => {
        const { sid, wire } = await probed();
        wire.send('5');
        assert.equal((await get(sid)).status, 400);
        if (echoes) {
          wire.send('4hello');
          assert.equal(await wire.payload(), '4hello');
        }
        wire.close();
      });

      test('a second WebSocket of an upgraded session is closed, the first lives on', async () => {
        const { sid, wire } = await probed();
        wire.send('5');
        if (echoes) {
          wire.send('4first');
          assert.equal(await wire.payload(), '4first');
        }
        const second = new Wire(wsUrl(`&sid=${sid}`));
        await closes(second);
        if (echoes) {
          wire.send('4hello');
          assert.equal(await wire.payload(), '4hello');
        }
        wire.close();
      });

      test('a WebSocket that is abandoned before its upgrade leaves the session polling', async () => {
        const { sid, wire } = await probed();
        wire.close();
        await sleep(20);
        assert.equal((await post(sid, frame(echoes ? '4still here' : eio === 4 ? '3' : '2'))).status, 200);
      });
    });
  });
}

describe('Socket.IO 5', () => {
  const engine = async (to = server) => {
    const wire = await Wire.open(`${to.ws}/socket.io/?EIO=4&transport=websocket`);
    assert.equal((await wire.next())[0], '0');
    return wire;
  };
  const connected = async (to = server) => {
    const wire = await engine(to);
    wire.send('40');
    await wire.payload();
    await wire.payload();
    return wire;
  };

  for (const [packet, prefix, auth] of [
    ['40', '40', '42["auth",{}]'],
    ['40{"token":"123"}', '40', '42["auth",{"token":"123"}]'],
    ['40/custom,', '40/custom,', '42/custom,["auth",{}]'],
    ['40/custom', '40/custom,', '42/custom,["auth",{}]'],
    ['40/custom,{"token":"abc"}', '40/custom,', '42/custom,["auth",{"token":"abc"}]'],
  ]) {
    test(`${packet} connects`, async () => {
      const wire = await engine();
      wire.send(packet);
      const answer = await wire.payload();
      assert.ok(answer.startsWith(prefix), answer);
      const opened = JSON.parse(answer.slice(prefix.length));
      assert.deepEqual(Object.keys(opened), ['sid']);
      assert.equal(typeof opened.sid, 'string');
      assert.equal(await wire.payload(), auth);
      wire.close();
    });
  }

  test('an unknown namespace is answered with an error', async () => {
    const wire = await engine();
    wire.send('40/random');
    assert.equal(await wire.payload(), '44/random,{"message":"Invalid namespace"}');
    wire.close();
  });

  for (const packet of ['4abc', '4', '49', '42', '42{}', '42[]', '42[{}]', '4251["x"', '451-["x"]', '40{', '40[]', '451-["message",{"_placeholder":true,"num":5}]']) {
    test(`${packet} closes the connection`, async () => {
      const wire = packet.startsWith('40') || packet === '4abc' ? await engine() : await connected();
      wire.send(packet);
      if (packet.startsWith('451-["message"')) wire.send(Buffer.from([1]));
      else if (packet.startsWith('451-')) wire.send('42["message"]');
      await closes(wire);
    });
  }

  test('no CONNECT in time closes the connection', async () => {
    const wire = await engine(quick);
    await closes(wire);
  });

  test('disconnecting the main namespace keeps the connection', async () => {
    const wire = await connected(quick);
    wire.send('41');
    assert.equal(await wire.next(), '2');
    wire.close();
  });

  test('disconnecting one namespace leaves the other', async () => {
    const wire = await connected();
    wire.send('40/custom');
    await wire.payload();
    await wire.payload();
    wire.send('41/custom');
    wire.send('42["message","to the main namespace"]');
    assert.equal(await wire.payload(), '42["message-back","to the main namespace"]');
    wire.close();
  });

  test('plain events, and events with an acknowledgement', async () => {
    const wire = await connected();
    wire.send('42["message",1,"2",{"3":[true]}]');
    assert.equal(await wire.payload(), '42["message-back",1,"2",{"3":[true]}]');
    wire.send('42456["message-with-ack",1,"2",{"3":[false]}]');
    assert.equal(await wire.payload(), '43456[1,"2",{"3":[false]}]');
    wire.close();
  });

  test('binary attachments, with and without an acknowledgement', async () => {
    const wire = await connected();
    const two = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
    for (const [sent, back] of [
      [`452-["message",${two}]`, `452-["message-back",${two}]`],
      [`452-789["message-with-ack",${two}]`, `462-789[${two}]`],
    ]) {
      wire.send(sent);
      wire.send(Buffer.from([1, 2, 3]));
      wire.send(Buffer.from([4, 5, 6]));
      assert.equal(await wire.payload(), back);
      assert.deepEqual(await wire.payload(), Buffer.from([1, 2, 3]));
      assert.deepEqual(await wire.payload(), Buffer.from([4, 5, 6]));
    }
    wire.close();
  });

  test('Engine.IO 3: connected unasked, same engine id', async () => {
    const wire = await Wire.open(`${server.ws}/socket.io/?EIO=3&transport=websocket`);
    await wire.next();
    assert.equal(await wire.next(), '40');
    assert.equal(await wire.next(), '42["auth",{}]');
    wire.send('42["message","old"]');
    assert.equal(await wire.next(), '42["message-back","old"]');
    wire.send('40/nope');
    assert.equal(await wire.next(), '44/nope,"Invalid namespace"');
    wire.close();
  });
});
