import { io, type Socket } from "socket.io-client";

export type Ack =
  | { ok: true; room?: number; online?: number; seq?: number; id?: number; user?: unknown; count?: unknown }
  | { ok: false; code: string; message: string; retry_after_ms?: number };

const ACK_TIMEOUT_MS = 15_000;

/** WebSocket first; long-polling where a proxy blocks it. */
export function createSocket(base: string, token: () => string): Socket {
  const options = {
    path: "/socket.io/",
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    autoConnect: false,
    reconnectionDelay: 500,
    reconnectionDelayMax: 8_000,
    randomizationFactor: 0.5,
    auth: (send: (data: object) => void) => send({ token: token() }),
  };
  return base === "" ? io(options) : io(base, options);
}

/**
 * Emits and waits for the server's answer; no answer in time counts as a refusal. Nothing is kept for
 * a later connection: a request about a room must be repeated after joining it again.
 */
export function ask(socket: Socket, event: string, payload: object): Promise<Ack> {
  const disconnected: Ack = { ok: false, code: "disconnected", message: "The connection was lost." };
  if (!socket.connected) return Promise.resolve(disconnected);
  return new Promise((resolve) => {
    socket.timeout(ACK_TIMEOUT_MS).emit(event, payload, (error: Error | null, answer: unknown) => {
      if (error && error.message.includes("disconnected")) resolve(disconnected);
      else if (error) resolve({ ok: false, code: "timeout", message: "The server did not answer." });
      else if (isAck(answer)) resolve(answer);
      else resolve({ ok: false, code: "invalid_answer", message: "The server sent an invalid answer." });
    });
  });
}

function isAck(answer: unknown): answer is Ack {
  return typeof answer === "object" && answer !== null && typeof (answer as Ack).ok === "boolean";
}
