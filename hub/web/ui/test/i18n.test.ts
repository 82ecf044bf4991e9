import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import en from "@/i18n/en";
import zhCN from "@/i18n/zh-CN";

const SRC = new URL("../src", import.meta.url).pathname;
const files = (folder: string): string[] =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : /\.(vue|ts)$/.test(name) ? [path] : [];
  });

function lookup(messages: unknown, key: string): unknown {
  return key.split(".").reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], messages);
}
function flat(messages: object, prefix = ""): [string, string][] {
  return Object.entries(messages).flatMap(([key, value]): [string, string][] =>
    typeof value === "string" ? [[prefix + key, value]] : flat(value as object, `${prefix}${key}.`),
  );
}

describe("the page's words", () => {
  const literal = /\bt\(\s*"([a-zA-Z0-9_.]+)"/g;
  const used = new Set(
    files(SRC).flatMap((path) => [...readFileSync(path, "utf8").matchAll(literal)].map((hit) => hit[1] ?? "")),
  );

  it("exist for every key a page names", () => {
    expect(used.size).toBeGreaterThan(150);
    expect([...used].filter((key) => typeof lookup(zhCN, key) !== "string")).toEqual([]);
    expect([...used].filter((key) => typeof lookup(en, key) !== "string")).toEqual([]);
  });
  it("are never empty, and English holds no Chinese but the name of the language", () => {
    expect(flat(zhCN).filter(([, text]) => text.trim() === "")).toEqual([]);
    const chinese = flat(en).filter(([, text]) => /[\u4e00-\u9fff]/.test(text));
    expect(chinese.map(([key]) => key)).toEqual(["user.otherLanguage"]);
  });
  it("take the same figures in both languages", () => {
    const slots = (text: string): string =>
      [...text.matchAll(/\{(\w+)\}/g)]
        .map((hit) => hit[1])
        .sort()
        .join();
    const other = new Map(flat(en));
    expect(flat(zhCN).filter(([key, text]) => slots(text) !== slots(other.get(key) ?? ""))).toEqual([]);
  });
});
