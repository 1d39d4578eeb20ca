import type { Socket } from "socket.io-client";
import type { Api } from "../net/api";
import { ask } from "../net/socket";
import { describeRefusal, mayRepeat } from "../lib/refusals";
import { createTimestamps } from "../lib/time";
import type { Outgoing, User } from "../lib/types";
import type { RoomState } from "./room";

const PREVIEW_KEPT_MS = 60_000;
const PAUSE_MS = 1_000;
const PAUSES_MAX = 5;

export interface OutboxHooks {
  rejoin: (room: RoomState) => Promise<void>;
  onExpired: () => void;
}

/** As hard to guess as need be: other users' ids do not matter. */
function createCid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Sends a room's outgoing messages in the order they were written. */
export function createOutbox(api: Api, socket: Socket, user: () => User, token: string, hooks: OutboxHooks) {
  const timestamp = createTimestamps();
  const pumping = new Set<number>();
  const rejoined = new Set<string>();
  /** How often a message was refused and is to be sent again. */
  const pause_counts = new Map<string, number>();
  let pausedUntil_ms = 0;
  let sent_count = 0;

  const find = (room: RoomState, key: string) => room.outgoing.value.find((item) => item.key === key);

  async function upload(room: RoomState, item: Outgoing, picture: Blob): Promise<void> {
    const preview = item.img;
    try {
      const url = await api.uploadPicture(token, room.id, picture, (progress) =>
        room.patch(item.key, { progress }),
      );
      room.patch(item.key, { img: url, picture: null, progress: 1 });
      // The list keeps showing the preview until the uploaded image has loaded.
      setTimeout(() => URL.revokeObjectURL(preview), PREVIEW_KEPT_MS);
    } catch (error) {
      room.patch(item.key, { state: "failed", reason: (error as Error).message });
    }
  }

  async function deliver(room: RoomState, item: Outgoing): Promise<void> {
    const { email, name, avatar } = user();
    const ack = await ask(socket, "message", {
      roomid: room.id,
      msg: item.msg,
      img: item.img,
      time: item.time,
      cid: item.cid,
      username: email,
      src: avatar,
    });
    if (!find(room, item.key)) return;
    if (ack.ok) {
      if (!ack.seq) return room.drop(item.key);
      room.add([
        {
          key: item.key,
          seq: ack.seq,
          userid: email,
          username: name,
          src: avatar,
          msg: item.msg,
          img: item.img,
          time: item.time,
        },
      ]);
      // The echo may have arrived first, with another time if the server did not keep ours.
      room.drop(item.key);
    } else if (ack.code === "not_member" && !rejoined.has(item.key)) {
      rejoined.add(item.key);
      room.patch(item.key, { isEmitted: false });
      await hooks.rejoin(room);
    } else if (mayRepeat(ack.code) && (pause_counts.get(item.key) ?? 0) < PAUSES_MAX) {
      pause_counts.set(item.key, (pause_counts.get(item.key) ?? 0) + 1);
      const pause_ms = ack.retry_after_ms ?? PAUSE_MS;
      pausedUntil_ms = Date.now() + pause_ms;
      room.patch(item.key, { isEmitted: false });
      setTimeout(() => void pump(room), pause_ms + 1);
    } else if (ack.code !== "disconnected") {
      room.patch(item.key, { state: "failed", reason: describeRefusal(ack.code, ack.message) });
      if (ack.code === "unauthenticated") hooks.onExpired();
    }
  }

  async function pump(room: RoomState): Promise<void> {
    if (pumping.has(room.id)) return;
    pumping.add(room.id);
    try {
      for (;;) {
        const next = room.outgoing.value.find((item) => item.state === "sending" && !item.isEmitted);
        if (!next || room.phase.value !== "joined" || room.isLoading.value || !socket.connected) return;
        if (Date.now() < pausedUntil_ms) return;
        if (next.picture) {
          await upload(room, next, next.picture);
          continue;
        }
        room.patch(next.key, { isEmitted: true });
        void deliver(room, next);
      }
    } finally {
      pumping.delete(room.id);
    }
  }

  return {
    pump,

    send(room: RoomState, msg: string, picture: Blob | null): void {
      sent_count += 1;
      const item: Outgoing = {
        key: `o${sent_count}`,
        cid: createCid(),
        msg,
        img: picture ? URL.createObjectURL(picture) : "",
        picture,
        progress: 0,
        time: timestamp(),
        state: "sending",
        reason: "",
        isEmitted: false,
      };
      room.outgoing.value = [...room.outgoing.value, item];
      room.unreadFrom.value = 0;
      void pump(room);
    },

    retry(room: RoomState, key: string): void {
      pause_counts.delete(key);
      room.patch(key, { state: "sending", reason: "", progress: 0, isEmitted: false });
      void pump(room);
    },

    /** After a reconnection, what was not confirmed is sent again: the server stores it once. */
    settle(room: RoomState): void {
      for (const item of room.outgoing.value) {
        if (item.state === "sending" && item.isEmitted) room.patch(item.key, { isEmitted: false });
      }
    },
  };
}

export type Outbox = ReturnType<typeof createOutbox>;
