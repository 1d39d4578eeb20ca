import { shallowRef } from "vue";
import type { Api, Session } from "../net/api";

const KEY = "throng.session";

function stored(): Session | null {
  try {
    const session = JSON.parse(localStorage.getItem(KEY) ?? "null") as Session | null;
    return typeof session?.token === "string" && typeof session.user?.email === "string" ? session : null;
  } catch {
    return null;
  }
}

function store(session: Session | null): void {
  try {
    if (session) localStorage.setItem(KEY, JSON.stringify(session));
    else localStorage.removeItem(KEY);
  } catch {
    // Without storage the session lasts for this page.
  }
}

export function createSession(api: Api) {
  const session = shallowRef<Session | null>(stored());
  /** Why the user sees the login screen again, if not by choice. */
  const notice = shallowRef("");
  const lastEmail = shallowRef("");

  const set = (next: Session | null) => {
    session.value = next;
    store(next);
  };

  addEventListener("storage", (event) => {
    if (event.key === KEY || event.key === null) session.value = stored();
  });

  return {
    session,
    notice,
    /** Whose session it was that ended. */
    lastEmail,
    async enter(isNew: boolean, email: string, password: string) {
      const entered = isNew ? await api.register(email, password) : await api.login(email, password);
      notice.value = "";
      set(entered);
    },
    setAvatar(avatar: string) {
      if (session.value) set({ ...session.value, user: { ...session.value.user, avatar } });
    },
    /** Ends the session here at once; the logout request to the server may fail without harm. */
    async leave() {
      const token = session.value?.token;
      set(null);
      if (token) await api.logout(token).catch(() => undefined);
    },
    expire() {
      if (!session.value) return;
      lastEmail.value = session.value.user.email;
      set(null);
      notice.value = "Your session has ended. Please log in again.";
    },
  };
}

export type SessionState = ReturnType<typeof createSession>;
