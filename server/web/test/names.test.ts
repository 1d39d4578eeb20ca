import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createSSRApp, shallowRef, type Component } from "vue";
import { renderToString } from "vue/server-renderer";
import AvatarImage from "../src/components/AvatarImage.vue";
import MessageRow from "../src/components/MessageRow.vue";
import RosterPanel from "../src/components/RosterPanel.vue";
import ToastStack from "../src/components/ToastStack.vue";
import { describeChange } from "../src/lib/roster";
import type { Row } from "../src/lib/timeline";
import { showToast } from "../src/state/toasts";

/** As an account may be called that was made before names could hold no markup. */
const NAMES = [
  `<img src=x onerror=alert(1)>`,
  `"><script>alert(1)</script>`,
  `' onmouseover='alert(1)`,
  `&lt;b&gt; &amp; \`{{ 7 * 7 }}\``,
];

const render = (component: Component, props: Record<string, unknown>) => renderToString(createSSRApp(component, props));

/** The name is in the text of the page, and in no tag but as the value of an attribute. */
function expectText(html: string, name: string) {
  const decoded = html
    .replace(/<[^>]*>/g, "")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&amp;", "&");
  expect(decoded).toContain(name);
  const tags = (html.match(/<[^>]*>/g) ?? []).map((tag) => tag.replace(/"[^"]*"/g, ""));
  expect(tags.join("")).not.toMatch(/alert|script|onerror|onmouseover/);
}

describe.each(NAMES)("the name %s", (name) => {
  it("is text above a message", async () => {
    const message = { key: "m1", seq: 1, userid: "u2", username: name, src: "", msg: "hi", img: "", time: "2026-11-23T10:00:00Z" };
    const row: Row = { key: "m1", message, outgoing: null, isOwn: false, startsGroup: true, endsGroup: true, day: "", startsUnread: false };
    expectText(await render(MessageRow, { row }), name);
  });

  it("is text in the roster", async () => {
    const people = new Map([[2, { id: 2, name, avatar: "" }]]);
    const room = { roster: shallowRef({ version: 1, online: 1, people }) };
    const own = { id: 1, name: "ann", email: "ann@example.org", avatar: "" };
    expectText(await render(RosterPanel, { room, own, isDrawer: false }), name);
  });

  it("is text in a notice", async () => {
    showToast(describeChange({ joined: [{ id: 2, name, avatar: "" }], left: [] }));
    expectText(await render(ToastStack, {}), name);
  });

  it("gives a letter to an avatar", async () => {
    expectText(await render(AvatarImage, { src: "", name }), [...name][0] ?? "");
  });
});

it("no source writes markup into the page", () => {
  const folder = new URL("../src/", import.meta.url);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => /\.(ts|vue)$/.test(file));
  expect(files.length).toBeGreaterThan(20);
  for (const file of files) {
    const source = readFileSync(new URL(file, folder), "utf8");
    expect(source, file).not.toMatch(/v-html|innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment/);
  }
});
