import { describe, expect, it } from "vitest";
import { areaPoints, areaText, away, bearing, metres, sector } from "@/media/geo";
import { boxAt, contained, place } from "@/media/overlay";
import { ago, fromSite, length, offset, siteStamp, uncertainty } from "@/media/time";
import { bar, hourBuckets, mediaSpans, ticks } from "@/media/timeline";
import { backoffMs, judge } from "@/media/whep";

describe("times", () => {
  it("shows the site's zone wherever the browser stands", () => {
    expect(siteStamp("2026-11-22T06:03:05Z")).toBe("2026-11-22 14:03:05");
    expect(siteStamp("2026-11-22T16:00:00Z")).toBe("2026-11-23 00:00:00");
  });
  it("reads a typed site time back as the same instant", () => {
    expect(fromSite("2026-11-23 00:00:00")).toBe("2026-11-22T16:00:00.000Z");
  });
  it("says how long ago in the largest whole unit, and a future second as now", () => {
    const now = Date.parse("2026-11-22T06:00:00Z");
    expect(ago(now + 900, now)).toEqual({ unit: "now", n: 0 });
    expect(ago(now - 59_000, now)).toEqual({ unit: "second", n: 59 });
    expect(ago(now - 3_599_000, now)).toEqual({ unit: "minute", n: 59 });
    expect(ago(now - 90_000_000, now)).toEqual({ unit: "day", n: 1 });
  });
  it("writes lengths, uncertainty and offsets with their units", () => {
    expect([length(7000), length(125_000), length(3_607_000)]).toEqual(["0:07", "2:05", "1:00:07"]);
    expect([uncertainty(null), uncertainty(40), uncertainty(1040)]).toEqual(["", "±40 ms", "±1.0 s"]);
    expect([offset(80), offset(-1340)]).toEqual(["+80 ms", "−1.3 s"]);
  });
});

describe("timeline", () => {
  const window = { from: 0, to: 1000 };
  it("cuts spans to the window and drops those outside", () => {
    expect(bar(window, -500, 500)).toEqual({ left: 0, width: 0.5 });
    expect(bar(window, 900, 2000)).toEqual({ left: 0.9, width: expect.closeTo(0.1) });
    expect(bar(window, 1000, 1100)).toBeNull();
    expect(bar(window, -100, 0)).toBeNull();
  });
  it("puts ticks on round times of the site and never more than asked for", () => {
    const day = { from: Date.parse("2026-11-22T05:17:00Z"), to: Date.parse("2026-11-23T05:17:00Z") };
    const found = ticks(day, 8);
    expect(found.length).toBeLessThanOrEqual(8);
    expect(found.map((t) => t.label)).toContain("00:00");
    expect(ticks({ from: 5, to: 5 }, 8)).toEqual([]);
  });
  it("fills hours without sightings with zeros and keeps the sum", () => {
    const from = Date.parse("2026-11-22T05:17:00Z");
    const buckets = hourBuckets({ from, to: from + 6 * 3_600_000 }, [{ hour: "2026-11-22T07:00:00Z", count: 4 }], 48);
    expect(buckets).toHaveLength(7);
    expect(buckets.map((b) => b.count)).toEqual([0, 0, 4, 0, 0, 0, 0]);
    const week = hourBuckets({ from, to: from + 7 * 86_400_000 }, [{ hour: "2026-11-25T07:00:00Z", count: 9 }], 48);
    expect(week.length).toBeLessThanOrEqual(48);
    expect(week.reduce((n, b) => n + b.count, 0)).toBe(9);
  });
  it("lays gaps on a clip's own axis", () => {
    const gap = { start_at: "2026-11-22T05:00:05Z", end_at: "2026-11-22T05:00:07Z", reason: "stream_stalled" };
    const start = Date.parse("2026-11-22T05:00:00Z");
    expect(mediaSpans(start, start + 10_000, [gap])).toEqual([
      { left: 0.5, width: expect.closeTo(0.2), reason: "stream_stalled" },
    ]);
  });
});

