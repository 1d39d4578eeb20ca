// Several nodes of one server, people on each of them, and the question whether all is right.
import assert from 'node:assert/strict';

import { Api } from './api.mjs';
import { Client } from './client.mjs';
import { eventually, Server } from './server.mjs';

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

/** One session of a user: what it was told about one room. */
export class Person {
  static async open(server, user, room) {
    const person = new Person();
    Object.assign(person, { server, user, room, roster: undefined, heard: [], from: undefined, unread: undefined });
    person.client = new Client(server, { token: user.token, transports: ['websocket'], reconnection: false });
    const { socket } = person.client;
    for (const name of ['room', 'roomout']) {
      socket.on(name, (roster, meta) => {
        if (meta?.room === room && person.from !== undefined) person.roster = Object.keys(roster).map(Number);
      });
    }
    socket.on('message', (message) => {
      if (message.roomid === room) person.heard.push(message.seq);
    });
    socket.on('count', (count) => {
      person.unread = count[`room${room}`] ?? person.unread;
    });
    await person.client.next('#connect');
    return person;
  }

  async join() {
    this.from = -1;
    const answer = await this.client.ask('room', { roomid: this.room });
    assert.equal(answer.ok, true, JSON.stringify(answer));
    this.from = answer.seq;
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

/** Why what should be equal is not, or nothing. */
const differs = (what, got, want) =>
  JSON.stringify(got) === JSON.stringify(want) ? undefined : `${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`;

const ascending = (numbers) => [...numbers].sort((a, b) => a - b);

/** A room with people on every node, who chat all the time. */
export class Scene {
  static #rooms = 700_000;

  constructor(nodes, mapOf) {
    this.nodes = nodes;
    /** Answers a redis command as lines: where the fd map is read. */
    this.mapOf = mapOf;
    Scene.#rooms += 1;
    this.room = Scene.#rooms;
    this.people = [];
    /** Sessions outside the room. */
    this.outside = [];
    /** Marks of those who left: user id to the seq at that time. */
    this.marks = new Map();
    this.acked = new Map();
    this.refused = [];
    this.worstAck = 0;
    this.absent = new Set();
    this.samples = [];
    this.texts = 0;
  }

  /** Two on the first node, one on the second, one on both, one outside. */
  static async set(nodes, mapOf) {
    const scene = new Scene(nodes, mapOf);
    const api = new Api(nodes[0]);
    const names = ['anna', 'boris', 'clara', 'dora', 'emil', 'fritz'];
    const users = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await api.register(name)])));
    scene.users = users;
    for (const [name, node] of [['anna', 0], ['boris', 0], ['clara', 1], ['dora', 0], ['dora', 1], ['fritz', 0]]) {
      await scene.enter(users[name], node);
    }
    scene.outside.push(await Person.open(nodes[1], users.emil, scene.room));
    await scene.right('everything is right before the fault');
    return scene;
  }

  async enter(user, node) {
    const person = await Person.open(this.nodes[node], user, this.room);
    person.node = node;
    await person.join();
    this.people.push(person);
    return person;
  }

  /** Somebody leaves and stays connected. */
  async exit(person) {
    const { seq } = await person.leave();
    this.people.splice(this.people.indexOf(person), 1);
    this.outside.push(person);
    if (!this.people.some(({ user }) => user.id === person.user.id)) this.marks.set(person.user.id, seq);
  }

  on(node) {
    return this.people.filter((person) => person.node === node);
  }

  /** The sessions of a node are gone with it. */
  lose(node) {
    const isThere = (person) => person.server === this.nodes[node];
    for (const person of [...this.people, ...this.outside].filter(isThere)) person.close();
    this.people = this.people.filter((person) => !isThere(person));
    this.outside = this.outside.filter((person) => !isThere(person));
  }

  /** One of each node talks, ten times a second, till `quiet()`; and the nodes are asked how they are. */
  chat() {
    let isOver = false;
    const pending = new Set();
    const round = async () => {
      while (!isOver) {
        for (const node of this.nodes.keys()) {
          if (this.absent.has(node)) continue;
          this.#sample(node, pending);
          const [talker] = this.on(node);
          if (talker) this.#say(talker, pending);
        }
        await new Promise((done) => setTimeout(done, 100));
      }
    };
    const talking = round();
    this.quiet = async () => {
      isOver = true;
      await talking;
      while (pending.size > 0) await Promise.all(pending);
    };
  }

  #track(pending, promise) {
    pending.add(promise);
    promise.finally(() => pending.delete(promise));
  }

  #say(talker, pending) {
    this.texts += 1;
    const text = `text ${this.texts}`;
    const begun = Date.now();
    const outcome = talker.say(text).then((answer) => {
      this.worstAck = Math.max(this.worstAck, Date.now() - begun);
      if (answer.ok) this.acked.set(answer.seq, text);
      else this.refused.push({ node: talker.node, ...answer });
    }, (error) => {
      // A killed node answers nothing; what it did not acknowledge, nobody was promised.
      if (!this.absent.has(talker.node)) this.refused.push({ node: talker.node, code: error.message });
    });
    this.#track(pending, outcome);
  }

  #sample(node, pending) {
    const at = Date.now();
    this.#track(pending, state(this.nodes[node]).then(
      (told) => this.samples.push({ at, node, ...told }),
      (error) => this.absent.has(node) || this.samples.push({ at, node, status: 0, redis: error.message, up: undefined }),
    ));
  }

  get last() {
    return Math.max(0, ...this.acked.keys());
  }

  get present() {
    return ascending(new Set(this.people.map(({ user }) => user.id)));
  }

  /** What is wrong, or nothing: rosters, messages, unread numbers and the fd map. */
  async wrong() {
    return (await this.wrongRosters()) ?? this.#wrongMessages() ?? (await this.#wrongUnread()) ?? (await this.wrongMap());
  }

  wrongRosters(nodes = [...this.nodes.keys()]) {
    for (const person of this.people.filter(({ node }) => nodes.includes(node))) {
      const fault = differs(`roster of ${person.user.name}@${person.node}`, ascending(person.roster ?? []), this.present);
      if (fault) return fault;
    }
    return undefined;
  }

  #wrongMessages() {
    for (const { user, node, heard, from } of this.people) {
      const want = Array.from({ length: this.last - from }, (_, i) => from + 1 + i);
      const fault = differs(`messages of ${user.name}@${node}`, heard.filter((seq) => seq > from), want);
      if (fault) return fault;
    }
    return undefined;
  }

  async #wrongUnread() {
    for (const [index, node] of this.nodes.entries()) {
      if (this.absent.has(index)) continue;
      for (const user of Object.values(this.users)) {
        const isIn = this.people.some((person) => person.user.id === user.id);
        const want = isIn ? 0 : this.last - (this.marks.get(user.id) ?? 0);
        const answer = await (await fetch(`${node.url}/api/rooms?api_token=${user.token}`)).json();
        const got = answer.rooms?.find(({ id }) => id === this.room)?.unread;
        const fault = this.marks.get(user.id) !== 'unknown' && differs(`unread of ${user.name} on node ${index}`, got, want);
        if (fault) return fault;
      }
    }
    return undefined;
  }

  /** The map names every session with an identity, and no other. */
  async wrongMap() {
    const sessions = [...this.people, ...this.outside];
    const ids = ascending(new Set(sessions.map(({ user }) => user.id)));
    const name = `room${this.room}`;
    const map = await this.mapOf('HGETALL', 'socket_id');
    const fds = new Map();
    for (let i = 0; i < map.length; i += 2) fds.set(Number(map[i]), map[i + 1]);
    const users = Object.values(this.users).map(({ id }) => id);
    const known = ascending([...fds.keys()].filter((id) => users.includes(id)));
    const members = await this.mapOf('SMEMBERS', `swoole:rooms:${name}`);
    let fault = differs('users with an fd', known, ids)
      ?? differs('fds in the room', members.length, this.people.length);
    for (const id of ids.filter(() => !fault)) {
      const rooms = await this.mapOf('SMEMBERS', `swoole:fds:${fds.get(id)}`);
      fault = differs(`user ${id} has its uid room`, rooms.includes(`uid_${id}`), true);
    }
    for (const fd of members) {
      if (fault) break;
      const rooms = await this.mapOf('SMEMBERS', `swoole:fds:${fd}`);
      fault = differs(`fd ${fd} names its room`, rooms.includes(name), true);
    }
    return fault;
  }

  /** Waits until all is right; answers how long that took from `since`. */
  async right(what, since = Date.now(), within = 10_000) {
    let fault;
    const isRight = async () => {
      fault = await this.wrong().catch((error) => error.message);
      return fault === undefined;
    };
    await eventually(what, isRight, within).catch((error) => {
      throw new Error(`${error.message}\n${fault}`);
    });
    return Date.now() - since;
  }

  /** Every acknowledged message is in the history, and the history has no gap. */
  async checkHistory() {
    const api = new Api(this.nodes[0]);
    const kept = new Map();
    for (let page = 1; ; page += 1) {
      const { data } = await api.history(this.users.anna.token, this.room, `current=${page}&total=${this.last}`);
      if (data.length === 0) break;
      for (const { seq, msg } of data) kept.set(seq, msg);
    }
    for (const [seq, text] of this.acked) assert.equal(kept.get(seq), text, `acknowledged as ${seq}, then lost`);
    assert.deepEqual(ascending(kept.keys()), Array.from({ length: kept.size }, (_, i) => i + 1), 'no gap');
    // What was stored and never acknowledged, because its node died, counts as a message too.
    return kept.size;
  }

  close() {
    for (const person of [...this.people, ...this.outside]) person.close();
  }
}

/** How a node says it is: `{status, redis, up}`. */
export async function state(server) {
  const [ready, metrics] = await Promise.all([fetch(`${server.url}/ready`), server.metrics()]);
  const { checks } = await ready.json();
  return { status: ready.status, redis: checks?.redis, up: metrics.sum('throng_backplane_up') };
}
