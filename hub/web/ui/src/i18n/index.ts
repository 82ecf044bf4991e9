import { createI18n } from "vue-i18n";
import type { Problem } from "@/api/problem";
import type { Reason } from "@/api/types";
import { type AgoUnit, ago } from "@/media/time";
import en from "./en";
import zhCN from "./zh-CN";

export type Locale = "zh-CN" | "en";
const KEY = "qianshao.locale";

function first(): Locale {
  const stored = localStorage.getItem(KEY);
  if (stored === "en" || stored === "zh-CN") return stored;
  return navigator.language.startsWith("en") ? "en" : "zh-CN";
}

export const i18n = createI18n({
  legacy: false,
  locale: first(),
  fallbackLocale: "zh-CN",
  messages: { "zh-CN": zhCN, en },
});
const { t, te } = i18n.global;

export function setLocale(locale: Locale): void {
  i18n.global.locale.value = locale;
  localStorage.setItem(KEY, locale);
  document.documentElement.lang = locale;
  document.title = t("app.name");
}
setLocale(first());

/** What went wrong in the person's language; an unknown code is shown as it is, never hidden. */
export function errorText(problem: Problem): string {
  return codeText(problem.code, problem.extra);
}
export function codeText(code: string, params: Record<string, unknown> = {}): string {
  const key = `error.${code}`;
  return te(key) ? t(key, params) : t("error.unknown", { code });
}

/** A word of the vocabulary; an unknown one is shown as it came. */
export function word(kind: string, value: string): string {
  const key = `${kind}.${value}`;
  return te(key) ? t(key) : value;
}

export function agoText(at: string | number, now: number): string {
  const { unit, n } = ago(at, now);
  return t(`ago.${unit satisfies AgoUnit}`, { n });
}

/** A reason of a proposed link in words. Figures of distance and time are written with their units. */
export function reasonText(reason: Reason): string {
  const params: Record<string, unknown> = { ...reason.params };
  for (const [name, value] of Object.entries(reason.params)) {
    if (typeof value === "number" && name !== "score") params[name] = Math.round(value);
  }
  const cls = reason.params.class ?? reason.params.object_class;
  if (typeof cls === "string") params.class = params.object_class = word("class", cls);
  if (typeof reason.params.category === "string") params.category = word("category", reason.params.category);
  const key = `reason.${reason.code}`;
  if (te(key)) return t(key, params);
  const figures = Object.values(params).join(" · ");
  return figures ? `${reason.code} (${figures})` : reason.code;
}
