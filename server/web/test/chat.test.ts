import { startMock as start } from "../mock/server.js";
import { createState } from "../mock/state.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createApi, type Session } from "../src/net/api";
import { createChat, type Chat } from "../src/state/chat";

interface MockRoom {
  seq: number;
  version: number;
  messages: { msg: string }[];
  members: Map<unknown, unknown>;
}
interface MockSocket {
  emit: () => boolean;
  conn: {
    close: () => void;
    transport: { socket: { close: (code: number, reason: string) => void } };
  };
}
/** What these tests use of the mock, which is plain JavaScript. */
interface Mock {
  url: string;
  port: number;
  stop: () => Promise<void>;
  publish: (user: unknown, room: MockRoom, message: { msg: string; img: string; time: string }) => void;
  faults: Record<string, ((event: string) => unknown) | undefined>;
  state: { rooms: { get: (id: number) => MockRoom } } & ReturnType<typeof createState>;
  io: {
    disconnectSockets: () => void;
    sockets: { sockets: { values: () => Iterable<MockSocket> & { next: () => { value: MockSocket } } } };
  };
}
const startMock = start as unknown as (options?: Record<string, unknown>) => Promise<Mock>;
let mock: Mock;
let started: Chat[];
let expired: string[];

beforeEach(async () => {
  started = [];
  expired = [];
  mock = await startMock();
});

afterEach(async () => {
  for (const chat of started) chat.stop();
  await mock.stop();
});

async function register(name: string): Promise<Session> {
  return createApi(mock.url).register(`${name}@example.org`, "password");
}

function open(session: Session): Chat {
  const chat = createChat({
    api: createApi(mock.url),
    session,
    base: mock.url,
    user: () => session.user,
    onExpired: () => expired.push(session.user.name),
    onAvatar: () => undefined,
  });
  started.push(chat);
  chat.start();
  return chat;
}

async function enter(name: string, room = 1): Promise<Chat> {
  const chat = open(await register(name));
  chat.show(room);
  await expect.poll(() => isSettled(chat)).toBe(true);
  return chat;
}

const isSettled = (chat: Chat) => {
  const room = chat.open.value;
  return room?.phase.value === "joined" && !room.isLoading.value && room.roster.value.version >= 0;
};
const shown = (chat: Chat) => chat.open.value?.rows.value.map((row) => (row.message ?? row.outgoing)?.msg);
const seqs = (chat: Chat) => chat.open.value?.messages.value.map(({ seq }) => seq) ?? [];
const states = (chat: Chat) => chat.open.value?.rows.value.map((row) => row.outgoing?.state ?? "sent");
const here = (chat: Chat) => [...(chat.open.value?.roster.value.people.values() ?? [])].map(({ name }) => name).sort();
const send = (chat: Chat, text: string) => chat.outbox.send(chat.open.value!, text, null);

function say(text: string, name = "bot") {
  const user = mock.state.users.get(`${name}@example.org`);
  mock.publish(user, mock.state.rooms.get(1), { msg: text, img: "", time: new Date().toISOString() });
}

/** Cuts every connection as a network does: without a packet that says so. */
const cut = () => {
  for (const client of mock.io.sockets.sockets.values()) client.conn.close();
};

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

