export type Unread = Record<number, number>;

/** The counts after a `count` event `{"room1": 3}`; the room on the screen is being read. */
export function applyCount(unread: Unread, event: unknown, openRoom: number | null): Unread {
  if (typeof event !== "object" || event === null) return unread;
  const next = { ...unread };
  for (const [name, value] of Object.entries(event)) {
    const room = /^room(\d+)$/.exec(name)?.[1];
    const count = Number(value);
    if (room === undefined || !Number.isFinite(count)) continue;
    next[Number(room)] = Math.max(0, Math.trunc(count));
  }
  if (openRoom !== null) next[openRoom] = 0;
  return next;
}

export function totalUnread(unread: Unread): number {
  return Object.values(unread).reduce((sum, count) => sum + count, 0);
}

export function badge(count: number): string {
  return count > 99 ? "99+" : String(count);
}

export function documentTitle(unread_count: number, room: string | null): string {
  const place = room === null ? "Throng" : `${room} · Throng`;
  return unread_count > 0 ? `(${badge(unread_count)}) ${place}` : place;
}
