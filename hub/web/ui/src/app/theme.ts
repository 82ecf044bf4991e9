/** Light or dark workbench, by choice; the wall and the player are always dark (`.night`). */
import { ref } from "vue";
import { kept } from "./use";

export type Theme = "light" | "dark";
const choice = kept<Theme>(
  "qianshao.theme",
  window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
  (raw) => (raw === "light" || raw === "dark" ? raw : null),
);
export const theme = ref<Theme>(choice.get());

export function setTheme(next: Theme): void {
  theme.value = next;
  choice.set(next);
  show();
}
function show(): void {
  document.documentElement.classList.toggle("dark", theme.value === "dark");
  document.documentElement.classList.toggle("light", theme.value === "light");
}
show();
