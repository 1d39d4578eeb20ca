import { describe, expect, it } from "vitest";
import {
  applyPresence,
  applySnapshot,
  changeBetween,
  describeChange,
  emptyRoster,
  isInconsistent,
  sortedPeople,
} from "../src/lib/roster";

const entry = (id: number, name = `p${id}`) => ({ id, name, avatar: `/avatars/${id}.svg`, src: `/avatars/${id}.svg` });
const snapshot = (ids: number[], version: number) =>
  applySnapshot(emptyRoster(), Object.fromEntries(ids.map((id) => [id, entry(id)])), { version, online: ids.length });
const ids = (roster: { people: Map<number, unknown> }) => [...roster.people.keys()].sort((a, b) => a - b);

describe("applySnapshot", () => {
  it("takes an object keyed by user id", () => {
    const roster = snapshot([1, 2], 4);
    expect(ids(roster)).toEqual([1, 2]);
    expect(roster).toMatchObject({ version: 4, online: 2 });
  });

  it("tolerates empty and foreign shapes", () => {
    for (const entries of ["", null, [], {}, [entry(1), 0, null]]) {
      const roster = applySnapshot(emptyRoster(), entries, {});
      expect(roster.online).toBe(roster.people.size);
    }
  });

  it("ignores a snapshot older than what is known", () => {
    const roster = snapshot([1, 2], 4);
    expect(applySnapshot(roster, {}, { version: 3, online: 0 })).toBe(roster);
  });

  it("accepts a smaller version after a join, since a restarted server counts anew", () => {
    const waiting = { ...snapshot([1, 2], 40), version: -1 };
    expect(ids(applySnapshot(waiting, { 1: entry(1) }, { version: 1, online: 1 }))).toEqual([1]);
  });
});

describe("applyPresence", () => {
  it("adds who joined and removes who left", () => {
    const roster = applyPresence(snapshot([1, 2], 4), { version: 6, online: 2, joined: [entry(3)], left: [1] });
    expect(ids(roster)).toEqual([2, 3]);
    expect(isInconsistent(roster)).toBe(false);
  });

  it("ignores a delta that the snapshot already contains", () => {
    const roster = snapshot([1, 2], 4);
    expect(applyPresence(roster, { version: 4, online: 1, left: [2] })).toBe(roster);
  });

  it("ignores deltas before the snapshot", () => {
    const waiting = emptyRoster();
    expect(applyPresence(waiting, { version: 9, online: 1, joined: [entry(3)] })).toBe(waiting);
  });

  it("takes the new entry of a person who is already here", () => {
    const roster = applyPresence(snapshot([1], 4), { version: 5, online: 1, joined: [entry(1, "renamed")] });
    expect(roster.people.get(1)?.name).toBe("renamed");
  });

  it("notices that a delta was lost", () => {
    expect(isInconsistent(applyPresence(snapshot([1], 4), { version: 7, online: 3, joined: [entry(2)] }))).toBe(true);
  });
});

describe("changes", () => {
  it("says who came and went", () => {
    const before = snapshot([1, 2, 3], 1);
    const after = snapshot([1, 4], 2);
    expect(describeChange(changeBetween(before, after))).toBe("p4 joined, p2 and p3 left");
    expect(describeChange({ joined: [entry(1), entry(2), entry(3)], left: [] })).toBe("p1 and 2 others joined");
  });

  it("is silent about the snapshot of one's own join", () => {
    expect(describeChange(changeBetween(emptyRoster(), snapshot([1, 2], 1)))).toBe("");
  });

  it("lists oneself first, then by name", () => {
    const roster = applySnapshot(emptyRoster(), [entry(1, "wen"), entry(2, "Ada"), entry(3, "me")], {});
    expect(sortedPeople(roster, 3).map(({ name }) => name)).toEqual(["me", "Ada", "wen"]);
  });
});
