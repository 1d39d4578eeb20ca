import { ref, watch } from "vue";

export type Theme = "light" | "dark";
const KEY = "throng.theme";

const system = matchMedia("(prefers-color-scheme: dark)");
const systemTheme = (): Theme => (system.matches ? "dark" : "light");

const chosen = ref<Theme | null>(stored());
export const theme = ref<Theme>(chosen.value ?? systemTheme());

function stored(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null;
  }
}

system.addEventListener("change", () => {
  theme.value = chosen.value ?? systemTheme();
});

watch(chosen, (value) => {
  const root = document.documentElement;
  if (value === null) delete root.dataset.theme;
  else root.dataset.theme = value;
  try {
    if (value === null) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, value);
  } catch {
    // Without storage the choice lasts for this page.
  }
});

/** Choosing the system's own theme removes the stored choice, so that the page follows the system. */
export function toggleTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  chosen.value = theme.value === systemTheme() ? null : theme.value;
}
