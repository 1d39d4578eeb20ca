import { computed, ref, shallowReactive, shallowRef, watch } from "vue";
import { describeRefusal, isPassing } from "../lib/refusals";
import { changeBetween, describeChange, isInconsistent, type PresenceEvent, type RosterMeta } from "../lib/roster";
import { lastSeq, messageFromWire } from "../lib/timeline";
import type { ConnectionState, Message, Room, User } from "../lib/types";
import { applyCount, totalUnread, type Unread } from "../lib/unread";
import { ApiError, userFromWire, type Api, type Session } from "../net/api";
import { ask, createSocket } from "../net/socket";
import { createOutbox } from "./outbox";
import { createRoom, type RoomState } from "./room";
import { showToast } from "./toasts";

export interface ChatOptions {
  api: Api;
  session: Session;
  /** The person as known now: the avatar may change while the chat runs. */
  user: () => User;
  base?: string;
  onExpired: () => void;
  onAvatar: (avatar: string) => void;
}

const ROOMS_REFRESH_MS = 20_000;
const ROOMS_SETTLE_MS = 1_000;
const JOIN_RETRY_MS = 2_000;
const RESYNC_MS = 3_000;
const BURST_MS = 50;
/** WebSocket close codes: a limit closed the connection, reconnect later; or this client is at fault. */
const CLOSED_BY_LIMIT = 4004;
const CLOSED_FOR_FAULT = [1002, 1003, 1007, 1008];
const LIMIT_BACK_OFF_MS = 30_000;
const REFUSED_BACK_OFF_MS = 5_000;

const isHidden = () => typeof document !== "undefined" && document.hidden;