describe("a room with two people", () => {
  it("shows both rosters, live, through joining and leaving", async () => {
    const ada = await enter("ada");
    expect(here(ada)).toEqual(["ada"]);
    const ben = await enter("ben");
    await expect.poll(() => here(ada)).toEqual(["ada", "ben"]);
    expect(here(ben)).toEqual(["ada", "ben"]);
    expect(ada.spokenPresence.value).toBe("ben joined");
    ben.show(null);
    await expect.poll(() => here(ada)).toEqual(["ada"]);
    expect(ada.open.value?.roster.value.online).toBe(1);
    expect(ada.spokenPresence.value).toBe("ben left");
  });

  it("delivers to both, once, in one order, and distinguishes own messages from others'", async () => {
    const ada = await enter("ada");
    const ben = await enter("ben");
    send(ada, "one");
    expect(states(ada)).toEqual(["sending"]);
    await expect.poll(() => shown(ben)).toEqual(["one"]);
    send(ben, "two");
    send(ada, "three");
    await expect.poll(() => [seqs(ada).length, seqs(ben).length]).toEqual([3, 3]);
    expect(shown(ada)).toEqual(shown(ben));
    expect(states(ada)).toEqual(["sent", "sent", "sent"]);
    const own = ada.open.value?.rows.value.filter((row) => row.isOwn).map((row) => row.message?.msg);
    expect(own).toEqual(["one", "three"]);
  });

  it("keeps the row of a message when it is confirmed", async () => {
    const ada = await enter("ada");
    send(ada, "hello");
    const key = ada.open.value?.rows.value[0]?.key;
    await expect.poll(() => states(ada)).toEqual(["sent"]);
    expect(ada.open.value?.rows.value.map((row) => row.key)).toEqual([key]);
  });

  it("counts unread messages of a room one is not in", async () => {
    const ada = await enter("ada", 2);
    const ben = await enter("ben", 1);
    send(ben, "one");
    send(ben, "two");
    await expect.poll(() => ada.unread.value[1]).toBe(2);
    expect(ada.unread_count.value).toBe(2);
    ada.show(1);
    await expect.poll(() => shown(ada)).toEqual(["one", "two"]);
    expect(ada.unread_count.value).toBe(0);
  });

  it("marks where the unread messages begin when coming back", async () => {
    const ada = await enter("ada");
    const ben = await enter("ben");
    send(ben, "one");
    await expect.poll(() => shown(ada)).toEqual(["one"]);
    ada.show(null);
    send(ben, "two");
    send(ben, "three");
    await expect.poll(() => ada.unread.value[1]).toBe(2);
    ada.show(1);
    await expect.poll(() => shown(ada)).toEqual(["one", "two", "three"]);
    expect(ada.open.value?.rows.value.map((row) => row.startsUnread)).toEqual([false, true, false]);
  });
});

describe("a burst of messages", () => {
  it("arrives whole and in order, and not in the room shown next", async () => {
    await register("bot");
    const ada = await enter("ada");
    for (const number of range(1, 300)) say(`text ${number}`);
    await expect.poll(() => seqs(ada)).toEqual(range(1, 300));
    say("last words");
    ada.show(2);
    await expect.poll(() => isSettled(ada)).toBe(true);
    mock.publish(mock.state.users.get("bot@example.org"), mock.state.rooms.get(2), { msg: "hi", img: "", time: "" });
    await expect.poll(() => shown(ada)).toEqual(["hi"]);
  });
});

describe("history", () => {
  it("shows the newest page and loads older pages without a gap", async () => {
    await register("bot");
    for (const number of range(1, 50)) say(`text ${number}`);
    const ada = await enter("ada");
    expect(seqs(ada)).toEqual(range(31, 50));
    say("text 51");
    await expect.poll(() => seqs(ada).at(-1)).toBe(51);
    await ada.open.value?.loadOlder();
    await ada.open.value?.loadOlder();
    expect(seqs(ada)).toEqual(range(1, 51));
    expect(ada.open.value?.before.value).toBe(0);
  });

  it("offers to try again when it cannot be read", async () => {
    await register("bot");
    say("text");
    mock.faults.history = () => true;
    const ada = await enter("ada");
    expect(ada.open.value?.hasHistoryFailed.value).toBe(true);
    mock.faults.history = () => false;
    await ada.reload();
    expect(shown(ada)).toEqual(["text"]);
    expect(ada.open.value?.hasHistoryFailed.value).toBe(false);
  });
});

