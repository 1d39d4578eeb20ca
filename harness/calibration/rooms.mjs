// A chat server with rooms and presence by hand, on plain Socket.IO, as tutorials write it: with `--defects`, or with
// some of them (`--defects=ghosts,open-rooms`). Without, each is mended. `rooms.toml` says how it names its events.
import { createServer } from "node:http";
import { Server } from "socket.io";

const option = process.argv.find((arg) => arg.startsWith("--defects"))?.split("=");
const has = (name) => option !== undefined && (option[1] ?? name).split(",").includes(name);

const http = createServer();
const heartbeat = process.env.HEARTBEAT_MS;
const heartbeats = heartbeat ? { pingInterval: Number(heartbeat), pingTimeout: Number(heartbeat) } : {};
const io = new Server(http, { allowEIO3: true, ...heartbeats });
const people = new Map(); // room → ids
const left = []; // [room, id]

// Each socket is in a room of its own that has its id for a name: those of the chat have other names.
const channel = (room) => (has("id-rooms") ? room : `chat:${key(room)}`);
const key = (room) => {
  if (has("lower-case")) return room.toLowerCase();
  return has("short-names") ? room.slice(0, 16) : room;
};

const announce = (room) => {
  const roster = { room, people: (people.get(room) ?? []).map((id) => ({ id })) };
  if (has("roster-to-all")) io.emit("people", roster);
  else io.to(channel(room)).emit("people", roster);
  if (has("old-roster")) setTimeout(() => io.to(channel(room)).emit("people", { room, people: [] }), 1500);
};
const add = (room, id) => {
  const there = people.get(room) ?? [];
  if (has("double-entry") || !there.includes(id)) people.set(room, [...there, id]);
};
const remove = (room, id) => {
  const there = people.get(room) ?? [];
  if (has("wrong-entry")) there.splice(there.indexOf(id), 1); // -1 removes the last
  else people.set(room, there.filter((other) => other !== id));
  if (people.get(room)?.length === 0) people.delete(room);
};

io.on("connection", (socket) => {
  let current; // the room that was joined last

  socket.on("enter", async (room, ack) => {
    if (has("late-join")) await new Promise((resolve) => setTimeout(resolve, 20)); // looks something up
    current = room;
    if (has("small-rooms") && (people.get(room)?.length ?? 0) >= 64) return ack({ ok: true });
    socket.join(channel(room));
    add(room, socket.id);
    announce(room);
    ack({ ok: true });
  });

  socket.on("exit", (room, ack) => {
    if (!has("no-leave")) socket.leave(channel(room));
    left.push([room, socket.id]);
    remove(room, socket.id);
    announce(room);
    ack({ ok: true });
  });

  socket.on("talk", ({ room, body }, ack) => {
    if (!has("open-rooms") && !socket.rooms.has(channel(room))) return ack({ ok: false });
    const said = { room, who: socket.id, body };
    if (has("talk-to-all")) io.emit("talked", said);
    else io.to(channel(has("current-room") ? current : room)).emit("talked", said);
    const later = (send) => setTimeout(send, 1500);
    if (has("late-copy")) later(() => io.to(channel(room)).emit("talked", said));
    if (has("late-leak")) later(() => io.except(channel(room)).emit("talked", { ...said, room: "elsewhere" }));
    if (has("late-left")) {
      const ids = left.filter(([of, id]) => of === room && !io.sockets.sockets.get(id)?.rooms.has(channel(room)));
      later(() => ids.forEach(([, id]) => io.to(id).emit("talked", said)));
    }
    ack({ ok: true });
  });

  socket.on("disconnecting", (why) => {
    const first = [...people.keys()].find((room) => socket.rooms.has(channel(room)));
    if (has("lost-at-rest")) setTimeout(() => io.in(people.get(first)?.[0] ?? "").socketsLeave(channel(first)), 1500);
    if (has("ghosts") || (has("silent-ghosts") && why === "ping timeout")) return;
    for (const room of has("one-room") ? [current] : [...people.keys()].filter((room) => socket.rooms.has(channel(room)))) {
      remove(room, socket.id);
      socket.leave(channel(room));
      announce(room);
    }
  });
});

http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`rooms listening on http://127.0.0.1:${http.address().port}`);
});
