// A chat server with rooms and presence by hand, on plain Socket.IO, as tutorials write it: with `--defects`, or with
// some of them (`--defects=ghosts,open-rooms`). Without, each is mended. `rooms.toml` says how it names its events.
import { createServer } from "node:http";
import { Server } from "socket.io";

const option = process.argv.find((arg) => arg.startsWith("--defects"))?.split("=");
const has = (name) => option !== undefined && (option[1] ?? name).split(",").includes(name);

const http = createServer();
const io = new Server(http, { allowEIO3: true });
const people = new Map(); // room → ids

const announce = (room) => {
  const roster = { room, people: (people.get(room) ?? []).map((id) => ({ id })) };
  if (has("roster-to-all")) io.emit("people", roster);
  else io.to(room).emit("people", roster);
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
    if (has("small-rooms") && (people.get(room)?.length ?? 0) >= 9) return ack({ ok: true });
    socket.join(room);
    add(room, socket.id);
    announce(room);
    ack({ ok: true });
  });

  socket.on("exit", (room, ack) => {
    if (!has("no-leave")) socket.leave(room);
    remove(room, socket.id);
    announce(room);
    ack({ ok: true });
  });

  socket.on("talk", ({ room, body }, ack) => {
    if (!has("open-rooms") && !socket.rooms.has(room)) return ack({ ok: false });
    const said = { room, who: socket.id, body };
    if (has("talk-to-all")) io.emit("talked", said);
    else io.to(has("current-room") ? current : room).emit("talked", said);
    ack({ ok: true });
  });

  socket.on("disconnecting", () => {
    if (has("ghosts")) return;
    for (const room of has("one-room") ? [current] : [...socket.rooms].filter((room) => people.has(room))) {
      remove(room, socket.id);
      socket.leave(room);
      announce(room);
    }
  });
});

http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`rooms listening on http://127.0.0.1:${http.address().port}`);
});
