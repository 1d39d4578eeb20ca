// One wrapper over the three generations of socket.io-client: events are kept in order, and a test
// takes them out one by one.
import io2 from 'socket.io-client-2';
import original from 'socket.io-client-2.3';
import { io as io3 } from 'socket.io-client-3';
import { io as io4 } from 'socket.io-client-4';

// The original page has 2.3.0, which sends what was buffered after the `connect` event; 2.5 before.
const generations = { 2.3: original, 2: io2, 3: io3, 4: io4 };

export const versions = [2, 3, 4];
export const transportSets = {
  default: undefined,
  websocket: ['websocket'],
  polling: ['polling'],
};

export class Client {
  /** Options: `version`, `transports`, `token`, `tokenIn` (`query`, `auth`), `namespace`, `path`. */
  constructor(server, options = {}) {
    const { version = 4, transports, token, tokenIn, namespace = '', path = '/socket.io', ...rest } = options;
    this.label = `client ${version}`;
    this.version = version;
    /** How long an answer may take. */
    this.answerTimeoutMs = 10_000;
    this.events = [];
    this.waiters = [];
    const where = tokenIn ?? (version < 3 ? 'query' : 'auth');
    const settings = {
      path,
      forceNew: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 250,
      timeout: 10_000,
      ...rest,
    };
    if (transports) settings.transports = transports;
    if (token && where === 'query') settings.query = { api_token: token };
    if (token && where === 'auth') settings.auth = { api_token: token };
    this.socket = generations[version](server.url + namespace, settings);
    const onevent = this.socket.onevent;
    this.socket.onevent = (packet) => {
      this.#record(packet.data[0], packet.data.slice(1));
      return onevent.call(this.socket, packet);
    };
    for (const name of ['connect', 'disconnect', 'connect_error', 'error']) {
      this.socket.on(name, (...args) => this.#record(`#${name}`, args));
    }
  }

  /** Connected: the `connect` event was seen. */
  static async open(server, options) {
    const client = new Client(server, options);
    await client.next('#connect');
    return client;
  }

  #record(name, args) {
    const event = { name, args };
    const at = this.waiters.findIndex((waiter) => waiter.wants(event));
    if (at >= 0) {
      const [waiter] = this.waiters.splice(at, 1);
      waiter.done(event);
    } else {
      this.events.push(event);
    }
  }

  /** Takes the first event of that name (and, if given, that passes `test`); answers its arguments. */
  async next(name, test = () => true, within = 10_000) {
    const wants = (event) => event.name === name && test(...event.args);
    const at = this.events.findIndex(wants);
    if (at >= 0) return this.events.splice(at, 1)[0].args;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiters.splice(this.waiters.indexOf(waiter), 1);
        const seen = this.events.map((event) => JSON.stringify(event).slice(0, 300)).join('\n  ');
        reject(new Error(`${this.label}: no "${name}" in ${within} ms; pending:\n  ${seen}`));
      }, within);
      const waiter = {
        wants,
        done: (event) => {
          clearTimeout(timer);
          resolve(event.args);
        },
      };
      this.waiters.push(waiter);
    });
  }

  /** Events of that name seen and not yet taken. */
  pending(name) {
    return this.events.filter((event) => event.name === name).map((event) => event.args);
  }

  forget() {
    this.events.length = 0;
  }

  emit(name, ...args) {
    this.socket.emit(name, ...args);
  }

  /** Emits with an acknowledgement and waits for it. */
  ask(name, ...args) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.label}: no ack of "${name}" in ${this.answerTimeoutMs} ms`)),
        this.answerTimeoutMs,
      );
      this.socket.emit(name, ...args, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
    });
  }

  /** Joins and takes this session's own answer: `{roster, meta}`. */
  async join(roomid, extra = {}) {
    this.emit('room', { roomid, ...extra });
    const [roster, meta] = await this.next('room', (_, about) => about?.room === Number(roomid));
    return { roster, meta };
  }

  say(roomid, msg, extra = {}) {
    return this.ask('message', { roomid, msg, img: '', time: new Date().toISOString(), ...extra });
  }

  get transport() {
    return this.socket.io.engine.transport.name;
  }

  close() {
    this.socket.close();
  }
}
