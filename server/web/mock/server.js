// A stand-in for the Throng server: the protocol the client sees, kept in memory.
//
// `faults` are functions that a test sets: `message(payload)` returns a refusal code, `silence(event)` holds
// back acks, `loss(event)` loses events before they take effect, `history()` makes reading it fail, and
// `ephemeral()` makes it empty.
import { createServer } from "node:http";
import { createChatServer } from "./chat.js";
import { createHandler } from "./http.js";
import { createState } from "./state.js";

export async function startMock({ port = 0, dist = null, faults = {}, state = createState(), ...options } = {}) {
  const hooks = {};
  const server = createServer(createHandler(state, { dist, hooks, faults }));
  const chat = createChatServer(server, state, { faults, ...options });
  hooks.onLogout = chat.onLogout;
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    state,
    faults,
    io: chat.io,
    publish: chat.publish,
    port: server.address().port,
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => new Promise((resolve) => chat.io.close(() => resolve())),
  };
}
