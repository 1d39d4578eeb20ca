/** The local calendar day of a message as `YYYY-MM-DD`, or "" for a malformed time. */
export function dayOf(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  const month = String(date.getMonth() + 1).padStart(2, "0");
  return `${date.getFullYear()}-${month}-${String(date.getDate()).padStart(2, "0")}`;
}

export function dayLabel(day: string, now: Date): string {
  if (day === "") return "";
  const [year = 0, month = 1, date = 1] = day.split("-").map(Number);
  const then = new Date(year, month - 1, date);
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  const days = Math.round((today.getTime() - then.getTime()) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  const options: Intl.DateTimeFormatOptions = { weekday: "long", day: "numeric", month: "long" };
  if (year !== now.getFullYear()) options.year = "numeric";
  return then.toLocaleDateString(undefined, options);
}

export function clockTime(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  return date.toLocaleTimeString(undefined, { hour: "numeric", minute: "2-digit" });
}

/** The times that this tab gives its messages: never the same one twice. */
export function createTimestamps(now: () => number = Date.now): () => string {
  let last_ms = 0;
  return () => {
    last_ms = Math.max(last_ms + 1, now());
    return new Date(last_ms).toISOString();
  };
}
