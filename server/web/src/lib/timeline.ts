import { dayOf } from "./time";
import type { Message, Outgoing } from "./types";

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** A message as the server sends it, or null when it cannot be placed in a room's order. */
export function messageFromWire(raw: unknown): Message | null {
  if (typeof raw !== "object" || raw === null) return null;
  const fields = raw as Record<string, unknown>;
  const seq = Number(fields.seq);
  if (!Number.isSafeInteger(seq) || seq <= 0) return null;
  return {
    key: `m${seq}`,
    seq,
    userid: text(fields.userid),
    username: text(fields.username),
    src: text(fields.src),
    msg: text(fields.msg),
    img: text(fields.img),
    time: text(fields.time),
  };
}

/** Both lists in the room's order, each message once; `known` wins, so its keys stay stable. */
export function mergeMessages(known: Message[], incoming: Message[]): Message[] {
  if (incoming.length === 0) return known;
  const [only] = incoming;
  if (incoming.length === 1 && only && only.seq > lastSeq(known)) return [...known, only];
  const bySeq = new Map<number, Message>();
  for (const message of incoming) bySeq.set(message.seq, message);
  for (const message of known) bySeq.set(message.seq, message);
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq);
}

export function lastSeq(messages: Message[]): number {
  return messages.at(-1)?.seq ?? 0;
}

/**
 * The outgoing message that `message` is the echo of. The server keeps the time that a client sends,
 * and a tab never sends the same time twice, so author and time identify it.
 */
export function findEcho(outgoing: Outgoing[], message: Message, ownId: string): Outgoing | undefined {
  if (message.userid !== ownId) return undefined;
  return outgoing.find((candidate) => candidate.time === message.time && candidate.msg === message.msg);
}

export interface Row {
  key: string;
  message: Message | null;
  outgoing: Outgoing | null;
  isOwn: boolean;
  startsGroup: boolean;
  endsGroup: boolean;
  /** Set on the first message of a day. */
  day: string;
  startsUnread: boolean;
}

const GROUP_GAP_MS = 5 * 60_000;

interface Author {
  id: string;
  time: string;
}

function isSameGroup(a: Author, b: Author): boolean {
  if (a.id !== b.id || dayOf(a.time) !== dayOf(b.time)) return false;
  const gap_ms = Math.abs(Date.parse(b.time) - Date.parse(a.time));
  return !(gap_ms > GROUP_GAP_MS);
}

/** What the list shows: one row per message, with the marks that depend on its neighbours. */
export function rowsOf(messages: Message[], outgoing: Outgoing[], ownId: string, unreadFrom: number): Row[] {
  const rows: Row[] = [];
  let previous: Author | null = null;
  let isUnreadMarked = unreadFrom <= 0;
  const push = (message: Message | null, pending: Outgoing | null) => {
    const source = (message ?? pending) as Message | Outgoing;
    const author = { id: message ? message.userid : ownId, time: source.time };
    const startsDay = previous === null || dayOf(previous.time) !== dayOf(author.time);
    let startsUnread = false;
    if (!isUnreadMarked && message && message.seq >= unreadFrom) {
      startsUnread = true;
      isUnreadMarked = true;
    }
    const startsGroup = startsDay || startsUnread || previous === null || !isSameGroup(previous, author);
    const before = rows.at(-1);
    if (startsGroup && before) before.endsGroup = true;
    rows.push({
      key: source.key,
      message,
      outgoing: pending,
      isOwn: author.id === ownId,
      startsGroup,
      endsGroup: false,
      day: startsDay ? dayOf(author.time) : "",
      startsUnread,
    });
    previous = author;
  };
  for (const message of messages) push(message, null);
  for (const pending of outgoing) push(null, pending);
  const last = rows.at(-1);
  if (last) last.endsGroup = true;
  return rows;
}

/** The same rows, with the objects of `before` where nothing changed, so that they are not rendered again. */
export function withKnownRows(before: Row[], rows: Row[]): Row[] {
  const known = new Map(before.map((row) => [row.key, row]));
  return rows.map((row) => {
    const twin = known.get(row.key);
    if (!twin) return row;
    const isSame = (Object.keys(row) as (keyof Row)[]).every((field) => row[field] === twin[field]);
    return isSame ? twin : row;
  });
}
