// Records what the reference parsers encode and decode. See README.md.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync, existsSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(import.meta.url);
const eio3 = require("engine-io-parser-2");
const eio4 = require("engine-io-parser-5");
const sio4 = require("socket-io-parser-3");
const sio5 = require("socket-io-parser-4");

const SOURCE = {
  eio3: "engine.io-parser@2.2.1",
  eio4: "engine.io-parser@5.2.3",
  sio4: "socket.io-parser@3.3.4",
  sio5: "socket.io-parser@4.2.4",
};
const out = process.argv[2];
if (!out) throw new Error("usage: node record.mjs <vectors folder>");

const files = { engine_io_packets: [], engine_io_payloads: [], socket_io_packets: [] };
const hex = (data) => Buffer.from(data).toString("hex");
const isBytes = (data) => Buffer.isBuffer(data) || data instanceof Uint8Array || data instanceof ArrayBuffer;

function push(file, line) {
  files[file].push({ ...line, origin: "reference-recorded" });
}

function plainPacket({ type, data }) {
  if (data === undefined) return { type, data: "" };
  return isBytes(data) ? { type, binary: hex(data) } : { type, data };
}

// --- Engine.IO packets -------------------------------------------------------------------------

const packets = [
  ["EIO-10", "close", { type: "close" }],
  ["EIO-10", "ping", { type: "ping" }],
  ["EIO-70", "probe", { type: "ping", data: "probe" }],
  ["EIO-70", "probe answer", { type: "pong", data: "probe" }],
  ["EIO-10", "pong", { type: "pong" }],
  ["EIO-10", "message without data", { type: "message", data: "" }],
  ["EIO-10", "message", { type: "message", data: "hello" }],
  ["EIO-10", "message with line feed and quotes", { type: "message", data: 'a\n"b"\\' }],
  ["EIO-10", "message with text beyond the first plane", { type: "message", data: "hi ü☃😀" }],
  ["EIO-10", "upgrade", { type: "upgrade" }],
  ["EIO-71", "noop", { type: "noop" }],
];
const binaries = [
  ["binary message", Buffer.from([1, 2, 3, 4])],
  ["binary message without data", Buffer.alloc(0)],
  ["binary message of high bytes", Buffer.from([0, 255, 128, 4])],
];

for (const [clause, name, packet] of packets) {
  eio4.encodePacket(packet, true, (text) => {
    const decoded = plainPacket(eio4.decodePacket(text));
    push("engine_io_packets", { clause, name, dir: "both", protocol: "any", form: "frame-text", text, verdict: "accept", meaning: decoded, source: `${SOURCE.eio4} encodePacket, decodePacket` });
  });
  eio3.encodePacket(packet, true, false, (text) => {
    const twin = files.engine_io_packets.at(-1);
    if (text !== twin.text) throw new Error(`the versions differ: ${name}`);
  });
}
for (const [name, data] of binaries) {
  eio4.encodePacket({ type: "message", data }, true, (bytes) => {
    push("engine_io_packets", { clause: "EIO-14", name, dir: "both", protocol: "eio4", form: "frame-binary", bytes: hex(bytes), verdict: "accept", meaning: { type: "message", binary: hex(data) }, source: `${SOURCE.eio4} encodePacket` });
  });
  eio4.encodePacket({ type: "message", data }, false, (text) => {
    push("engine_io_packets", { clause: "EIO-14", name: `${name}, base64`, dir: "both", protocol: "eio4", form: "payload-text", text, verdict: "accept", meaning: { packets: [plainPacket(eio4.decodePacket(text))] }, source: `${SOURCE.eio4} encodePacket, decodePacket` });
  });
  eio3.encodePacket({ type: "message", data }, true, false, (bytes) => {
    push("engine_io_packets", { clause: "EIO-15", name: `${name}, eio3`, dir: "both", protocol: "eio3", form: "frame-binary", bytes: hex(bytes), verdict: "accept", meaning: plainPacket(eio3.decodePacket(bytes)), source: `${SOURCE.eio3} encodePacket, decodePacket` });
  });
  eio3.encodePacket({ type: "message", data }, false, false, (text) => {
    push("engine_io_packets", { clause: "EIO-32", name: `${name}, base64 on websocket, eio3`, dir: "c2s", protocol: "eio3", form: "frame-text", text, verdict: "accept", meaning: plainPacket(eio3.decodePacket(text)), source: `${SOURCE.eio3} encodePacket, decodePacket` });
  });
}
for (const [name, text] of [["empty packet", ""], ["unknown type 7", "7"], ["unknown type 9 with data", "9abc"], ["letter for a type", "abc"], ["space before the type", " 4x"], ["sign for a type", "-1"], ["upper case B", "BAQID"]]) {
  const decoded = [eio4.decodePacket(text), eio3.decodePacket(text)];
  if (decoded.some((d) => d.type !== "error")) throw new Error(`not an error: ${name}`);
  push("engine_io_packets", { clause: "EIO-11", name, dir: "c2s", protocol: "any", form: "frame-text", text, verdict: "reject", source: `${SOURCE.eio4}, ${SOURCE.eio3} decodePacket` });
}