/** Everything between the screen and the server for one logged-in user. */
export function createChat(options: ChatOptions) {
  const { api, session } = options;
  const ownId = session.user.email;
  const socket = createSocket(options.base ?? "", () => session.token);

  const connection = ref<ConnectionState>("connecting");
  const listedRooms = shallowRef<Room[]>([]);
  const haveRoomsLoaded = ref(false);
  const unread = shallowRef<Unread>({});
  const open = shallowRef<RoomState | null>(null);
  /** The roster of the open room is fresher than the list. */
  const rooms = computed(() =>
    listedRooms.value.map((room) => {
      const roster = open.value?.id === room.id ? open.value.roster.value : null;
      return roster && roster.version >= 0 ? { ...room, online: roster.online } : room;
    }),
  );
  const unseen_count = ref(0);
  /** The newest message of someone else, and the newest change of the roster, in words. */
  const spokenMessage = ref("");
  const spokenPresence = ref("");
  const known = shallowReactive(new Map<number, RoomState>());
  /** Rooms counted but not listed, each a reason to read the list again, once. */
  const askedAbout = new Set<number>();
  let join_count = 0;
  let wasEverOnline = false;
  /** From the browser's events; `navigator.onLine` alone is wrong on machines with a loopback only. */
  let isNetworkGone = false;
  /** How long the server asked the client to wait. */
  let notBefore_ms = 0;
  let isStopped = false;
  const timers = new Set<ReturnType<typeof setTimeout>>();

  const later = (delay_ms: number, task: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (!isStopped) task();
    }, delay_ms);
    timers.add(timer);
  };

  const outbox = createOutbox(api, socket, options.user, session.token, {
    rejoin: (room) => join(room),
    onExpired: options.onExpired,
  });

  function roomState(id: number): RoomState {
    let room = known.get(id);
    if (!room) {
      const fetchPage = async (total: number) => {
        try {
          return await api.history(session.token, id, total);
        } catch (error) {
          noteFailure(error);
          throw error;
        }
      };
      room = createRoom(id, ownId, fetchPage);
      known.set(id, room);
    }
    return room;
  }

  function noteFailure(error: unknown): void {
    if (error instanceof ApiError && error.failure === "unauthenticated" && !isStopped) options.onExpired();
  }

  async function refreshRooms(): Promise<void> {
    try {
      const entries = await api.rooms(session.token);
      listedRooms.value = entries.map(({ id, name, online }) => ({ id, name, online }));
      const counts = Object.fromEntries(entries.map(({ id, unread: count }) => [`room${id}`, count]));
      unread.value = applyCount(unread.value, counts, open.value?.id ?? null);
      haveRoomsLoaded.value = true;
    } catch (error) {
      noteFailure(error);
      if (!haveRoomsLoaded.value) later(JOIN_RETRY_MS * 3, () => void refreshRooms());
    }
  }

  async function login(): Promise<void> {
    const ack = await ask(socket, "login", { name: ownId });
    if (!ack.ok) {
      if (ack.code === "unauthenticated") options.onExpired();
      else if (isPassing(ack.code)) later(JOIN_RETRY_MS, () => void (socket.connected && login()));
      return;
    }
    unread.value = applyCount(unread.value, ack.count, open.value?.id ?? null);
    const { avatar } = userFromWire(ack.user);
    if (avatar !== "" && avatar !== options.user().avatar) options.onAvatar(avatar);
  }

  /** Enters a room, or enters it again after a reconnection, and reads what was missed. */
  async function join(room: RoomState): Promise<void> {
    if (!socket.connected || open.value !== room) return;
    join_count += 1;
    const own_count = join_count;
    const isCurrent = () => own_count === join_count && open.value === room && !isStopped;
    const knownSeq = lastSeq(room.messages.value);
    room.phase.value = "joining";
    room.awaitSnapshot();
    const { email, avatar } = options.user();
    const ack = await ask(socket, "room", { roomid: room.id, name: email, src: avatar, presence: "delta" });
    if (!isCurrent()) return;
    if (!ack.ok) {
      if (ack.code === "unauthenticated") options.onExpired();
      else if (isPassing(ack.code)) later(JOIN_RETRY_MS, () => void (isCurrent() && join(room)));
      else if (ack.code !== "disconnected") {
        room.phase.value = "refused";
        room.refusal.value = describeRefusal(ack.code, ack.message);
      }
      return;
    }
    room.phase.value = "joined";
    markUnread(room, ack.seq ?? 0, knownSeq);
    unread.value = { ...unread.value, [room.id]: 0 };
    await room.catchUp(knownSeq, ack.seq ?? 0);
    if (!isCurrent()) return;
    outbox.settle(room);
    void outbox.pump(room);
  }

  /** Where the "new" line goes: before what came while this person was elsewhere. */
  function markUnread(room: RoomState, joinSeq: number, knownSeq: number): void {
    const count = unread.value[room.id] ?? 0;
    const isFirstVisit = count >= joinSeq;
    if (count > 0 && !isFirstVisit) room.unreadFrom.value = joinSeq - count + 1;
    else if (knownSeq > 0 && isHidden() && joinSeq > knownSeq && room.unreadFrom.value === 0) {
      room.unreadFrom.value = knownSeq + 1;
    }
  }

  /** Of the open room. A first message is shown at once; those that follow closely are drawn together. */
  const inbox: Message[] = [];
  let isInboxHeld = false;

  function emptyInbox(): void {
    const room = open.value;
    const messages = inbox.splice(0);
    const [first] = messages;
    if (!first || !room) return;
    const knownSeq = lastSeq(room.messages.value);
    const hasMissed = room.hasMissedBefore(first);
    const others = messages.filter((message) => message.seq > knownSeq && message.userid !== ownId);
    const [firstOther] = others;
    const newest = others.at(-1);
    if (isHidden() && firstOther) {
      if (unseen_count.value === 0) room.unreadFrom.value = firstOther.seq;
      unseen_count.value += others.length;
    }
    room.add(messages);
    if (newest) spokenMessage.value = `${newest.username}: ${newest.msg || "sent an image"}`;
    if (hasMissed) void room.catchUp(knownSeq, first.seq - 1);
  }

  function roomOf(id: unknown): RoomState | null {
    const room = open.value;
    return room && (id === undefined || Number(id) === room.id) ? room : null;
  }

  let isResyncPlanned = false;
  function resync(room: RoomState): void {
    if (isResyncPlanned) return;
    isResyncPlanned = true;
    later(RESYNC_MS, () => {
      isResyncPlanned = false;
      if (open.value !== room || !socket.connected || !isInconsistent(room.roster.value)) return;
      // A repeated join changes nothing in the room and brings this session a new snapshot.
      room.awaitSnapshot();
      void ask(socket, "room", { roomid: room.id, name: ownId, presence: "delta" });
    });
  }

  const takeRoster = (entries: unknown, meta: RosterMeta = {}) => {
    const room = roomOf(meta.room);
    if (room && room.phase.value !== "away") room.takeSnapshot(entries, meta);
  };
  socket.on("room", takeRoster);
  socket.on("roomout", takeRoster);
  socket.on("presence", (event: PresenceEvent) => {
    const room = roomOf(event.room);
    if (!room) return;
    room.takePresence(event);
    if (isInconsistent(room.roster.value)) resync(room);
  });
  socket.on("message", (raw: unknown) => {
    const message = messageFromWire(raw);
    const room = roomOf((raw as { roomid?: unknown } | null)?.roomid);
    if (!message || !room) return;
    inbox.push(message);
    if (isInboxHeld) return;
    emptyInbox();
    isInboxHeld = true;
    later(BURST_MS, () => {
      isInboxHeld = false;
      emptyInbox();
    });
  });
  socket.on("count", (counts: unknown) => {
    unread.value = applyCount(unread.value, counts, open.value?.id ?? null);
    const listed = new Set(listedRooms.value.map((room) => room.id));
    const unlisted = Object.keys(unread.value).map(Number).filter((id) => !listed.has(id) && !askedAbout.has(id));
    if (unlisted.length === 0 || !haveRoomsLoaded.value) return;
    for (const id of unlisted) askedAbout.add(id);
    void refreshRooms();
  });
  socket.on("chat_error", (refusal: { code?: string; message?: string }) => {
    showToast(describeRefusal(refusal?.code ?? "", refusal?.message ?? ""));
  });
  socket.on("login", () => {
    api.user(session.token).catch(noteFailure);
  });

  socket.on("connect", () => {
    wasEverOnline = true;
    connection.value = "online";
    void login();
    if (open.value) void join(open.value);
    void refreshRooms();
  });
  socket.on("disconnect", (reason: string, details?: unknown) => {
    if (isStopped) return;
    if (open.value) open.value.phase.value = "joining";
    const code = ((details ?? {}) as { context?: { code?: number } }).context?.code ?? 0;
    if (CLOSED_FOR_FAULT.includes(code)) {
      connection.value = "refused";
      socket.disconnect();
      return;
    }
    connection.value = isNetworkGone ? "offline" : "reconnecting";
    if (code === CLOSED_BY_LIMIT) {
      socket.disconnect();
      notBefore_ms = Date.now() + LIMIT_BACK_OFF_MS;
      later(LIMIT_BACK_OFF_MS * (1 + Math.random()), () => socket.connect());
    } else if (reason === "io server disconnect") {
      // The library does not reconnect on its own after this one.
      later(JOIN_RETRY_MS * (1 + 2 * Math.random()), () => socket.connect());
    }
  });
  socket.on("connect_error", () => {
    if (isStopped) return;
    connection.value = wasEverOnline && !isNetworkGone ? "reconnecting" : "offline";
    // A refusal by the server ends the library's own attempts.
    if (!socket.active) later(REFUSED_BACK_OFF_MS, () => socket.connect());
  });

  /** Cuts the wait between two attempts short. */
  function retryNow(): void {
    if (socket.connected || isStopped || Date.now() < notBefore_ms) return;
    if (!wasEverOnline || connection.value === "refused") connection.value = "connecting";
    socket.disconnect().connect();
  }

  const onOnline = () => {
    isNetworkGone = false;
    retryNow();
  };
  const onOffline = () => {
    isNetworkGone = true;
    if (!socket.connected) connection.value = "offline";
  };
  const onVisibility = () => {
    if (isHidden()) return;
    unseen_count.value = 0;
    // Sending shows whether the connection survived the suspension of the page.
    if (socket.connected) void login();
    else if (connection.value !== "refused") retryNow();
    void refreshRooms();
  };
  const refresh = setInterval(() => {
    if (!isHidden() && socket.connected) void refreshRooms();
  }, ROOMS_REFRESH_MS);

  let rosterOwner: number | null = null;
  const stopWatching = watch(
    () => open.value?.roster.value,
    (after, before) => {
      const room = open.value;
      if (!room || !after || !before || rosterOwner !== room.id) {
        rosterOwner = room?.id ?? null;
        return;
      }
      const change = changeBetween(before, after);
      const isNotOwn = (person: { id: number }) => person.id !== session.user.id;
      const text = describeChange({ joined: change.joined.filter(isNotOwn), left: change.left.filter(isNotOwn) });
      if (text !== "") spokenPresence.value = text;
    },
    { flush: "sync" },
  );

  if (typeof window !== "undefined") {
    addEventListener("online", onOnline);
    addEventListener("offline", onOffline);
    document.addEventListener("visibilitychange", onVisibility);
  }

  return {
    session,
    user: options.user,
    connection,
    rooms,
    haveRoomsLoaded,
    unread,
    open,
    spokenMessage,
    spokenPresence,
    unread_count: computed(() => totalUnread(unread.value) + unseen_count.value),
    roomName: (id: number): string => rooms.value.find((room) => room.id === id)?.name ?? `Room ${id}`,
    outbox,
    retryNow,
    refreshRooms,

    start(): void {
      socket.connect();
    },

    /** Shows a room and enters it; the one shown before is left. */
    show(id: number | null): void {
      const previous = open.value;
      if (previous?.id === id) return;
      if (previous) {
        emptyInbox();
        const { online } = previous.roster.value;
        listedRooms.value = rooms.value.map((room) =>
          room.id === previous.id ? { ...room, online: Math.max(0, online - 1) } : room,
        );
        join_count += 1;
        previous.phase.value = "away";
        previous.unreadFrom.value = 0;
        previous.trim();
        if (socket.connected) socket.emit("roomout", { roomid: previous.id, name: ownId });
        unread.value = { ...unread.value, [previous.id]: 0 };
      }
      spokenPresence.value = "";
      unseen_count.value = 0;
      open.value = id === null ? null : roomState(id);
      if (open.value) void join(open.value);
      else later(ROOMS_SETTLE_MS, () => void refreshRooms());
    },

    /** Tries again what failed about the open room. */
    async reload(): Promise<void> {
      const room = open.value;
      if (!room) return;
      if (room.phase.value === "joined") await room.catchUp(lastSeq(room.messages.value), lastSeq(room.messages.value));
      else await join(room);
    },

    stop(): void {
      isStopped = true;
      stopWatching();
      clearInterval(refresh);
      for (const timer of timers) clearTimeout(timer);
      if (typeof window !== "undefined") {
        removeEventListener("online", onOnline);
        removeEventListener("offline", onOffline);
        document.removeEventListener("visibilitychange", onVisibility);
      }
      socket.disconnect();
    },
  };
}

export type Chat = ReturnType<typeof createChat>;