describe("overlay", () => {
  const path = [
    { t_ms: 0, box: { x: 0, y: 0, w: 0.2, h: 0.2 } },
    { t_ms: 1000, box: { x: 0.4, y: 0, w: 0.2, h: 0.4 } },
    { t_ms: 2000, box: { x: 0.4, y: 0.2, w: 0.2, h: 0.4 } },
  ];
  it("interpolates between two points", () => {
    expect(boxAt(path, 500)).toEqual({ x: 0.2, y: 0, w: 0.2, h: expect.closeTo(0.3) });
    expect(boxAt(path, 1500)?.y).toBeCloseTo(0.1);
  });
  it("shows nothing before the object came and after it left", () => {
    expect(boxAt(path, -501)).toBeNull();
    expect(boxAt(path, -400)).toEqual(path[0]?.box);
    expect(boxAt(path, 2501)).toBeNull();
    expect(boxAt([], 0)).toBeNull();
  });
  it("finds the picture inside a letterboxed element", () => {
    expect(contained(1600, 900, 640, 480)).toEqual({ x: 200, y: 0, w: 1200, h: 900 });
    expect(contained(100, 100, 0, 0)).toEqual({ x: 0, y: 0, w: 100, h: 100 });
    expect(place({ x: 0.5, y: 0.5, w: 0.5, h: 0.5 }, { x: 200, y: 0, w: 1200, h: 900 })).toEqual({
      x: 800,
      y: 450,
      w: 600,
      h: 450,
    });
  });
});

describe("geo", () => {
  const here = { lon: 104.9, lat: 25.1 };
  it("goes out and finds the way back", () => {
    const there = away(here, 120, 500);
    expect(metres(here, there)).toBeCloseTo(500, 0);
    expect(bearing(here, there)).toBeCloseTo(120, 0);
  });
  it("draws a sector that starts at the camera and looks along its heading", () => {
    const outline = sector(here, 90, 60, 40);
    expect(outline[0]).toEqual(here);
    const middle = outline[Math.ceil(outline.length / 2)];
    expect(middle && bearing(here, middle)).toBeGreaterThan(80);
    expect(middle && bearing(here, middle)).toBeLessThan(100);
    expect(sector(here, 0, 360, 40)[0]).not.toEqual(here);
  });
  it("writes and reads an area, and refuses nonsense from an address line", () => {
    const area = [here, away(here, 0, 100), away(here, 90, 100)];
    expect(areaPoints(areaText(area))?.[1]?.lat).toBeCloseTo(area[1]?.lat ?? 0, 5);
    for (const bad of ["", "1,2;3,4", "a,b;c,d;e,f", "1,2,3;1,2;3,4", "181,0;0,0;1,1", "1,2;;3,4"]) {
      expect(areaPoints(bad)).toBeNull();
    }
  });
});

describe("live", () => {
  it("never calls a picture live when no frame was decoded for more than 3 s", () => {
    expect(judge(10_000, 0, 7_000).state).toBe("live");
    expect(judge(10_001, 0, 7_000).state).toBe("late");
  });
  it("connects anew when the first frame never comes, and when a stream stays silent", () => {
    expect(judge(5_000, 0, null)).toEqual({ state: "connecting", reconnect: false });
    expect(judge(12_001, 0, null).reconnect).toBe(true);
    expect(judge(20_000, 0, 7_000)).toEqual({ state: "late", reconnect: true });
  });
  it("waits longer each time, at most 30 s, and at once 30 s when the owner does not allow it", () => {
    expect([1, 2, 3, 9].map((n) => backoffMs(n, "live.stalled", 0.5))).toEqual([1000, 2000, 4000, 30_000]);
    expect(backoffMs(1, "consent.paused", 0.5)).toBe(30_000);
  });
});