// --- Engine.IO payloads ------------------------------------------------------------------------

const message = (data) => ({ type: "message", data });
const lists = [
  ["one packet", [message("hello")]],
  ["three packets", [message("test1"), message("test2"), message("test3")]],
  ["types mixed", [{ type: "ping" }, message("2[\"a\"]"), { type: "noop" }]],
  ["two units outside ASCII", [message("€"), message("é")]],
  ["surrogate pairs count twice", [message('2["message",{"roomid":1,"msg":"hi ü☃😀"}]'), message("😀😀")]],
  ["data that looks like a header", [message("3:4hi"), message("0:")]],
  ["close last", [message("x"), { type: "close" }]],
  ["disconnect and close", [message("1"), { type: "close" }]],
];
for (const [name, list] of lists) {
  const meaning = { packets: list.map(plainPacket) };
  eio4.encodePayload(list, (text) => {
    push("engine_io_payloads", { clause: "EIO-30", name: `${name}, eio4`, dir: "both", protocol: "eio4", form: "payload-text", text, verdict: "accept", meaning, source: `${SOURCE.eio4} encodePayload` });
  });
  eio3.encodePayload(list, false, (text) => {
    push("engine_io_payloads", { clause: "EIO-31", name: `${name}, eio3`, dir: "both", protocol: "eio3", form: "payload-text", text, verdict: "accept", meaning, source: `${SOURCE.eio3} encodePayload` });
  });
  eio3.encodePayloadAsBinary(list, (bytes) => {
    push("engine_io_payloads", { clause: "EIO-33", name: `${name}, binary form`, dir: "c2s", protocol: "eio3", form: "payload-binary", bytes: hex(bytes), verdict: "accept", meaning, source: `${SOURCE.eio3} encodePayloadAsBinary` });
  });
}
const mixed = [message("€"), message(Buffer.from([1, 2, 3, 4])), message(Buffer.alloc(12, 7))];
const meaning = { packets: mixed.map(plainPacket) };
eio4.encodePayload(mixed, (text) => push("engine_io_payloads", { clause: "EIO-14", name: "text and binary, eio4", dir: "both", protocol: "eio4", form: "payload-text", text, verdict: "accept", meaning, source: `${SOURCE.eio4} encodePayload` }));
eio3.encodePayload(mixed, false, (text) => push("engine_io_payloads", { clause: "EIO-32", name: "text and binary, b64", dir: "both", protocol: "eio3", form: "payload-text", text, verdict: "accept", meaning, source: `${SOURCE.eio3} encodePayload` }));
eio3.encodePayload(mixed, true, (bytes) => push("engine_io_payloads", { clause: "EIO-33", name: "text and binary, binary form", dir: "both", protocol: "eio3", form: "payload-binary", bytes: hex(bytes), verdict: "accept", meaning, source: `${SOURCE.eio3} encodePayload` }));

for (const [name, text] of [["empty body", ""], ["no colon", "4hello"], ["no length", ":4hello"], ["length is a word", "x:4hello"], ["length above the rest", "7:4hello"], ["length below the packet", "5:4hello"], ["rest without a header", "6:4hello6"], ["counted in bytes", "4:4€"], ["counted in code points", "2:4😀"], ["packet of unknown type", "2:7x"], ["negative length", "-1:4"], ["second packet faulty", "2:4a9:4b"]]) {
  const seen = [];
  eio3.decodePayload(text, (packet) => { seen.push(packet.type); });
  if (seen.at(-1) !== "error") throw new Error(`not an error: ${name} ${seen}`);
  push("engine_io_payloads", { clause: "EIO-36", name: `eio3: ${name}`, dir: "c2s", protocol: "eio3", form: "payload-text", text, verdict: "reject", source: `${SOURCE.eio3} decodePayload` });
}
for (const [name, text] of [["empty body", ""], ["letter for a type", "abc"], ["separator at the end", "4a\x1e"], ["separator at the beginning", "\x1e4a"], ["two separators", "4a\x1e\x1e4b"], ["second packet faulty", "4a\x1e9"]]) {
  if (eio4.decodePayload(text).at(-1).type !== "error") throw new Error(`not an error: ${name}`);
  push("engine_io_payloads", { clause: "EIO-36", name: `eio4: ${name}`, dir: "c2s", protocol: "eio4", form: "payload-text", text, verdict: "reject", source: `${SOURCE.eio4} decodePayload` });
}