describe("a broken connection", () => {
  it("is joined again, with what was said meanwhile and the roster as it is now", async () => {
    await register("bot");
    const ada = await enter("ada");
    const ben = await enter("ben");
    say("before");
    await expect.poll(() => seqs(ada)).toEqual([1]);
    cut();
    await expect.poll(() => ada.connection.value).toBe("reconnecting");
    ben.stop();
    for (const number of range(1, 45)) say(`missed ${number}`);
    await expect.poll(() => isSettled(ada), { timeout: 5_000 }).toBe(true);
    say("after");
    await expect.poll(() => seqs(ada)).toEqual(range(1, 47));
    expect(here(ada)).toEqual(["ada"]);
  });

  it("starts afresh without a hole when too much was missed", async () => {
    await register("bot");
    const ada = await enter("ada");
    say("before");
    await expect.poll(() => seqs(ada)).toEqual([1]);
    cut();
    await expect.poll(() => ada.connection.value).toBe("reconnecting");
    for (const number of range(2, 300)) say(`missed ${number}`);
    await expect.poll(() => isSettled(ada), { timeout: 5_000 }).toBe(true);
    expect(seqs(ada)).toEqual(range(201, 300));
    await ada.open.value?.loadOlder();
    expect(seqs(ada)).toEqual(range(181, 300));
  });

  it("holds back what is written meanwhile and sends it once, in order", async () => {
    const ada = await enter("ada");
    cut();
    await expect.poll(() => ada.connection.value).toBe("reconnecting");
    send(ada, "one");
    send(ada, "two");
    expect(states(ada)).toEqual(["sending", "sending"]);
    await expect.poll(() => states(ada), { timeout: 5_000 }).toEqual(["sent", "sent"]);
    expect(mock.state.rooms.get(1).messages.map(({ msg }: { msg: string }) => msg)).toEqual(["one", "two"]);
  });

  it("does not send again what had arrived although its ack was lost", async () => {
    const ada = await enter("ada");
    const room = mock.state.rooms.get(1);
    mock.faults.silence = () => true;
    mock.io.sockets.sockets.values().next().value.emit = () => true;
    send(ada, "precious");
    await expect.poll(() => room.messages.length).toBe(1);
    expect(states(ada)).toEqual(["sending"]);
    mock.faults.silence = undefined;
    cut();
    await expect.poll(() => states(ada), { timeout: 5_000 }).toEqual(["sent"]);
    expect(room.messages).toHaveLength(1);
    expect(shown(ada)).toEqual(["precious"]);
  });

  it("sends again what was lost on the way", async () => {
    const ada = await enter("ada");
    mock.faults.loss = (event: string) => event === "message";
    send(ada, "one");
    send(ada, "two");
    await expect.poll(() => ada.open.value?.outgoing.value.every((item) => item.isEmitted)).toBe(true);
    cut();
    await expect.poll(() => ada.connection.value).toBe("reconnecting");
    mock.faults.loss = undefined;
    await expect.poll(() => states(ada), { timeout: 5_000 }).toEqual(["sent", "sent"]);
    expect(mock.state.rooms.get(1).messages.map(({ msg }: { msg: string }) => msg)).toEqual(["one", "two"]);
  });

  it("sends again what was not confirmed where no history shows it, and it is published once", async () => {
    mock.faults.ephemeral = () => true;
    const ada = await enter("ada");
    const room = mock.state.rooms.get(1);
    send(ada, "known");
    await expect.poll(() => states(ada)).toEqual(["sent"]);
    mock.faults.silence = (event: string) => event === "message";
    mock.io.sockets.sockets.values().next().value.emit = () => true;
    send(ada, "unknown");
    await expect.poll(() => room.messages.length).toBe(2);
    mock.faults.silence = undefined;
    cut();
    await expect.poll(() => states(ada), { timeout: 5_000 }).toEqual(["sent", "sent"]);
    expect(room.messages.map(({ msg }: { msg: string }) => msg)).toEqual(["known", "unknown"]);
  });

  it("sends again what the server does not know to have stored", async () => {
    const ada = await enter("ada");
    const room = mock.state.rooms.get(1);
    let refusals = 2;
    mock.faults.message = () => (refusals-- > 0 ? "unknown_outcome" : undefined);
    send(ada, "in doubt");
    await expect.poll(() => states(ada), { timeout: 5_000 }).toEqual(["sent"]);
    expect(room.messages).toHaveLength(1);
  });

  it("comes back to a restarted server whose roster counts from the start", async () => {
    mock.state.rooms.get(1).version = 50;
    const ada = await enter("ada");
    expect(ada.open.value?.roster.value.version).toBeGreaterThan(50);
    const { port, state } = mock;
    cut();
    await mock.stop();
    await expect.poll(() => ada.connection.value).toBe("reconnecting");
    const fresh = createState();
    fresh.users = state.users;
    fresh.tokens = state.tokens;
    mock = await startMock({ port, state: fresh });
    await expect.poll(() => isSettled(ada), { timeout: 10_000 }).toBe(true);
    expect(here(ada)).toEqual(["ada"]);
    const ben = await enter("ben");
    await expect.poll(() => here(ada)).toEqual(["ada", "ben"]);
    expect(here(ben)).toEqual(["ada", "ben"]);
  }, 15_000);

  it("comes back when the server ends the connection itself", async () => {
    const ada = await enter("ada");
    mock.io.disconnectSockets();
    await expect.poll(() => ada.connection.value).toBe("reconnecting");
    await expect.poll(() => isSettled(ada), { timeout: 6_000 }).toBe(true);
  }, 10_000);
});

