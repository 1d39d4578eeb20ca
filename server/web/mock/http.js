// The REST part of the mock, and the built client when there is one.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { addUser, historyPage, newToken, presentUsers, publicUser, unreadOf } from "./state.js";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
};
const POLICY =
  "default-src 'self'; img-src 'self' data: blob: https: http:; style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:";

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const formOf = (request, body) =>
  new Response(body, { headers: { "content-type": request.headers["content-type"] } }).formData();

function sniffed(bytes) {
  const head = bytes.subarray(0, 12).toString("latin1");
  if (head.startsWith("\x89PNG")) return "png";
  if (head.startsWith("\xff\xd8\xff")) return "jpeg";
  if (head.startsWith("GIF8")) return "gif";
  if (head.startsWith("RIFF") && head.endsWith("WEBP")) return "webp";
  return null;
}

export async function storeImage(state, kind, blob) {
  const body = Buffer.from(await blob.arrayBuffer());
  const type = sniffed(body);
  if (type === null) return null;
  const path = `/storage/images/${kind}/${createHash("sha256").update(body).digest("hex").slice(0, 32)}.${type}`;
  state.files.set(path, { type: `image/${type}`, body });
  return path;
}

function avatarSvg(number) {
  const hue = (number * 47 + 160) % 360;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" fill="hsl(${hue} 45% 42%)"/><circle cx="32" cy="25" r="11" fill="hsl(${hue} 60% 88%)"/><path d="M10 60c1-14 10-22 22-22s21 8 22 22z" fill="hsl(${hue} 60% 88%)"/></svg>`;
}

function validated({ name, password }) {
  if (typeof name !== "string" || name.trim() === "") return "The name field is required.";
  if (!/^\S+@\S+\.\S+$/.test(name.trim())) return "The name must be a valid email address.";
  if (typeof password !== "string" || password === "") return "The password field is required.";
  return null;
}

export function createHandler(state, { dist = null, hooks = {}, faults = {} } = {}) {
  const json = (response, status, value) => {
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(JSON.stringify(value));
  };

  async function api(request, response, url) {
    const bytes = await bodyOf(request);
    const isJson = (request.headers["content-type"] ?? "").startsWith("application/json");
    const body = isJson && bytes.length > 0 ? JSON.parse(bytes.toString()) : {};
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const token = url.searchParams.get("api_token") ?? body.api_token ?? bearer;
    const user = state.tokens.get(token);
    const route = `${request.method} ${url.pathname}`;

    const enter = (account, message) => {
      const fresh = newToken();
      state.tokens.set(fresh, account);
      json(response, 200, { errno: 0, user: publicUser(account, fresh), message });
    };
    if (route === "POST /api/register") {
      const error = validated(body);
      if (error) return json(response, 200, { errno: 1, message: error });
      if (body.password.length < 6) {
        return json(response, 200, { errno: 1, message: "The password must be at least 6 characters." });
      }
      if (state.users.has(body.name.toLowerCase())) {
        return json(response, 200, { errno: 1, message: "The name has already been taken." });
      }
      return enter(addUser(state, body.name, body.password), "Registered");
    }
    if (route === "POST /api/login") {
      const error = validated(body);
      if (error) return json(response, 200, { errno: 1, message: error });
      const account = state.users.get(body.name.toLowerCase());
      if (account?.password !== body.password) {
        return json(response, 200, { errno: 1, message: "The e-mail or password is wrong." });
      }
      return enter(account, "Logged in");
    }
    if (!user) return json(response, 401, { message: "Unauthenticated." });
    if (route === "POST /api/logout") {
      state.tokens.delete(token);
      hooks.onLogout?.(token);
      return json(response, 200, { errno: 0, message: "Logged out" });
    }
    if (route === "GET /api/user") return json(response, 200, publicUser(user));
    if (route === "GET /api/rooms") {
      const rooms = [...state.rooms.values()].map((room) => ({
        id: room.id,
        name: room.name,
        online: presentUsers(room).size,
        seq: room.seq,
        unread: unreadOf(room, user),
      }));
      return json(response, 200, { errno: 0, rooms });
    }
    if (route === "GET /api/history/message") {
      const number = (name) => Number(url.searchParams.get(name));
      const room = state.rooms.get(number("roomid"));
      const current = number("current");
      if (faults.history?.()) return json(response, 500, { message: "Server Error" });
      if (faults.ephemeral?.()) return json(response, 200, { data: { errno: 0, data: [], total: 0, current } });
      if (!room || !(current > 0)) return json(response, 200, { data: { errno: 1 } });
      return json(response, 200, { data: historyPage(room, user, current, number("total")) });
    }
    if (route === "POST /api/file/uploadimg" || route === "POST /api/file/avatar") {
      const form = await formOf(request, bytes);
      const kind = route.endsWith("avatar") ? "avatars" : "messages";
      const path = form.get("file") ? await storeImage(state, kind, form.get("file")) : null;
      if (path === null) return json(response, 200, { errno: 500, msg: "Invalid parameters (the image is missing or invalid)" });
      if (kind === "messages") return json(response, 200, { errno: 200, msg: "Saved", url: path });
      user.avatar = path;
      hooks.onAvatar?.(user);
      return json(response, 200, { errno: 0, data: { url: path }, msg: "Saved" });
    }
    json(response, 404, { message: "Not Found" });
  }

  async function file(response, path) {
    const name = path === "/" ? "/index.html" : normalize(path);
    try {
      const body = await readFile(join(dist, name));
      response.writeHead(200, {
        "content-type": TYPES[extname(name)] ?? "application/octet-stream",
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
      });
      response.end(body);
    } catch {
      json(response, 404, { message: "Not Found" });
    }
  }

  return (request, response) => {
    const url = new URL(request.url, "http://mock");
    const stored = state.files.get(url.pathname);
    const avatar = /^\/avatars\/(\d+)\.svg$/.exec(url.pathname)?.[1];
    if (url.pathname.startsWith("/api/")) {
      api(request, response, url).catch((error) => json(response, 500, { message: String(error) }));
    } else if (stored) {
      response.writeHead(200, { "content-type": stored.type, "cache-control": "max-age=31536000, immutable" });
      response.end(stored.body);
    } else if (avatar !== undefined) {
      response.writeHead(200, { "content-type": "image/svg+xml" });
      response.end(avatarSvg(Number(avatar)));
    } else if (dist) void file(response, url.pathname);
    else json(response, 404, { message: "Not Found" });
  };
}
