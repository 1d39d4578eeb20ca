// The room broadcast of the benches on npm socket.io with its default ws engine.
import { createServer } from "node:http";
import { Server } from "socket.io";

const port = Number(process.argv[2] ?? 0);
const http = createServer();
const io = new Server(http, { serveClient: false });
let seq = 0;

io.on("connection", (socket) => {
  socket.on("room", (join, ack) => {
    const room = `room${join.roomid}`;
    socket.join(room);
    ack?.({ ok: true, room: join.roomid, online: io.sockets.adapter.rooms.get(room).size, seq });
  });
  socket.on("roomout", (leave, ack) => {
    socket.leave(`room${leave.roomid}`);
    ack?.({ ok: true });
  });
  socket.on("message", (message, ack) => {
    seq += 1;
    io.to(`room${message.roomid}`).emit("message", {
      userid: "u1",
      username: "user",
      src: "/avatars/1.svg",
      msg: message.msg,
      img: message.img,
      roomid: message.roomid,
      time: "2026-01-01T00:00:00.000Z",
      id: seq,
      seq,
    });
    ack?.({ ok: true, id: seq, seq });
  });
});

http.listen(port, "127.0.0.1", () => {
  console.log(`socket.io listening on http://127.0.0.1:${http.address().port}`);
});