describe("a network without WebSocket", () => {
  it("is served by long-polling", async () => {
    const { port } = mock;
    await mock.stop();
    mock = await startMock({ port, transports: ["polling"] });
    const ada = await enter("ada");
    const ben = await enter("ben");
    send(ada, "slowly");
    await expect.poll(() => shown(ben)).toEqual(["slowly"]);
    expect(states(ada)).toEqual(["sent"]);
  });
});

describe("refusals", () => {
  it("leaves a refused message in place until it is sent again", async () => {
    const ada = await enter("ada");
    mock.faults.message = () => "storage_unavailable";
    send(ada, "hasty");
    await expect.poll(() => states(ada)).toEqual(["failed"]);
    const refused = ada.open.value!.outgoing.value[0]!;
    expect(refused.reason).toMatch(/could not store/);
    mock.faults.message = undefined;
    ada.outbox.retry(ada.open.value!, refused.key);
    await expect.poll(() => states(ada)).toEqual(["sent"]);
    expect(mock.state.rooms.get(1).messages).toHaveLength(1);
  });

  it("waits and sends again by itself when it was too quick", async () => {
    const ada = await enter("ada");
    let refusal_count = 0;
    mock.faults.message = () => (refusal_count++ < 2 ? "rate_limited" : undefined);
    send(ada, "one");
    send(ada, "two");
    await expect.poll(() => states(ada), { timeout: 5_000 }).toEqual(["sent", "sent"]);
    expect(shown(ada)).toEqual(["one", "two"]);
  });

  it("does not come back by itself when the server closed for a fault of the client", async () => {
    const ada = await enter("ada");
    const { conn } = mock.io.sockets.sockets.values().next().value;
    conn.transport.socket.close(1008, "parse_error");
    await expect.poll(() => ada.connection.value).toBe("refused");
    ada.retryNow();
    await expect.poll(() => isSettled(ada), { timeout: 5_000 }).toBe(true);
    expect(ada.connection.value).toBe("online");
  });

  it("joins again and sends when the server has forgotten the membership", async () => {
    const ada = await enter("ada");
    mock.state.rooms.get(1).members.clear();
    send(ada, "still here?");
    await expect.poll(() => states(ada)).toEqual(["sent"]);
    expect(shown(ada)).toEqual(["still here?"]);
  });

  it("says so when a room does not exist", async () => {
    const ada = open(await register("ada"));
    ada.show(77);
    await expect.poll(() => ada.open.value?.phase.value).toBe("refused");
    expect(ada.open.value?.refusal.value).toMatch(/does not exist/);
  });

  it("ends the session when the token is not valid any more", async () => {
    const session = await register("ada");
    mock.state.tokens.clear();
    open(session);
    await expect.poll(() => expired.length).toBeGreaterThan(0);
  });
});
