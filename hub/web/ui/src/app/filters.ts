/** The search's filters and their place in the address line: what one sees can be sent, kept and come back to. */
import type { LocationQuery, LocationQueryRaw } from "vue-router";
import type { Colour, ObjectClass, SearchQuery } from "@/api/types";
import { areaPoints, areaText, type LonLat } from "@/media/geo";
import { CLASSES, COLOURS } from "./state";

export const SPANS = { "1h": 3_600_000, "6h": 21_600_000, "24h": 86_400_000, "7d": 604_800_000 } as const;
export type Span = keyof typeof SPANS;

export interface Filters {
  /** A rolling span up to now; null when `from` and `to` say the span. */
  span: Span | null;
  from: string | null;
  to: string | null;
  cameras: string[];
  classes: ObjectClass[];
  colours: Colour[];
  area: LonLat[] | null;
  zone: string;
  minSeconds: number;
  minScore: number;
  words: string;
}

export const empty = (): Filters => ({
  span: "24h",
  from: null,
  to: null,
  cameras: [],
  classes: [],
  colours: [],
  area: null,
  zone: "",
  minSeconds: 0,
  minScore: 0,
  words: "",
});

function many(value: LocationQuery[string] | undefined): string[] {
  return (Array.isArray(value) ? value : [value]).filter((one): one is string => typeof one === "string" && one !== "");
}
const one = (value: LocationQuery[string] | undefined): string => many(value)[0] ?? "";
function instant(text: string): string | null {
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : new Date(at).toISOString();
}
function figure(text: string, most: number): number {
  const n = Number(text);
  return Number.isFinite(n) && n > 0 ? Math.min(n, most) : 0;
}
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Reads the address line; whatever does not fit is left out, never an error. */
export function readFilters(query: LocationQuery): Filters {
  const found = empty();
  const [from, to] = [instant(one(query.from)), instant(one(query.to))];
  if (from && to && from < to) Object.assign(found, { span: null, from, to });
  else if (Object.hasOwn(SPANS, one(query.span))) found.span = one(query.span) as Span;
  found.cameras = many(query.camera).filter((id) => UUID.test(id));
  found.classes = many(query.class).filter((c): c is ObjectClass => (CLASSES as readonly string[]).includes(c));
  found.colours = many(query.colour).filter((c): c is Colour => (COLOURS as readonly string[]).includes(c));
  found.area = query.area ? areaPoints(one(query.area)) : null;
  found.zone = one(query.zone).slice(0, 60);
  found.minSeconds = figure(one(query.seconds), 86_400);
  found.minScore = figure(one(query.score), 1);
  found.words = one(query.q).slice(0, 200);
  return found;
}

/** Writes the address line; what is at its default is left out. */
export function writeFilters(f: Filters): LocationQueryRaw {
  const out: LocationQueryRaw = {};
  if (f.from && f.to) Object.assign(out, { from: f.from, to: f.to });
  else if (f.span && f.span !== "24h") out.span = f.span;
  if (f.cameras.length) out.camera = f.cameras;
  if (f.classes.length) out.class = f.classes;
  if (f.colours.length) out.colour = f.colours;
  if (f.area) out.area = areaText(f.area);
  if (f.zone) out.zone = f.zone;
  if (f.minSeconds) out.seconds = String(f.minSeconds);
  if (f.minScore) out.score = String(f.minScore);
  if (f.words) out.q = f.words;
  return out;
}

/** The question to the hub; a rolling span ends now (and a little after: clocks differ). */
export function asQuery(f: Filters, now: number): SearchQuery {
  const out: SearchQuery =
    f.from && f.to
      ? { from_at: f.from, to_at: f.to }
      : {
          from_at: new Date(now - SPANS[f.span ?? "24h"]).toISOString(),
          to_at: new Date(now + 5000).toISOString(),
        };
  if (f.cameras.length) out.camera_ids = f.cameras;
  if (f.classes.length) out.classes = f.classes;
  if (f.colours.length) out.colours = f.colours;
  if (f.area) out.area = areaText(f.area);
  if (f.zone) out.zone = f.zone;
  if (f.minSeconds) out.min_duration_ms = f.minSeconds * 1000;
  if (f.minScore) out.min_score = f.minScore;
  if (f.words) out.q = f.words;
  return out;
}

/** How many filters beside the span are set. */
export function activeCount(f: Filters): number {
  return [
    f.cameras.length,
    f.classes.length,
    f.colours.length,
    f.area,
    f.zone,
    f.minSeconds,
    f.minScore,
    f.words,
  ].filter(Boolean).length;
}
