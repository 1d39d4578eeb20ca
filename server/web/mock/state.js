// The rooms, users and messages of the mock, in memory.
import { randomBytes } from "node:crypto";

const PAGE_ROWS = 20;

export function createState({ rooms = [[1, "Lobby"], [2, "Lounge"]] } = {}) {
  return {
    users: new Map(), // e-mail → user
    tokens: new Map(), // token → user
    files: new Map(), // path → { type, body }
    rooms: new Map(
      rooms.map(([id, name]) => [id, { id, name, seq: 0, version: 0, messages: [], members: new Map() }]),
    ),
  };
}

export function newToken() {
  return randomBytes(60).toString("base64").replace(/[^A-Za-z0-9]/g, "x").slice(0, 60);
}

export function addUser(state, email, password) {
  const id = state.users.size + 1;
  const stamp = new Date().toISOString();
  const user = {
    id,
    name: email.split("@")[0],
    email,
    password,
    avatar: `/avatars/${id % 16}.svg`,
    reads: new Map(),
    created_at: stamp,
    updated_at: stamp,
  };
  state.users.set(email.toLowerCase(), user);
  return user;
}

export function publicUser(user, token) {
  const { id, name, email, avatar, created_at, updated_at } = user;
  const shown = { id, name, email, email_verified_at: null, avatar, created_at, updated_at };
  return token ? { ...shown, api_token: token } : shown;
}

export function rosterEntry(user) {
  return { id: user.id, name: user.name, avatar: user.avatar, src: user.avatar };
}

/** Members are sessions; the people present are their users, each once. */
export function presentUsers(room) {
  return new Map([...room.members.values()].map(({ user }) => [user.id, user]));
}

export function rosterOf(room) {
  return Object.fromEntries([...presentUsers(room)].map(([id, user]) => [id, rosterEntry(user)]));
}

export function metaOf(room) {
  return { room: room.id, seq: room.seq, online: presentUsers(room).size, version: room.version };
}

export function unreadOf(room, user) {
  return presentUsers(room).has(user.id) ? 0 : room.seq - (user.reads.get(room.id) ?? 0);
}

export function addMessage(room, user, { msg, img, time, cid }) {
  room.seq += 1;
  const message = { id: room.id * 100_000 + room.seq, seq: room.seq, roomid: room.id, user, msg, img, time, cid };
  room.messages.push(message);
  return message;
}

/** The author alone sees the e-mail; all other users see an opaque id. */
export function messageFor(message, reader) {
  const { user, id, seq, roomid, msg, img, time } = message;
  const userid = reader === user ? user.email : `u${user.id}`;
  return { userid, username: user.name, src: user.avatar, id, seq, roomid, msg, img, time };
}

export function historyPage(room, reader, current, total) {
  const rows = room.messages;
  const anchor = total > 0 ? Math.min(total, rows.length) : rows.length;
  const end = Math.max(0, anchor - PAGE_ROWS * (current - 1));
  const data = rows.slice(Math.max(0, end - PAGE_ROWS), end).map((message) => {
    const row = messageFor(message, reader);
    return message.cid !== undefined && message.user === reader ? { ...row, cid: message.cid } : row;
  });
  return { errno: 0, data, total: anchor, current };
}
