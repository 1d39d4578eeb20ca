// Records what the reference Engine.IO server answers to single HTTP requests. See README.md.
import { createServer } from "node:http";
import { connect } from "node:net";
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(import.meta.url);
const { attach } = require("engine.io");
const { version } = JSON.parse(readFileSync("node_modules/engine.io/package.json", "utf8"));
const source = `engine.io@${version} with allowEIO3 and maxHttpBufferSize 1000`;
const out = process.argv[2];
if (!out) throw new Error("usage: node http.mjs <vectors folder>");

const http = createServer((_, response) => response.writeHead(404).end());
attach(http, { path: "/socket.io/", allowEIO3: true, maxHttpBufferSize: 1000, pingInterval: 25000, pingTimeout: 20000 });
await new Promise((ready) => http.listen(0, "127.0.0.1", ready));
const { port } = http.address();

/** The body of a chunked answer in ASCII. */
function dechunk(body) {
  let plain = "";
  for (let at = 0; ; ) {
    const end = body.indexOf("\r\n", at);
    const length = parseInt(body.slice(at, end), 16);
    if (!length) return plain;
    plain += body.slice(end + 2, end + 2 + length);
    at = end + 2 + length + 2;
  }
}

/** Sends the text and reads until the server closes or one answer is complete. */
function exchange(text) {
  return new Promise((done, fail) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    let answer = "";
    const finish = () => {
      const [head, ...rest] = answer.split("\r\n\r\n");
      const body = rest.join("\r\n\r\n");
      const plain = /^transfer-encoding: chunked/im.test(head) ? dechunk(body) : body;
      const type = /^content-type: (.*)$/im.exec(head)?.[1];
      done({ status: Number(head.split(" ")[1]), content_type: type ?? null, body: plain });
      socket.destroy();
    };
    socket.setEncoding("utf8");
    socket.on("data", (data) => {
      answer += data;
      const length = /^content-length: (\d+)$/im.exec(answer)?.[1];
      const body = answer.split("\r\n\r\n").slice(1).join("\r\n\r\n");
      const chunked = /^transfer-encoding: chunked/im.test(answer);
      if (length !== undefined ? Buffer.byteLength(body) >= Number(length) : chunked && body.endsWith("0\r\n\r\n")) finish();
    });
    socket.on("end", () => answer && finish());
    socket.on("error", fail);
    setTimeout(() => fail(new Error(`no answer: ${text}`)), 3000).unref();
  });
}

const request = (method, target, { headers = [], body = "" } = {}) =>
  [`${method} ${target} HTTP/1.1`, "Host: 127.0.0.1", ...headers, ...(method === "POST" || body ? [`Content-Length: ${Buffer.byteLength(body)}`] : []), "", body].join("\r\n");
const WS = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"];
const P = "/socket.io/?EIO=4&transport=polling";
const P3 = "/socket.io/?EIO=3&transport=polling";
const S = "&sid={sid}";

// Clause, name, protocol, request; `{sid}` stands for a fresh polling session.
const cases = [
  ["TRN-30", "handshake by polling", "eio4", request("GET", P)],
  ["TRN-30", "handshake by polling, eio3", "eio3", request("GET", `${P3}&b64=1&t=Q864tyS`)],
  ["TRN-11", "no transport", "eio4", request("GET", "/socket.io/?EIO=4")],
  ["TRN-11", "unknown transport", "eio4", request("GET", "/socket.io/?EIO=4&transport=abc")],
  ["TRN-11", "unknown transport and unknown sid", "eio4", request("GET", "/socket.io/?EIO=4&transport=abc&sid=abc")],
  ["TRN-13", "unknown sid", "eio4", request("GET", `${P}&sid=abcdefghijklmnopqrst`)],
  ["TRN-13", "unknown sid by POST", "eio4", request("POST", `${P}&sid=abcdefghijklmnopqrst`, { body: "2" })],
  ["TRN-19", "unknown sid on an upgrade", "eio4", request("GET", "/socket.io/?EIO=4&transport=websocket&sid=abcdefghijklmnopqrst", { headers: WS })],
  ["TRN-14", "polling session asked as websocket", "eio4", request("GET", `/socket.io/?EIO=4&transport=websocket${S}`)],
  ["TRN-15", "handshake by POST", "eio4", request("POST", P)],
  ["TRN-15", "handshake by PUT", "eio4", request("PUT", P)],
  ["TRN-16", "websocket without an upgrade", "eio4", request("GET", "/socket.io/?EIO=4&transport=websocket")],
  ["TRN-19", "unknown transport on an upgrade", "eio4", request("GET", "/socket.io/?EIO=4&transport=abc", { headers: WS })],
  ["TRN-34", "POST of a message", "eio4", request("POST", `${P}${S}`, { headers: ["Content-Type: text/plain;charset=UTF-8"], body: "4hello" })],
  ["TRN-34", "POST of two messages", "eio4", request("POST", `${P}${S}`, { headers: ["Content-Type: text/plain;charset=UTF-8"], body: "4hello\x1e4world" })],
  ["EIO-55", "POST of an unsolicited pong", "eio4", request("POST", `${P}${S}`, { body: "3" })],
  ["TRN-34", "POST of a message, eio3", "eio3", request("POST", `${P3}${S}`, { headers: ["Content-Type: text/plain;charset=UTF-8"], body: "6:4hello" })],
  ["EIO-90", "POST of a close packet", "eio4", request("POST", `${P}${S}`, { body: "1" })],
  ["TRN-39", "POST above the payload limit", "eio4", request("POST", `${P}${S}`, { body: "4".repeat(1001) })],
  ["TRN-50", "websocket handshake", "eio4", request("GET", "/socket.io/?EIO=4&transport=websocket", { headers: WS })],
];

const lines = [];
for (const [clause, name, protocol, text] of cases) {
  let sent = text;
  if (text.includes("{sid}")) {
    const opened = await exchange(request("GET", protocol === "eio3" ? P3 : P));
    sent = text.replace("{sid}", /"sid":"([^"]+)"/.exec(opened.body)[1]);
  }
  if (name === "websocket handshake") {
    const answer = await new Promise((done) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(sent));
      socket.once("data", (data) => { done(data.toString("latin1")); socket.destroy(); });
    });
    const accept = /^sec-websocket-accept: (.*)$/im.exec(answer)[1];
    push({ status: Number(answer.split(" ")[1]), accept });
    continue;
  }
  const { status, content_type, body } = await exchange(sent);
  const sid = /"sid":"([^"]+)"/.exec(body)?.[1];
  push({ status, content_type, body: sid ? body.replace(sid, "s".repeat(sid.length)) : body });

  function push(answer) {
    // The clause departs from the reference's body, not from its status.
    const departs = clause === "TRN-19";
    const verdict = departs ? "either" : answer.status < 400 ? "accept" : "reject";
    lines.push({ clause, name, dir: "c2s", protocol, form: "http", text, verdict, meaning: answer, origin: "reference-recorded", source });
  }
}
writeFileSync(join(out, "http_requests.jsonl"), lines.map((line) => JSON.stringify(line)).join("\n") + "\n");
console.log(`http_requests: ${lines.length} recorded`);
process.exit(0);
