import { shallowReactive } from "vue";

export interface Toast {
  id: number;
  text: string;
}

const SHOWN_MS = 6_000;
const TOASTS_MAX = 3;

let last_id = 0;
export const toasts = shallowReactive<Toast[]>([]);

export function dismissToast(id: number): void {
  const index = toasts.findIndex((toast) => toast.id === id);
  if (index >= 0) toasts.splice(index, 1);
}

export function clearToasts(): void {
  toasts.splice(0);
}

export function showToast(text: string): void {
  if (toasts.some((toast) => toast.text === text)) return;
  last_id += 1;
  const id = last_id;
  toasts.push({ id, text });
  if (toasts.length > TOASTS_MAX) toasts.shift();
  setTimeout(() => dismissToast(id), SHOWN_MS);
}
