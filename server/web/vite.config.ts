import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";

import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

const server = process.env.THRONG_URL ?? "http://127.0.0.1:8090";
const paths = ["/api", "/storage", "/avatars", "/health"];

/** What the server embeds and serves at /socket.io/: the client's bundles as npm has them. */
function copySocketIo(dist: string) {
  const from = resolve("node_modules/socket.io-client");
  const to = join(dist, "socket.io");
  mkdirSync(to, { recursive: true });
  copyFileSync(join(from, "LICENSE"), join(to, "LICENSE"));
  for (const name of readdirSync(join(from, "dist"))) {
    copyFileSync(join(from, "dist", name), join(to, name));
  }
}

/** Writes what is worth it next to each file, so that the server compresses nothing twice. */
function compress(dist: string) {
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !/\.(js|css|html|svg|txt|map)$/.test(entry.name)) continue;
    const bytes = readFileSync(path);
    if (bytes.length < 1024) continue;
    writeFileSync(`${path}.br`, brotliCompressSync(bytes));
    writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
  }
}

const forTheServer = {
  name: "for-the-server",
  apply: "build" as const,
  closeBundle() {
    const dist = resolve("dist");
    copySocketIo(dist);
    compress(dist);
  },
};

export default defineConfig({
  plugins: [vue(), forTheServer],
  build: {
    target: "es2022",
    // The server's content security policy has no `data:` for fonts and scripts.
    assetsInlineLimit: 0,
  },
  server: {
    host: "127.0.0.1",
    port: 5173,
    proxy: {
      ...Object.fromEntries(paths.map((path) => [path, { target: server }])),
      "/socket.io": { target: server, ws: true },
    },
  },
  test: {
    include: ["test/**/*.test.ts"],
    environment: "node",
  },
});
