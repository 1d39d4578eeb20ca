// A room with people on several nodes, and the question whether all is right.
import assert from 'node:assert/strict';

import { Api } from './api.mjs';
import { Person, state } from './nodes.mjs';
import { eventually } from './server.mjs';

/** Why what should be equal is not, or nothing. */
const differs = (what, got, want) =>
  JSON.stringify(got) === JSON.stringify(want) ? undefined : `${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`;

const ascending = (numbers) => [...numbers].sort((a, b) => a - b);

/** A room with people on every node, who chat all the time. */
export class Scene {
  static #rooms = 700_000;

  constructor(nodes, mapOf, isEphemeral) {
    this.nodes = nodes;
    /** Messages are kept nowhere: what was acked was accepted, and Redis gave it its number. */
    this.isEphemeral = isEphemeral;
    /** Answers a redis command as lines: where the fd map is read. */
    this.mapOf = mapOf;
    Scene.#rooms += 1;
    this.room = Scene.#rooms;
    this.people = [];
    /** Sessions outside the room. */
    this.outside = [];
    /** Marks of those who left: user id to the seq at that time. */
    this.marks = new Map();
    /** By seq: `{text, node, sent, took}`. */
    this.acked = new Map();
    this.refused = [];
    this.absent = new Set();
    /** What `/ready` and the metrics of each node said, and whether rosters on it were right. */
    this.samples = [];
    this.texts = 0;
  }

  /** Two on the first node, one on the second, one on both, one outside. */
  static async set(nodes, mapOf, { isEphemeral = false } = {}) {
    const scene = new Scene(nodes, mapOf, isEphemeral);
    const api = new Api(nodes[0]);
    const names = ['anna', 'boris', 'clara', 'dora', 'emil', 'fritz'];
    const users = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await api.register(name)])));
    scene.users = users;
    for (const [name, node] of [['anna', 0], ['boris', 0], ['clara', 1], ['dora', 0], ['dora', 1], ['fritz', 0]]) {
      await scene.enter(users[name], node);
    }
    scene.outside.push(await Person.open(nodes[1], users.emil, scene.room));
    scene.emil = scene.outside[0];
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

  /** One person leaves and stays connected. */
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
    const outcome = this.say(talker).catch((error) => {
      // A killed node answers nothing; what it did not acknowledge was not promised.
      if (!this.absent.has(talker.node)) this.refused.push({ node: talker.node, code: error.message });
    });
    this.#track(pending, outcome);
  }

  /** One message; answers whether it was acknowledged. */
  async say(talker) {
    this.texts += 1;
    const [text, sent] = [`text ${this.texts}`, Date.now()];
    const { ok, seq, code } = await talker.say(text);
    if (!ok) this.refused.push({ node: talker.node, code });
    else if (this.acked.has(seq)) throw new Error(`two messages got the number ${seq}`);
    else this.acked.set(seq, { text, node: talker.node, sent, took: Date.now() - sent });
    return ok;
  }

  #sample(node, pending) {
    const sample = { at: Date.now(), node, isRosterRight: this.#wrongRosters([node]) === undefined };
    this.#track(pending, state(this.nodes[node]).then(
      (answer) => this.samples.push({ ...sample, ...answer }),
      (error) => this.absent.has(node) || this.samples.push({ ...sample, status: 0, redis: error.message }),
    ));
  }

  get last() {
    return Math.max(0, ...this.acked.keys());
  }

  get present() {
    return ascending(new Set(this.people.map(({ user }) => user.id)));
  }

  /** What is to be right, and the question what is wrong with it. */
  get #judges() {
    return {
      rosters: () => this.#wrongRosters(),
      messages: () => this.#wrongMessages(),
      unread: () => this.#wrongUnread(),
      map: () => this.#wrongMap(),
    };
  }

  #wrongRosters(nodes = [...this.nodes.keys()]) {
    for (const person of this.people.filter(({ node }) => nodes.includes(node))) {
      const fault = differs(`roster of ${person.user.name}@${person.node}`, ascending(person.roster ?? []), this.present);
      if (fault) return fault;
    }
    return undefined;
  }

  #wrongMessages() {
    for (const { user, node, heard, from, joinedAt } of this.people) {
      const got = heard.filter((seq) => seq > from);
      // Where nothing is kept, a number may have gone to a message that was refused, and a node that
      // has just started learns the room's number from the next message (CHAT-68).
      const since = () => [...this.acked].filter(([, { sent }]) => sent > joinedAt).map(([seq]) => seq);
      const want = this.isEphemeral
        ? ascending(new Set([...since(), ...got]))
        : Array.from({ length: this.last - from }, (_, i) => from + 1 + i);
      const fault = differs(`messages of ${user.name}@${node}`, got, want);
      if (fault) return fault;
    }
    return undefined;
  }

  async #wrongUnread() {
    if (this.isEphemeral) {
      // The database knows no messages, so only sessions get numbers.
      const isThere = this.outside.includes(this.emil) && this.last > 0;
      return isThere ? differs('unread sent to emil', this.emil.unreadAt.at(-1)?.unread, this.last) : undefined;
    }
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
  async #wrongMap() {
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

  /** Waits until all is right; answers how long after `since` each thing was so for good, and all. */
  async right(what, since = Date.now(), within = 10_000) {
    const after = {};
    let faults;
    const isRight = async () => {
      faults = [];
      for (const [name, judge] of Object.entries(this.#judges)) {
        const fault = await Promise.resolve(judge()).catch((error) => error.message);
        if (fault) {
          faults.push(fault);
          delete after[name];
        } else {
          after[name] ??= Date.now() - since;
        }
      }
      return faults.length === 0;
    };
    await eventually(what, isRight, since + within - Date.now()).catch((error) => {
      throw new Error(`${error.message}\n${faults.join('\n')}`);
    });
    return { ...after, all: Date.now() - since };
  }

  /** Messages that were acknowledged and are not in the history, and those that are there twice. */
  async checkHistory() {
    const api = new Api(this.nodes[0]);
    const kept = [];
    for (let page = 1; ; page += 1) {
      const { data } = await api.history(this.users.anna.token, this.room, `current=${page}&total=${this.last}`);
      if (data.length === 0) break;
      kept.push(...data);
    }
    const texts = new Map(kept.map(({ seq, msg }) => [seq, msg]));
    // What was stored and never acknowledged, because its node died, counts as a message too.
    assert.deepEqual(ascending(texts.keys()), Array.from({ length: texts.size }, (_, i) => i + 1), 'no gap');
    const lost = [...this.acked].filter(([seq, { text }]) => texts.get(seq) !== text);
    return { lost: lost.length, repeated: kept.length - new Set(kept.map(({ msg }) => msg)).size };
  }

  close() {
    for (const person of [...this.people, ...this.outside]) person.close();
  }
}
