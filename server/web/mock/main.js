// node mock/main.js [--port 8091] [--quiet]
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { animate, seed } from "./seed.js";
import { startMock } from "./server.js";

const { values } = parseArgs({
  options: { port: { type: "string", default: "8091" }, quiet: { type: "boolean", default: false } },
});
const built = fileURLToPath(new URL("../dist", import.meta.url));
const mock = await startMock({ port: Number(values.port), dist: existsSync(built) ? built : null });
const users = seed(mock.state);
animate(mock, users, values.quiet ? 3_600_000 : 8_000);
process.stdout.write(`mock listening on ${mock.url}; log in as mara@example.org with "password"\n`);
