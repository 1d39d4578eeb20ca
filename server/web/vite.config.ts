import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

const server = process.env.THRONG_URL ?? "http://127.0.0.1:8090";
const paths = ["/api", "/storage", "/avatars", "/health"];

export default defineConfig({
  plugins: [vue()],
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
