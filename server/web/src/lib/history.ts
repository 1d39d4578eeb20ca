import type { Message } from "./types";

export const PAGE_ROWS = 20;

export interface Page {
  messages: Message[];
  /** How many rows the room had, counted from its first, when the page ended. */
  total: number;
}

/** Fetches the rows before row `total` of a room; 0 means the newest. */
export type FetchPage = (total: number) => Promise<Page>;

export interface Stretch {
  messages: Message[];
  /** How many rows of the room are older than the first of `messages`. */
  before: number;
  /** Whether nothing is missing between the message the caller knows and `messages`. */
  isContiguous: boolean;
}

/** The `total` of the next older page; 0 if there is none. Numbers may be missing where a database was restored. */
export function olderThan({ messages, total }: Page): number {
  return Math.max(0, Math.min(total - messages.length, (messages[0]?.seq ?? 1) - 1));
}

/**
 * The newest messages of a room, back to `knownSeq`, the last message that the caller has. After
 * `pages_max` pages the stretch counts as too long, and the caller starts anew.
 */
export async function loadSince(fetchPage: FetchPage, knownSeq: number, pages_max = 5): Promise<Stretch> {
  let messages: Message[] = [];
  let before = 0;
  for (let page_count = 0; page_count < pages_max; page_count += 1) {
    const page = await fetchPage(before);
    messages = [...page.messages, ...messages];
    const first = messages[0];
    before = olderThan(page);
    if (page.messages.length === 0 || before === 0 || !first) {
      return { messages, before: 0, isContiguous: true };
    }
    if (knownSeq <= 0) break;
    if (first.seq <= knownSeq + 1) return { messages, before, isContiguous: true };
  }
  return { messages, before, isContiguous: false };
}
