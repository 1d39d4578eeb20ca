import { describe, expect, it } from "vitest";
import { fitted } from "../src/lib/image";
import { describeRefusal } from "../src/lib/refusals";
import { createTimestamps, dayLabel, dayOf } from "../src/lib/time";

describe("times", () => {
  it("names the days around today", () => {
    const now = new Date(2026, 10, 23, 0, 5);
    expect(dayLabel("2026-11-23", now)).toBe("Today");
    expect(dayLabel("2026-11-22", now)).toBe("Yesterday");
    expect(dayLabel("2026-11-21", now)).toContain("21");
    expect(dayLabel("2025-11-21", now)).toContain("2025");
  });

  it("has no day for a malformed time", () => {
    expect(dayOf("soon")).toBe("");
    expect(dayLabel("", new Date())).toBe("");
  });

  it("never states the same time twice, even when the clock stands still or turns back", () => {
    const clock = [1_000, 1_000, 500, 2_000];
    const timestamp = createTimestamps(() => clock.shift() ?? 0);
    const times = [timestamp(), timestamp(), timestamp(), timestamp()];
    expect(times.map((time) => Date.parse(time))).toEqual([1_000, 1_001, 1_002, 2_000]);
  });
});

describe("fitted", () => {
  it("keeps the proportions and never enlarges", () => {
    expect(fitted(4_000, 2_000, 2_048)).toEqual({ width: 2_048, height: 1_024 });
    expect(fitted(100, 50, 2_048)).toEqual({ width: 100, height: 50 });
    expect(fitted(100_000, 1, 2_048)).toEqual({ width: 2_048, height: 1 });
  });
});

describe("describeRefusal", () => {
  it("speaks to people, and falls back to the server's words", () => {
    expect(describeRefusal("rate_limited", "x")).toMatch(/too quickly/);
    expect(describeRefusal("new_code", "Closed for the night")).toBe("Closed for the night");
    expect(describeRefusal("", "")).not.toBe("");
  });
});
