import { describe, expect, it } from "vitest";
import { PAGE_ROWS, type FetchPage } from "../src/lib/history";
import { createRoom } from "../src/state/room";
import type { Message } from "../src/lib/types";

const message = (seq: number): Message => ({
  key: `m${seq}`, seq, userid: "u1", username: "a", src: "", msg: String(seq), img: "", time: "2026-11-23T10:00:00Z",
});

/** The server's pages of messages with these numbers: the last rows up to `total`. */
function pages(numbers: number[]): FetchPage {
  return async (total) => {
    const upto = total > 0 ? total : (numbers.at(-1) ?? 0);
    const rows = numbers.filter((seq) => seq <= upto).slice(-PAGE_ROWS);
    return { messages: rows.map(message), total: upto };
  };
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe("a room that forgets its oldest messages", () => {
  for (const [name, numbers] of [
    ["without gaps", range(1, 400)],
    ["with numbers that name no message among them", [...range(1, 60), ...range(101, 440)]],
  ] as const) {
    it(`loads them again, ${name}`, async () => {
      const room = createRoom(1, "u9", pages([...numbers]));
      await room.catchUp(0, 0);
      while (room.before.value) await room.loadOlder();
      expect(room.messages.value.map(({ seq }) => seq)).toEqual(numbers);
      room.trim();
      expect(room.messages.value).toHaveLength(300);
      while (room.before.value) await room.loadOlder();
      expect(room.messages.value.map(({ seq }) => seq)).toEqual(numbers);
    });
  }
});
