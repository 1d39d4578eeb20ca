// The reference implementation with Engine.IO 3 allowed and the echo surface of the protocol suites:
// `message` is answered with `message-back`, `message-with-ack` with its arguments.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, {
  allowEIO3: true,
  pingInterval: 1000,
  pingTimeout: 2000,
  connectTimeout: 3000,
  upgradeTimeout: 3000,
  maxHttpBufferSize: 1_000_000,
});

const echo = (socket) => {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => {
    const ack = args.at(-1);
    if (typeof ack === "function") ack(...args.slice(0, -1));
  });
};
io.on("connection", echo);
io.of("/custom").on("connection", echo);

http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`reference listening on http://127.0.0.1:${http.address().port}`);
});
