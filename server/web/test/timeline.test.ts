import { describe, expect, it } from "vitest";
import { findEcho, mergeMessages, messageFromWire, rowsOf, withKnownRows } from "../src/lib/timeline";
import type { Message, Outgoing } from "../src/lib/types";

const message = (seq: number, change: Partial<Message> = {}): Message => ({
  key: `m${seq}`,
  seq,
  userid: "u2",
  username: "joost",
  src: "",
  msg: `text ${seq}`,
  img: "",
  time: "2026-11-23T10:00:00.000",
  ...change,
});

const outgoing = (change: Partial<Outgoing> = {}): Outgoing => ({
  key: "o1",
  cid: "c1",
  msg: "hello",
  img: "",
  picture: null,
  progress: 0,
  time: "2026-11-23T10:00:01.000",
  state: "sending",
  reason: "",
  isEmitted: true,
  ...change,
});

const seqs = (messages: Message[]) => messages.map(({ seq }) => seq);

describe("messageFromWire", () => {
  it("keeps the fields of a message", () => {
    const raw = { userid: "u7", username: "wen", src: "/a.svg", msg: "hi", img: "", roomid: 1, time: "t", id: 9, seq: 4 };
    const expected = { key: "m4", seq: 4, userid: "u7", username: "wen", src: "/a.svg", msg: "hi", img: "", time: "t" };
    expect(messageFromWire(raw)).toEqual(expected);
  });

  it("refuses what has no place in the order", () => {
    for (const raw of [null, "text", {}, { seq: 0 }, { seq: -1 }, { seq: 1.5 }, { seq: "x" }]) {
      expect(messageFromWire(raw)).toBeNull();
    }
  });

  it("turns fields of a wrong type into empty text", () => {
    expect(messageFromWire({ seq: 1, msg: 5, img: null, src: {} })).toMatchObject({ msg: "", img: "", src: "" });
  });
});

describe("mergeMessages", () => {
  it("orders by seq and keeps each message once", () => {
    const merged = mergeMessages([message(3), message(5)], [message(4), message(3), message(1)]);
    expect(seqs(merged)).toEqual([1, 3, 4, 5]);
  });

  it("keeps the key of a message it already has", () => {
    const merged = mergeMessages([message(3, { key: "o1" })], [message(3), message(4)]);
    expect(merged.map(({ key }) => key)).toEqual(["o1", "m4"]);
  });

  it("answers the same list when nothing came", () => {
    const known = [message(1)];
    expect(mergeMessages(known, [])).toBe(known);
  });
});

describe("findEcho", () => {
  const own = message(8, { userid: "me@x.org", msg: "hello", time: "2026-11-23T10:00:01.000" });

  it("finds the pending message by author, time and text", () => {
    const pending = outgoing();
    expect(findEcho([outgoing({ key: "o0", time: "2026-11-23T10:00:00.999" }), pending], own, "me@x.org")).toBe(pending);
  });

  it("does not take the same words of someone else, or of another moment", () => {
    expect(findEcho([outgoing()], { ...own, userid: "u3" }, "me@x.org")).toBeUndefined();
    expect(findEcho([outgoing({ time: "2026-11-23T10:00:02.000" })], own, "me@x.org")).toBeUndefined();
  });
});

describe("rowsOf", () => {
  const marks = (messages: Message[], unreadFrom = 0) =>
    rowsOf(messages, [], "me@x.org", unreadFrom).map((row) => [row.startsGroup, row.endsGroup, row.day !== "", row.startsUnread]);

  it("groups what one person says within five minutes", () => {
    const messages = [
      message(1, { time: "2026-11-23T10:00:00.000" }),
      message(2, { time: "2026-11-23T10:04:59.000" }),
      message(3, { time: "2026-11-23T10:10:00.000" }),
      message(4, { time: "2026-11-23T10:10:01.000", userid: "u5" }),
    ];
    expect(marks(messages)).toEqual([
      [true, false, true, false],
      [false, true, false, false],
      [true, true, false, false],
      [true, true, false, false],
    ]);
  });

  it("separates days even within a group", () => {
    const messages = [message(1, { time: "2026-11-23T23:59:00.000" }), message(2, { time: "2026-11-24T00:00:30.000" })];
    expect(rowsOf(messages, [], "me", 0).map(({ day }) => day)).toEqual(["2026-11-23", "2026-11-24"]);
  });

  it("draws the unread line once, before the first unread message", () => {
    expect(marks([message(1), message(2), message(3)], 2).map((row) => row[3])).toEqual([false, true, false]);
  });

  it("draws the line before the next message when the first unread one is not there", () => {
    expect(marks([message(4), message(5)], 2).map((row) => row[3])).toEqual([true, false]);
  });

  it("shows what is being sent at the end, as one's own", () => {
    const rows = rowsOf([message(1)], [outgoing()], "me@x.org", 0);
    expect(rows.map(({ key, isOwn }) => [key, isOwn])).toEqual([
      ["m1", false],
      ["o1", true],
    ]);
  });
});

describe("withKnownRows", () => {
  it("keeps the objects of rows that did not change, and only those", () => {
    const messages = [message(1), message(2, { userid: "u9" })];
    const before = rowsOf(messages, [], "me@x.org", 0);
    const after = withKnownRows(before, rowsOf([...messages, message(3, { userid: "u9" })], [], "me@x.org", 0));
    expect(after.map((row, index) => row === before[index])).toEqual([true, false, false]);
    expect(after[1]?.endsGroup).toBe(false);
  });
});