// --- Socket.IO packets -------------------------------------------------------------------------

const TYPES = ["CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK"];
const markBinary = (value) => {
  if (isBytes(value)) return { _binary: hex(value) };
  if (Array.isArray(value)) return value.map(markBinary);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, markBinary(v)]));
  return value;
};
const plainSio = (p, binary) => ({
  type: binary ? `BINARY_${TYPES[p.type].replace("BINARY_", "")}` : TYPES[p.type],
  nsp: p.nsp,
  ...(p.id === undefined ? {} : { id: p.id }),
  ...(p.data === undefined ? {} : { data: markBinary(p.data) }),
});

const b4 = Buffer.from([1, 2, 3, 4]);
const values = [
  ["SIO-14", "connect", { type: 0, nsp: "/" }, "any"],
  ["SIO-14", "connect with auth", { type: 0, nsp: "/", data: { api_token: "abc" } }, "eio4"],
  ["SIO-14", "connect answered", { type: 0, nsp: "/", data: { sid: "wZX3oN0bSVIhsaknAAAI" } }, "eio4"],
  ["SIO-30", "connect to a namespace", { type: 0, nsp: "/admin" }, "any"],
  ["SIO-60", "disconnect", { type: 1, nsp: "/" }, "any"],
  ["SIO-4", "disconnect from a namespace", { type: 1, nsp: "/admin" }, "any"],
  ["SIO-7", "event", { type: 2, nsp: "/", data: ["foo"] }, "any"],
  ["SIO-7", "event with arguments", { type: 2, nsp: "/", data: ["message", { msg: "hi \"ü☃😀\"", n: [1, 2.5, -3, null, true] }, "x"] }, "any"],
  ["SIO-7", "event with an empty name", { type: 2, nsp: "/", data: [""] }, "any"],
  ["SIO-1", "event with ack id", { type: 2, nsp: "/", data: ["foo"], id: 12 }, "any"],
  ["SIO-11", "event with ack id 0", { type: 2, nsp: "/", data: ["foo"], id: 0 }, "any"],
  ["SIO-11", "event with the largest ack id", { type: 2, nsp: "/", data: ["foo"], id: 9007199254740991 }, "any"],
  ["SIO-1", "event in a namespace with ack id", { type: 2, nsp: "/admin", data: ["bar", 1], id: 456 }, "any"],
  ["SIO-8", "ack", { type: 3, nsp: "/", data: ["bar"], id: 12 }, "any"],
  ["SIO-8", "ack without arguments", { type: 3, nsp: "/admin", data: [], id: 456 }, "any"],
  ["SIO-30", "connect error", { type: 4, nsp: "/admin", data: { message: "Invalid namespace" } }, "eio4"],
  ["SIO-31", "error", { type: 4, nsp: "/admin", data: "Invalid namespace" }, "eio3"],
  ["SIO-50", "binary event", { type: 2, nsp: "/", data: ["baz", b4] }, "any"],
  ["SIO-50", "binary event, nested, two attachments, ack id", { type: 2, nsp: "/admin", data: ["baz", { a: [Buffer.from([1, 2])], b: { c: Buffer.from([3]) } }], id: 7 }, "any"],
  ["SIO-50", "binary ack", { type: 3, nsp: "/", data: ["bar", b4], id: 15 }, "any"],
];
for (const [clause, name, packet, protocol] of values) {
  const binary = JSON.stringify(markBinary(packet.data) ?? null).includes('"_binary"');
  const encoded = new sio5.Encoder().encode(structuredCloneWithBuffers(packet));
  const [text, ...attachments] = encoded;
  new sio4.Encoder().encode({ ...structuredCloneWithBuffers(packet), type: binary ? packet.type + 3 : packet.type }, ([old]) => {
    if (old !== text) throw new Error(`the versions differ: ${name}: ${old} ${text}`);
  });
  push("socket_io_packets", { clause, name, dir: "both", protocol, form: "sio", text, ...(binary ? { attachments: attachments.map(hex) } : {}), verdict: "accept", meaning: plainSio(packet, binary), source: `${SOURCE.sio5}, ${SOURCE.sio4} Encoder` });
}
function structuredCloneWithBuffers(value) {
  if (isBytes(value)) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(structuredCloneWithBuffers);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, structuredCloneWithBuffers(v)]));
  return value;
}

