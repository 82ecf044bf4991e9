import { describe, expect, it } from "vitest";
import { asProblem, Problem, problemFrom } from "@/api/problem";
import { activeCount, asQuery, empty, readFilters, writeFilters } from "@/app/filters";

describe("the search's address line", () => {
  it("comes back as the same filters", () => {
    const camera = "0193a1f0-0000-7000-8000-000000000001";
    const filters = {
      ...empty(),
      span: null,
      from: "2026-11-22T00:00:00.000Z",
      to: "2026-11-22T06:00:00.000Z",
      cameras: [camera],
      classes: ["person" as const, "car" as const],
      colours: ["red" as const],
      area: [
        { lon: 104.1, lat: 25.1 },
        { lon: 104.2, lat: 25.1 },
        { lon: 104.2, lat: 25.2 },
      ],
      zone: "院门",
      minSeconds: 5,
      minScore: 0.5,
      words: "红色",
    };
    const address = writeFilters(filters) as Record<string, string | string[]>;
    expect(readFilters(address)).toEqual(filters);
    expect(activeCount(filters)).toBe(8);
  });
  it("is short when nothing is set, and leaves out what does not fit", () => {
    expect(writeFilters(empty())).toEqual({});
    const hostile = {
      from: "tomorrow",
      to: "<script>",
      span: "constructor",
      camera: ["../../etc", "1"],
      class: ["face", "person"],
      colour: "ultraviolet",
      area: "1,2;3",
      seconds: "-4",
      score: "NaN",
      q: "x".repeat(900),
    };
    const found = readFilters(hostile);
    expect(found).toEqual({ ...empty(), classes: ["person"], words: "x".repeat(200) });
  });
  it("refuses a span that ends before it begins", () => {
    expect(readFilters({ from: "2026-11-22T06:00:00Z", to: "2026-11-22T05:00:00Z" }).span).toBe("24h");
  });
  it("asks the hub for a rolling span that ends now", () => {
    const query = asQuery({ ...empty(), span: "1h" }, Date.parse("2026-11-22T06:00:00Z"));
    expect(query.from_at).toBe("2026-11-22T05:00:00.000Z");
    expect(Date.parse(query.to_at)).toBeGreaterThanOrEqual(Date.parse("2026-11-22T06:00:00Z"));
    expect(Object.keys(query)).toEqual(["from_at", "to_at"]);
  });
});

describe("refusals", () => {
  it("keep the hub's code and its figures", () => {
    const problem = problemFrom(429, { code: "login.too_many", detail: "slow", retry_after_s: 30, status: 429 });
    expect([problem.code, problem.detail, problem.extra.retry_after_s]).toEqual(["login.too_many", "slow", 30]);
  });
  it("name the status when a proxy answers with a page of its own", () => {
    expect(problemFrom(502, "<html>").code).toBe("http.502");
    expect(problemFrom(500, undefined).code).toBe("http.500");
    expect(problemFrom(422, { detail: [] }).code).toBe("request.invalid");
  });
  it("never hide a programming error", () => {
    const own = new Problem(403, "purpose.missing");
    expect(asProblem(own)).toBe(own);
    expect(asProblem(new TypeError("x is undefined"))).toMatchObject({ code: "page.broken", detail: "x is undefined" });
  });
});
