import { describe, expect, it } from "vitest";
import { decodeStored, isJumbo, linkify } from "../src/lib/linkify";

const links = (message: string) => linkify(message).filter((segment) => segment.kind === "link");
const hrefs = (message: string) => links(message).map((segment) => (segment.kind === "link" ? segment.href : ""));
const joined = (message: string) => linkify(message).map(({ text }) => text).join("");

describe("linkify", () => {
  it("finds web addresses and leaves the sentence around them", () => {
    expect(linkify("See https://example.org/a?b=1#c, or www.example.com.")).toEqual([
      { kind: "text", text: "See " },
      { kind: "link", text: "https://example.org/a?b=1#c", href: "https://example.org/a?b=1#c" },
      { kind: "text", text: ", or " },
      { kind: "link", text: "www.example.com", href: "https://www.example.com/" },
      { kind: "text", text: "." },
    ]);
  });

  it("keeps balanced brackets and drops the closing one of the sentence", () => {
    expect(hrefs("https://example.org/Throng_(crowd)")).toEqual(["https://example.org/Throng_(crowd)"]);
    expect(hrefs("(see https://example.org/a).")).toEqual(["https://example.org/a"]);
  });

  it("never links anything but http and https", () => {
    for (const message of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://", "https://x", "ftp://a.b"]) {
      expect(links(message)).toEqual([]);
    }
  });

  it("does not reach across markup, quotes or into words", () => {
    expect(hrefs('<a href="https://example.org/x">')).toEqual(["https://example.org/x"]);
    expect(links("me@www.example.org")).toEqual([]);
  });

  it("loses no character of the message", () => {
    for (const message of ["", "plain", "a https://b.c/d! e www.f.g) h", "https://a.b", "!!www.!! https://a.b/((("]) {
      expect(joined(message)).toBe(message);
    }
  });

  it("stays fast on hostile input", () => {
    const start_ms = performance.now();
    linkify(`https://a.b/${")".repeat(2_000)}`);
    linkify("www.".repeat(500));
    expect(performance.now() - start_ms).toBeLessThan(500);
  });
});

describe("decodeStored", () => {
  it("decodes the one entity the original page writes", () => {
    expect(decodeStored("a &lt;b> &amp; &gt; &amp;lt;")).toBe("a <b> &amp; &gt; &amp;lt;");
  });
});

describe("isJumbo", () => {
  it("is for up to three emoji and nothing else", () => {
    for (const message of ["🎂", "👍🏽", "👩‍👩‍👧", "🎉 🎉 🎉", "❤️"]) expect(isJumbo(message)).toBe(true);
    for (const message of ["", " ", "🎂🎂🎂🎂", "hi 🎂", "12", "#"]) expect(isJumbo(message)).toBe(false);
  });
});
