// The Socket.IO part of the mock: login, room, roomout, message, presence, count.
import { Server } from "socket.io";
import {
  addMessage,
  messageFor,
  metaOf,
  presentUsers,
  publicUser,
  rosterEntry,
  rosterOf,
  unreadOf,
} from "./state.js";
import { storeImage } from "./http.js";

const LOGIN_TEXT = "Login to enter chat room";
const refuse = (code, message) => ({ ok: false, code, message });

export function createChatServer(httpServer, state, { faults = {}, ...options } = {}) {
  const io = new Server(httpServer, { maxHttpBufferSize: 4 * 1024 * 1024, ...options });
  const identities = new Map(); // socket → { user, token }

  function announce(room, before) {
    const after = presentUsers(room);
    const joined = [...after.values()].filter((user) => !before.has(user.id)).map(rosterEntry);
    const left = [...before.keys()].filter((id) => !after.has(id));
    if (joined.length === 0 && left.length === 0) return;
    room.version += 1;
    const meta = metaOf(room);
    for (const [socket, member] of room.members) {
      if (member.isSnapshotDue) socket.emit("room", rosterOf(room), meta);
      else if (member.presence === "delta") socket.emit("presence", { ...meta, joined, left });
      else if (member.presence === "count") socket.emit("presence", meta);
      else socket.emit(joined.length > 0 ? "room" : "roomout", rosterOf(room), meta);
      member.isSnapshotDue = false;
    }
  }

  function leave(socket, room) {
    const member = room.members.get(socket);
    if (!member) return false;
    const before = presentUsers(room);
    room.members.delete(socket);
    if (!presentUsers(room).has(member.user.id)) member.user.reads.set(room.id, room.seq);
    announce(room, before);
    return true;
  }

  function sendCounts(room) {
    for (const [socket, { user }] of identities) {
      if (!presentUsers(room).has(user.id)) socket.emit("count", { [`room${room.id}`]: unreadOf(room, user) });
    }
  }

  function publish(user, room, fields) {
    const message = addMessage(room, user, fields);
    for (const [socket, member] of room.members) socket.emit("message", messageFor(message, member.user));
    sendCounts(room);
    return message;
  }

  const handlers = {
    login(socket, { user }) {
      const count = Object.fromEntries([...state.rooms.values()].map((room) => [`room${room.id}`, unreadOf(room, user)]));
      socket.emit("count", count);
      const { id, name, avatar } = publicUser(user);
      return { ok: true, user: { id, name, avatar }, count };
    },
    room(socket, { user }, { presence = "full" }, room) {
      const before = presentUsers(room);
      const isRepeated = room.members.has(socket);
      room.members.set(socket, { user, presence, isSnapshotDue: true });
      user.reads.set(room.id, room.seq);
      if (!isRepeated) announce(room, before);
      const member = room.members.get(socket);
      if (member.isSnapshotDue && presence !== "count") socket.emit("room", rosterOf(room), metaOf(room));
      member.isSnapshotDue = false;
      return { ok: true, room: room.id, online: presentUsers(room).size, seq: room.seq };
    },
    roomout(socket, _identity, _payload, room) {
      const isMember = leave(socket, room);
      socket.emit("roomout", isMember ? rosterOf(room) : {}, metaOf(room));
      return { ok: true, room: room.id, online: presentUsers(room).size, seq: room.seq };
    },
    async message(socket, { user }, payload, room) {
      const refusal = faults.message?.(payload);
      if (refusal) return refuse(refusal, "");
      if (!room.members.has(socket)) return refuse("not_member", "Join the room first");
      const { cid } = payload;
      const first = cid && room.messages.find((message) => message.cid === cid && message.user === user);
      if (first) return { ok: true, id: first.id, seq: first.seq };
      const msg = payload.msg ?? "";
      let img = payload.img ?? "";
      if (msg === "" && img === "") return refuse("invalid_argument", "The message is empty");
      if ([...msg].length > 2000) return refuse("too_large", "The message is too long");
      if (img.startsWith("data:")) {
        img = await storeImage(state, "messages", await (await fetch(img)).blob());
        if (img === null) return refuse("image_invalid", "Not an image");
      }
      const time = Number.isNaN(Date.parse(payload.time)) ? new Date().toISOString() : payload.time;
      const message = publish(user, room, { msg, img, time, cid });
      return { ok: true, id: message.id, seq: message.seq };
    },
  };

  io.on("connection", (socket) => {
    const bind = (token) => {
      const user = state.tokens.get(token);
      if (user) identities.set(socket, { user, token });
      return user !== undefined;
    };
    bind(socket.handshake.auth?.token);

    const handle = async (event, payload = {}) => {
      if (payload.api_token && !bind(payload.api_token)) return refuse("unauthenticated", LOGIN_TEXT);
      const identity = identities.get(socket);
      if (!identity) return refuse("unauthenticated", LOGIN_TEXT);
      if (!handlers[event]) return refuse("unknown_event", `Unknown event ${event}`);
      if (event === "login") return handlers.login(socket, identity);
      const number = Number(payload.roomid);
      if (!Number.isInteger(number) || number <= 0) return refuse("invalid_argument", "roomid is missing or invalid");
      const room = state.rooms.get(number);
      if (!room) return refuse("unknown_room", "There is no such room");
      return handlers[event](socket, identity, payload, room);
    };

    let turn = Promise.resolve();
    socket.onAny((event, payload, ack) => {
      turn = turn.then(async () => {
        if (faults.loss?.(event, payload)) return;
        const answer = await handle(event, payload);
        if (faults.silence?.(event, payload)) return;
        if (typeof ack === "function") ack(answer);
        else if (!answer.ok && answer.code === "unauthenticated") socket.emit("login", LOGIN_TEXT);
        else if (!answer.ok) socket.emit("chat_error", { event, code: answer.code, message: answer.message });
      });
    });
    socket.on("disconnect", () => {
      for (const room of state.rooms.values()) leave(socket, room);
      identities.delete(socket);
    });
  });

  return {
    io,
    publish,
    onLogout(token) {
      for (const [socket, identity] of identities) {
        if (identity.token !== token) continue;
        for (const room of state.rooms.values()) leave(socket, room);
        identities.delete(socket);
      }
    },
  };
}
