/** Time axes: spans as fractions of a window, ticks that fall on round times, gaps and a player's position. */
import { siteStamp } from "./time";

/** Milliseconds since 1970; `to` is not part of it. */
export interface Window {
  from: number;
  to: number;
}

/** A span as fractions of a window's length, ready for CSS: `left` and `width` in 0 … 1. */
export interface Bar {
  left: number;
  width: number;
}

/** Where `[start, end)` lies in the window; null when it does not touch it. */
export function bar(window: Window, start: number, end: number): Bar | null {
  const length = window.to - window.from;
  if (length <= 0 || end <= window.from || start >= window.to) return null;
  const left = (Math.max(start, window.from) - window.from) / length;
  const right = (Math.min(end, window.to) - window.from) / length;
  return { left, width: right - left };
}

/** The instant at a fraction of the window, clamped to it. */
export function instantAt(window: Window, fraction: number): number {
  return window.from + (window.to - window.from) * Math.min(1, Math.max(0, fraction));
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  1000,
  5000,
  10_000,
  30_000,
  MINUTE,
  5 * MINUTE,
  10 * MINUTE,
  30 * MINUTE,
  HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  7 * DAY,
];
const SITE_OFFSET_MS = 8 * HOUR;

export interface Tick {
  at: number;
  left: number;
  label: string;
}

/** At most `most` ticks on round times of the site's zone. */
export function ticks(window: Window, most: number): Tick[] {
  const length = window.to - window.from;
  if (length <= 0 || most < 1) return [];
  const step = STEPS.find((candidate) => length / candidate <= most) ?? Math.ceil(length / most / DAY) * DAY;
  const first = Math.ceil((window.from + SITE_OFFSET_MS) / step) * step - SITE_OFFSET_MS;
  const out: Tick[] = [];
  for (let at = first; at < window.to; at += step) {
    const stamp = siteStamp(at);
    const label = step >= DAY ? stamp.slice(5, 10) : step >= MINUTE ? stamp.slice(11, 16) : stamp.slice(11, 19);
    out.push({ at, left: (at - window.from) / length, label });
  }
  return out;
}

/** One bucket per hour of the window, zeros included. A window of more than `most` hours is cut into whole multiples of an hour. */
export function hourBuckets(
  window: Window,
  hours: { hour: string; count: number }[],
  most: number,
): { from: number; to: number; count: number }[] {
  const first = Math.floor(window.from / HOUR) * HOUR;
  const total = Math.max(1, Math.ceil((window.to - first) / HOUR));
  const size = Math.ceil(total / most) * HOUR;
  const buckets = Array.from({ length: Math.ceil((total * HOUR) / size) }, (_, i) => ({
    from: first + i * size,
    to: first + (i + 1) * size,
    count: 0,
  }));
  for (const { hour, count } of hours) {
    const bucket = buckets[Math.floor((new Date(hour).getTime() - first) / size)];
    if (bucket) bucket.count += count;
  }
  return buckets;
}

/** Positions on a clip's media axis of spans given in wall time. */
export function mediaSpans(
  clipStart: number,
  clipEnd: number,
  spans: { start_at: string; end_at: string; reason: string }[],
): (Bar & { reason: string })[] {
  return spans.flatMap((span) => {
    const found = bar({ from: clipStart, to: clipEnd }, Date.parse(span.start_at), Date.parse(span.end_at));
    return found ? [{ ...found, reason: span.reason }] : [];
  });
}
