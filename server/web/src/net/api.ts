import { messageFromWire } from "../lib/timeline";
import type { Message, Room, User } from "../lib/types";
import type { Page } from "../lib/history";

export type Failure = "unauthenticated" | "rate_limited" | "refused" | "network" | "server";

export class ApiError extends Error {
  constructor(
    readonly failure: Failure,
    message: string,
  ) {
    super(message);
  }
}

export interface Session {
  user: User;
  token: string;
}

export interface RoomEntry extends Room {
  seq: number;
  unread: number;
}

type Json = Record<string, unknown>;

const REQUEST_TIMEOUT_MS = 30_000;

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const object = (value: unknown): Json => (typeof value === "object" && value !== null ? (value as Json) : {});

export function userFromWire(raw: unknown): User {
  const { id, name, email, avatar } = object(raw);
  return { id: Number(id), name: text(name), email: text(email), avatar: text(avatar) };
}

function failureOf(status: number): ApiError {
  if (status === 401) return new ApiError("unauthenticated", "Please log in again.");
  if (status === 429) return new ApiError("rate_limited", "Too many requests. Wait a moment and try again.");
  if (status === 413) return new ApiError("refused", "The file is too large.");
  return new ApiError("server", `The server could not do this (status ${status}).`);
}

const unreachable = (): ApiError => new ApiError("network", "The server cannot be reached.");

export interface Api {
  register(email: string, password: string): Promise<Session>;
  login(email: string, password: string): Promise<Session>;
  logout(token: string): Promise<void>;
  user(token: string): Promise<User>;
  rooms(token: string): Promise<RoomEntry[]>;
  history(token: string, room: number, total: number): Promise<Page>;
  uploadPicture(token: string, room: number, picture: Blob, onProgress: (share: number) => void): Promise<string>;
  uploadAvatar(token: string, picture: Blob): Promise<string>;
}

/** `base` is empty in a browser and an origin in tests. */
export function createApi(base = ""): Api {
  async function request(path: string, token: string, init: RequestInit = {}): Promise<Json> {
    const headers = new Headers(init.headers);
    headers.set("Accept", "application/json");
    headers.set("X-Requested-With", "XMLHttpRequest");
    if (token !== "") headers.set("Authorization", `Bearer ${token}`);
    let response: Response;
    try {
      response = await fetch(base + path, { ...init, headers, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
    } catch {
      throw unreachable();
    }
    if (!response.ok) throw failureOf(response.status);
    try {
      return object(await response.json());
    } catch {
      throw failureOf(response.status);
    }
  }

  const post = (path: string, token: string, body: Json): Promise<Json> =>
    request(path, token, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });

  async function enter(path: string, email: string, password: string): Promise<Session> {
    const answer = await post(path, "", { name: email, password });
    const token = text(object(answer.user).api_token);
    if (answer.errno !== 0 || token === "") {
      throw new ApiError("refused", text(answer.message) || "The server rejected the request.");
    }
    return { user: userFromWire(answer.user), token };
  }

  return {
    register: (email, password) => enter("/api/register", email, password),
    login: (email, password) => enter("/api/login", email, password),

    async logout(token) {
      await post("/api/logout", token, {});
    },

    async user(token) {
      return userFromWire(await request("/api/user", token));
    },

    async rooms(token) {
      const { rooms } = await request("/api/rooms", token);
      return (Array.isArray(rooms) ? rooms : []).map((raw) => {
        const { id, name, online, seq, unread } = object(raw);
        return {
          id: Number(id),
          name: text(name) || `Room ${Number(id)}`,
          online: Number(online) || 0,
          seq: Number(seq) || 0,
          unread: Number(unread) || 0,
        };
      });
    },

    async history(token, room, total) {
      const answer = await request(`/api/history/message?roomid=${room}&current=1&total=${total}`, token);
      const data = object(answer.data);
      if (data.errno !== 0) throw new ApiError("refused", "The history of this room cannot be read.");
      const rows = Array.isArray(data.data) ? data.data : [];
      const messages = rows.map(messageFromWire).filter((message): message is Message => message !== null);
      return { messages, total: Number(data.total) || 0 };
    },

    uploadPicture(token, room, picture, onProgress) {
      const form = new FormData();
      form.set("file", picture, `picture.${picture.type.split("/")[1] ?? "png"}`);
      form.set("roomid", String(room));
      return new Promise((resolve, reject) => {
        // `fetch` does not report the progress of an upload.
        const upload = new XMLHttpRequest();
        upload.open("POST", `${base}/api/file/uploadimg`);
        upload.setRequestHeader("Accept", "application/json");
        upload.setRequestHeader("Authorization", `Bearer ${token}`);
        upload.responseType = "json";
        upload.timeout = 4 * REQUEST_TIMEOUT_MS;
        upload.upload.onprogress = (event) => {
          if (event.lengthComputable) onProgress(event.loaded / event.total);
        };
        upload.onerror = () => reject(unreachable());
        upload.ontimeout = () => reject(unreachable());
        upload.onload = () => {
          const answer = object(upload.response);
          const url = text(answer.url);
          if (upload.status !== 200) reject(failureOf(upload.status));
          else if (answer.errno !== 200 || url === "") {
            reject(new ApiError("refused", text(answer.msg) || "The server rejected this image."));
          } else resolve(url);
        };
        upload.send(form);
      });
    },

    async uploadAvatar(token, picture) {
      const form = new FormData();
      form.set("file", picture, "avatar.png");
      const answer = await request("/api/file/avatar", token, { method: "POST", body: form });
      const url = text(object(answer.data).url);
      if (answer.errno !== 0 || url === "") {
        throw new ApiError("refused", text(answer.msg) || "The server rejected this image.");
      }
      return url;
    },
  };
}
