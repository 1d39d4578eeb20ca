import type { Person } from "./types";

export interface Roster {
  /** -1 before the snapshot of a join arrives. */
  version: number;
  online: number;
  people: Map<number, Person>;
}

export interface RosterMeta {
  room?: number;
  version?: number;
  online?: number;
}

export interface PresenceEvent extends RosterMeta {
  joined?: unknown[];
  left?: unknown[];
}

export const emptyRoster = (): Roster => ({ version: -1, online: 0, people: new Map() });

function personFromWire(raw: unknown): Person | null {
  if (typeof raw !== "object" || raw === null) return null;
  const { id, name, avatar } = raw as Record<string, unknown>;
  const number = Number(id);
  if (!Number.isSafeInteger(number) || number <= 0) return null;
  return {
    id: number,
    name: typeof name === "string" ? name : "",
    avatar: typeof avatar === "string" ? avatar : "",
  };
}

/** The roster after a full snapshot; a snapshot older than the known version changes nothing. */
export function applySnapshot(roster: Roster, entries: unknown, meta: RosterMeta): Roster {
  const version = meta.version ?? roster.version + 1;
  if (version < roster.version) return roster;
  const people = new Map<number, Person>();
  const list = typeof entries === "object" && entries !== null ? Object.values(entries) : [];
  for (const entry of list) {
    const person = personFromWire(entry);
    if (person) people.set(person.id, person);
  }
  return { version, online: meta.online ?? people.size, people };
}

/** The roster after one delta. Deltas are meaningless before the snapshot and stale at or below its version. */
export function applyPresence(roster: Roster, event: PresenceEvent): Roster {
  const version = event.version ?? roster.version + 1;
  if (roster.version < 0 || version <= roster.version) return roster;
  const people = new Map(roster.people);
  for (const id of event.left ?? []) people.delete(Number(id));
  for (const entry of event.joined ?? []) {
    const person = personFromWire(entry);
    if (person) people.set(person.id, person);
  }
  return { version, online: event.online ?? people.size, people };
}

/** A delta was lost or not understood: the number of names differs from the count. */
export function isInconsistent(roster: Roster): boolean {
  return roster.version >= 0 && roster.people.size !== roster.online;
}

export interface RosterChange {
  joined: Person[];
  left: Person[];
}

export function changeBetween(before: Roster, after: Roster): RosterChange {
  if (before.version < 0) return { joined: [], left: [] };
  return {
    joined: [...after.people.values()].filter((person) => !before.people.has(person.id)),
    left: [...before.people.values()].filter((person) => !after.people.has(person.id)),
  };
}

const names = new Intl.Collator();

/** The own entry first, then by name. */
export function sortedPeople(roster: Roster, ownId: number): Person[] {
  return [...roster.people.values()].sort((a, b) => {
    if (a.id === ownId || b.id === ownId) return a.id === ownId ? -1 : 1;
    return names.compare(a.name, b.name) || a.id - b.id;
  });
}

const named = (people: Person[], verb: string): string => {
  const [first, second] = people;
  if (!first) return "";
  if (!second) return `${first.name} ${verb}`;
  if (people.length === 2) return `${first.name} and ${second.name} ${verb}`;
  return `${first.name} and ${people.length - 1} others ${verb}`;
};

/** One short sentence for the header and for screen readers. */
export function describeChange(change: RosterChange): string {
  return [named(change.joined, "joined"), named(change.left, "left")].filter(Boolean).join(", ");
}
