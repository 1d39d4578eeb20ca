const TEXTS: Record<string, string> = {
  rate_limited: "You are sending too quickly. Wait a moment.",
  busy: "The server is busy right now.",
  too_large: "This is too long or too large.",
  image_invalid: "The server could not read this image.",
  storage_unavailable: "The server could not store this.",
  unknown_outcome: "The server does not know whether it has stored this.",
  not_member: "You are not in this room any more.",
  unknown_room: "This room does not exist.",
  room_limit: "You are in too many rooms.",
  timeout: "The server did not answer.",
};

/** A sentence for the user, from the code of a refusal. */
export function describeRefusal(code: string, message: string): string {
  return TEXTS[code] ?? (message || "The server rejected the request.");
}

/** The same message may be sent again a little later; it is stored once, whatever happened to it before. */
export function mayRepeat(code: string): boolean {
  return ["rate_limited", "busy", "unknown_outcome", "timeout"].includes(code);
}

/** Refusals with a temporary cause. */
export function isPassing(code: string): boolean {
  return ["rate_limited", "busy", "storage_unavailable", "timeout"].includes(code);
}
