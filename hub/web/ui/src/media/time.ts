/** Times as people at the site read them. The hub speaks UTC; pages show the site's zone, wherever the browser stands. */
export const SITE_ZONE = "Asia/Shanghai";
const SITE_OFFSET = "+08:00"; // the zone has had no daylight saving since 1991

const parts = new Intl.DateTimeFormat("en-CA", {
  timeZone: SITE_ZONE,
  hourCycle: "h23",
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** "2026-11-22 14:03:05" in the site's zone. */
export function siteStamp(at: string | number | Date): string {
  const found: Record<string, string> = {};
  for (const part of parts.formatToParts(new Date(at))) found[part.type] = part.value;
  return `${found.year}-${found.month}-${found.day} ${found.hour}:${found.minute}:${found.second}`;
}

/** "14:03:05" in the site's zone. */
export function siteClock(at: string | number | Date): string {
  return siteStamp(at).slice(11);
}

/** "11-22 14:03" in the site's zone. */
export function siteShort(at: string | number | Date): string {
  return siteStamp(at).slice(5, 16);
}

/** A stamp typed in the site's zone as an instant in UTC (ISO 8601). */
export function fromSite(stamp: string): string {
  return new Date(`${stamp.replace(" ", "T")}${SITE_OFFSET}`).toISOString();
}

export type AgoUnit = "now" | "second" | "minute" | "hour" | "day";

/** How long ago, in the largest unit that is at least one. Small negative differences (clock skew) read as now. */
export function ago(at: string | number | Date, now: number): { unit: AgoUnit; n: number } {
  const seconds = Math.floor((now - new Date(at).getTime()) / 1000);
  if (seconds < 2) return { unit: "now", n: 0 };
  if (seconds < 60) return { unit: "second", n: seconds };
  if (seconds < 3600) return { unit: "minute", n: Math.floor(seconds / 60) };
  if (seconds < 86400) return { unit: "hour", n: Math.floor(seconds / 3600) };
  return { unit: "day", n: Math.floor(seconds / 86400) };
}

/** "0:07", "2:05", "1:00:07". */
export function length(ms: number): string {
  const all = Math.max(0, Math.round(ms / 1000));
  const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const two = (n: number): string => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** The clock's uncertainty in words: "±40 ms", "±1.0 s"; empty when it is not known. */
export function uncertainty(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "";
  return ms < 1000 ? `±${ms} ms` : `±${(ms / 1000).toFixed(1)} s`;
}

/** A signed difference: "+80 ms", "−1.3 s". */
export function offset(ms: number): string {
  const sign = ms < 0 ? "−" : "+";
  const size = Math.abs(ms);
  return size < 1000 ? `${sign}${size} ms` : `${sign}${(size / 1000).toFixed(1)} s`;
}
