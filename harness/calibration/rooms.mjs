// A chat server with rooms and presence by hand, as tutorials write it, on plain Socket.IO. `rooms.toml` says how it
// names its events. With `--defects` it is written as they mostly are; without, each of these defects is mended.
//
// usage: node rooms.mjs [--defects[=NAME,…]]
import { createServer } from "node:http";
import { Server } from "socket.io";

const option = process.argv.find((arg) => arg.startsWith("--defects"));
const has = (name) => option !== undefined && (!option.includes("=") || option.slice(10).split(",").includes(name));

const people = new Map(); // room → ids of its members, as a list where somebody may be twice
const http = createServer();
const io = new Server(http, { allowEIO3: true });

const list = (room) => (people.get(room) ?? []).map((id) => ({ id }));
const announce = (room) => {
  const roster = { room, people: list(room) };
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
  let current; // the tutorial's socket.data.room: one room only

  socket.on("enter", async (room, ack) => {
    if (has("late-join")) await new Promise((resolve) => setTimeout(resolve, 20)); // looks something up
    if (!has("late-join") || socket.connected || has("ghosts")) {
      current = room;
      socket.join(room);
      add(room, socket.id);
      announce(room);
    }
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
    else io.to(room).emit("talked", said);
    ack({ ok: true });
  });

  socket.on("disconnecting", () => {
    if (has("ghosts")) return;
    const left = has("one-room") ? [current] : [...socket.rooms].filter((room) => people.has(room));
    for (const room of left) {
      remove(room, socket.id);
      socket.leave(room);
      announce(room);
    }
  });
});

http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`rooms listening on http://127.0.0.1:${http.address().port}`);
});
