import { describe, expect, it } from "vitest";
import { applyCount, badge, documentTitle, totalUnread } from "../src/lib/unread";

describe("applyCount", () => {
  it("changes the rooms named and keeps the others", () => {
    expect(applyCount({ 1: 2, 2: 5 }, { room2: 6, room3: 1 }, null)).toEqual({ 1: 2, 2: 6, 3: 1 });
  });

  it("counts nothing in the room on the screen", () => {
    expect(applyCount({}, { room1: 4, room2: 1 }, 1)).toEqual({ 1: 0, 2: 1 });
  });

  it("ignores what is not a room or not a number", () => {
    expect(applyCount({ 1: 2 }, { room: 1, roomx: 2, lobby: 3, room1: "many", room2: -4 }, null)).toEqual({ 1: 2, 2: 0 });
    expect(applyCount({ 1: 2 }, "nonsense", null)).toEqual({ 1: 2 });
  });
});

describe("what the counts look like", () => {
  it("sums up for the title", () => {
    expect(documentTitle(totalUnread({ 1: 2, 2: 1 }), "Lobby")).toBe("(3) Lobby · Throng");
    expect(documentTitle(0, "Lobby")).toBe("Lobby · Throng");
    expect(documentTitle(100, null)).toBe("(99+) Throng");
  });

  it("stays narrow", () => {
    expect([badge(1), badge(99), badge(100)]).toEqual(["1", "99", "99+"]);
  });
});
