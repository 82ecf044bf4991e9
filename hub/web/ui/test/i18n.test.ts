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

describe("the hub's refusals", () => {
  const ROOT = new URL("../../../..", import.meta.url).pathname;
  const sources = (folder: string): string[] =>
    readdirSync(folder).flatMap((name) => {
      const path = join(folder, name);
      // Command line, embedded servers and job queue speak to a terminal or a log.
      if (["ui", "static", "cli", "embedded", "jobs"].includes(name)) return [];
      return statSync(path).isDirectory() ? sources(path) : name.endsWith(".py") ? [readFileSync(path, "utf8")] : [];
    });
  const hub = sources(join(ROOT, "hub"));
  const consent = readFileSync(join(ROOT, "models", "consent.py"), "utf8");
  const hits = (text: string, form: RegExp): string[] => [...text.matchAll(form)].map((hit) => hit[1] ?? "");
  const raised = hub.flatMap((text) =>
    hits(text, /\b(?:Invalid|NotFound|Conflict|Unauthenticated|Forbidden|TooMany|Unavailable)\(\s*"([a-z_.]+)"/g),
  );
  const answered = hub
    .flatMap((text) => hits(text, /(?:return|code =|code:|detail if fresh else) "((?:[a-z_]+\.)+[a-z_]+)"/g))
    .filter((code) => !/^link\.(before|after)$/.test(code)); // a reason, not a refusal
  const codes = [...new Set([...raised, ...answered, ...hits(consent, /"(consent\.[a-z_]+)"/g)])].sort();

  it("are found in its source", () => {
    expect(codes).toContain("purpose.incident_needed");
    expect(codes).toContain("permission.missing");
    expect(codes).toContain("consent.paused");
    expect(codes.length).toBeGreaterThan(70);
  });
  it("have words in both languages", () => {
    expect(codes.filter((code) => typeof lookup(zhCN, `error.${code}`) !== "string")).toEqual([]);
    expect(codes.filter((code) => typeof lookup(en, `error.${code}`) !== "string")).toEqual([]);
  });
});
