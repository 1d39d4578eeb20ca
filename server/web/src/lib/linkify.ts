export type Segment = { kind: "text"; text: string } | { kind: "link"; text: string; href: string };

const CANDIDATE = /(?:https?:\/\/|www\.)[^\s<>"'`\p{Cc}]+/giu;
const TRAILING = /[.,;:!?*_~…]$/u;
const PAIRS: Record<string, string> = { ")": "(", "]": "[", "}": "{" };

const count = (text: string, character: string): number => text.split(character).length - 1;

/** The URL without punctuation that belongs to the sentence around it. */
function trimmed(candidate: string): string {
  let url = candidate;
  for (;;) {
    const last = url.at(-1);
    if (last === undefined) return url;
    const opening = PAIRS[last];
    const isUnbalanced = opening !== undefined && count(url, last) > count(url, opening);
    if (!isUnbalanced && !TRAILING.test(url)) return url;
    url = url.slice(0, -last.length);
  }
}

function hrefOf(text: string): string | null {
  try {
    const url = new URL(/^www\./i.test(text) ? `https://${text}` : text);
    const isWeb = url.protocol === "http:" || url.protocol === "https:";
    return isWeb && url.hostname.includes(".") || isWeb && url.hostname === "localhost" ? url.href : null;
  } catch {
    return null;
  }
}

/** Splits a message into text and web links; its content is never treated as markup. */
export function linkify(message: string): Segment[] {
  const segments: Segment[] = [];
  let end = 0;
  for (const match of message.matchAll(CANDIDATE)) {
    const text = trimmed(match[0]);
    const href = hrefOf(text);
    const isInsideWord = /[\p{L}\p{N}@]$/u.test(message.slice(0, match.index));
    if (href === null || isInsideWord) continue;
    if (match.index > end) segments.push({ kind: "text", text: message.slice(end, match.index) });
    segments.push({ kind: "link", text, href });
    end = match.index + text.length;
  }
  if (end < message.length) segments.push({ kind: "text", text: message.slice(end) });
  return segments;
}

/** The original page stores a typed `<` as `&lt;`; every other entity is the author's own text. */
export function decodeStored(message: string): string {
  return message.replaceAll("&lt;", "<");
}

const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\p{Regional_Indicator}|\u200d|\ufe0f|\s)+$/u;

/** Up to three emoji alone are shown large. */
export function isJumbo(message: string): boolean {
  if (message.length > 40 || !EMOJI_ONLY.test(message)) return false;
  const graphemes = [...new Intl.Segmenter().segment(message)].filter(({ segment }) => segment.trim() !== "");
  return graphemes.length > 0 && graphemes.length <= 3;
}
