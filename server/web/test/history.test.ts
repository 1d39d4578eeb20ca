import { describe, expect, it } from "vitest";
import { loadSince, PAGE_ROWS, type FetchPage } from "../src/lib/history";
import type { Message } from "../src/lib/types";

const message = (seq: number): Message => ({
  key: `m${seq}`, seq, userid: "u1", username: "a", src: "", msg: String(seq), img: "", time: "2026-11-23T10:00:00Z",
});

/** A room of `row_count` messages, paged as the server pages it. */
function room(row_count: number) {
  const asked: number[] = [];
  const fetchPage: FetchPage = async (total) => {
    asked.push(total);
    const end = total > 0 ? Math.min(total, row_count) : row_count;
    const start = Math.max(0, end - PAGE_ROWS);
    const messages = Array.from({ length: end - start }, (_, index) => message(start + index + 1));
    return { messages, total: end };
  };
  return { asked, fetchPage };
}

const range = (messages: Message[]) => [messages[0]?.seq, messages.at(-1)?.seq, messages.length];

describe("loadSince", () => {
  it("reads one page of a room never seen", async () => {
    const { asked, fetchPage } = room(90);
    const stretch = await loadSince(fetchPage, 0);
    expect(asked).toEqual([0]);
    expect(range(stretch.messages)).toEqual([71, 90, 20]);
    expect(stretch.before).toBe(70);
  });

  it("reads an empty and a short room whole", async () => {
    expect(await loadSince(room(0).fetchPage, 0)).toEqual({ messages: [], before: 0, isContiguous: true });
    expect(await loadSince(room(7).fetchPage, 0)).toMatchObject({ before: 0, isContiguous: true });
  });

  it("reads back until it meets what is known", async () => {
    const { asked, fetchPage } = room(90);
    const stretch = await loadSince(fetchPage, 35);
    expect(asked).toEqual([0, 70, 50]);
    expect(range(stretch.messages)).toEqual([31, 90, 60]);
    expect(stretch).toMatchObject({ before: 30, isContiguous: true });
  });

  it("needs no page more when the known message is just before the page", async () => {
    const { asked, fetchPage } = room(90);
    expect((await loadSince(fetchPage, 70)).isContiguous).toBe(true);
    expect(asked).toEqual([0]);
    expect((await loadSince(room(90).fetchPage, 69)).messages).toHaveLength(40);
  });

  it("gives up on a stretch that is too long and says so", async () => {
    const { asked, fetchPage } = room(500);
    const stretch = await loadSince(fetchPage, 10, 3);
    expect(asked).toHaveLength(3);
    expect(range(stretch.messages)).toEqual([441, 500, 60]);
    expect(stretch).toMatchObject({ before: 440, isContiguous: false });
  });

  it("finds what is older than numbers that name no message", async () => {
    const seqs = [...Array.from({ length: 40 }, (_, index) => index + 1), 141];
    const asked: number[] = [];
    const fetchPage: FetchPage = async (total) => {
      asked.push(total);
      const upto = total > 0 ? total : 141;
      const rows = seqs.filter((seq) => seq <= upto).slice(-PAGE_ROWS);
      return { messages: rows.map(message), total: upto };
    };
    const stretch = await loadSince(fetchPage, 10);
    expect(asked).toEqual([0, 21]);
    expect(range(stretch.messages)).toEqual([2, 141, 40]);
    expect(stretch).toMatchObject({ before: 1, isContiguous: true });
  });
});