// Inputs for the decoders: text, then attachments. `either` overrides the verdict.
const inputs = [
  ["SIO-9", "connect with an empty object", "0{}"],
  ["SIO-4", "namespace without a comma", "0/admin"],
  ["SIO-4", "namespace with a query", '0/admin?token=1234&uid=abcd,', "either"],
  ["SIO-7", "event with white space in the JSON", '2[ "foo" , 1 ]'],
  ["SIO-7", "event with escapes", '2["\\u006d\\u0073g","\\ud83d\\ude00"]'],
  ["SIO-7", "number for an event name", "2[1]", "either"],
  ["SIO-47", "reserved event name", '2["connect"]', "either"],
  ["SIO-11", "ack id with a leading zero", '2007["foo"]', "either"],
  ["SIO-6", "unknown type", '7["foo"]'],
  ["SIO-6", "letter for a type", "abc"],
  ["SIO-6", "JSON cut short", '2["foo"'],
  ["SIO-6", "text after the JSON", '2["foo"]x'],
  ["SIO-7", "event with an object", '2{"a":1}'],
  ["SIO-7", "event with a string", '2"foo"'],
  ["SIO-7", "event with an empty array", "2[]"],
  ["SIO-7", "event with null for a name", "2[null]"],
  ["SIO-7", "event with an object for a name", '2[{"a":1}]'],
  ["SIO-8", "ack with an object", '31{"a":1}'],
  ["SIO-9", "connect with an array", "0[]"],
  ["SIO-9", "connect with a string", '0"x"'],
  ["SIO-9", "connect with a number", '0/,1{}', "either"],
  ["SIO-9", "disconnect with a payload", '1["x"]'],
  ["SIO-53", "binary event without a number", '5["foo"]'],
  ["SIO-53", "binary event with a word for a number", '5x-["foo"]'],
  ["SIO-53", "binary event without a dash", "51"],
  ["SIO-50", "binary event with no attachments", '50-["foo"]', "either"],
  ["SIO-54", "placeholder beyond the attachments", '51-["foo",{"_placeholder":true,"num":1}]', undefined, ["0102"]],
  ["SIO-54", "placeholder with a negative number", '51-["foo",{"_placeholder":true,"num":-1}]', undefined, ["0102"]],
  ["SIO-54", "placeholder with a string", '51-["foo",{"_placeholder":true,"num":"0"}]', undefined, ["0102"]],
  ["SIO-50", "one attachment used twice", '51-["foo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', "either", ["0102"]],
];
for (const [clause, name, text, override, attachments = []] of inputs) {
  const run = (Decoder) => {
    let decoded;
    const decoder = new Decoder();
    decoder.on("decoded", (packet) => { decoded = packet; });
    try {
      decoder.add(text);
      for (const a of attachments) decoder.add(Buffer.from(a, "hex"));
    } catch {
      return undefined;
    }
    return decoded && decoded.data !== "parser error: invalid payload" ? decoded : undefined;
  };
  const five = run(sio5.Decoder);
  const verdict = override ?? (five ? "accept" : "reject");
  push("socket_io_packets", {
    clause, name, dir: "c2s", protocol: "any", form: "sio", text,
    ...(attachments.length ? { attachments } : {}),
    verdict,
    ...(verdict === "accept" ? { meaning: plainSio(five, attachments.length > 0) } : {}),
    source: `${SOURCE.sio5} Decoder${override && five && override !== "accept" ? ", which accepts it; see the clause" : ""}`,
  });
}

// --- Write -------------------------------------------------------------------------------------

const isRecorded = ({ origin, source }) =>
  origin === "reference-recorded" && /^(engine|socket)\.io-parser@/.test(source);
for (const [file, lines] of Object.entries(files)) {
  const path = join(out, `${file}.jsonl`);
  const kept = (existsSync(path) ? readFileSync(path, "utf8") : "")
    .split("\n")
    .filter((line) => line && !isRecorded(JSON.parse(line)));
  writeFileSync(path, [...kept, ...lines.map((line) => JSON.stringify(line))].join("\n") + "\n");
  console.log(`${file}: ${kept.length} kept, ${lines.length} recorded`);
}
