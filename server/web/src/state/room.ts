import { computed, ref, shallowRef } from "vue";
import { loadSince, olderThan, type FetchPage, type Stretch } from "../lib/history";
import { applyPresence, applySnapshot, emptyRoster, type PresenceEvent, type RosterMeta } from "../lib/roster";
import { findEcho, lastSeq, mergeMessages, rowsOf, withKnownRows, type Row } from "../lib/timeline";
import type { Message, Outgoing } from "../lib/types";

export type RoomPhase = "away" | "joining" | "joined" | "refused";

const MESSAGES_KEPT = 300;

/** What this tab knows of one room. It survives leaving, so that coming back shows it at once. */
export function createRoom(id: number, ownId: string, fetchPage: FetchPage) {
  const phase = ref<RoomPhase>("away");
  const refusal = ref("");
  const messages = shallowRef<Message[]>([]);
  const outgoing = shallowRef<Outgoing[]>([]);
  const roster = shallowRef(emptyRoster());
  /** Rows of the room older than the first of `messages`; null until the history was read once. */
  const before = ref<number | null>(null);
  const isLoading = ref(false);
  const isLoadingOlder = ref(false);
  const hasHistoryFailed = ref(false);
  const unreadFrom = ref(0);
  const draft = ref("");
  const rows = computed<Row[]>((before) =>
    withKnownRows(before ?? [], rowsOf(messages.value, outgoing.value, ownId, unreadFrom.value)),
  );
  let catch_up_count = 0;

  const patch = (key: string, change: Partial<Outgoing>) => {
    outgoing.value = outgoing.value.map((item) => (item.key === key ? { ...item, ...change } : item));
  };
  const drop = (key: string) => {
    outgoing.value = outgoing.value.filter((item) => item.key !== key);
  };

  /** Adds messages from any source; those that this tab sent keep their own key. */
  function add(incoming: Message[]): void {
    const keyed = incoming.map((message) => {
      const echo = findEcho(outgoing.value, message, ownId);
      if (!echo) return message;
      drop(echo.key);
      return { ...message, key: echo.key };
    });
    messages.value = mergeMessages(messages.value, keyed);
  }

  /**
   * Reads what is newer than `knownSeq`. A stretch too long to bridge replaces what was known,
   * except for the messages that arrived after `joinSeq`: they follow the stretch without a gap.
   * Answers null when it failed or a newer call took over.
   */
  async function catchUp(knownSeq: number, joinSeq: number): Promise<Stretch | null> {
    catch_up_count += 1;
    const own_count = catch_up_count;
    isLoading.value = true;
    hasHistoryFailed.value = false;
    try {
      const stretch = await loadSince(fetchPage, knownSeq);
      if (own_count !== catch_up_count) return null;
      if (!stretch.isContiguous && knownSeq > 0) {
        messages.value = messages.value.filter((message) => message.seq > joinSeq);
      }
      add(stretch.messages);
      if (before.value === null || !stretch.isContiguous) before.value = stretch.before;
      return stretch;
    } catch {
      if (own_count === catch_up_count) hasHistoryFailed.value = true;
      return null;
    } finally {
      if (own_count === catch_up_count) isLoading.value = false;
    }
  }

  return {
    id,
    phase,
    refusal,
    messages,
    outgoing,
    roster,
    before,
    isLoading,
    isLoadingOlder,
    hasHistoryFailed,
    unreadFrom,
    draft,
    rows,
    patch,
    drop,
    add,
    catchUp,

    hasMissedBefore: (message: Message): boolean => {
      const known = lastSeq(messages.value);
      return known > 0 && message.seq > known + 1 && !isLoading.value;
    },

    async loadOlder(): Promise<void> {
      if (isLoadingOlder.value || isLoading.value || !before.value) return;
      isLoadingOlder.value = true;
      hasHistoryFailed.value = false;
      const total = before.value;
      try {
        const page = await fetchPage(total);
        if (before.value !== total) return;
        add(page.messages);
        before.value = olderThan({ ...page, total });
      } catch {
        hasHistoryFailed.value = true;
      } finally {
        isLoadingOlder.value = false;
      }
    },

    awaitSnapshot(): void {
      roster.value = { ...roster.value, version: -1 };
    },
    takeSnapshot(entries: unknown, meta: RosterMeta): void {
      roster.value = applySnapshot(roster.value, entries, meta);
    },
    takePresence(event: PresenceEvent): void {
      roster.value = applyPresence(roster.value, event);
    },

    /** Forgets the oldest messages, which scrolling up loads again. */
    trim(): void {
      const excess = messages.value.length - MESSAGES_KEPT;
      if (excess <= 0 || before.value === null) return;
      messages.value = messages.value.slice(excess);
      before.value = (messages.value[0]?.seq ?? 1) - 1;
    },
  };
}

export type RoomState = ReturnType<typeof createRoom>;
