// Nodes of one server, and people on them.
import assert from 'node:assert/strict';

import { Client } from './client.mjs';
import { Server } from './server.mjs';

export const LEASE_MS = 2000;

/** The configuration of a node; the lease is short, so that tests need not wait for the default. */
export const nodeConfig = (more = '') => `
[http]
api_per_minute = 0
[rooms]
driver = "redis"
auto_create_max = 10000
[redis]
lease_ms = ${LEASE_MS}
connect_timeout_ms = 500
command_timeout_ms = 1000
${more}
`;

/** Starts a node; `redis` and `database` are URLs. */
export function startNode({ redis, database, shards = 2, config = nodeConfig(), args = [] }) {
  return Server.start({
    shards,
    config,
    args: ['--redis', redis, '--database', database, '--unlimited', ...args],
  });
}

/** One session of a user: what it received about one room. */
export class Person {
  static async open(server, user, room) {
    const person = new Person();
    Object.assign(person, { server, user, room, roster: undefined, heard: [], from: undefined });
    /** When it heard each message: seq to time; and when it received how many are unread. */
    Object.assign(person, { heardAt: new Map(), unreadAt: [] });
    person.client = new Client(server, { token: user.token, transports: ['websocket'], reconnection: false });
    const { socket } = person.client;
    for (const name of ['room', 'roomout']) {
      socket.on(name, (roster, meta) => {
        if (meta?.room === room && person.from !== undefined) person.roster = Object.keys(roster).map(Number);
      });
    }
    socket.on('message', (message) => {
      if (message.roomid !== room) return;
      person.heard.push(message.seq);
      if (!person.heardAt.has(message.seq)) person.heardAt.set(message.seq, Date.now());
    });
    socket.on('count', (count) => {
      const unread = count[`room${room}`];
      if (unread !== undefined) person.unreadAt.push({ at: Date.now(), unread });
    });
    await person.client.next('#connect');
    return person;
  }

  async join() {
    this.from = -1;
    const answer = await this.client.ask('room', { roomid: this.room });
    assert.equal(answer.ok, true, JSON.stringify(answer));
    this.from = answer.seq;
    this.joinedAt = Date.now();
    return answer;
  }

  async leave() {
    const answer = await this.client.ask('roomout', { roomid: this.room });
    assert.equal(answer.ok, true, JSON.stringify(answer));
    this.from = undefined;
    return answer;
  }

  say(text) {
    return this.client.say(this.room, text);
  }

  close() {
    this.client.close();
  }
}

/** How a node says it is: `{status, redis, store, up}`. */
export async function state(server) {
  const [ready, metrics] = await Promise.all([fetch(`${server.url}/ready`), server.metrics()]);
  const { checks } = await ready.json();
  return { status: ready.status, redis: checks?.redis, store: checks?.store, up: metrics.sum('throng_backplane_up') };
}
